"""The motion that was asked for, to the letter (ours, lite's default): F made longer or shorter until Alg. 1 would say m.

m is the mean length of the vectors of the source's corners, of those that go further than 1 px (motion.py). FNet has to guess
where these corners are, and how far away a body's fastest ones; the source's pixels say it. So F is read off at the corners,

    g = m / mean length,    z_W = WNet(E(c_I), g F)

and a body that turns by 2 % too much turns back. Of what moves only the length is touched, by a factor of 1.25 at most. In
training, where latents have no corners, g comes from the exact flow, so that z_W teaches what g does not mend (`as_long_as`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .lookup import to_coordinates, warp
from .motion import STILL, find_corners, to_gray
from .presets import MOTION_SIZE
from .warping import FlowPyramid, Places

MOST = 1.25  # the largest factor: what asks for more was not understood
ROUNDS, FOLLOWED = 2, 4  # corrections of the factor, and steps in which a corner is followed to where it goes


def corners_of(pictures: Iterable[Any]) -> Tensor:
    """The corners of Alg. 1 of each picture, as motion.py takes pictures: float32 (N, most, 2), px at 256 x 256, x then y.

    A picture with fewer corners than another has NaN in their place.
    """
    found = [find_corners(to_gray(picture)) for picture in pictures]
    corners = np.full((len(found), max(map(len, found), default=0), 2), np.nan, np.float32)
    for row, each in zip(corners, found, strict=True):
        row[: len(each)] = each
    return torch.from_numpy(corners)


def read_at(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (B, C, H, W) at places (B, N, 2), x then y, in pixels of the maps: (B, N, C); beyond the edge as at the edge."""
    at = to_coordinates(places, *maps.shape[-2:])
    return F.grid_sample(maps, at[:, :, None], padding_mode="border", align_corners=False)[..., 0].transpose(1, 2)


def on_grid(corners: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Corners (B, N, 2) in pixels of the maps (B, C, H, W), and how many of these are one px at 256 x 256: (2,), x then y."""
    pixels = corners.new_tensor(maps.shape[:1:-1]) / MOTION_SIZE
    return (corners + 0.5) * pixels - 0.5, pixels


def lengths_at(flow: Tensor, corners: Tensor) -> Tensor:
    """How far a backward flow (B, 2, H, W), in pixels of its grid, moves corners (B, N, 2): (B, N), px at 256 x 256.

    The flow says of each place of the later frame where it comes from; a corner q is followed to the place p with p + F(p) = q.
    """
    start, pixels = on_grid(corners, flow)
    place = start - read_at(flow, start)
    for _ in range(FOLLOWED):
        place = start - read_at(flow, place)
    return ((place - start) / pixels).norm(dim=-1)


def gain(flows: FlowPyramid, corners: Tensor, motion: Tensor) -> Tensor:
    """g (B,), float32, between 1 / MOST and MOST: by it F is to be multiplied; 1 where no corner moves, or m is within 1 px.

    flows: displacements; corners (B, N, 2) as `corners_of` gives them, on any device; motion (B,), px at 256 x 256.
    Where the flows know what of the source moves, O, corners elsewhere do not count.
    """
    flow, motion = flows.finest.float(), motion.float()
    corners = corners.to(flow.device)
    known = ~corners.isnan().any(dim=-1)
    corners = corners.nan_to_num()
    if flows.places is not None:  # a corner sits on an edge, half in and half out: within a place of what moves
        near = F.max_pool2d(flows.places.moving.float(), 3, stride=1, padding=1)
        known &= read_at(near, on_grid(corners, near)[0])[..., 0] > 0.5
    g = torch.ones_like(motion)
    for _ in range(ROUNDS):
        length = lengths_at(g[:, None, None, None] * flow, corners)
        counts = known & (length > STILL)
        mean = (length * counts).sum(1) / counts.sum(1).clamp(min=1)
        g = torch.where(counts.any(1) & (motion > STILL), g * motion / mean.clamp(min=STILL), g).clamp(1 / MOST, MOST)
    return g


def scaled(flows: FlowPyramid, g: Tensor) -> FlowPyramid:
    """The flows (displacements) of B samples, each g (B,) times as long."""
    g = g[:, None, None, None]
    places = flows.places
    if places is not None:
        flow = g * places.flow
        places = Places(flow, places.codes, places.moving, warp(places.moving, flow))
    return FlowPyramid(*(g * flow for flow in flows[:3]), places)


def as_long_as(flows: FlowPyramid, exact: Tensor) -> FlowPyramid:
    """The flows, displacements, of B samples, each in the mean as long as its exact flow (B, 2, S, S) in pixels, NaN unknown.

    Over what is known to move, by a factor of 1.25 at most; as they are where nothing is. No gradient goes through the factor.
    """
    with torch.no_grad():
        flow, side = flows.finest.float(), exact.shape[-1]
        flow = F.interpolate(flow, size=exact.shape[-2:], mode="bilinear", align_corners=False) * (side / flow.shape[-1])
        wanted = exact.nan_to_num().norm(dim=1)  # (B, S, S)
        moves = wanted > STILL * side / MOTION_SIZE
        lengths = [(moves * each).sum((1, 2)) for each in (wanted, flow.norm(dim=1))]
        g = torch.where(moves.any(2).any(1), lengths[0] / lengths[1].clamp(min=1e-6), 1.0).clamp(1 / MOST, MOST)
    return scaled(flows, g)


def calibrated(flows: FlowPyramid, corners: Tensor, motion: Tensor) -> FlowPyramid:
    """The flows, displacements of any kind, of such a length that Alg. 1 at the corners says `motion`. See `gain`."""
    return scaled(flows, gain(flows, corners, motion))
