"""The length of F: against flows whose length is known, and scenes whose exact flow and motion are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pix2gif_lite.calibration import MOST, as_long_as, calibrated, corners_of, follow, gain, on_grid, read_at, scaled
from pix2gif_lite.lookup import identity_grid, warp
from pix2gif_lite.motion import find_corners, to_gray
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.warping import FlowPyramid, Places


def pyramid(flow: Tensor, moving: Tensor | None = None) -> FlowPyramid:
    """Flows of which all scales say the same; `moving`: O on the flow's own grid."""
    places = None if moving is None else Places(flow, torch.zeros(1, 12, *flow.shape[-2:]), moving, warp(moving, flow))
    return FlowPyramid(flow, flow, flow, places)


def steady(dx: float, dy: float, h: int = 32, w: int = 32) -> Tensor:
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, h, w).clone()


CORNERS = torch.tensor([[[40.0, 50.0], [200.0, 100.0], [128.0, 128.0]]])


def test_maps_are_read_at_places_and_goes_on_beyond_the_edge() -> None:
    grid = identity_grid(8, 12)[None]
    places = torch.tensor([[[3.0, 2.0], [4.25, 6.5], [-5.0, 99.0]]])
    assert torch.allclose(read_at(grid, places), torch.tensor([[[3.0, 2.0], [4.25, 6.5], [0.0, 7.0]]]), atol=1e-4)


def test_corners_are_of_the_pictures_256_px_whatever_the_grid() -> None:
    """Pixel q has its middle at q + 1/2, and so has a cell; the measure's square is not the picture's."""
    start, pixels = on_grid(torch.tensor([[[0.0, 0.0], [255.0, 127.5]]]), steady(0, 0, h=32, w=64))
    assert pixels.tolist() == [0.25, 0.125]
    assert torch.allclose(start, torch.tensor([[[-0.375, -0.4375], [63.375, 15.5]]]))


def test_a_corner_is_followed_to_where_the_flow_has_it_from() -> None:
    """The flow of a zoom by 1.25 around the middle is -0.2 of the place: a corner 5 cells away goes 1.25 cells, not 1."""
    middle = 15.5
    flow = -0.2 * (identity_grid(32, 32) - middle)[None]
    corner = torch.tensor([[[middle + 5, middle]]])
    found = follow(flow, corner, corner, 4)
    assert torch.allclose(found, torch.tensor([[[middle + 6.25, middle]]]), atol=0.01)
    assert torch.allclose(follow(steady(3, 4), corner, corner, 1), corner - torch.tensor([3.0, 4.0]), atol=1e-5)


@pytest.mark.parametrize(
    "asked, wanted",
    [(10.0, 1.0), (11.0, 1.1), (8.5, 0.85), (15.0, 1.5), (20.0, 2.0), (25.0, MOST), (2.0, 1 / MOST), (1.0, 1.0), (0.0, 1.0)],
)
def test_the_factor_is_what_is_asked_for_by_what_there_is(asked: float, wanted: float) -> None:
    flows = pyramid(steady(1.25, 0))  # 10 px
    assert gain(flows, CORNERS, torch.tensor([asked])).item() == pytest.approx(wanted, abs=1e-3)


def test_corners_that_stay_that_are_not_there_or_not_of_what_moves_do_not_count() -> None:
    flow = steady(1.25, 0)
    flow[:, 0, :, 20:] = 0.1  # 0.8 px: not moving, as Alg. 1 sees it
    corners = torch.tensor([[[40.0, 50.0], [200.0, 100.0], [torch.nan, torch.nan]]])
    assert gain(pyramid(flow), corners, torch.tensor([11.0])).item() == pytest.approx(1.1, abs=1e-3)
    flow[:, 0, :, 20:] = 2.5
    moving = torch.zeros(1, 1, 32, 32)
    moving[..., :16] = 1
    assert gain(pyramid(flow, moving), corners, torch.tensor([11.0])).item() == pytest.approx(1.1, abs=1e-3)
    assert gain(pyramid(flow, 0 * moving), corners, torch.tensor([11.0])).item() == 1
    assert gain(pyramid(flow), corners[:, :0], torch.tensor([11.0])).item() == 1


