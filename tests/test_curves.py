"""Curves: numbers that can be checked by hand."""

import pytest

from pix2gif_lite.presets import DEMO_MOTIONS
from pix2gif_lite.sliders.curves import CURVES, CUSTOM, motion_curve, motion_list


def test_curves_by_hand():
    assert motion_curve("linear", 12, 4) == [0, 4, 8, 12]
    assert motion_curve("ease", 12, 5) == [0, 2, 6, 10.24, 12]  # 6 - 6 cos(pi / 4) = 1.76, less than was trained
    assert motion_curve("pingpong", 12, 6) == [0, 4, 8, 12, 8, 4]
    assert motion_curve("pingpong", 9, 3) == [0, 6, 6]


@pytest.mark.parametrize("kind", CURVES)
def test_every_curve_starts_at_the_picture_and_stays_below_its_top(kind):
    for frames in (2, 3, 8, 33):
        curve = motion_curve(kind, 20, frames)
        assert len(curve) == frames and curve[0] == 0 and max(curve) <= 20
        assert motion_curve(kind, 0, frames) == [0] * frames


def test_what_is_no_curve_is_refused():
    with pytest.raises(ValueError, match="Unknown curve 'square'"):
        motion_curve("square", 8, 4)
    with pytest.raises(ValueError, match="1 frames"):
        motion_curve("linear", 8, 1)
    for top in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="Curve up to|curve up to"):
            motion_curve("linear", top, 4)


def test_a_list_of_ones_own():
    assert motion_list("custom", 8, 4, "0, 3; 9.5") == [0, 3, 9.5]  # neither top nor frames matter
    assert motion_list("custom", 8, 4, CUSTOM) == list(DEMO_MOTIONS)
    assert motion_list("linear", 12, 4, "0, 3") == [0, 4, 8, 12]
    for text, words in (("0, many", "'many'"), (" , ", "empty"), ("3, -1", "-1"), ("2," * 300, "300"), ("nan", "nan")):
        with pytest.raises(ValueError, match=words):
            motion_list("custom", 8, 4, text)
