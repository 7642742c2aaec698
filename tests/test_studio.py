"""The compute layer behind the sliders: equal requests are equal GIFs, captions suit, bad pictures in one sentence."""

from __future__ import annotations

import io
import warnings

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite.calibration import calibrated, corners_of
from pix2gif_lite.canvas import to_pil
from pix2gif_lite.lookup import warp
from pix2gif_lite.media.clips import read_frames
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenery.casting import HELD_OUT_ACTIONS
from pix2gif_lite.sliders import studio as module
from pix2gif_lite.sliders.controls import StudioControls
from pix2gif_lite.sliders.gallery import gallery, suggestions
from pix2gif_lite.sliders.studio import LARGEST, LIVE_STEPS, Request, Studio, uploaded


@pytest.fixture(scope="module")
def studio(pipe):
    return Studio(pipe, scenes=2)


def ask(studio: Studio, **changes) -> Request:
    name = next(iter(studio.pictures))
    return Request(**{"picture": name, "caption": studio.captions[name], "motions": (0, 4, 8), "steps": 2} | changes)


def png(colour: str, size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "png")
    return file.getvalue()


def test_a_request_is_made_once_and_says_how(studio, tmp_path):
    calls = []
    made = studio.make(ask(studio), calls.append)
    assert len(calls) == 2 and studio.make(ask(studio), calls.append) is made and len(calls) == 2
    assert made.gif.startswith(b"GIF8") and len(made.measured) == 3
    (tmp_path / "a.gif").write_bytes(made.gif)
    assert len(read_frames(tmp_path / "a.gif")[0]) == 4  # ping-pong of three
    made_again = tmp_path / "again.gif"
    code = made.code.replace('"mine.gif"', "target")
    eval(code, {"pipe": studio.pipe, "image": studio.pictures[made.request.picture], "target": made_again})
    assert made_again.read_bytes() == made.gif
    assert made.encoded(".mp4")[4:8] == b"ftyp"


def test_a_glimpse_is_the_frame_that_moves_most(studio, monkeypatch):
    request = ask(studio, motions=(0, 3, 8, 5), seed=2)
    glimpse, made = studio.glimpse(request), studio.make(request)
    frame = Image.open(io.BytesIO(glimpse.png))
    assert np.abs(np.asarray(frame, int) - np.asarray(made.out.frames[2], int)).max() <= 1
    assert glimpse.real and glimpse.words.startswith("the frame of 8 px, made in ")
    monkeypatch.setattr(studio.pipe.vae, "encode", lambda *_: pytest.fail("the picture is known"))
    assert studio.glimpse(ask(studio, motions=(0, 9))).png != glimpse.png
    assert studio.glimpse(ask(studio, motions=(0,))) is None and studio.glimpse(ask(studio, caption=" ")) is None


def test_where_a_frame_takes_long_a_glimpse_is_the_decoded_warp(studio, monkeypatch):
    request = ask(studio, steps=LIVE_STEPS + 1)
    pipe, model = studio.pipe, studio.pipe.model
    said = []
    hook = pipe.flow_net.register_forward_hook(lambda module, given, flows: said.append(flows))
    pipe(studio.pictures[request.picture], request.caption, [8])
    hook.remove()
    latents = pipe.encode(studio.pictures[request.picture]) * pipe.vae.config.scaling_factor
    with torch.inference_mode():
        corners = corners_of([studio.pictures[request.picture]])
        flow = calibrated(said[-1], corners, torch.tensor([8])).flow0
        z_W = warp(latents, flow, interpolation=model.flow_net.config.interpolation)  # nothing is learnt of it at the start
        expected = to_pil(pipe.vae.decode(z_W / pipe.vae.config.scaling_factor).sample[0])
    monkeypatch.setattr(pipe.unet, "forward", lambda *_, **__: pytest.fail("the UNet is not needed"))
    glimpse = studio.glimpse(request)
    shown = Image.open(io.BytesIO(glimpse.png))
    assert np.abs(np.asarray(shown, int) - np.asarray(expected, int)).max() <= 1
    assert not glimpse.real and glimpse.words == "the warp alone at 8 px, D(z_W)"


def test_weights_without_a_warp_show_nothing_before_many_steps():
    preset = TINY.with_changes(variant="motion-embed")
    plain = Studio(Pix2GifPipeline.from_components(preset, build_components(preset, ["a red balloon is rising"])), scenes=1)
    assert plain.glimpse(ask(plain, steps=LIVE_STEPS + 1)) is None  # many steps that nothing could stop
    assert plain.glimpse(ask(plain, steps=1)).real


def test_uploads_replace_each_other_and_bad_ones_are_named(studio):
    name = studio.add_upload("mine.png", png("red"))
    first = studio.make(ask(studio, picture=name, caption="a ball is rolling"))
    studio.add_upload("mine.png", png("blue"))
    second = studio.make(ask(studio, picture=name, caption="a ball is rolling"))
    assert first.out.frames[0].getpixel((0, 0)) == (255, 0, 0) and second.out.frames[0].getpixel((0, 0)) == (0, 0, 255)
    for data in (b"", b"this is no picture", png("red")[:40]):
        with pytest.raises(ValueError, match="bad.png"):
            studio.add_upload("bad.png", data)
    assert "bad.png" not in studio.pictures


def test_another_speed_is_the_same_frames(studio):
    first = studio.make(ask(studio, seed=5))
    faster = studio.make(ask(studio, seed=5, fps=8), lambda state: pytest.fail("nothing is to be sampled"))
    assert faster.out is first.out and len(faster.gif) == len(first.gif) and faster.gif != first.gif


