"""Drawing by signed distances: a shape is a function of the point, negative inside, and its length unit is the point's.

Everything is batched: coordinates are (B, P, P) tensors, so one call draws a shape for a whole batch, on CPU or GPU. `Deform`
says where a point of a subject moves; because its inverse is known in closed form, a moved shape is drawn by looking up where
each pixel came from, and that look-up IS the exact backward flow.

Distance formulas: Inigo Quilez, "2D distance functions". Convex polygons here are the largest of their edges' half-plane
distances: exact on the edges, which is where anti-aliasing looks, and cheaper than the exact corner distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def circle(x: Tensor, y: Tensor, cx: float, cy: float, r: float) -> Tensor:
    """Disc of radius r around (cx, cy)."""
    return torch.hypot(x - cx, y - cy) - r


def ellipse(x: Tensor, y: Tensor, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Tensor:
    """Ellipse with half-axes rx, ry, turned by `angle` radians (first-order distance, exact on the outline)."""
    x, y = turn(x - cx, y - cy, angle)
    k0 = torch.hypot(x / rx, y / ry)
    k1 = torch.hypot(x / rx**2, y / ry**2).clamp_min(1e-6)
    return k0 * (k0 - 1) / k1


def box(x: Tensor, y: Tensor, cx: float, cy: float, hx: float, hy: float, round: float = 0.0, angle: float = 0.0) -> Tensor:
    """Rectangle with half-sides hx, hy and corners rounded by `round`."""
    x, y = turn(x - cx, y - cy, angle)
    dx, dy = x.abs() - (hx - round), y.abs() - (hy - round)
    return torch.hypot(dx.clamp_min(0), dy.clamp_min(0)) + torch.maximum(dx, dy).clamp_max(0) - round


def polygon(x: Tensor, y: Tensor, *points: tuple[float, float], round: float = 0.0) -> Tensor:
    """Convex polygon, corners in either order; `round` grows it outwards."""
    area = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True))
    distance = None
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        length = math.copysign(math.hypot(bx - ax, by - ay), area)
        nx, ny = (by - ay) / length, (ax - bx) / length  # outward normal of this edge
        edge = x * nx + (y * ny - (ax * nx + ay * ny))
        distance = edge if distance is None else torch.maximum(distance, edge)
    return distance - round


def segment(x: Tensor, y: Tensor, ax: float, ay: float, bx: float, by: float, r: float) -> Tensor:
    """Line of half-width r with round ends."""
    dx, dy = bx - ax, by - ay
    t = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return torch.hypot(x - ax - t * dx, y - ay - t * dy) - r


def star(x: Tensor, y: Tensor, points: int, r: float, inner: float, round: float = 0.0) -> Tensor:
    """Star with that many points, outer radius r and inner radius `inner`, one point up."""
    half = math.pi / points
    angle = torch.atan2(x, -y)
    angle = (angle / (2 * half) - torch.round(angle / (2 * half))).abs() * 2 * half  # folded into half a point
    radius = torch.hypot(x, y)
    px, py = radius * torch.sin(angle), radius * torch.cos(angle)
    bx, by = inner * math.sin(half), inner * math.cos(half)  # from the tip (0, r) to the notch (bx, by)
    length = math.hypot(bx, by - r)
    return ((r - by) * px + bx * (py - r)) / length - round


def turn(x: Tensor, y: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """The point seen from axes turned by `angle` radians."""
    if angle == 0.0:
        return x, y
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def both(a: Tensor, b: Tensor) -> Tensor:
    """Intersection."""
    return torch.maximum(a, b)


def either(*shapes: Tensor) -> Tensor:
    """Union."""
    out = shapes[0]
    for shape in shapes[1:]:
        out = torch.minimum(out, shape)
    return out


@dataclass
class Deform:
    """Where the points of a batch of subjects go: u -> c + M (bend(u) - c) + t, in subject units, y down.

    matrix (B, 2, 2); pivot c and shift t (B, 2); sway (B,): x moves by sway * h (0.35 + h), h the height above the pivot, 0
    below it; wave (B,): y moves by wave * tail * sin(9 x), tail = 0.3 - x, 0 before it. At most one of sway and wave is
    non-zero a subject, which is what makes the inverse exact.
    """

    matrix: Tensor
    pivot: Tensor
    shift: Tensor
    sway: Tensor
    wave: Tensor

    @staticmethod
    def _column(v: Tensor) -> Tensor:
        return v.reshape(-1, 1, 1)

    def _bend(self, x: Tensor, y: Tensor, sign: float) -> tuple[Tensor, Tensor]:
        if self.sway.any():
            height = (self._column(self.pivot[:, 1]) - y).clamp_min(0)
            x = x + sign * self._column(self.sway) * height * (0.35 + height)
        if self.wave.any():
            tail = (0.3 - x).clamp_min(0)
            y = y + sign * self._column(self.wave) * tail * torch.sin(9 * x)
        return x, y

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Rest point -> moved point, (B, ...) each."""
        x, y = self._bend(x, y, 1.0)
        (a, b), (c, d) = [[self._column(self.matrix[:, i, j]) for j in (0, 1)] for i in (0, 1)]
        cx, cy = self._column(self.pivot[:, 0]), self._column(self.pivot[:, 1])
        tx, ty = self._column(self.shift[:, 0]), self._column(self.shift[:, 1])
        x, y = x - cx, y - cy
        return a * x + b * y + (cx + tx), c * x + d * y + (cy + ty)

    def inverse(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Moved point -> rest point, (B, ...) each; exact."""
        inverse = torch.linalg.inv(self.matrix)
        (a, b), (c, d) = [[self._column(inverse[:, i, j]) for j in (0, 1)] for i in (0, 1)]
        cx, cy = self._column(self.pivot[:, 0]), self._column(self.pivot[:, 1])
        tx, ty = self._column(self.shift[:, 0]), self._column(self.shift[:, 1])
        x, y = x - (cx + tx), y - (cy + ty)
        return self._bend(a * x + b * y + cx, c * x + d * y + cy, -1.0)


class Brush:
    """Paints the shapes of one batch of equal subjects, back to front, and remembers which layer each pixel shows.

    picture (B, 3, P, P) in [0, 1] and layers (B, P, P) uint8 are painted in place; `pixels` (B, 1, 1) is how many pixels a
    subject unit spans, so that edges are one pixel soft at every size.
    """

    def __init__(self, picture: Tensor, layers: Tensor, pixels: Tensor):
        self.picture, self.layers, self.pixels = picture, layers, pixels
        self.x = self.y = self.colour = self.cover = None
        self.layer = 0

    def use(self, x: Tensor, y: Tensor, layer: int) -> None:
        """From here on shapes are drawn at rest coordinates (x, y) and belong to `layer`."""
        self.finish()
        self.x, self.y, self.layer = x, y, layer
        self.colour = torch.zeros_like(self.picture)  # premultiplied by the cover
        self.cover = torch.zeros_like(self.picture[:, :1])

    def fill(self, distance: Tensor, colour: Tensor) -> None:
        """Paint where distance < 0 with colour (B, 3, 1, 1) or (3, 1, 1)."""
        alpha = (0.5 - distance * self.pixels).clamp_(0, 1)
        self.layers.masked_fill_(alpha > 0.5, self.layer)
        alpha = alpha[:, None]
        self.colour.lerp_(colour.to(alpha.device).expand_as(self.colour), alpha)
        self.cover.lerp_(torch.ones((), device=alpha.device).expand_as(alpha), alpha)

    def finish(self) -> None:
        """Lay what was painted over the picture, lit from the upper left; the light moves with the subject."""
        if self.cover is not None:
            shade = (1.0 - 0.16 * (self.x + 1.4 * self.y)).clamp_(0.7, 1.25)[:, None]
            self.picture.mul_(1 - self.cover).add_((self.colour * shade).clamp_max_(1.0))
            self.cover = None
