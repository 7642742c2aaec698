"""How a flow goes on beyond an outline: turns, zooms and shifts exactly, and what a loss asks for there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pix2gif_lite.extension import extended
from pix2gif_lite.lookup import identity_grid
from pix2gif_lite.losses import AROUND, EPSILON, flow_loss


def block(top: int, bottom: int, left: int, right: int, h: int = 48, w: int = 64) -> Tensor:
    known = torch.zeros(1, 1, h, w, dtype=torch.bool)
    known[..., top:bottom, left:right] = True
    return known


def plane(numbers: Tensor, h: int = 48, w: int = 64) -> Tensor:
    """Of each sample a flow that is linear in the place: numbers (B, 2, 3) of 1, x and y."""
    x, y = identity_grid(h, w)
    return (numbers[..., None, None] * torch.stack([torch.ones_like(x), x, y])).sum(2)


def test_what_is_linear_in_the_place_goes_on_as_it_is() -> None:
    """A shift, a turn and a zoom, of a block of 16 x 20 px."""
    moves = torch.tensor([[[3.0, 0, 0], [-2, 0, 0]], [[-4, 0, 0.2], [6, -0.2, 0]], [[-5, 0.15, 0], [-3, 0, 0.15]]])
    flow, known = plane(moves), block(14, 30, 20, 40).expand(3, -1, -1, -1)
    made, there = extended(flow * known, known, 6)
    assert torch.equal(there, block(8, 36, 14, 46).expand(3, -1, -1, -1))
    error = (made - flow).norm(dim=1, keepdim=True)
    assert torch.equal(made[known.expand_as(made)], flow[known.expand_as(flow)])
    assert error[0][there[0]].max() < 1e-4 and error[there].max() < 0.1
    nearest = flow[1:, :, 22, 39] - flow[1:, :, 22, 45]  # by so much it would be wrong to repeat the edge
    assert nearest.norm(dim=1).min() > 0.8
    assert not made[~there.expand_as(made)].any()


def test_one_pixel_a_line_and_nothing() -> None:
    """What says nothing of a slope goes on level; where nothing is known nothing comes."""
    flow = torch.zeros(3, 2, 9, 9)
    known = torch.zeros(3, 1, 9, 9, dtype=torch.bool)
    known[0, 0, 4, 4], known[1, 0, :, 4] = True, True
    flow[0, :, 4, 4] = torch.tensor([2.0, -1.0])
    flow[1, 0, :, 4] = torch.arange(9.0)  # along the line it is x' = y
    made, there = extended(flow, known, 2)
    assert torch.allclose(made[0, :, 2:7, 2:7], torch.tensor([2.0, -1.0]).view(2, 1, 1).expand(2, 5, 5), atol=1e-5)
    assert there[0].sum() == 25 and torch.allclose(made[1, 0, :, 2:7], torch.arange(9.0)[:, None].expand(9, 5), atol=0.05)
    assert not there[2].any() and not made[2].any()


def test_a_flow_that_turns_is_right_beyond_its_outline_too() -> None:
    """L_F of the turn itself is 0, around its outline too; of a flow that is 1 px off there alone, a quarter of that ring."""
    turn = plane(torch.tensor([[[-4.0, 0, 0.2], [6, -0.2, 0]]]), 64, 64)
    moves = block(20, 40, 20, 40, 64, 64)
    exact = turn * moves
    assert flow_loss(turn, exact).item() == pytest.approx(0, abs=1e-6)
    assert flow_loss(turn, exact, beyond=8).item() == pytest.approx(0, abs=1e-4)
    ring = block(12, 48, 12, 48, 64, 64) & ~moves
    level = torch.tensor([3.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    off = level + ring * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    wanted = AROUND * ((1 + EPSILON**2) ** 0.5 - EPSILON) * ring.float().mean().item()
    assert flow_loss(off, level * moves, beyond=8).item() == pytest.approx(wanted, rel=1e-4)
    assert flow_loss(off, level * moves).item() == pytest.approx(0, abs=1e-6)


def test_autocast_does_not_round_it() -> None:
    flow, known = plane(torch.tensor([[[-4.0, 0, 0.2], [6, -0.2, 0]]])), block(14, 30, 20, 40)
    plain, _ = extended(flow * known, known, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made, _ = extended(flow * known, known, 6)
    assert torch.equal(made, plain)
