"""What moves as one (ours, lite's default): the flow of a body, made of all that its places say together.

A convolution says of every place how far away to look, and is one or two percent wrong there, each place in its own way. But a
thing that turns, grows, leans or drifts moves as one: its flow is a polynomial of the place, of twelve numbers, and a thousand
places know them better than one. So FNet says as well to which body a place belongs, and

    S     which body a place is of, a softmax over the bodies
    T     how far a place goes with its body, 0 .. 1
    P_k = the second-order polynomial nearest to F' where S_k O(p + F') is large        weighted least squares
          plus a penalty stiff_k on bending and rigid_k on changing angles, in units of the body's total weight
    F'' = (1 - T) F' + T sum_k S_k P_k

A turn, a zoom and a shift are linear in the place and keep shapes: four numbers say them. A sway is quadratic; what ripples
goes its own way. P_k is used beyond the outline, too, where L_F asks F to go on (extension.py). Nothing is told which places
belong together, or how they move: the loss of F'' finds out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lookup import identity_grid

TIE = 1e-4  # pulls the polynomials towards 0, by so much of what a body weighs
LOOSE, FIRMEST = -6.0, 4.0  # logarithms of how stiff and rigid a body is before training, and of the most it may become
REACH = 3.0  # beyond so many standard deviations of a body its flow goes on as it is there


def monomials(places: Tensor) -> Tensor:
    """1, u, v, u^2, u v, v^2 of places (..., 2, n): (..., 6, n)."""
    u, v = places.unbind(-2)
    return torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v], dim=-2)


def _shape() -> Tensor:
    """(12, 12): of the numbers of a flow, x's six and y's, what it costs not to keep angles."""
    stretch, shear = torch.zeros(2, 6), torch.zeros(2, 6)  # d(x) / du = d(y) / dv and d(x) / dv = -d(y) / du
    stretch[0, 1], stretch[1, 2] = 1, -1
    shear[0, 2], shear[1, 1] = 1, 1
    return sum(part.flatten().outer(part.flatten()) for part in (stretch, shear))


SHAPE = _shape()


class Hold(NamedTuple):
    """How firm bodies are: how much a wish counts in the fit, in parts of what a body's places count together."""

    stiff: Tensor  # (B, K), 0 or more: that the flow is linear in the place
    rigid: Tensor  # (B, K), 0 or more: that it keeps angles, as turns, zooms and shifts do


class Body(NamedTuple):
    """What is known of a body as a whole."""

    hold: Hold
    trust: Tensor  # (B, K): added to what its places say of T, before the sigmoid


