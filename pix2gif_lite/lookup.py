"""WNet without weights (Eq. 6 of the paper): a picture, or a latent, looked up where a flow points.

    z_W(p) = E(c_I)(p + F(p))     the flow points BACKWARDS, so every cell of the result has exactly one value

Flows are in cells of their own grid, float32, (B, 2, h, w), x then y. This file does not know what a latent is.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

FLOW_MODES = ("displacement", "absolute")
INTERPOLATIONS = ("bilinear", "bicubic")


def identity_grid(height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """Where each cell is, in cells: (2, height, width) float32, x then y, from 0."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack([x, y])


def to_sampling_grid(flow: Tensor) -> Tensor:
    """A displacement in cells (B, 2, h, w) as `grid_sample` coordinates (B, 2, h, w): -1 and 1 are the outer edges."""
    h, w = flow.shape[-2:]
    return torch.addcmul(cell_centres(h, w, flow.device, flow.dtype), flow, flow.new_tensor([2 / w, 2 / h]).view(2, 1, 1))


@functools.lru_cache(4)  # a moving slider asks for the same again and again
def cell_centres(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Where each cell is, (2, height, width), x then y, as `grid_sample` coordinates. Not to be written to."""
    with torch.inference_mode(False):  # whoever asks first: training may ask next
        place = identity_grid(height, width, device).to(dtype).movedim(0, -1)
        return to_coordinates(place, height, width).movedim(-1, 0).contiguous()


def to_coordinates(place: Tensor, height: int, width: int) -> Tensor:
    """Places (..., 2) in cells of a grid, x then y, as `grid_sample` coordinates (..., 2).

    Cell k of n has its centre at (2k + 1) / n - 1 (align_corners=False), so a cell is 2 / n wide. Here units change.
    """
    return (2 * place + 1) / place.new_tensor([width, height]) - 1


def check_warp(mode: str, interpolation: str) -> None:
    """Raises ValueError for a word that `warp` does not know."""
    if mode not in FLOW_MODES:
        raise ValueError(f"Unknown flow mode {mode!r}: choose one of {', '.join(FLOW_MODES)}.")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"Unknown interpolation {interpolation!r}: choose one of {', '.join(INTERPOLATIONS)}.")


def resized(flow: Tensor, height: int, width: int) -> Tensor:
    """The flow (B, 2, h, w), float32, on a grid of (height, width), in cells of that: bilinear, each axis in its own unit."""
    h, w = flow.shape[-2:]
    flow = flow.float()
    if (h, w) == (height, width):
        return flow
    units = flow.new_tensor([width / w, height / h])[:, None, None]
    return F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False) * units


def warp(latents: Tensor, flow: Tensor, mode: str = "displacement", interpolation: str = "bilinear") -> Tensor:
    """z_W of Eq. 6: the latents (B, C, h, w) looked up where the flow (B, 2, h, w) points. No weights.

    displacement  flow in cells, added to each cell's own place: zero flow returns the latents; the edge goes on outside
    absolute      the flow IS the place, in grid_sample coordinates, zeros outside; kept to compare with the reference

    Between cells: "bilinear" (the paper), or "bicubic", which blurs less: see the model card.
    """
    check_warp(mode, interpolation)
    exact = torch.promote_types(latents.dtype, torch.float32)  # bfloat16 would round places to 1/16 of a cell
    grid = to_sampling_grid(flow.to(exact)) if mode == "displacement" else flow.to(exact)
    padding = "border" if mode == "displacement" else "zeros"
    grid = grid.permute(0, 2, 3, 1)  # (B, h, w, 2), as grid_sample wants it
    warped = F.grid_sample(latents.to(exact), grid, mode=interpolation, padding_mode=padding, align_corners=False)
    return warped.to(latents.dtype)
