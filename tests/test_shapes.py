"""Shapes against what can be counted or worked out by hand; a Deform against its own inverse and against known motions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.presets import MOTION_SIZE
from pix2gif_lite.scenery.actions import ACTIONS, deform, direction
from pix2gif_lite.shapes import Brush, Deform, both, box, circle, either, ellipse, polygon, segment, star, turn

AXIS = (torch.arange(400) + 0.5) / 200 - 1  # [-1, 1], pixels of 0.005
X, Y = AXIS.expand(400, 400), AXIS[:, None].expand(400, 400)
SQUARE = ((-0.4, -0.3), (0.4, -0.3), (0.4, 0.3), (-0.4, 0.3))


def at(shape, *points: tuple[float, float]) -> list[float]:
    x, y = torch.tensor(points, dtype=torch.float64).T
    return shape(x, y).tolist()


def area(distance: torch.Tensor) -> float:
    return float((distance < 0).double().mean()) * 4


@pytest.mark.parametrize(
    "distance, expected",
    [
        (circle(X, Y, 0.1, -0.2, 0.5), math.pi * 0.25),
        (ellipse(X, Y, 0.1, 0.0, 0.6, 0.3, 0.7), math.pi * 0.18),
        (box(X, Y, 0.0, 0.1, 0.4, 0.3), 0.48),
        (box(X, Y, 0.0, 0.1, 0.4, 0.3, 0.1), 0.48 - (4 - math.pi) * 0.01),
        (box(X, Y, 0.0, 0.1, 0.4, 0.3, 0.0, 0.5), 0.48),
        (polygon(X, Y, *SQUARE), 0.48),
        (polygon(X, Y, *SQUARE[::-1]), 0.48),
        (polygon(X, Y, (-0.5, -0.5), (0.5, -0.5), (0.0, 0.5)), 0.5),
        (segment(X, Y, -0.3, -0.4, 0.3, 0.4, 0.1), 2 * 0.1 * 1.0 + math.pi * 0.01),
        (star(X, Y, 5, 0.8, 0.4), 5 * 0.8 * 0.4 * math.sin(math.pi / 5)),
    ],
)
def test_area_of_a_shape(distance, expected):
    assert area(distance) == pytest.approx(expected, rel=0.01)


def test_distances_worked_out_by_hand():
    assert at(lambda x, y: circle(x, y, 1.0, 0.0, 0.5), (1, 0), (1, 2), (4, 4)) == pytest.approx([-0.5, 1.5, 4.5])
    assert at(lambda x, y: box(x, y, 0, 0, 1, 2), (0, 0), (3, 0), (4, 6)) == pytest.approx([-1, 2, 5])
    assert at(lambda x, y: segment(x, y, 0, 0, 4, 0, 1), (2, 3), (7, 4), (2, 0)) == pytest.approx([2, 4, -1])
    assert at(lambda x, y: polygon(x, y, (0, 0), (2, 0), (2, 2), (0, 2)), (1, 1), (1, -3), (2, 1)) == pytest.approx([-1, 3, 0])
    assert at(lambda x, y: ellipse(x, y, 0, 0, 2, 1), (2, 0), (0, -1), (0, 1.001)) == pytest.approx([0, 0, 0.001], abs=1e-5)


def test_a_star_has_its_tips_and_notches_where_they_belong():
    tips = [(0.8 * math.sin(a), -0.8 * math.cos(a)) for a in (2 * math.pi * k / 5 for k in range(5))]
    notches = [(0.4 * math.sin(a), -0.4 * math.cos(a)) for a in (2 * math.pi * (k + 0.5) / 5 for k in range(5))]
    assert at(lambda x, y: star(x, y, 5, 0.8, 0.4), *tips, *notches) == pytest.approx([0] * 10, abs=1e-6)


def test_both_and_either_are_intersection_and_union():
    a, b = circle(X, Y, -0.2, 0, 0.5), circle(X, Y, 0.2, 0, 0.5)
    assert torch.equal(both(a, b) < 0, (a < 0) & (b < 0)) and torch.equal(either(a, b) < 0, (a < 0) | (b < 0))


def test_turn_sees_the_point_from_turned_axes():
    x, y = turn(torch.tensor(1.0), torch.tensor(0.0), math.pi / 2)
    assert_close(torch.stack([x, y]), torch.tensor([0.0, -1.0]))


def test_a_brush_covers_half_of_a_pixel_on_the_edge_and_notes_the_layer():
    # Pixels 0.1 wide, their centres at 0.05, 0.15, ...; everything left of x = 0.25, the centre of the third, is filled.
    x, y = torch.broadcast_tensors((torch.arange(6) + 0.5) / 10, torch.zeros(1, 1, 1))
    picture, layers = torch.zeros(1, 3, 1, 6), torch.zeros(1, 1, 6, dtype=torch.uint8)
    brush = Brush(picture, layers, torch.full((1, 1, 1), 10.0))
    brush.use(x, y, 2)
    brush.fill(x - 0.25, torch.tensor([0.5, 0.0, 0.0]).reshape(3, 1, 1))
    brush.finish()
    light = 1 - 0.16 * x[0, 0]
    assert_close(picture[0, 0, 0], 0.5 * light * torch.tensor([1, 1, 0.5, 0, 0, 0]))
    assert layers.flatten().tolist() == [2, 2, 0, 0, 0, 0] and not picture[:, 1:].any()


# --------------------------------------------------------------------------------------------------------------- Deform


def deform_of(action: str, way: str, motion: float, size: float = 0.5, facing: int = 1) -> Deform:
    return deform([action], [direction(way, 0.4)], torch.tensor([size]), torch.tensor([float(facing)]), torch.tensor([motion]))


@pytest.mark.parametrize("action, way", [(name, way) for name, row in ACTIONS.items() for way in row.ways])
@pytest.mark.parametrize("motion", [0.0, 3.0, 12.0, 20.0, 40.0])
def test_inverse_undoes_forward(action, way, motion):
    x, y = X[None, ::20, ::20] / 2, Y[None, ::20, ::20] / 2  # the subject's unit square
    moved = deform_of(action, way, motion)
    back = moved.inverse(*moved.forward(x, y))
    assert_close(torch.stack(back), torch.stack([x, y]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "action, way", [("rise", "up"), ("fall", "down"), ("drift", "left"), ("drive", "right"), ("blow", "any")]
)
@pytest.mark.parametrize("facing", [-1, 1])
def test_a_shift_moves_every_point_by_exactly_the_motion(action, way, facing):
    motion, size = 12.0, 0.4
    x, y = X[None, ::50, ::50], Y[None, ::50, ::50]
    new_x, new_y = deform_of(action, way, motion, size, facing).forward(x, y)
    scale = size * MOTION_SIZE  # pixels a subject unit
    dx, dy = direction(way, 0.4)
    assert_close((new_x - x) * scale * facing, torch.full_like(x, dx * motion), atol=1e-4, rtol=0)
    assert_close((new_y - y) * scale, torch.full_like(y, dy * motion), atol=1e-4, rtol=0)


@pytest.mark.parametrize("action", ["spin", "swing", "rock"])
def test_a_turn_keeps_distances_and_its_pivot(action):
    moved = deform_of(action, "right", 15.0)
    points = torch.tensor([[0.1, 0.2], [-0.4, 0.3], list(ACTIONS[action].pivot)])
    x, y = moved.forward(points[None, None, :, 0], points[None, None, :, 1])
    new = torch.stack([x, y], -1)[0, 0]
    assert_close(torch.pdist(new), torch.pdist(points))
    assert_close(new[2], points[2])
    assert (new[0] - points[0]).norm() > 0.01


@pytest.mark.parametrize(
    "action, where", [("spin", (0.0, -0.4)), ("swing", (0.0, 0.4)), ("rock", (0.0, -0.4)), ("sway", (0.0, -0.4))]
)
@pytest.mark.parametrize("way, sign", [("left", -1), ("right", 1)])
def test_turning_to_a_side_takes_the_free_end_there(action, where, way, sign):
    x, y = (torch.full((1, 1, 1), v) for v in where)
    new_x, _ = deform_of(action, way, 10.0).forward(x, y)
    assert sign * float(new_x - x) > 0.01


def test_growing_scales_about_the_foot():
    moved = deform_of("grow", "up", 12.8, size=0.5)  # d = 0.1 units at a lever of 0.5: a fifth larger
    x, y = moved.forward(torch.tensor([[[0.5]]]), torch.tensor([[[-0.05]]]))
    assert (float(x), float(y)) == pytest.approx((0.6, 0.45 - 0.5 * 1.2))
