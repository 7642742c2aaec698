"""The compute layer behind the sliders: equal requests are equal GIFs, captions suit, bad pictures in one sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite.casting import HELD_OUT_ACTIONS
from pix2gif_lite.pictures import read_frames
from pix2gif_lite.studio import KEPT, LARGEST, Request, Studio, gallery, suggestions, uploaded


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


def test_the_preview_is_the_decoded_warp(studio):
    request = ask(studio)
    pipe, model = studio.pipe, studio.pipe.model
    seen = {}
    pipe(studio.pictures[request.picture], request.caption, [8], detail=False, callback=seen.update)
    preview = studio.preview(request)
    assert preview.size == (64, 64)
    flow = pipe(studio.pictures[request.picture], request.caption, [8]).flow
    latents = studio._latents[request.picture][1] * pipe.vae.config.scaling_factor
    from pix2gif_lite.canvas import to_pil
    from pix2gif_lite.warping import warp

    with torch.inference_mode():
        z_W = warp(latents, flow, interpolation=model.flow_net.config.interpolation)
        expected = to_pil(pipe.vae.decode(z_W / pipe.vae.config.scaling_factor).sample[0])
    assert np.abs(np.asarray(preview, int) - np.asarray(expected, int)).max() <= 1
    assert studio.preview(ask(studio, motions=(0,))) is None and studio.preview(ask(studio, caption=" ")) is None


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


def test_only_the_last_gifs_are_kept(studio):
    first = ask(studio, seed=100, motions=(0, 4))
    studio.make(first)
    for fps in range(1, KEPT):
        studio.make(ask(studio, seed=100, motions=(0, 4), fps=fps + 0.5))
    assert studio.known(first) is not None  # which makes it the newest
    studio.make(ask(studio, seed=100, motions=(0, 4), fps=40))
    studio.make(ask(studio, seed=100, motions=(0, 4), fps=41))
    assert studio.known(first) is not None and studio.known(ask(studio, seed=100, motions=(0, 4), fps=1.5)) is None


def test_a_picture_replaced_meanwhile_is_not_taken_for_the_new_one(studio):
    studio.add_upload("late.png", png("red"))
    request = ask(studio, picture="late.png", caption="a ball is rolling", steps=1)
    old = studio.make(request, lambda state: studio.add_upload("late.png", png("blue")))
    assert old.out.frames[0].getpixel((0, 0)) == (255, 0, 0) and studio.known(request) is None
    assert studio.make(request).out.frames[0].getpixel((0, 0)) == (0, 0, 255)


def test_uploads_are_scaled_down_and_their_code_still_makes_the_same(studio):
    name = studio.add_upload("wide.png", png("red", (1200, 600)))
    assert studio.pictures[name].size == (LARGEST, LARGEST // 2)
    assert studio.remarks[name] == [f"wide.png is scaled down from 1200 x 600 to {LARGEST} x {LARGEST // 2} px."]


def test_words_without_a_token_of_their_own_are_named(studio):
    shipped = Studio(scenes=1)
    assert shipped.loaded is False and shipped.spelt("A red balloon, rising") == [] and shipped.loaded
    assert shipped.spelt("a red zyzzyva is rising 🎈 8") == ["zyzzyva", "🎈"]
    for name in shipped.pictures:
        assert [word for idea in shipped.ideas(name) for word in shipped.spelt(idea)] == []
    made = studio.make(ask(studio, caption="a zyzzyva is rising", motions=(0, 25), steps=1))
    assert len(made.notes) == 2 and "25 is outside 2-20" in made.notes[0] and "zyzzyva" in made.notes[1]
    assert studio.make(ask(studio, caption="a a a", steps=1)).notes == []


def test_motions_outside_the_table_are_refused_before_any_model_runs(studio):
    for step in (studio.preview, studio.make):
        with pytest.raises(ValueError, match="The motion 300 is outside the range"):
            step(ask(studio, motions=(0, 300)))


def test_the_gallery_has_no_subject_twice_and_suggestions_were_seen_in_training():
    scenes = gallery(8)
    assert [len(scene.actors) for scene in scenes] == [1] * 8
    assert len({scene.subjects[0] for scene in scenes}) == 8
    assert len(gallery(100)) == 16  # one a subject
    for scene in scenes:
        own, *others = suggestions(scene)
        assert own == scene.caption and len({own, *others}) == 1 + len(others)
        assert all(scene.subjects[0] in caption and "{" not in caption for caption in others)
    assert HELD_OUT_ACTIONS  # star grows is never suggested
    star = next(scene for scene in gallery(16) if scene.subjects[0] == "star")
    assert not any("growing" in caption for caption in suggestions(star))


def test_what_a_file_upload_holds_in_ipywidgets_7_and_8():
    assert uploaded({}) is None and uploaded(()) is None
    assert uploaded({"a": {"content": b"1"}, "b": {"content": b"2"}}) == ("b", b"2")
    assert uploaded(({"name": "c", "content": memoryview(b"3")},)) == ("c", b"3")
