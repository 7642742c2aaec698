"""The compute layer behind the sliders: equal requests are equal GIFs, newest first, bad pictures in one sentence."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite.pictures import read_frames
from pix2gif_lite.studio import Newest, Request, Studio, Superseded


@pytest.fixture(scope="module")
def studio(pipe):
    return Studio(pipe, scenes=2)


def ask(studio: Studio, **changes) -> Request:
    name = next(iter(studio.pictures))
    return Request(**{"picture": name, "caption": studio.captions[name], "motions": (0, 4, 8), "steps": 2} | changes)


def test_a_request_is_made_once_and_says_how(studio, tmp_path):
    calls = []
    made = studio.make(ask(studio), calls.append)
    assert len(calls) == 2 and studio.make(ask(studio), calls.append) is made and len(calls) == 2
    assert made.gif.startswith(b"GIF8") and len(made.measured) == 3
    (tmp_path / "a.gif").write_bytes(made.gif)
    assert len(read_frames(tmp_path / "a.gif")[0]) == 4  # ping-pong of three
    again = eval(made.code, {"pipe": studio.pipe, "image": studio.pictures[made.request.picture]})
    assert all(np.array_equal(a, b) for a, b in zip(again.frames, made.out.frames, strict=True))
    assert made.encoded(".mp4")[4:8] == b"ftyp"


def test_the_preview_is_the_decoded_warp(studio):
    request = ask(studio)
    pipe, model = studio.pipe, studio.pipe.model
    seen = {}
    pipe(studio.pictures[request.picture], request.caption, [8], detail=False, callback=seen.update)
    preview = studio.preview(request)
    assert preview.size == (64, 64)
    flow = pipe(studio.pictures[request.picture], request.caption, [8]).flow
    latents = studio._latents[request.picture] * pipe.vae.config.scaling_factor
    from pix2gif_lite.canvas import to_pil
    from pix2gif_lite.warping import warp

    with torch.inference_mode():
        z_W = warp(latents, flow, interpolation=model.flow_net.config.interpolation)
        expected = to_pil(pipe.vae.decode(z_W / pipe.vae.config.scaling_factor).sample[0])
    assert np.abs(np.asarray(preview, int) - np.asarray(expected, int)).max() <= 1
    assert studio.preview(ask(studio, motions=(0,))) is None and studio.preview(ask(studio, caption=" ")) is None


def test_uploads_replace_each_other_and_bad_ones_are_named(studio):
    def png(colour: str) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (40, 30), colour).save(file, "png")
        return file.getvalue()

    name = studio.add_upload("mine.png", png("red"))
    first = studio.make(ask(studio, picture=name, caption="a ball is rolling"))
    studio.add_upload("mine.png", png("blue"))
    second = studio.make(ask(studio, picture=name, caption="a ball is rolling"))
    assert first.out.frames[0].getpixel((0, 0)) == (255, 0, 0) and second.out.frames[0].getpixel((0, 0)) == (0, 0, 255)
    for data in (b"", b"this is no picture", png("red")[:40]):
        with pytest.raises(ValueError, match="bad.png"):
            studio.add_upload("bad.png", data)
    assert "bad.png" not in studio.pictures


def test_only_the_newest_is_done_and_stop_gives_up():
    begun, go, done = threading.Event(), threading.Event(), []

    def work(item, check):
        begun.set()
        assert go.wait(10)
        check()
        done.append(item)

    newest = Newest(work)
    newest.submit(1)
    assert begun.wait(10)
    newest.submit(2)
    newest.submit(3)
    assert newest.waiting
    go.set()
    newest.wait(10)
    assert done == [3]
    begun.clear(), go.clear()
    newest.submit(4)
    assert begun.wait(10)
    newest.stop()
    with pytest.raises(TimeoutError, match="Still at work"):
        newest.wait(0.05)
    go.set()
    newest.wait(10)
    assert done == [3]
    newest.submit(5)  # still usable
    newest.wait(10)
    assert done == [3, 5] and issubclass(Superseded, Exception)