def fit_bodies(flow: Tensor, weight: Tensor, r: int = 1, hold: Hold | None = None) -> Tensor:
    """The quadratic flow of each body, at every place: (B, K, 2, H, W) float32.

    flow (B, 2, H, W); weight (B, K, H, W), 0 or more: how much a place counts; r x r places are averaged before the fit, for
    speed; hold: None is none. Exact, but for `TIE`, for a flow that is linear in the place, or with r = 1 a polynomial of
    second order; with r > 1 one that bends is off by (r^2 - 1) / 12 of its second-order coefficients. 0 without any weight.
    """
    flow, weight = flow.float(), weight.float()
    B, K, H, W = weight.shape
    grid = identity_grid(H, W, flow.device)  # (2, H, W), in places
    # 1. Of r x r places at a time: what they weigh, their middle, and their flow times their weight.
    there = torch.cat([flow, grid.expand(B, -1, -1, -1)], dim=1)[:, None]  # (B, 1, 4, H, W)
    sums = F.avg_pool2d((weight[:, :, None] * there).flatten(1, 2), r).view(B, K, 4, -1)
    heavy = F.avg_pool2d(weight, r).view(B, K, 1, -1)  # (B, K, 1, n)
    moved = sums[:, :, :2]  # (B, K, 2, n)
    # 2. Each body's own coordinates: around its middle, by its spread. The fit is the same in any, but for rounding.
    with torch.no_grad():
        at = sums[:, :, 2:] / heavy.clamp(min=1e-6)  # (B, K, 2, n)
        total = heavy.sum(-1, keepdim=True)  # (B, K, 1, 1)
        share = heavy / total.clamp(min=1e-6)
        middle = (share * at).sum(-1, keepdim=True)  # (B, K, 2, 1)
        spread = (share * (at - middle).square()).sum(-1, keepdim=True).amax(2, keepdim=True).clamp(min=1).sqrt()
    # 3. Weighted least squares, two right sides.
    phi = monomials((at - middle) / spread)  # (B, K, 6, n)
    # Sums of products, not matrix products: those autocast would round to eight bits.
    normal = ((heavy * phi)[:, :, :, None] * phi[:, :, None]).sum(-1) + (TIE * total + 1e-3) * torch.eye(6, device=flow.device)
    if hold is not None:
        stiff, rigid = (total * part[:, :, None, None] for part in hold)
        normal = normal + stiff * torch.tensor([0.0, 0, 0, 1, 1, 1], device=flow.device).diag()
    both = torch.eye(2, device=flow.device)[:, None, :, None] * normal[:, :, None, :, None]  # x and y: (B, K, 2, 6, 2, 6)
    normal = both.reshape(B, K, 12, 12)
    if hold is not None:
        normal = normal + rigid * SHAPE.to(flow.device)
    wanted = (moved[:, :, :, None] * phi[:, :, None]).sum(-1).view(B, K, 12)
    a, b, c, d, e, f = torch.linalg.solve(normal, wanted).view(B, K, 2, 6, 1, 1).unbind(3)  # each (B, K, 2, 1, 1)
    # 4. At every place: a + b u + c v + d u^2 + e u v + f v^2; u is the same down a column, v along a row.
    ways = enumerate((grid[0, 0], grid[1, :, 0]))  # (W,) and (H,)
    u, v = (((at - middle[:, :, k, None]) / spread).clamp(-REACH, REACH) for k, at in ways)  # (B, K, 1, W), (B, K, 1, H)
    u, v = u[:, :, :, None], v[..., None]
    return (a + v * (c + f * v)) + u * (b + e * v + d * u)


class Bodies(nn.Module):
    """`count` bodies of a flow on a grid of r x r places a cell, told apart by FNet's `features` channels."""

    def __init__(self, features: int, r: int, count: int) -> None:
        super().__init__()
        self.r = r
        self.belongs, self.together = nn.Conv2d(features, count * r * r, 1), nn.Conv2d(features, r * r, 1)
        self.whole = nn.Linear(features, 3)
        nn.init.zeros_(self.whole.weight)
        self.whole.bias.data.copy_(torch.tensor([LOOSE, LOOSE, 0.0]))

    def shares(self, features: Tensor) -> Tensor:
        """S (B, count, r h, r w) of features (B, C, h, w): 1 in all at every place."""
        return F.pixel_shuffle(self.belongs(features), self.r).float().softmax(dim=1)

    def trust(self, features: Tensor, own: Tensor, bodies: Body) -> Tensor:
        """T (B, 1, r h, r w), 0 .. 1; own: S."""
        here = F.pixel_shuffle(self.together(features), self.r).float()
        return (here + (own * bodies.trust[:, :, None, None]).sum(dim=1, keepdim=True)).sigmoid()

    def bodies(self, features: Tensor, own: Tensor) -> Body:
        """Of each body, by the mean of its features; own (B, count, r h, r w): how much each place is of it."""
        cells = F.avg_pool2d(own, self.r).flatten(2)  # (B, count, h w)
        mean = cells @ features.float().flatten(2).transpose(1, 2) / cells.sum(-1, keepdim=True).clamp(min=1e-3)
        *firm, trust = self.whole(mean.to(features.dtype)).float().unbind(-1)
        return Body(Hold(*((FIRMEST - F.softplus(FIRMEST - how)).exp() for how in firm)), trust)

    def forward(self, flow: Tensor, features: Tensor, moving: Tensor, source: Tensor) -> Tensor:
        """F'' (B, 2, r h, r w), float32, of F' (the same).

        moving (B, 1, r h, r w): O(p + F'), does what arrives at p move, 0 .. 1; source (B or 1, 1, r h, r w): O(p), does what
        the source has at p.
        """
        own = self.shares(features)
        bodies = self.bodies(features, own * source)
        fitted = (own[:, :, None] * fit_bodies(flow, own * moving, self.r, bodies.hold)).sum(dim=1)
        return torch.lerp(flow, fitted, self.trust(features, own, bodies))
