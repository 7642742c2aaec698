"""The frame behind a moving slider: the pipeline's own, with nothing done twice."""

from __future__ import annotations

import copy
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from pix2gif_lite import live as module
from pix2gif_lite.calibration import calibrated, corners_of
from pix2gif_lite.canvas import to_pil
from pix2gif_lite.fast import direct_decoder, direct_unet
from pix2gif_lite.fast.direct_decoder import DirectDecoder
from pix2gif_lite.fast.kept import Kept
from pix2gif_lite.fast.laid import can_lay
from pix2gif_lite.live import Live
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components

CAPTION = "a red balloon is rising"


def levels(first: Image.Image, second: Image.Image) -> int:
    """The largest difference, of 255 grey levels."""
    assert first.mode == second.mode == "RGB" and first.size == second.size
    return int(np.abs(np.asarray(first, int) - np.asarray(second, int)).max())


@pytest.fixture
def live(pipe):
    return Live(pipe)


@pytest.fixture
def work(pipe, monkeypatch):
    """How often each network was called, by name: what runs is counted, not how long it takes."""
    calls = dict.fromkeys(("text", "flow", "unet", "encode", "decode"), 0)

    def counted(name, function):
        def call(*args, **options):
            calls[name] += 1
            return function(*args, **options)

        return call

    parts = {"text": pipe.text_encoder, "flow": pipe.flow_net, "unet": pipe.unet}
    for name, owner in {**parts, "encode": pipe.vae.encoder, "decode": pipe.vae.decoder}.items():
        monkeypatch.setattr(owner, "forward", counted(name, owner.forward))
    return calls


@pytest.mark.parametrize("size", [(64, 64), (150, 90), (40, 33)])  # the work size, larger and not square, smaller
def test_it_is_the_pipelines_frame(pipe, live, picture, size):
    picture = picture.resize(size)
    for m, seed, how in ((8, 0, {}), (0.4, 0, {}), (12.5, 3, {"steps": 1}), (2, 1, {"steps": 3, "s_T": 3.0, "s_I": 1.5})):
        expected = pipe(picture, CAPTION, m, seed=seed, quiet=True, **how).frames[0]
        assert levels(live.frame(picture, CAPTION, m, seed, **how), expected) <= 1
        assert levels(Image.open(io.BytesIO(live.png(picture, CAPTION, m, seed, **how))), expected) <= 1
        assert levels(expected, picture) > 1  # not the picture itself
    assert live.frame(picture, CAPTION, 0).tobytes() == picture.tobytes()
    assert live.frame(picture, "", 0).tobytes() == picture.tobytes()  # as the pipeline: nothing moves, nothing to say


def test_both_networks_behind_the_warp_go_their_short_ways(live, picture, monkeypatch):
    gone = []
    for name, owner in {"D": direct_decoder, "UNet": direct_unet}.items():
        function = "decode" if name == "D" else "predict"
        way = getattr(owner, function)
        monkeypatch.setattr(owner, function, lambda *given, name=name, way=way: gone.append(name) or way(*given))
    live.frame(picture, CAPTION, 8, steps=1)
    gone.clear()
    live.frame(picture, CAPTION, 9, steps=1)
    assert sorted(gone) == (["D", "UNet"] if can_lay() else ["UNet"])


def test_motion_seed_caption_and_picture_all_count(live, picture):
    asked = [(picture, CAPTION, 8, 0), (picture, CAPTION, 9, 0), (picture, CAPTION, 8, 1), (picture, "a boat sinks", 8, 0)]
    asked.append((picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), CAPTION, 8, 0))
    frames = [live.frame(*each).tobytes() for each in asked]
    assert len(set(frames)) == len(frames)
    assert [live.frame(*each).tobytes() for each in asked] == frames  # whatever was asked in between


def test_a_move_runs_what_depends_on_the_motion_and_nothing_else(pipe, live, picture, work):
    live.frame(picture, CAPTION, 8)
    steps = pipe.config.sampling_steps
    assert work == {"text": 1, "flow": 1, "unet": steps, "encode": 1, "decode": 2}  # D of E(c_I), D of the frame
    for m in (1, 20, 7.5):  # 7.5 is said as "eight"
        before = dict(work)
        live.frame(picture, CAPTION, m)
        assert {name: work[name] - before[name] for name in work} == {
            "text": 0, "flow": 1, "unet": steps, "encode": 0, "decode": 1,
        }  # fmt: skip
    before = dict(work)
    live.frame(picture, CAPTION, 8)
    live.png(picture.copy(), CAPTION, 8.0)  # known already, by its pixels
    assert work == before
    live.frame(picture, CAPTION, 25)  # beyond the slider: its text is a new one
    assert work["text"] == before["text"] + 1
    live.frame(picture, CAPTION, 3)
    assert work["text"] == before["text"] + 1
    live.frame(picture, CAPTION, 8, steps=1)
    assert work["unet"] == before["unet"] + 2 * steps + 1 and work["encode"] == 1


