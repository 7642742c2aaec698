"""Sliders moved as a hand would, on a tiny pipeline of the real classes."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from pix2gif_lite.presets import SLIDERS, Slider
from pix2gif_lite.sheets import Embedded, as_html
from pix2gif_lite.studio import Studio
from pix2gif_lite.widgets import Explorer, GifStudio


def png(size=(40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "png")
    return file.getvalue()


def test_what_can_be_shown():
    shown = as_html(["a < b", Image.new("RGB", (2, 2)), b"GIF89a..."], alt='a "GIF"')
    assert "a &lt; b" in shown and "data:image/png;base64," in shown and "data:image/gif;base64," in shown
    assert 'alt="a &quot;GIF&quot;"' in shown and Embedded("x")._repr_html_() == as_html(["x"])
    with pytest.raises(TypeError, match="A dict cannot be shown"):
        as_html({})


def test_an_explorer_draws_what_its_controls_say():
    seen = []

    def draw(m, angle, kind, on):
        seen.append((m, angle, kind, on))
        if m == 20:
            raise ValueError("too far")
        return f"{m} {kind}"

    explorer = Explorer(draw, m=SLIDERS["motion"], angle=Slider(0, 1, 0.25, 0.5, "turns", "way"), kind=["a", "b"], on=True)
    assert seen == [(8, 0.5, "a", True)] and explorer.shown == "8 a"
    assert explorer.set(m=3, kind="b") == "3 b" and len(seen) == 2
    explorer.controls["m"].value = 5  # as a hand would
    assert explorer.shown == "5 b" and "5 b" in explorer.view.value
    with pytest.raises(ValueError, match="too far"):
        explorer.set(m=20)
    assert "too far" in explorer.view.value
    assert explorer.set(m=2) == "2 b"  # still usable
    assert explorer.controls["m"].description_tooltip.startswith(SLIDERS["motion"].help)
    with pytest.raises(TypeError, match="control 'm' is a float"):
        Explorer(draw, m=0.5)


@pytest.fixture(scope="module")
def studio(pipe):
    return GifStudio(Studio(pipe, scenes=2)).wait()


def test_the_studio_starts_with_a_gif(studio):
    assert studio.error == "" and studio.made.gif.startswith(b"GIF8")
    assert "data:image/gif" in studio.view.value and "asked 8 px" in studio.view.value and "download mp4" in studio.view.value
    assert "pipe(image" in studio.view.value and "warp alone" in studio.still.value
    assert studio.make.disabled is False and studio.stop.disabled is True and studio.progress.value == 1
    for name, control in {"motion": studio.motion, "frames": studio.frames, **studio.how}.items():
        slider = SLIDERS[name]
        assert (control.min, control.max, control.value) == (slider.minimum, slider.maximum, slider.default)


def test_controls_change_the_gif_and_going_back_is_free(studio):
    first = studio.made
    studio.motion.value = 15
    second = studio.wait().made
    assert second.gif != first.gif and max(second.request.motions) == 15
    studio.motion.value = 8
    assert studio.wait().made is first
    studio.curve.value = "pingpong"
    assert studio.wait().made.request.motions[1] == studio.made.request.motions[-1]
    studio.curve.value = "custom"
    studio.custom.value = "0, 3, 9"
    assert studio.wait().made.request.motions == (0, 3, 9)
    studio.custom.value = "0, many"
    assert "many" in studio.wait().error
    studio.curve.value = "linear"
    assert studio.wait().error == ""


def test_errors_are_one_sentence_and_the_studio_stays_usable(studio):
    studio.caption.value = "  "
    assert re.search(r"caption .* is empty", studio.wait().error) and "caption" in studio.status.value
    studio.caption.value = "a red balloon is rising"
    assert studio.wait().error == ""
    for data in (b"text, not a picture", png((1, 1))):
        with pytest.raises(ValueError):
            studio.compute.add_upload("x.png", data)
    name = studio.compute.add_upload("mine.png", png())
    studio.picture.options = list(studio.compute.pictures)
    studio.picture.value = name
    assert "empty" in studio.wait().error  # a stranger's picture has no caption yet
    studio.caption.value = "a ball is rolling"
    assert studio.wait().made.out.frames[0].size == (40, 30)


def test_uploads_of_both_ipywidgets(studio):
    for name, value in {
        "seven.png": {"seven.png": {"content": png()}},
        "eight.png": ({"name": "eight.png", "content": memoryview(png())},),
        "text.png": ({"name": "text.png", "content": memoryview(b"text")},),
    }.items():
        studio.take(value)
        studio.wait()
        assert (name in studio.compute.pictures) == (name != "text.png")
    assert "text.png" in studio.error


def test_make_and_stop_buttons(studio):
    studio.make.click()
    assert studio.wait().make.disabled is False
    studio.how["steps"].value = 60
    studio.stop.click()
    studio.wait()
    assert studio.make.disabled is False and studio.stop.disabled is True
