"""Sheets and flow colours: pixels where they belong, colours that mean a direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from pix2gif_lite.sheets import as_picture, contact_sheet, flow_to_rgb


def plain(colour: tuple[int, int, int], size: int = 16) -> torch.Tensor:
    return (torch.tensor(colour).reshape(3, 1, 1) / 127.5 - 1).expand(3, size, size)


def test_as_picture_rounds_and_clamps():
    levels = torch.tensor([0, 1, 127, 128, 254, 255])
    picture = (levels / 127.5 - 1).expand(3, 1, 6)
    assert np.asarray(as_picture(picture))[0, :, 0].tolist() == levels.tolist()
    assert np.asarray(as_picture(torch.full((1, 3, 2, 2), 3.0))).min() == 255
    with pytest.raises(ValueError, match=r"\(2, 4, 4\)"):
        as_picture(torch.zeros(2, 4, 4))


def test_a_sheet_puts_each_picture_in_its_cell():
    red, green, blue = (255, 0, 0), (0, 200, 0), (0, 0, 255)
    sheet = contact_sheet([[plain(red), plain(green)], [None, Image.new("RGB", (16, 16), blue)]], gap=4)
    assert sheet.size == (4 + 2 * 20, 4 + 2 * 20)
    assert [sheet.getpixel(p) for p in ((4, 4), (24, 4), (4, 24), (24, 24), (0, 0))] == [
        red, green, (255, 255, 255), blue, (255, 255, 255)
    ]  # fmt: skip


def test_labels_get_room_and_ink():
    bare = contact_sheet([[plain((0, 0, 255), 64)] * 2])
    labelled = contact_sheet([[plain((0, 0, 255), 64)] * 2], ["a very long caption " * 9], ["source", "ours"])
    assert labelled.width == bare.width and labelled.height > bare.height + 20
    assert labelled.getpixel((10, labelled.height - 10)) == (0, 0, 255)
    words = np.asarray(labelled)[: labelled.height - bare.height]
    assert (words < 128).any() and (words[:, -3:] == 255).all()


def test_enlarging_repeats_pixels_and_keeps_the_aspect():
    wide = torch.tensor([[-1.0, 1.0]]).expand(3, 1, 2)
    sheet = contact_sheet([[wide]], size=8, gap=0)
    assert np.asarray(sheet)[:4, :, 0].tolist() == [[0] * 4 + [255] * 4] * 4
    assert (np.asarray(sheet)[4:] == 255).all()


def test_sheets_without_pictures_or_with_odd_labels_are_refused():
    with pytest.raises(ValueError, match="no pictures"):
        contact_sheet([[None]])
    with pytest.raises(ValueError, match="1 labels for 2 columns"):
        contact_sheet([[plain((0, 0, 0))] * 2], column_labels=["source"])


@pytest.mark.parametrize(
    "vector, colour",
    [((2, 0), (1, -1, -1)), ((-2, 0), (-1, 1, 1)), ((0, 2), (0, 1, -1)), ((0, -2), (0, -1, 1)), ((1, 0), (1, 0, 0))],
)
def test_a_direction_is_a_colour(vector, colour):
    flow = torch.tensor(vector).float().reshape(1, 2, 1, 1)
    assert_close(flow_to_rgb(flow, maximum=2)[0, :, 0, 0], torch.tensor(colour).float(), atol=1e-5, rtol=0)


def test_no_motion_is_white_and_opposite_directions_have_opposite_hues():
    assert_close(flow_to_rgb(torch.zeros(1, 2, 3, 3)), torch.ones(1, 3, 3, 3))
    torch.manual_seed(0)
    flow = torch.nn.functional.normalize(torch.randn(1, 2, 9, 9), dim=1)
    # at full colour the complement of a hue is the inverted picture
    assert_close(flow_to_rgb(flow, 1.0), -flow_to_rgb(-flow, 1.0), atol=1e-5, rtol=0)


def test_each_flow_has_its_own_scale_unless_one_is_given():
    flow = torch.tensor([1.0, 4.0]).reshape(2, 1, 1, 1) * torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    assert_close(flow_to_rgb(flow)[0], flow_to_rgb(flow)[1])
    assert_close(flow_to_rgb(flow, 4.0)[0, :, 0, 0], torch.tensor([1.0, 0.5, 0.5]))
    with pytest.raises(ValueError, match="no flow"):
        flow_to_rgb(torch.zeros(1, 3, 4, 4))