def test_gifs_are_kept_up_to_so_many_bytes_and_the_newest_always(studio, monkeypatch):
    requests = [ask(studio, seed=100, motions=(0, 4), fps=fps) for fps in (1, 2, 3, 4)]
    size = studio.make(requests[0]).size
    assert size == 2 * 256 * 256 * 3
    monkeypatch.setattr(module, "KEPT", 3 * size)
    studio.make(requests[1])
    studio.make(requests[2])
    assert studio.known(requests[0]) is not None  # which makes it the newest
    studio.make(requests[3])
    assert [studio.known(request) is not None for request in requests] == [True, False, True, True]
    monkeypatch.setattr(module, "KEPT", size - 1)
    last = studio.make(requests[1])
    assert [studio.known(request) for request in requests] == [None, last, None, None]


def test_a_picture_replaced_meanwhile_is_not_taken_for_the_new_one(studio):
    studio.add_upload("late.png", png("red"))
    request = ask(studio, picture="late.png", caption="a ball is rolling", steps=1)
    old = studio.make(request, lambda state: studio.add_upload("late.png", png("blue")))
    assert old.out.frames[0].getpixel((0, 0)) == (255, 0, 0) and studio.known(request) is None
    assert studio.make(request).out.frames[0].getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize(("name", "mode"), [("wide.png", "RGBA"), ("wide.jpg", "RGB"), ("wide.gif", "P")])
def test_uploads_are_scaled_down_and_their_code_still_makes_the_same(studio, name, mode, tmp_path, monkeypatch):
    picture = Image.merge("RGB", [Image.effect_noise((1200, 600), 90) for _ in range(3)]).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    monkeypatch.chdir(tmp_path)
    picture.save(name)
    data = (tmp_path / name).read_bytes()
    assert studio.add_upload(name, data) == name and studio.pictures[name].size == (LARGEST, LARGEST // 2)
    assert studio.remarks[name][-1] == f"{name} is scaled down from 1200 x 600 to {LARGEST} x {LARGEST // 2} px."
    made = studio.make(ask(studio, picture=name, caption="a ball is rolling", motions=(0, 8)))
    names = {"pipe": studio.pipe}
    exec(made.code, names)
    assert names["image"].tobytes() == studio.pictures[name].tobytes()
    assert (tmp_path / "mine.gif").read_bytes() == made.gif
    studio.add_upload(name, png("red"))  # a small one under that name
    assert "thumbnail" not in studio.make(made.request).code


def test_words_without_a_token_of_their_own_are_named(studio):
    shipped = Studio(scenes=1)
    assert shipped.loaded is False and shipped.spelt("A red balloon, rising") == [] and shipped.loaded
    assert shipped.spelt("a red zyzzyva is rising 🎈 8") == ["zyzzyva", "🎈"]
    for name in shipped.pictures:
        assert [word for idea in shipped.ideas(name) for word in shipped.spelt(idea)] == []
    made = studio.make(ask(studio, caption="a zyzzyva is rising", motions=(0, 25), steps=1))
    assert len(made.notes) == 2 and "25 is outside 2-20" in made.notes[0] and "zyzzyva" in made.notes[1]
    assert studio.make(ask(studio, caption="a a a", steps=1)).notes == []


def test_distilled_weights_leave_no_choice_of_guidance_and_steps(studio):
    turbo = Studio(Pix2GifPipeline.from_pretrained("lite-turbo"), scenes=1)
    assert turbo.fixed == ("steps", "s_T", "s_I") and turbo.defaults == {"steps": 1, "s_T": 1.0, "s_I": 1.0}
    assert studio.fixed == () == Studio(scenes=1).fixed
    controls = StudioControls(ipywidgets, list(turbo.pictures))
    controls.start_at(turbo.defaults, turbo.fixed)
    assert [name for name, each in controls.how.items() if each.disabled] == ["s_T", "s_I", "steps"]
    assert [controls.how[name].value for name in turbo.fixed] == [1, 1, 1]


def test_a_warning_from_elsewhere_is_neither_swallowed_nor_taken_for_a_note(studio):
    with pytest.warns(UserWarning) as caught:
        request = ask(studio, caption="a a a", motions=(0, 26), steps=1)
        made = studio.make(request, lambda state: warnings.warn("from elsewhere", stacklevel=1))
    assert [str(each.message) for each in caught] == ["from elsewhere"]  # no page shows what the studio says itself
    assert len(made.notes) == 1 and "26 is outside 2-20" in made.notes[0]


def test_motions_outside_the_table_are_refused_before_any_model_runs(studio):
    for step in (studio.glimpse, studio.make):
        with pytest.raises(ValueError, match="The motion 300 is outside the range"):
            step(ask(studio, motions=(0, 300)))


def test_the_gallery_has_no_subject_twice_and_suggestions_were_seen_in_training():
    scenes, everything = gallery(8), gallery(100)
    assert [len(scene.actors) for scene in scenes] == [1] * 8
    assert len({scene.subjects[0] for scene in scenes}) == 8
    assert len(everything) == 16 and everything[:8] == scenes  # one a subject
    for scene in scenes:
        own, *others = suggestions(scene)
        assert own == scene.caption and len({own, *others}) == 1 + len(others)
        assert all(scene.subjects[0] in caption and "{" not in caption for caption in others)
    assert HELD_OUT_ACTIONS  # star grows is never suggested
    star = next(scene for scene in everything if scene.subjects[0] == "star")
    assert not any("growing" in caption for caption in suggestions(star))


def test_what_a_file_upload_holds_in_ipywidgets_7_and_8():
    assert uploaded({}) is None and uploaded(()) is None
    assert uploaded({"a": {"content": b"1"}, "b": {"content": b"2"}}) == ("b", b"2")
    assert uploaded(({"name": "c", "content": memoryview(b"3")},)) == ("c", b"3")
