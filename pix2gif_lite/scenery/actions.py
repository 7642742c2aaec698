"""The actions of the default data: what each does to a subject's points, as a `Deform` of an amplitude.

The amplitude is in pixels at 256 x 256, as m is. Where everything moves alike (a balloon rises) the amplitude is m itself;
where points move by different amounts (a windmill turns) it is m only nominally, and `scenes.py` calibrates it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..presets import MOTION_SIZE
from ..shapes import Deform

UP, DOWN, LEFT, RIGHT = (0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (1.0, 0.0)


@dataclass(frozen=True)
class Action:
    """One kind of motion. `kind` names the formula in `deform`; `radius` is the typical lever in subject units."""

    kind: str
    ways: tuple[str, ...]  # "up", "down", "left", "right", or "any" for an open direction
    pivot: tuple[float, float] = (0.0, 0.0)
    radius: float = 0.3
    faces: bool = False  # a moving fish looks where it goes
    large: bool = False  # turning and growing need a large subject, or m = 20 would be too wide an angle
    open: bool = False  # several frames are right: the caption does not tell the direction


ACTIONS = {
    "rise": Action("shift", ("up",)),
    "fall": Action("shift", ("down",)),
    "drift": Action("shift", ("left", "right")),
    "fly": Action("shift", ("left", "right"), faces=True),
    "sail": Action("shift", ("left", "right"), faces=True),
    "drive": Action("shift", ("left", "right"), faces=True),
    "swim": Action("swim", ("left", "right"), faces=True),
    "bounce": Action("bounce", ("up",), pivot=(0.0, 0.42), radius=1.0),
    "roll": Action("roll", ("left", "right"), radius=0.42, large=True),
    "spin": Action("turn", ("left", "right"), radius=0.3, large=True),
    "swing": Action("turn", ("left", "right"), pivot=(0.0, -0.5), radius=0.5, large=True),
    "rock": Action("turn", ("left", "right"), pivot=(0.0, 0.36), radius=0.4, large=True),
    "sway": Action("sway", ("left", "right"), pivot=(0.0, 0.5), radius=0.6, large=True),
    "grow": Action("grow", ("up",), pivot=(0.0, 0.45), radius=0.5, large=True),
    "wander": Action("shift", ("any",), open=True),
    "blow": Action("shift", ("any",), open=True),
}

# Which actions suit a subject, and which of its parts move on their own for an action.
SUITS = {
    "balloon": ("rise", "fall", "drift"),
    "boat": ("sail", "rock"),
    "bird": ("fly", "rise"),
    "fish": ("swim", "rise"),
    "flower": ("sway", "grow"),
    "windmill": ("spin",),
    "rocket": ("rise", "fall"),
    "car": ("drive", "bounce"),
    "butterfly": ("rise", "drift", "grow", "wander"),
    "lantern": ("swing", "rise"),
    "ball": ("bounce", "roll", "fall"),
    "star": ("fall", "spin", "grow"),
    "tree": ("sway", "grow"),
    "leaf": ("fall", "drift", "spin", "rock", "blow"),
    "kite": ("drift", "rise", "rock"),
    "whale": ("swim", "bounce", "rock"),
}
MOVING_PART = {("windmill", "spin"): "blades"}


def direction(way: str, angle: float) -> tuple[float, float]:
    """Unit vector of a way, x right, y down; "any" takes the angle in radians."""
    named = {"up": UP, "down": DOWN, "left": LEFT, "right": RIGHT}
    if way in named:
        return named[way]
    return float(torch.cos(torch.tensor(angle))), float(torch.sin(torch.tensor(angle)))


def deform(actions: list[str], ways: list[tuple[float, float]], sizes: Tensor, facings: Tensor, amplitudes: Tensor) -> Deform:
    """The `Deform` of a batch of actors, in each subject's unit square (mirrored already for those that face left).

    sizes (B,) in pictures, facings (B,) of +1 or -1, amplitudes (B,) in pixels at 256 x 256.
    """
    device = amplitudes.device
    rows = [ACTIONS[name] for name in actions]
    d = amplitudes / MOTION_SIZE / sizes  # displacement in subject units
    way = torch.tensor(ways, dtype=torch.float32, device=device).reshape(-1, 2)
    side = way[:, 0] * facings  # a mirrored subject mirrors its motion too
    radius = torch.tensor([row.radius for row in rows], device=device)

    def kind(*names: str) -> Tensor:
        return torch.tensor([float(row.kind in names) for row in rows], device=device)

    angle = kind("turn", "roll") * torch.where(side < 0, -1.0, 1.0) * d / radius
    angle = angle * torch.tensor([-1.0 if row.pivot[1] < 0 else 1.0 for row in rows], device=device)  # hung from above
    grow = 1 + kind("grow") * d / radius
    stretch = 1 + 0.25 * kind("bounce") * d
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack([cos * grow / stretch, -sin * grow, sin * grow, cos * grow * stretch], -1).reshape(-1, 2, 2)
    moved = kind("shift", "swim", "bounce", "roll") * d
    return Deform(
        matrix=matrix,
        pivot=torch.tensor([row.pivot for row in rows], device=device).reshape(-1, 2),
        shift=torch.stack([side * moved, way[:, 1] * moved], -1),
        sway=kind("sway") * side * d / radius,
        wave=kind("swim") * 0.6 * d,
    )