def test_pictures_without_corners_and_of_any_kind() -> None:
    scene = draw(sample_scenes(1, "val"), [0]).image[0]
    plain = torch.zeros(3, 64, 96)
    found = corners_of([scene, plain])
    known = find_corners(to_gray(scene))
    assert found.shape == (2, len(known), 2) and torch.equal(found[0], torch.from_numpy(known)) and found[1].isnan().all()
    assert corners_of([plain]).shape == (1, 0, 2)


def test_all_of_a_flow_is_scaled_and_what_arrives_is_looked_up_anew() -> None:
    torch.manual_seed(0)
    flow, moving = torch.randn(2, 2, 8, 8), torch.rand(2, 1, 8, 8)
    made = scaled(pyramid(flow, moving), torch.tensor([1.1, 0.9]))
    wanted = torch.cat([1.1 * flow[:1], 0.9 * flow[1:]])
    for each in (*made[:3], made.places.flow):
        assert torch.allclose(each, wanted)
    assert torch.equal(made.places.moving, moving) and torch.equal(made.places.arriving, warp(moving, wanted))


def test_exact_flows_that_are_too_long_or_too_short_become_exact() -> None:
    """Of 24 scenes: what scenes.py calibrates by where each corner goes, found again from the flow alone."""
    scenes = sample_scenes(24, "val", 3)
    m = [5 + k % 12 for k in range(len(scenes))]
    exact, rest = draw(scenes, m), draw(scenes, [0] * len(scenes)).image
    shows = exact.moving & ~exact.occluded & (exact.flow != 0).any(1, keepdim=True)
    # A flow is asked for beyond the outline too: there it goes on as at the nearest place that moves.
    flow, there = exact.flow * shows, shows.float()
    for _ in range(12):
        weight = torch.nn.functional.avg_pool2d(there, 3, 1, 1)
        spread = torch.nn.functional.avg_pool2d(flow, 3, 1, 1) / weight.clamp(min=1e-6)
        flow, there = torch.where(there > 0, flow, spread), (weight > 0).float()
    wrong = torch.where(torch.arange(len(scenes)) % 2 == 0, 1.1, 0.9)
    before = pyramid(wrong[:, None, None, None] * flow)
    after = calibrated(before, corners_of(rest), torch.tensor(m))
    found = after.flow0.flatten(1).norm(dim=1) / flow.flatten(1).norm(dim=1)
    assert (found - 1).abs().median() < 0.01 and ((found - 1).abs() < 0.03).float().mean() > 0.8


def test_in_training_the_exact_flow_says_how_long() -> None:
    """On another grid, where it is known and moves, at most twofold, and no gradient asks for another length."""
    torch.manual_seed(0)
    shape = torch.randn(4, 2, 16, 16)
    exact = torch.nn.functional.interpolate(4 * shape, scale_factor=4, mode="bilinear") * 4  # pixels of 64 x 64, 4 a cell
    exact[:, :, :20] = torch.nan  # hidden
    exact[3] = 0  # nothing moves
    factors = torch.tensor([1.1, 0.9, 3.0, 1.1])
    flow = (4 * factors[:, None, None, None] * shape).requires_grad_()
    made = as_long_as(pyramid(flow), exact).flow0
    kept = torch.tensor([1, 1, 3.0 / 2, 1.1])  # in lengths of the exact flow
    torch.testing.assert_close(made, kept[:, None, None, None] * 4 * shape, rtol=1e-3, atol=1e-4)
    made[0].square().sum().backward()
    torch.testing.assert_close(flow.grad[0], 2 * made[0].detach() / 1.1, rtol=1e-3, atol=1e-4)
    unknown = as_long_as(pyramid(flow), torch.full_like(exact, torch.nan)).flow0
    assert torch.equal(unknown, flow)
