"""The pipeline end to end on tiny parts with random weights, the detail that is carried along, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as tf
from PIL import Image
from safetensors.torch import load_file

from pix2gif_lite.branches import in_cells, make_branches
from pix2gif_lite.canvas import add_detail, chunks, fit_size, lost_detail, resize, to_source, to_tensor, work_size
from pix2gif_lite.guidance import guide, needed_predictions
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.noise import FrameNoise
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import sample_scenes
from pix2gif_lite.text import NULL_PROMPT, motion_prompt, tokenize
from pix2gif_lite.warping import to_sampling_grid

CAPTION = "a red balloon is rising"
PARTS = ("vae", "text_encoder", "unet", "motion_embedding", "flow_net")


@pytest.fixture(scope="module")
def pipe():
    parts = build_components(TINY, [CAPTION] * 20)
    with torch.no_grad():  # a random FlowNet stays at the identity: give it something to say
        generator = torch.Generator().manual_seed(0)
        weight = parts["flow_net"].predict_flow0[0].weight
        weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return Pix2GifPipeline.from_components(TINY, parts)


@pytest.fixture(scope="module")
def picture():
    pixels = sample_scenes(1, seed=3)[0].at(0, 96).image[0].permute(1, 2, 0)
    return Image.fromarray(((pixels + 1) * 127.5).round().to(torch.uint8).numpy())


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


# ---------------------------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize("size", [(96, 96), (200, 90), (33, 71), (8, 120)])
def test_frames_have_the_size_of_the_picture(pipe, picture, size):
    out = pipe(picture.resize(size), CAPTION, [0, 3])
    assert [frame.size for frame in out.frames] == [size, size]
    assert all(frame.mode == "RGB" for frame in out.frames)
    assert out.flow.shape[:2] == (2, 2)


def test_motion_0_is_the_picture_itself(pipe, picture):
    out = pipe(picture, CAPTION, [0, 5, 0])
    assert difference(out.frames[0], picture) == difference(out.frames[2], picture) == 0
    assert difference(out.frames[1], picture) > 0
    assert out.flow[0].abs().max() == 0 < out.flow[1].abs().max()


def test_motion_0_alone_runs_no_model(pipe, picture):
    asked = []
    handles = [getattr(pipe, name).register_forward_pre_hook(lambda *_: asked.append(1)) for name in PARTS]
    assert pipe(picture, CAPTION, 0).frames == [picture]
    for handle in handles:
        handle.remove()
    assert asked == []


def test_a_frame_does_not_depend_on_the_others(pipe, picture):
    together = pipe(picture, CAPTION, [2, 6.5, 11, 19], sampler="euler_ancestral", seed=4).frames
    alone = pipe(picture, CAPTION, 6.5, sampler="euler_ancestral", seed=4).frames[0]
    assert difference(together[1], alone) <= 1  # float32 sums in another order
    assert difference(together[1], together[3]) > 1


def test_many_frames_come_in_parts_and_equal_motions_are_equal_frames(pipe, picture):
    motions = [2 + k for k in range(18)] + [5, 5]
    seen = []
    out = pipe(picture, CAPTION, motions, steps=2, callback=lambda state: seen.append((state["frames"], state["progress"])))
    assert sorted(k for rows, progress in seen if progress in (0.5, 1.0) for k in rows) == list(range(18))
    assert [round(progress, 3) for _, progress in seen] == [0.25, 0.5, 0.75, 1.0]
    assert difference(out.frames[3], out.frames[18]) == difference(out.frames[18], out.frames[19]) == 0
    one = pipe(picture, CAPTION, motions[16], steps=2).frames[0]
    assert difference(one, out.frames[16]) <= 1


def test_seed_and_generator(pipe, picture):
    def frame(**options):
        return pipe(picture, CAPTION, 7, **options).frames[0]

    assert difference(frame(seed=1), frame(seed=1)) == 0
    assert difference(frame(seed=1), frame(generator=torch.Generator().manual_seed(1))) == 0
    assert difference(frame(seed=1), frame(seed=2)) > 0
    state = torch.get_rng_state()
    frame()
    assert torch.equal(state, torch.get_rng_state())


def test_noise_is_shared_or_not(pipe, picture):
    shared = pipe(picture, CAPTION, [7, 7], noise="shared").frames
    own = pipe(picture, CAPTION, [7, 7], noise="independent").frames
    assert difference(*shared) == 0 < difference(*own)
    noise = FrameNoise("shared", (4, 2, 2), 3, torch.Generator().manual_seed(0), torch.device("cpu"))
    first, later = noise.batch(5)
    assert first.shape == (5, 4, 2, 2) and torch.equal(first[0], first[4])
    assert torch.equal(later(1), later(1)) and not torch.equal(later(0), later(1))
    assert torch.equal(noise.batch(2)[0][0], first[0])


def test_default_is_one_call_a_step_and_guidance_one_larger_call(pipe, picture):
    batches = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, args: batches.append(len(args[0])))
    pipe(picture, CAPTION, [3, 9], steps=3)
    assert batches == [2, 2, 2]
    batches.clear()
    pipe(picture, CAPTION, [3, 9], steps=2, s_T=7.5, s_I=1.8)
    assert batches == [6, 6]
    batches.clear()
    pipe(picture, CAPTION, [3, 9], steps=2, s_T=7.5, s_I=1.8, s_M=2)
    assert batches == [8, 8]
    batches.clear()
    pipe(picture, CAPTION, [3, 9], steps=2, s_T=7.5, interval=(0, 1e-3))  # no step is that clean
    handle.remove()
    assert batches == [2, 2]


def test_flow_and_text_once(pipe, picture):
    calls = {"flow_net": [], "text_encoder": []}
    hooks = [
        getattr(pipe, name).register_forward_pre_hook(
            lambda _, args, kwargs, name=name: calls[name].append(len(args[0] if args else kwargs["input_ids"])),
            with_kwargs=True,
        )
        for name in calls
    ]
    pipe(picture, CAPTION, [3, 3.2, 9, 9], steps=4)
    for hook in hooks:
        hook.remove()
    assert calls == {"flow_net": [3], "text_encoder": [3]}  # 3 and 3.2 are both "three"; "" is the third text


@pytest.mark.parametrize("s_M", [None, 2.0])
@torch.no_grad()
def test_branches_are_the_table_of_the_paper(pipe, s_M):
    model, E = pipe.model, torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    m = torch.tensor([4.0, 12.0])
    encode = lambda texts: pipe.text_encoder(input_ids=tokenize(pipe.tokenizer, texts)).last_hidden_state  # noqa: E731
    c_T, null = encode([motion_prompt(CAPTION, 4), motion_prompt(CAPTION, 12)]), encode([NULL_PROMPT])[0]
    names = needed_predictions(2.0, 3.0, s_M)
    branches, flow = make_branches(model, names, E, c_T, null, m, s_M)
    c_M = pipe.motion_embedding.embedding.weight[[4, 12]][:, None]
    everywhere = c_M if s_M is None else torch.zeros_like(c_M)
    torch.testing.assert_close(branches["full"].c_L, c_T + c_M)
    torch.testing.assert_close(branches["image"].c_L, null.expand_as(c_T) + everywhere)
    torch.testing.assert_close(branches["none"].c_L, branches["image"].c_L)
    assert branches["none"].image_latents.abs().max() == branches["none"].z_W.abs().max() == 0
    assert torch.equal(branches["image"].image_latents, E)
    torch.testing.assert_close(flow, pipe.flow_net(E, c_T + c_M).flow0)
    assert not torch.equal(branches["image"].z_W, branches["full"].z_W)
    if s_M is not None:
        torch.testing.assert_close(branches["text"].c_L, c_T)
    predictions = {name: torch.full((1,), float(k)) for k, name in enumerate(names)}
    assert torch.isfinite(guide(predictions, 2.0, 3.0, s_M)).all()  # the names are all that guidance asks for


def test_absolute_flow_in_cells():
    flow = torch.randn(1, 2, 6, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(in_cells(to_sampling_grid(flow), "absolute"), flow, atol=1e-5, rtol=0)
    assert in_cells(flow, "displacement") is flow


@pytest.mark.parametrize("variant", ["base", "motion-embed", "warp", "warp-add", "warp-concat"])
def test_every_variant(variant, picture, tmp_path):
    preset = TINY.with_changes(variant=variant)
    pipe = Pix2GifPipeline.from_components(preset, build_components(preset, [CAPTION] * 20))
    frames = pipe(picture, CAPTION, [4, 9], s_T=2, s_I=1.5).frames
    pipe.save_pretrained(tmp_path)
    again = Pix2GifPipeline.from_pretrained(tmp_path)
    assert again.config.variant == variant
    assert (again.flow_net is None) == (variant in ("base", "motion-embed"))
    assert (again.motion_embedding is None) == (variant == "base")
    assert [difference(a, b) for a, b in zip(frames, again(picture, CAPTION, [4, 9], s_T=2, s_I=1.5).frames, strict=True)] == [
        0,
        0,
    ]


def test_output_measures_and_saves_itself(pipe, picture, tmp_path):
    out = pipe(picture, CAPTION, [0, 6])
    assert out.measured() == [motion_magnitude(picture, picture), motion_magnitude(picture, out.frames[1])]
    path = out.save(tmp_path / "a.gif", fps=5, loop="pingpong")
    with Image.open(path) as gif:
        assert gif.n_frames == 2 and gif.size == picture.size and gif.info["duration"] == 200
    assert set(out.timings) == {"encode", "condition", "sample", "decode"}
    assert all(seconds > 0 for seconds in out.timings.values())


def test_kinds_of_pictures(pipe, picture, tmp_path):
    picture.save(tmp_path / "p.png")
    tensor = to_tensor(picture)
    frames = [
        pipe(image, CAPTION, 5, steps=1).frames[0] for image in (picture, tmp_path / "p.png", np.asarray(picture), tensor)
    ]
    assert [difference(frame, frames[0]) for frame in frames] == [0, 0, 0, 0]
    rgba = picture.copy()
    rgba.putalpha(128)
    assert pipe(rgba, CAPTION, 5, steps=1).frames[0].mode == "RGB"


# ---------------------------------------------------------------------------------------------------------- weights


def test_round_trip_to_the_bit(pipe, picture, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = Pix2GifPipeline.from_pretrained(tmp_path)
    for name in PARTS:
        before, after = (getattr(p, name).state_dict() for p in (pipe, again))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before), name
        assert type(getattr(pipe, name)) is type(getattr(again, name))
    saved, kept = ({k: v for k, v in p.config.items() if not k.startswith("_")} for p in (again, pipe))
    assert saved == kept
    assert again.tokenizer.get_vocab() == pipe.tokenizer.get_vocab()
    options = {"sampler": "euler_ancestral", "s_T": 3, "s_I": 1.5, "seed": 8}
    one, two = pipe(picture, CAPTION, [3, 17], **options), again(picture, CAPTION, [3, 17], **options)
    assert torch.equal(one.flow, two.flow)
    assert [difference(a, b) for a, b in zip(one.frames, two.frames, strict=True)] == [0, 0]


def test_half_precision_weights_come_back_as_float32(pipe, tmp_path):
    half = Pix2GifPipeline.from_components(TINY, build_components(TINY, [CAPTION] * 20)).to(dtype=torch.float16)
    half.save_pretrained(tmp_path)
    assert load_file(next((tmp_path / "unet").glob("*.safetensors")))["conv_in.weight"].dtype == torch.float16
    for dtype in (torch.float32, torch.bfloat16):
        again = Pix2GifPipeline.from_pretrained(tmp_path, torch_dtype=dtype)
        assert {p.dtype for name in PARTS for p in getattr(again, name).parameters()} == {dtype}


def test_runs_in_another_dtype(pipe, picture, tmp_path):
    pipe.save_pretrained(tmp_path)
    low = Pix2GifPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)(picture, CAPTION, [6], s_T=2).frames[0]
    error = np.abs(np.asarray(low, float) - np.asarray(pipe(picture, CAPTION, [6], s_T=2).frames[0], float)).mean()
    assert error < 8  # grey levels, of 8 bits of precision


def test_parts_and_settings_can_be_replaced(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = Pix2GifPipeline.from_pretrained(tmp_path, unet=pipe.unet, sampling_steps=7)
    assert again.unet is pipe.unet and again.config.sampling_steps == 7


def test_pickles_are_refused(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(pipe.unet.state_dict(), tmp_path / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.bin.*pickle.*safetensors"):
        Pix2GifPipeline.from_pretrained(tmp_path)


def test_damaged_incomplete_and_foreign_weights(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    weights = tmp_path / "flow_net" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="flow_net.*cannot be used"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    weights.write_text("not safetensors")
    with pytest.raises(ValueError, match="flow_net.*cannot be used"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="no weights in.*flow_net"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    weights.write_bytes(whole)

    config = tmp_path / "motion_embedding" / "config.json"
    config.write_text(config.read_text().replace('"rows": 32', '"rows": 16'))
    with pytest.raises(ValueError, match="motion_embedding.*cannot be used"):
        Pix2GifPipeline.from_pretrained(tmp_path)

    index = tmp_path / "model_index.json"
    values = json.loads(index.read_text())
    index.write_text(json.dumps({key: value for key, value in values.items() if key != "unet"}))
    with pytest.raises(ValueError, match="unet"):
        Pix2GifPipeline.from_pretrained(tmp_path, motion_embedding=pipe.motion_embedding)
    index.write_text("{")
    with pytest.raises(ValueError, match="JSON"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    index.unlink()
    with pytest.raises(FileNotFoundError, match=r"model_index\.json"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="nobody/nothing"):
        Pix2GifPipeline.from_pretrained("nobody/nothing", local_files_only=True)


def test_a_folder_cannot_name_its_own_classes(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    values = json.loads(index.read_text())
    values["unet"] = ["a_module_that_would_be_imported", "UNet"]
    index.write_text(json.dumps(values))
    assert type(Pix2GifPipeline.from_pretrained(tmp_path).unet) is type(pipe.unet)


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"caption": "  "}, "caption"),
        ({"caption": None}, "caption"),
        ({"motion": []}, "empty"),
        ({"motion": [4, -1]}, "-1"),
        ({"motion": math.nan}, "nan"),
        ({"motion": math.inf}, "inf"),
        ({"motion": 32}, "31"),
        ({"motion": "4"}, "text"),
        ({"motion": [3, "4"]}, "'4'"),
        ({"motion": [True]}, "True"),
        ({"motion": [5] * 10_000}, "10000"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"sampler": "heun"}, "heun"),
        ({"s_T": -1}, "s_T"),
        ({"s_I": math.nan}, "s_I"),
        ({"s_M": "1"}, "s_M"),
        ({"interval": (3, 1)}, "interval"),
        ({"interval": 4}, "interval"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"noise": "pink"}, "pink"),
        ({"output_size": 2}, "output size"),
        ({"output_size": (64, 64, 64)}, "output size"),
        ({"image": torch.zeros(1, 64, 64)}, r"\(1, 64, 64\)"),
        ({"image": torch.full((3, 64, 64), math.nan)}, "finite"),
        ({"image": np.zeros((64, 64, 3))}, "float64"),
        ({"image": Image.new("RGB", (1, 1))}, "1 x 1"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_any_model_runs(pipe, picture, change, words):
    ran = []
    handles = [getattr(pipe, name).register_forward_pre_hook(lambda *_: ran.append(1)) for name in PARTS]
    with pytest.raises(ValueError, match=words):
        pipe(**{"image": picture, "caption": CAPTION, "motion": [4], **change})
    for handle in handles:
        handle.remove()
    assert ran == []


def test_missing_picture(pipe):
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        pipe("nothing.png", CAPTION, 4)


def test_warnings(pipe, picture):
    with pytest.warns(UserWarning, match="Motion 1, 25 is outside 2-20") as caught:
        pipe(picture, CAPTION, [0, 1, 2, 20, 25], steps=1)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="tokens long"):
        pipe(picture, "word " * 100, 4, steps=1)


# ---------------------------------------------------------------------------------------------------------- the canvas


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (128, 128)),
        ((640, 427), (192, 128)),
        ((427, 640), (128, 192)),
        ((300, 20), (512, 128)),
        ((8, 8), (128, 128)),
    ],
)
def test_work_size(size, expected):
    assert work_size(size, 128, 32) == expected


def test_fit_size_and_chunks():
    assert fit_size((640, 320), None) == (640, 320)
    assert fit_size((640, 320), 128) == (128, 64)
    assert fit_size((640, 320), (50, 60)) == (50, 60)
    assert chunks(0, 16) == []
    assert [len(part) for part in chunks(18, 16)] == [9, 9]
    assert [k for part in chunks(35, 16) for k in part] == list(range(35))


def test_without_motion_detail_restores_the_source(picture):
    source = picture.resize((301, 207))
    decoded = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))  # any picture, however bad
    lost = lost_detail(source, decoded)
    restored = add_detail(resize(decoded, source.size), lost, torch.zeros(1, 2, 16, 24))
    torch.testing.assert_close(restored, to_tensor(source), atol=1e-3, rtol=0)


def test_detail_moves_with_the_flow_and_stops_at_the_edge():
    lost = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([1.0, -0.5]).view(1, 2, 1, 1).expand(1, 2, 8, 12)  # cells of 4 px: look 4 px right, 2 px up
    detail = add_detail(torch.zeros_like(lost), lost, flow)
    torch.testing.assert_close(detail[..., 2:, :-4], lost[..., :-2, 4:], atol=1e-4, rtol=0)
    assert detail[..., -4:].abs().max() == detail[..., :2, :].abs().max() == 0


def test_bands_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    frame, lost = torch.randn(2, 1, 3, 50, 40, generator=generator)
    flow = torch.randn(1, 2, 5, 4, generator=generator)
    whole = add_detail(frame, lost, flow)
    monkeypatch.setattr("pix2gif_lite.canvas.BAND_PIXELS", 7 * 40)
    torch.testing.assert_close(add_detail(frame, lost, flow), whole)


def test_detail_keeps_a_large_photograph_sharp(pipe):
    fine = torch.rand(1, 1, 300, 400, generator=torch.Generator().manual_seed(0)).expand(1, 3, -1, -1)  # all detail
    source = to_source(fine[0] * 2 - 1)
    edges = lambda image: np.abs(np.diff(np.asarray(image, float), axis=1)).mean()  # noqa: E731
    with_detail, without = (pipe(source, CAPTION, 4, detail=detail).frames[0] for detail in (True, False))
    assert edges(with_detail) > 3 * edges(without)


def test_without_detail_the_frame_is_what_was_decoded(pipe, picture):
    decoded = []
    decode = pipe.vae.decoder.register_forward_hook(lambda module, args, out: decoded.append(out))
    out = pipe(picture, CAPTION, 5, detail=False)
    decode.remove()
    frame = tf.pixel_shuffle(decoded[-1], pipe.vae.config.patch)
    frame = tf.interpolate(frame, (96, 96), mode="bicubic", antialias=True)[0].clamp(-1, 1)
    levels = ((frame + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert difference(out.frames[0], Image.fromarray(levels)) == 0
