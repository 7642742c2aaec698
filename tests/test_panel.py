"""What the studio shows: words are escaped, links hold whole files, pictures are no larger than they are seen."""

from __future__ import annotations

import base64
import io
import re
import sys

import pytest
from PIL import Image

from pix2gif_lite.sliders import panel
from pix2gif_lite.sliders.studio import Request, Studio


@pytest.fixture(scope="module")
def made(pipe):
    studio = Studio(pipe, scenes=1)
    name = next(iter(studio.pictures))
    return studio.make(Request(name, "a <b>whale</b> & 'co'", (0, 4, 8), steps=1))


def embedded(html: str, kind: str) -> bytes:
    """The file of that type in a data: URL."""
    return base64.b64decode(re.search(rf"data:{kind};base64,([\w+/=]+)", html).group(1))


def test_words_cannot_become_html():
    shown = panel.sentence("<script>alert('x')</script>", bad=True)
    assert "<script>" not in shown and "&lt;script&gt;" in shown and 'role="alert"' in shown
    assert "alert" not in panel.sentence("all is well")
    assert "&lt;i&gt;" in panel.stage(Image.new("RGB", (8, 8)), "<i>", "<i>") and "<i>" not in panel.stage(
        b"GIF8", "<i>", "<i>"
    )


def test_the_reading_has_both_numbers():
    words = re.sub("<[^>]+>", "", panel.reading(8, 7.25))
    assert words.startswith("asked 8 px, measured 7.2 px")
    assert "measured … px" in re.sub("<[^>]+>", "", panel.reading(8))


def test_the_stage_is_of_one_size_and_sends_no_more_than_is_seen():
    large = panel.stage(Image.effect_noise((2000, 1000), 90), "noise", "below")
    assert Image.open(io.BytesIO(embedded(large, "image/png"))).size == (2 * panel.STAGE, panel.STAGE)
    small = panel.stage(Image.new("RGB", (20, 10)), "", "")
    assert Image.open(io.BytesIO(embedded(small, "image/png"))).size == (20, 10)
    assert all(f"width:{panel.STAGE}px;height:{panel.STAGE}px" in shown for shown in (large, small))


def test_the_gallery_paints_each_button_and_frames_the_chosen_one():
    pictures = {"red": Image.new("RGB", (300, 200), "red"), "blue": Image.new("RGB", (50, 50), "blue")}
    style = panel.gallery(pictures, "blue", "mark")
    rules = dict(re.findall(r"\.mark-(\d) \{([^}]*)\}", style))
    assert "transparent" in rules["0"] and "transparent" not in rules["1"]
    tile = Image.open(io.BytesIO(embedded(rules["0"], "image/jpeg")))
    assert tile.width == 2 * panel.TILE and tile.getpixel((5, 5))[0] > 240
    assert pictures["red"].size == (300, 200)  # the studio's own picture is left as it was


def test_downloads_are_whole_files_and_the_code_is_readable(made):
    shown = panel.details(made)
    assert embedded(shown, "image/gif") == made.gif and Image.open(io.BytesIO(made.gif)).n_frames == 4
    assert embedded(shown, "video/mp4")[4:8] == b"ftyp"
    assert 'download="pix2gif.gif"' in shown and 'download="pix2gif.mp4"' in shown
    assert "motion=[0, 4, 8]" in shown and "&lt;b&gt;whale" in shown and "<b>whale" not in shown


def test_whatever_a_codec_raises_the_gif_is_there(made, monkeypatch):
    encoded, error = type(made).encoded, RuntimeError()  # one without words

    def broken(self, suffix):
        if suffix == ".mp4":
            raise error
        return encoded(self, suffix)

    monkeypatch.setattr(type(made), "encoded", broken)
    assert embedded(panel.details(made), "image/gif") == made.gif and "mp4: RuntimeError<" in panel.details(made)


def test_without_pyav_the_gif_is_there_and_a_sentence_says_what_the_mp4_needs(made, monkeypatch):
    made._files.pop(".mp4", None)
    monkeypatch.setitem(sys.modules, "av", None)  # how Python says that a module is not to be had
    shown = panel.details(made)
    assert embedded(shown, "image/gif") == made.gif
    assert "pix2gif-lite[video]" in shown and "video/mp4" not in shown
