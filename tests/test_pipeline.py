"""The pipeline end to end on tiny parts with random weights: frames, noise, guidance, sizes, detail."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as tf
from PIL import Image

from pix2gif_lite import frames
from pix2gif_lite.canvas import to_source, to_tensor
from pix2gif_lite.model import build_unet
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.noise import FrameNoise
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY

CAPTION = "a red balloon is rising"
PARTS = ("vae", "text_encoder", "unet", "motion_embedding", "flow_net")


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


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


def test_each_frame_is_the_callers_own(pipe, picture):
    before, out = picture.copy(), pipe(picture, CAPTION, [0, 5, 5, 0], seed=4)
    kept = [frame.copy() for frame in out.frames]
    out.frames[0].paste("red", (0, 0, *picture.size))
    out.frames[1].paste("red", (0, 0, *picture.size))
    assert picture == out.source == before
    assert out.frames[2:] == kept[2:] and kept[1] == kept[2] != kept[3] == before


def test_a_caption_that_is_not_utf8(pipe, picture):
    half = pipe(picture, "a dog \ud83d", 5).frames[0]  # half an emoji, as a text box may give it while one types
    assert difference(half, pipe(picture, "a dog ?", 5).frames[0]) == 0


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
    noise = FrameNoise("shared", (4, 2, 2), 3, torch.Generator().manual_seed(0), torch.device("cpu"), 5)
    first, later = noise.batch(range(5))
    assert first.shape == (5, 4, 2, 2) and torch.equal(first[0], first[4])
    assert torch.equal(later(1), later(1)) and not torch.equal(later(0), later(1))
    assert torch.equal(noise.batch([1, 3])[0][0], first[0])


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


def test_texts_are_encoded_again_only_where_they_or_the_weights_changed(pipe, picture, monkeypatch):
    calls, encode = [], frames.encode_text
    monkeypatch.setattr(frames, "encode_text", lambda encoder, ids: calls.append(len(ids)) or encode(encoder, ids))
    pipe = Pix2GifPipeline.from_components(TINY, pipe.components)  # one that heard nothing yet
    first = pipe(picture, CAPTION, [3, 8], detail=False)
    assert calls == [3]  # two motions and the empty text
    pipe(picture.rotate(90), CAPTION, [3, 8], seed=5)
    again = pipe(picture, CAPTION, [3, 8], detail=False)
    assert calls == [3] and [f.tobytes() for f in again.frames] == [f.tobytes() for f in first.frames]
    pipe(picture, CAPTION, [8])  # another batch, so that a frame's rounding does not depend on what was asked before
    assert calls == [3, 2]
    weight = pipe.text_encoder.get_parameter("final_layer_norm.weight")
    with torch.no_grad():
        weight.mul_(1.5)
    try:
        other = pipe(picture, CAPTION, [3, 8], detail=False)
    finally:
        with torch.no_grad():
            weight.div_(1.5)
    assert calls == [3, 2, 3] and other.frames[1].tobytes() != first.frames[1].tobytes()
    assert len(pipe._texts._held) == 1  # what other weights said, and they themselves, are let go
    hook = pipe.text_encoder.register_forward_hook(lambda *given: None)
    pipe(picture, CAPTION, [3, 8])
    hook.remove()
    assert calls == [3, 2, 3, 3]  # somebody watches


@pytest.mark.parametrize("variant", ["base", "motion-embed", "warp", "warp-add", "warp-concat"])
def test_every_variant(variant, pipe, picture, tmp_path):
    preset = TINY.with_changes(variant=variant)
    pipe = Pix2GifPipeline.from_components(preset, {**pipe.components, "unet": build_unet(preset).eval()})
    options = {"caption": CAPTION, "motion": [4, 9], "s_T": 2, "s_I": 1.5, "steps": 2}
    frames = pipe(picture, **options).frames
    pipe.save_pretrained(tmp_path)
    again = Pix2GifPipeline.from_pretrained(tmp_path)
    assert again.config.variant == variant
    assert (again.flow_net is None) == (variant in ("base", "motion-embed"))
    assert (again.motion_embedding is None) == (variant == "base")
    assert [difference(a, b) for a, b in zip(frames, again(picture, **options).frames, strict=True)] == [0, 0]


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


def test_detail_keeps_a_large_photograph_sharp(pipe):
    flat = copy.deepcopy(pipe)
    for parameter in flat.vae.decoder.conv_out.parameters():
        torch.nn.init.zeros_(parameter)  # a decoder that loses everything
    fine = torch.rand(1, 1, 300, 400, generator=torch.Generator().manual_seed(0)).expand(1, 3, -1, -1)
    source = to_source(fine[0] * 2 - 1)
    edges = lambda image: np.abs(np.diff(np.asarray(image, float), axis=1)).mean()  # noqa: E731
    with_detail, without = (flat(source, CAPTION, 4, detail=detail).frames[0] for detail in (True, False))
    assert edges(without) < 1
    assert edges(with_detail) > 0.4 * edges(source)


def test_without_detail_the_frame_is_what_was_decoded(pipe, picture):
    decoded = []
    decode = pipe.vae.decoder.register_forward_hook(lambda module, args, out: decoded.append(out))
    out = pipe(picture, CAPTION, 5, detail=False)
    decode.remove()
    frame = tf.pixel_shuffle(decoded[-1], pipe.vae.config.patch)
    frame = tf.interpolate(frame, (96, 96), mode="bicubic", antialias=True)[0].clamp(-1, 1)
    levels = ((frame + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert difference(out.frames[0], Image.fromarray(levels)) == 0
