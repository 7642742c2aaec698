"""What can be shown, and controls for any drawing function."""

from __future__ import annotations

import pytest
from PIL import Image

from pix2gif_lite.presets import SLIDERS, Slider
from pix2gif_lite.sheets import Embedded, as_html
from pix2gif_lite.widgets import Explorer


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


def test_a_range_no_hand_could_slide_over_is_a_box_for_a_number():
    explorer = Explorer(lambda seed, m: f"{seed} {m}", seed=SLIDERS["seed"], m=SLIDERS["motion"])
    assert [type(each).__name__ for each in explorer.controls.values()] == ["BoundedIntText", "IntSlider"]
    assert explorer.set(seed=2**31 - 1) == f"{2**31 - 1} 8"


def test_menus_choose_a_row_of_results():
    """As notebook 10 does it: two menus of words, and below them a text, a picture and a text."""
    figures = {"base": {"1": 6.9, "1.8": 6.6}, "full": {"1": 1.2, "1.8": 1.5}}

    def draw(variant, s_I):
        value = figures[variant][s_I]
        return [variant, Image.new("RGB", (2, 2), (round(10 * value), 0, 0)), f"{value} px"]

    explorer = Explorer(draw, alt="a row", variant=list(figures), s_I=["1", "1.8"])
    assert [type(each).__name__ for each in explorer.controls.values()] == ["Dropdown", "Dropdown"]
    assert explorer.controls["variant"].options == ("base", "full") and explorer.shown[2] == "6.9 px"
    before = explorer.view.value
    explorer.controls["s_I"].value = "1.8"  # as a hand would
    assert explorer.shown[2] == "6.6 px" and "6.6 px" in explorer.view.value and explorer.view.value != before
    assert explorer.set(variant="full")[1].getpixel((0, 0)) == (15, 0, 0)
    assert explorer.view.value.count('<img alt="a row"') == 1 and explorer.view.value.index("full") < explorer.view.value.index(
        "<img"
    )
    with pytest.raises(Exception, match="(?i)invalid selection"):  # of ipywidgets: no such row
        explorer.set(variant="none")
    assert explorer.shown[0] == "full" and explorer.set(variant="base", s_I="1")[2] == "6.9 px"  # still usable
