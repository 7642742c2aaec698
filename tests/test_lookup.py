"""WNet without weights against a loop written out by hand: displacements and absolute places, bilinear and bicubic."""

from __future__ import annotations

import math

import pytest
import torch

from pix2gif_lite.lookup import identity_grid, resized, to_sampling_grid, warp


def look_up(z: torch.Tensor, x: float, y: float, border: bool) -> torch.Tensor:
    """Bilinear look-up of (C, h, w) at cell coordinates, by hand."""
    _, h, w = z.shape
    if border:
        x, y = min(max(x, 0), w - 1), min(max(y, 0), h - 1)
    x0, y0 = math.floor(x), math.floor(y)
    total = torch.zeros(z.shape[0], dtype=z.dtype)
    for xi, yi in ((x0, y0), (x0 + 1, y0), (x0, y0 + 1), (x0 + 1, y0 + 1)):
        if 0 <= xi < w and 0 <= yi < h:
            total += z[:, yi, xi] * (1 - abs(x - xi)) * (1 - abs(y - yi))
    return total


def test_zero_flow_is_the_identity_on_any_shape() -> None:
    torch.manual_seed(0)
    for shape in ((2, 4, 32, 32), (1, 3, 8, 20), (1, 1, 5, 7)):
        z = torch.randn(shape)
        torch.testing.assert_close(warp(z, torch.zeros(shape[0], 2, *shape[2:])), z, rtol=1e-5, atol=1e-5)


def test_displacement_equals_the_loop_by_hand() -> None:
    torch.manual_seed(1)
    z, flow = torch.randn(2, 3, 4, 6, dtype=torch.float64), 4 * torch.randn(2, 2, 4, 6, dtype=torch.float64)
    warped = warp(z, flow)
    for b in range(2):
        for y in range(4):
            for x in range(6):
                dx, dy = flow[b, :, y, x].tolist()
                torch.testing.assert_close(warped[b, :, y, x], look_up(z[b], x + dx, y + dy, border=True))


def cubic(distance: float, a: float = -0.75) -> float:
    """The kernel of cubic convolution (Keys 1981), with torch's a."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def test_bicubic_equals_the_loop_by_hand() -> None:
    torch.manual_seed(3)
    z, flow = torch.randn(1, 3, 8, 9, dtype=torch.float64), torch.rand(1, 2, 8, 9, dtype=torch.float64) - 0.5
    warped = warp(z, flow, interpolation="bicubic")
    for y in range(2, 6):  # inside, where all sixteen neighbours exist
        for x in range(2, 7):
            px, py = x + flow[0, 0, y, x].item(), y + flow[0, 1, y, x].item()
            x0, y0 = math.floor(px), math.floor(py)
            taps = [(xi, yi) for xi in range(x0 - 1, x0 + 3) for yi in range(y0 - 1, y0 + 3)]
            expected = sum(z[0, :, yi, xi] * cubic(px - xi) * cubic(py - yi) for xi, yi in taps)
            torch.testing.assert_close(warped[0, :, y, x], expected)
    whole = torch.zeros(1, 2, 8, 9, dtype=torch.float64)
    whole[:, 0] = 1  # by whole cells nothing is interpolated
    torch.testing.assert_close(warp(z, whole, interpolation="bicubic"), warp(z, whole))


def test_absolute_equals_the_loop_by_hand_and_zero_looks_at_the_centre() -> None:
    torch.manual_seed(2)
    z, place = torch.randn(1, 3, 4, 6, dtype=torch.float64), 1.4 * torch.rand(1, 2, 4, 6, dtype=torch.float64)
    warped = warp(z, place, mode="absolute")
    for y in range(4):
        for x in range(6):
            u, v = place[0, :, y, x].tolist()  # -1 .. 1 from edge to edge
            by_hand = look_up(z[0], (u + 1) * 6 / 2 - 0.5, (v + 1) * 4 / 2 - 0.5, border=False)
            torch.testing.assert_close(warped[0, :, y, x], by_hand)
    centre = z[0, :, 1:3, 2:4].mean(dim=(1, 2))  # between the four middle cells
    zero = warp(z, torch.zeros_like(place), mode="absolute")
    torch.testing.assert_close(zero[0], centre[:, None, None].expand(3, 4, 6))


def test_the_flow_points_backwards_x_first_and_the_edge_goes_on() -> None:
    z = torch.arange(12.0).reshape(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 1  # look one cell to the right: the picture moves left
    expected = torch.tensor([[1.0, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]])
    torch.testing.assert_close(warp(z, flow)[0, 0], expected)


def test_dtypes_and_the_grid() -> None:
    assert identity_grid(2, 3).tolist() == [[[0, 1, 2], [0, 1, 2]], [[0, 0, 0], [1, 1, 1]]]
    corners = to_sampling_grid(torch.zeros(1, 2, 4, 8))[0]
    assert corners[:, 0, 0].tolist() == [-1 + 1 / 8, -1 + 1 / 4]
    assert corners[:, -1, -1].tolist() == [1 - 1 / 8, 1 - 1 / 4]
    z, flow = torch.randn(1, 4, 8, 8), torch.full((1, 2, 8, 8), 0.3)
    low = warp(z.bfloat16(), flow)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), warp(z.bfloat16().float(), flow), rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="Unknown flow mode 'sideways'"):
        warp(z, flow, mode="sideways")
    with pytest.raises(ValueError, match="Unknown interpolation 'nearest'"):
        warp(z, flow, interpolation="nearest")


def test_a_resized_flow_is_in_the_cells_of_its_new_grid() -> None:
    flow = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(3, 2, 4, 8)
    larger = resized(flow, 8, 24)
    assert larger.shape == (3, 2, 8, 24) and larger[:, 0].unique().tolist() == [3] and larger[:, 1].unique().tolist() == [4]
    torch.testing.assert_close(resized(larger, 4, 8), flow)
    assert torch.equal(resized(flow.half(), 4, 8), flow) and resized(flow.half(), 2, 2).dtype == torch.float32
