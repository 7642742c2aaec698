"""mirroring.py on words in all their cases."""

import pytest

from pix2gif_lite.curating.mirroring import flip_caption


@pytest.mark.parametrize(
    ("caption", "mirrored"),
    [
        ("the camera pans to the left", "the camera pans to the right"),
        ("Left, then RIGHT, then right.", "Right, then LEFT, then left."),
        ("a left-handed man turns leftwards", "a right-handed man turns rightwards"),
        ("the wheel turns clockwise", "the wheel turns counterclockwise"),
        ("Anticlockwise or counter-clockwise, counterclockwise", "Clockwise or clockwise, clockwise"),
        ("a bright leftover cake, upright, copyright, cleft", "a bright leftover cake, upright, copyright, cleft"),
        ("nothing to see", "nothing to see"),
        ("", ""),
    ],
)
def test_sides_and_turns_change_places_as_whole_words(caption, mirrored):
    assert flip_caption(caption) == mirrored


def test_twice_is_what_it_was():
    caption = "Left of the tree a man moves rightward and turns clockwise, his right arm LEFT behind"
    assert flip_caption(flip_caption(caption)) == caption != flip_caption(caption)