def test_a_picture_that_was_drawn_on_is_another(pipe, live, picture):
    mine = picture.copy()
    first = live.frame(mine, CAPTION, 8)
    ImageDraw.Draw(mine).rectangle((10, 10, 50, 50), "white")
    second = live.frame(mine, CAPTION, 8)
    assert levels(second, pipe(mine, CAPTION, 8).frames[0]) <= 1 and levels(first, second) > 20
    ImageDraw.Draw(second).rectangle((0, 0, 95, 95), "black")  # a caller may draw on what he got
    assert levels(live.frame(mine, CAPTION, 8), pipe(mine, CAPTION, 8).frames[0]) <= 1
    ImageDraw.Draw(live.frame(mine, CAPTION, 0)).rectangle((0, 0, 95, 95), "black")
    assert mine.getpixel((20, 20)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"caption": "  "}, ValueError),
        ({"m": -1}, ValueError),
        ({"m": float("nan")}, ValueError),
        ({"m": 300}, ValueError),
        ({"m": "8"}, ValueError),
        ({"seed": -1}, ValueError),
        ({"seed": 0.5}, ValueError),
        ({"steps": 0}, ValueError),
        ({"steps": 2.5}, ValueError),
        ({"s_T": -2}, ValueError),
        ({"picture": "no/such.png"}, FileNotFoundError),
        ({"picture": Image.new("RGB", (4, 4))}, ValueError),
        ({"m": []}, ValueError),
    ],
)
def test_what_the_pipeline_refuses_is_refused_in_the_same_words(pipe, live, picture, work, change, error):
    asked = {"picture": picture, "caption": CAPTION, "m": 8} | change
    theirs = {{"picture": "image", "m": "motion"}.get(name, name): value for name, value in asked.items()}
    with pytest.raises(error) as pipelines:
        pipe(**theirs)
    with pytest.raises(error) as ours:
        live.frame(**asked)
    assert str(ours.value) == str(pipelines.value) and not any(work.values())
    with pytest.raises(ValueError, match="A frame of 2 motions"):
        live.frame(picture, CAPTION, [2, 4])
    assert live.png(picture, CAPTION, 8).startswith(b"\x89PNG")  # still usable


def test_distilled_weights_refuse_other_step_counts():
    pipe = Pix2GifPipeline.from_components(TINY, build_components(TINY, [CAPTION]), distilled_steps=(1, 2), sampling_steps=1)
    live, picture = Live(pipe), Image.new("RGB", (64, 64), "teal")
    with pytest.raises(ValueError, match="distilled for 1, 2 steps, not 3"):
        live.frame(picture, CAPTION, 8, steps=3)
    with pytest.raises(ValueError, match="no guidance, but s_T is 2"):
        live.frame(picture, CAPTION, 8, s_T=2.0)
    assert levels(live.frame(picture, CAPTION, 8), pipe(picture, CAPTION, 8).frames[0]) <= 1


@pytest.mark.parametrize("variant", ["base", "motion-embed"])
def test_weights_without_a_warp(picture, variant):
    preset = TINY.with_changes(variant=variant)
    pipe = Pix2GifPipeline.from_components(preset, build_components(preset, [CAPTION]))
    for m in (8, 20, 25):
        assert levels(Live(pipe).frame(picture, CAPTION, m), pipe(picture, CAPTION, m, quiet=True).frames[0]) <= 1
    with pytest.raises(ValueError, match=f"variant {variant} have no warp"):
        Live(pipe).warped(picture, CAPTION, 8)


def test_the_warp_alone_needs_no_unet(pipe, live, picture, work):
    warped = Image.open(io.BytesIO(live.warped(picture, CAPTION, 8)))
    assert work["unet"] == 0 and work["flow"] == 1
    flows = []
    hook = pipe.flow_net.register_forward_hook(lambda module, given, flow: flows.append((given, flow)))
    pipe(picture, CAPTION, 8)
    hook.remove()
    ((E, _), pyramid), *_ = flows
    with torch.no_grad():
        pyramid = calibrated(pyramid, corners_of([picture]), torch.tensor([8]))
        z_W = pipe.flow_net.look_up(E, pyramid) / pipe.vae.config.scaling_factor
        expected = to_pil(pipe.vae.decode(z_W).sample[0])
    assert levels(warped, expected) <= 1 and warped.size == (64, 64)
    assert levels(Image.open(io.BytesIO(live.warped(picture, CAPTION, 0))), picture) == 0


def test_it_can_be_stopped_between_steps_and_keeps_nothing_half_made(pipe, live, picture):
    class Enough(Exception):
        pass

    def stop(state):
        if state["i"] == 1:
            raise Enough

    with pytest.raises(Enough):
        live.frame(picture, CAPTION, 8, callback=stop)
    assert levels(live.frame(picture, CAPTION, 8), pipe(picture, CAPTION, 8).frames[0]) <= 1


