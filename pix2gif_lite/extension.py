"""How a flow goes on beyond the outline of what moves (ours): as a plane, fitted to what moves near by.

FNet is asked for the flow of a thing some pixels beyond its outline too, where the exact flow says nothing (`flow_loss`). A
mean of what is near would be wrong there for all that turns, grows or leans: its flow gets longer on the way out, and a mean
does not. A plane does; turns, zooms and shifts are planes, so they go on exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .lookup import identity_grid

FLAT = 0.01  # px^2: what is no wider than this in one direction says nothing of the slope across it


def _within(count: int, reach: int, device: torch.device) -> Tensor:
    """(count, count): 1 where two places on a line are no further apart than `reach`."""
    at = torch.arange(count, device=device)
    return ((at[:, None] - at).abs() <= reach).float()


def extended(flow: Tensor, known: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """The flow, and where it is known now: as it was, and beyond by `reach` px in x and in y; 0 elsewhere. float32, bool.

    flow (B, 2, H, W), in any unit, 0 where it is not known; known (B, 1, H, W) bool. At each new pixel it is the plane nearest
    (least squares) to the known flow up to twice as far away, in x and in y: a window that ended at the outline would see no
    slope.
    """
    flow, there = flow.float(), known.float()
    B, _, H, W = flow.shape
    grid = identity_grid(H, W, flow.device) - flow.new_tensor([W - 1, H - 1]).view(2, 1, 1) / 2  # small numbers round less
    x, y = grid[0], grid[1]
    # 1. Sums over the window, of what is known there, and means. As two matrix products: seven times as fast as pooling.
    alike = torch.cat([there, there * torch.stack([x, y, x * x, x * y, y * y])], dim=1)  # 1, x, y, x^2, x y, y^2
    sums = torch.cat([alike, flow, flow * x, flow * y], dim=1)
    with torch.autocast(flow.device.type, enabled=False):  # it would round places to eight bits
        sums = _within(H, 2 * reach, flow.device) @ sums @ _within(W, 2 * reach, flow.device)
        reached = (_within(H, reach, flow.device) @ there @ _within(W, reach, flow.device)) > 0.5
    means = sums[:, 1:] / sums[:, :1].clamp(min=1)
    mean, (mx, my, xx, xy, yy) = means[:, 5:7], (means[:, k : k + 1] for k in range(5))
    # 2. The slopes: two equations of two unknowns, solved by Cramer's rule.
    xx, xy, yy = xx - mx * mx + FLAT, xy - mx * my, yy - my * my + FLAT
    fx, fy = means[:, 7:9] - mean * mx, means[:, 9:11] - mean * my
    det = (xx * yy - xy * xy).clamp(min=FLAT * FLAT)
    along_x, along_y = (fx * yy - fy * xy) / det, (fy * xx - fx * xy) / det
    plane = mean + along_x * (x - mx) + along_y * (y - my)
    return torch.where(known, flow, torch.where(reached, plane, 0.0)), known | reached
