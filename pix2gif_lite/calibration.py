"""The motion that was asked for, to the letter (ours, lite's default): F made longer or shorter until Alg. 1 would say m.

m is the mean length of the vectors of the source's corners, of those that go further than 1 px (motion.py). FNet can only guess
where these corners lie and how far the fastest of them go; the source's pixels show it. So F is read off at the corners,

    g = m / mean length,    z_W = WNet(E(c_I), g F)

and a body that turns by 2 % too much turns back. Of what moves only the length is touched, by a factor of 2 at most. In
training, where latents have no corners, g comes from the exact flow (`as_long_as`): the loss of z_W is then about shape and
direction, not about the length that g corrects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .lookup import resized, to_coordinates, warp
from .motion import STILL, find_corners, to_gray
from .presets import MOTION_SIZE
from .warping import FlowPyramid, Places

MOST = 2.0  # the largest factor: what asks for more was not understood
FOLLOWED = (2, 2)  # steps in which corners are followed to where they go, before each correction of the factor
NEIGHBOURS = torch.tensor([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)])  # places around one


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


def follow(flow: Tensor, start: Tensor, place: Tensor, times: int) -> Tensor:
    """The places p (B, N, 2) with p + F(p) = start, nearer by `times` steps than `place`; all in pixels of the flow's grid.

    A backward flow (B, 2, H, W) says of each place of the later frame where it comes from; a corner is followed the other way.
    """
    for _ in range(times):
        place = start - read_at(flow, place)
    return place


def gain(flows: FlowPyramid, corners: Tensor, motion: Tensor) -> Tensor:
    """g (B,), float32, between 1 / MOST and MOST: by it F is to be multiplied; 1 where no corner moves, or m is within 1 px.

    flows: displacements; corners (B, N, 2) as `corners_of` gives them, on any device; motion (B,), px at 256 x 256.
    Where the flows know what of the source moves, O, corners elsewhere do not count.
    """
    flow, motion = flows.finest.float(), motion.float()
    corners = corners.to(flow.device)
    known = ~corners.isnan().any(dim=-1)
    start, pixels = on_grid(corners.nan_to_num(), flow)
    if flows.places is not None:  # a corner sits on an edge, half in and half out: within a place of what moves
        around = (start.round()[:, :, None] + NEIGHBOURS.to(flow.device)).flatten(1, 2)
        known &= (read_at(flows.places.moving.float(), around).unflatten(1, (-1, len(NEIGHBOURS))) > 0.5).any(2)[..., 0]
    g, place = torch.ones_like(motion), start
    for times in FOLLOWED:
        place = follow(g[:, None, None, None] * flow, start, place, times)
        length = ((place - start) / pixels).norm(dim=-1)
        counts = known & (length > STILL)
        mean = (length * counts).sum(1) / counts.sum(1).clamp(min=1)
        new = torch.where(counts.any(1) & (motion > STILL), g * motion / mean.clamp(min=STILL), g).clamp(1 / MOST, MOST)
        g, place = new, start + (new / g)[:, None, None] * (place - start)
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

    Over what is known to move, by a factor of 2 at most; as they are where nothing is. No gradient goes through the factor.
    """
    with torch.no_grad():
        flow, side = resized(flows.finest, *exact.shape[-2:]), exact.shape[-1]
        wanted, made = (torch.hypot(*each.unbind(1)) for each in (exact.nan_to_num(), flow))  # (B, S, S); a norm is slower
        moves = wanted > STILL * side / MOTION_SIZE
        lengths = [(moves * each).sum((1, 2)) for each in (wanted, made)]
        g = torch.where(moves.any(2).any(1), lengths[0] / lengths[1].clamp(min=1e-6), 1.0).clamp(1 / MOST, MOST)
    return scaled(flows, g)


def calibrated(flows: FlowPyramid, corners: Tensor, motion: Tensor) -> FlowPyramid:
    """The flows, displacements of any kind, of such a length that Alg. 1 at the corners says `motion`. See `gain`."""
    return scaled(flows, gain(flows, corners, motion))