def test_threads_take_turns(pipe, live, picture):
    motions, got = range(1, 13), {}
    threads = [threading.Thread(target=lambda m=m: got.update({m: live.frame(picture, CAPTION, m)})) for m in motions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = dict(zip(motions, pipe(picture, CAPTION, list(motions), quiet=True).frames, strict=True))
    assert sorted(got) == list(motions) and all(levels(got[m], expected[m]) <= 1 for m in motions)


def test_in_bfloat16_the_picture_is_nearly_the_same(pipe, picture):
    kinds = {}
    parts = {
        "unet": pipe.unet.conv_in,
        "D": pipe.vae.decoder.conv_in,
        "flow": pipe.flow_net.conv0[0],
        "E": pipe.vae.encoder.conv_in,
    }
    hooks = [part.register_forward_hook(lambda m, x, y, n=n: kinds.update({n: y.dtype})) for n, part in parts.items()]
    half = Live(pipe, bfloat16=True).frame(picture, CAPTION, 8, steps=1)
    for hook in hooks:
        hook.remove()
    assert kinds == {"unet": torch.bfloat16, "D": torch.bfloat16, "flow": torch.float32, "E": torch.float32}
    difference = np.abs(np.asarray(half, int) - np.asarray(Live(pipe).frame(picture, CAPTION, 8, steps=1), int))
    assert 0 < difference.mean() < 1
    assert pipe.unet.dtype == pipe.vae.dtype == torch.float32


def test_the_unet_rounds_after_a_first_frame_that_does_not_show_it(pipe, picture, monkeypatch):
    monkeypatch.setattr(module, "choose_precision", lambda *_, **__: "bf16")  # whatever this CPU is good at
    expected = {m: pipe(picture, CAPTION, m).frames[0] for m in (8, 9, 10)}
    for unseen, rounds in ((0.0, False), (255.0, True)):
        monkeypatch.setattr(module, "is_alike", lambda a, b, unseen=unseen: levels(a, b) <= unseen)
        live, drawn = Live(pipe), []
        monkeypatch.setattr(
            live, "_drawn", lambda *given, kept=live._drawn, drawn=drawn: drawn.append(given[0].unet.inside) or kept(*given)
        )
        assert levels(live.frame(picture, CAPTION, 8), expected[8]) <= 1  # the first is exact
        low = live.frame(picture, CAPTION, 9)
        live.frame(picture, CAPTION, 10, s_T=2.0)  # guided
        second = torch.bfloat16 if rounds else None
        assert drawn == [None, torch.bfloat16, second, None]
        assert (0 < levels(low, expected[9]) < 10) if rounds and can_lay(torch.bfloat16) else levels(low, expected[9]) <= 1


def test_d_that_rounds_decodes_nearly_the_same(pipe, picture):
    """Its convolutions multiply in bfloat16 on the same weights, its sums do not: the whole in bfloat16 is further off."""
    z = pipe.encode(picture)
    with torch.no_grad():
        exact, half = pipe.vae.decode(z).sample, copy.deepcopy(pipe.vae).bfloat16().decode(z.bfloat16()).sample.float()
        found = [DirectDecoder(pipe.vae, inside).decode(z).sample for inside in (None, torch.bfloat16)]
    apart = [float((each - exact).abs().mean()) for each in (*found, half)]
    assert apart[0] < 1e-6 and apart[1] < apart[2] < 0.1 * float(exact.std())
    assert apart[1] > 1e-5 or not can_lay(torch.bfloat16)  # not every CPU can
    assert found[1].dtype == torch.float32 and pipe.vae.decode(z).sample.dtype == torch.float32


def test_alike_is_a_few_levels_in_few_places():
    levels_ = np.full((10, 10, 3), 100, np.uint8)
    few, many, far = levels_.copy(), levels_.copy(), levels_.copy()
    few[:4, :, 0] += 1
    few[9, 9, 2] -= 3
    many[:5, :, 2] -= 1
    far[0, 0, 0] -= 4
    first, *others = map(Image.fromarray, (levels_, few, many, far))
    assert [module.is_alike(first, other) for other in others] == [True, False, False]


def test_the_newest_is_kept_up_to_so_many_bytes():
    kept = Kept(100)
    assert kept.get("a") is None and kept.put("a", 1, 60) == 1
    kept.put("b", 2, 40)
    assert kept.get("a") == 1  # which makes it the newest
    kept.put("c", 3, 1)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    kept.put("large", 4, 1000)
    assert [kept.get(key) for key in ("a", "c", "large")] == [None, None, 4]
    kept.put("large", 5, 10)  # in place of the old one
    kept.put("d", 6, 90)
    assert [kept.get(key) for key in ("large", "d")] == [5, 6]


def test_frames_and_pictures_are_forgotten_in_the_end(pipe, picture, monkeypatch):
    monkeypatch.setattr(module, "KEPT_FRAMES", 3 * 96 * 96 * 3)  # three frames
    monkeypatch.setattr(module, "KEPT_SOURCES", 1)
    live = Live(pipe)
    for m in range(1, 8):
        live.frame(picture, CAPTION, m)
    assert len(live._frames._held) == 3 and len(live._sources._held) == 1
    live.frame(picture.rotate(90), CAPTION, 8)
    assert len(live._sources._held) == 1
