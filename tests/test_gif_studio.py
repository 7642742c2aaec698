"""The GIF studio, its controls moved as a hand would, on a tiny pipeline of the real classes."""

from __future__ import annotations

import base64
import io
import re
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite import widgets
from pix2gif_lite.presets import SLIDERS
from pix2gif_lite.sliders.curves import CUSTOM
from pix2gif_lite.sliders.studio import Studio
from pix2gif_lite.widgets import GifStudio


def png(size=(40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="module")
def studio(pipe):
    return GifStudio(Studio(pipe, scenes=2)).wait()


@pytest.fixture
def said(studio):
    """Every sentence of the status line, in order."""
    sentences = []
    listen = lambda change: sentences.append(re.sub("<[^>]+>", "", change["new"]))  # noqa: E731
    studio.status.observe(listen, names="value")
    yield sentences
    studio.status.unobserve(listen, names="value")


@pytest.fixture
def scene(studio):
    """The studio at its first picture, its controls where they were at the start."""
    studio.curve.value, studio.motion.value, studio.frames.value, studio.how["steps"].value = "linear", 8, 8, 2
    studio.picture.value = next(iter(studio.compute.pictures))
    studio.caption.value = studio.compute.captions[studio.picture.value]
    studio.wait()
    assert studio.error == ""
    return studio


def test_the_studio_starts_with_a_gif(studio):
    assert studio.error == "" and studio.made.gif.startswith(b"GIF8")
    assert "data:image/gif" in studio.view.value and "frames made" in studio.view.value
    assert f">{studio.made.measured[-1]:.1f}</b>" in studio.reading.value and "asked <b>8</b>" in studio.reading.value
    assert "Download gif" in studio.details.value and "Download mp4" in studio.details.value
    assert "pipe(image" in studio.details.value and "data:image/png" in studio.details.value  # the contact sheet
    assert studio.make.disabled is False and studio.stop.disabled is True and studio.progress.value == 1
    for name, control in {"motion": studio.motion, "frames": studio.frames, **studio.how}.items():
        slider = SLIDERS[name]
        start = {"steps": studio.compute.pipe.config.sampling_steps}.get(name, slider.default)  # the weights' own
        assert (control.min, control.max, control.value) == (slider.minimum, slider.maximum, start)


def test_the_gallery_and_the_suggestions_are_buttons(scene):
    studio = scene
    second = list(studio.compute.pictures)[1]
    assert len(studio.gallery.children) == len(studio.compute.pictures)
    studio.gallery.children[1].click()
    made = studio.wait().made
    assert studio.picture.value == second == made.request.picture and made.request.caption == studio.compute.captions[second]
    assert [button.description for button in studio.ideas.children] == list(studio.compute.ideas(second))
    idea = studio.ideas.children[-1].description
    studio.ideas.children[-1].click()
    assert studio.caption.value == idea and studio.wait().made.request.caption == idea


@pytest.fixture
def stages(scene):
    """Every HTML of the stage, in order."""
    shown = []
    listen = lambda change: shown.append(change["new"])  # noqa: E731
    scene.view.observe(listen, names="value")
    yield shown
    scene.view.unobserve(listen, names="value")


def picture_of(html: str) -> Image.Image:
    """The picture, or the first frame, on the stage."""
    return Image.open(io.BytesIO(base64.b64decode(html.split("base64,")[1].split('"')[0]))).convert("RGB")


def test_one_frame_comes_first_and_it_is_the_gifs_own(scene, stages):
    scene.motion.value = 13
    made = scene.wait().made
    assert ["data:image/png" in html for html in stages] == [True, False] and "data:image/gif" in stages[1]
    assert re.search(r"the frame of 13 px, made in \d+ ms", stages[0])
    first, last = np.asarray(picture_of(stages[0]), int), np.asarray(made.out.frames[-1], int)
    assert np.abs(first - last).max() <= 1
    stages.clear()
    scene.how["steps"].value = 5  # takes longer than a slider should
    scene.wait()
    assert "the warp alone at 13 px" in stages[0] and "data:image/gif" in stages[-1]
    scene.how["steps"].value = 2
    scene.wait()
    stages.clear()
    scene.motion.value = 0  # nothing moves: the picture itself
    assert scene.wait().made.measured == [0] * 8 and len(stages) == 1


def test_dragging_shows_frames_and_none_queues_up(scene, stages, monkeypatch):
    begun, go, asked = threading.Event(), threading.Event(), []
    frame = scene.compute.glimpse

    def slow(request):
        asked.append(max(request.motions))
        begun.set()
        assert go.wait(30)
        return frame(request)

    monkeypatch.setattr(scene.compute, "glimpse", slow)
    scene.motion.value = 10
    assert begun.wait(30)  # the first is being made ...
    for m in range(11, 19):  # ... and the hand moves on
        scene.motion.value = m
    go.set()
    made = scene.wait().made
    assert asked == [10, 18] and max(made.request.motions) == 18  # those between are skipped
    assert [re.search("the frame of (.*?) px", html)[1] for html in stages[:-1]] == ["10", "18"]  # a started one is shown
    assert "data:image/gif" in stages[-1] and "asked <b>18</b>" in scene.reading.value


def test_every_place_of_a_slow_drag_is_another_frame(scene, stages, monkeypatch):
    monkeypatch.setattr(widgets, "SETTLE", 30)  # the hand never rests
    shown = threading.Event()
    scene.view.observe(lambda change: shown.set(), names="value")
    for m in (9, 11, 15, 20):
        shown.clear()
        scene.motion.value = m
        assert shown.wait(30)
    scene.worker.stop()
    scene.wait()
    assert [re.search("the frame of (.*?) px", html)[1] for html in stages[:4]] == ["9", "11", "15", "20"]
    frames = [picture_of(html).tobytes() for html in stages[:4]]
    assert len(set(frames)) == 4 and "data:image/gif" in scene.view.value  # stopped: the last GIF again


def test_controls_change_the_gif_and_going_back_is_free(scene, said):
    studio, first = scene, scene.made
    studio.motion.value = 15
    second = studio.wait().made
    assert second.gif != first.gif and max(second.request.motions) == 15
    assert any(re.fullmatch(r"step 2 of 2, about \d+ s left", sentence) for sentence in said)
    said.clear()
    studio.motion.value = 8
    assert studio.wait().made is first and not any(sentence.startswith("step") for sentence in said)
    studio.frames.value = 5
    assert len(studio.wait().made.out.frames) == 5
    studio.curve.value = "ease"
    assert studio.wait().made.request.motions[1] == pytest.approx(2)  # 8 (1 - cos 45 deg) / 2 is less: 2 was trained
    studio.curve.value = "pingpong"
    made = studio.wait().made
    assert made.request.motions[1] == made.request.motions[-1] and made.request.loop == "forward"
    assert studio.custom.disabled and not studio.motion.disabled
    studio.curve.value = "custom"
    studio.custom.value = "0, 3, 9"
    assert studio.wait().made.request.motions == (0, 3, 9)
    assert studio.motion.disabled and studio.frames.disabled and not studio.custom.disabled
    studio.curve.value = "linear"
    assert studio.wait().error == ""
    studio.frames.value = 2  # the fewest: five more GIFs are made
    studio.wait()
    for name, value in {"s_T": 3.0, "s_I": 1.5, "steps": 3, "seed": 7, "fps": 10}.items():
        studio.how[name].value = value
        assert getattr(studio.wait().made.request, name) == value and f"{name}={value:g}" in studio.made.code
        studio.how[name].value = SLIDERS[name].default


def bomb() -> bytes:
    """A PNG whose header says 20,000 x 20,000: 400 million pixels in a few hundred bytes."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 60_001)), (b"IEND", b""))
    body = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("huge.png", bomb(), "'huge.png' has more than 50,000,000 pixels: scale it down first."),
        ("text.png", b"this is a text file", "'text.png' is damaged or of an unknown kind"),
        ("empty.png", b"", "'empty.png' is empty (0 bytes)"),
        ("cut.png", png((200, 200))[:150], "'cut.png' is damaged"),
        ("dot.png", png((1, 1)), "'dot.png' is 1 x 1 px: use a picture of at least 8 px a side."),
        ("<b>.png", b"<script>", "'<b>.png' is damaged"),
    ],
)
@pytest.mark.parametrize("version", [7, 8])
def test_bad_uploads_are_one_sentence(scene, name, data, words, version):
    pictures, made, stood = list(scene.compute.pictures), scene.made, scene.picture.value
    scene.take({name: {"content": data}} if version == 7 else ({"name": name, "content": memoryview(data)},))
    assert words in scene.wait().error and scene.error.endswith(".") and "\n" not in scene.error
    assert 'role="alert"' in scene.status.value and "<b>.png" not in scene.status.value
    assert (list(scene.compute.pictures), scene.picture.value, scene.made) == (pictures, stood, made)
    assert "the last GIF" in scene.view.value
    scene.motion.value = 9  # still usable
    assert scene.wait().error == "" and max(scene.made.request.motions) == 9


def test_an_animated_and_a_transparent_picture_are_taken_and_said(scene, said):
    file = io.BytesIO()
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
    scene.take(({"name": "two.gif", "content": file.getvalue()},))
    scene.wait()
    assert said[-1] == "two.gif is animated: its first frame is taken. Now say what moves in it, or take a suggestion."
    assert scene.compute.pictures["two.gif"].getpixel((9, 9)) == (255, 0, 0) and "your picture" in scene.view.value
    assert scene.caption.value == "" and len(scene.ideas.children) >= 3  # suggestions for a stranger's picture
    assert scene.reading.value == scene.details.value == ""  # nothing was made of it yet
    scene.ideas.children[0].click()
    assert scene.wait().made.out.frames[0].size == (40, 30) and scene.error == ""

    file = io.BytesIO()
    Image.new("RGBA", (40, 30), (255, 0, 0, 0)).save(file, "png")
    scene.take({"clear.png": {"content": file.getvalue()}})
    scene.wait()
    assert said[-1].startswith("clear.png is transparent in places: it is laid on white.")
    assert scene.compute.pictures["clear.png"].getpixel((9, 9)) == (255, 255, 255)
    assert len(scene.gallery.children) == len(scene.compute.pictures)


def test_an_empty_caption_is_one_sentence(scene):
    scene.caption.value = "  "
    assert scene.wait().error == "The caption '  ' is empty: say in a few words what moves and how."
    assert "caption" in scene.status.value and 'role="alert"' in scene.status.value
    scene.caption.value = "a red balloon is rising"
    assert scene.wait().error == "" and scene.made.request.caption == "a red balloon is rising"


def test_unknown_words_make_a_gif_and_a_sentence(scene, said):
    scene.caption.value = "a zyzzyva is rising"
    assert scene.wait().error == "" and scene.made.request.caption == "a zyzzyva is rising"
    assert re.fullmatch(r"The model has no word of its own for zyzzyva\b.*: what that moves is a guess\.", said[-1])


@pytest.mark.parametrize(
    ("text", "words"),
    [("0, 300", "The motion 300 is outside the range"), ("0, -1", "The motion -1"), ("0, many", "'many'"), ("", "empty")],
)
def test_motions_outside_the_range_are_one_sentence(scene, text, words):
    scene.curve.value, made = "custom", scene.made
    scene.custom.value = text
    assert words in scene.wait().error and scene.made.request.motions != () and "\n" not in scene.error
    scene.custom.value = "0, 25"  # in the table, but never trained
    assert scene.wait().error == "" and "25 is outside 2-20" in scene.status.value
    scene.custom.value = CUSTOM
    scene.curve.value = "linear"
    assert scene.wait().made is made
