"""The still backgrounds of the default data: sky, sun or moon, clouds, stars and three layers of ground.

One painter draws every backdrop; a backdrop is a row of colours and sizes. They are paler than the subjects on purpose: the
paper's measure (Alg. 1) keeps corners of at least a tenth of the strongest one, and those should be on what moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .subjects import rgb


@dataclass(frozen=True)
class Backdrop:
    """Colours as '#rrggbb'; heights from the top, in pictures; `waves` is how often a ground line swings across the picture."""

    sky: tuple[str, str]
    ground: tuple[str, str, str]
    heights: tuple[float, float, float]
    swing: float
    waves: float
    sun: str
    sun_radius: float
    cloud: str
    cloud_opacity: float
    stars: bool = False
    bubbles: bool = False


BACKDROPS = {
    "hills": Backdrop(
        ("#8fcdf0", "#e3f4f7"), ("#bfe0ad", "#a9d599", "#94c987"), (0.66, 0.76, 0.88),
        0.05, 1.3, "#fff0b8", 0.085, "#ffffff", 0.85,
    ),
    "sunset": Backdrop(
        ("#f08a7b", "#fde0a8"), ("#d79a96", "#bd8497", "#a47492"), (0.68, 0.78, 0.89),
        0.04, 1.2, "#fff3c9", 0.11, "#fbd0c0", 0.7,
    ),
    "night": Backdrop(
        ("#27305e", "#5b6aa3"), ("#465690", "#3d4c82", "#354374"), (0.68, 0.78, 0.89),
        0.045, 1.3, "#f3efd9", 0.075, "#6f7db4", 0.45, stars=True,
    ),
    "sea": Backdrop(
        ("#9fd6f2", "#eaf6f4"), ("#8ccbe2", "#78bedb", "#66b0d2"), (0.62, 0.75, 0.88),
        0.008, 4.0, "#fff2bf", 0.08, "#ffffff", 0.85,
    ),
    "underwater": Backdrop(
        ("#8ad7e0", "#3f93b8"), ("#5aa6b5", "#b9c9a6", "#d8d3ac"), (0.78, 0.86, 0.93),
        0.035, 1.6, "#8ad7e0", 0.0, "#9fe0e6", 0.0, bubbles=True,
    ),
    "desert": Backdrop(
        ("#a9dbe8", "#fbeecb"), ("#f2d9a6", "#ebcb94", "#e2bc84"), (0.68, 0.78, 0.89),
        0.05, 0.9, "#fff7dd", 0.09, "#ffffff", 0.55,
    ),
    "snow": Backdrop(
        ("#b4cfe6", "#eaf1f7"), ("#dfeaf3", "#eef4f9", "#fbfdff"), (0.66, 0.77, 0.88),
        0.055, 1.1, "#fffbe8", 0.07, "#f7fbff", 0.8,
    ),
    "meadow": Backdrop(
        ("#a8e0ea", "#f3f9df"), ("#d6e8a8", "#c6de93", "#b4d37f"), (0.7, 0.79, 0.89),
        0.03, 1.7, "#fff0b0", 0.085, "#ffffff", 0.8,
    ),
}  # fmt: skip

PUFFS = ((0, 0.25, 1), (-1.1, -0.15, 0.7), (1.15, -0.1, 0.75), (2, -0.3, 0.5))  # of a cloud: place and size, in radii
DETAILS = 24  # random numbers in [0, 1) that place a backdrop's sun, clouds, ground lines, stars and bubbles


def draw_backdrops(names: list[str], details: Tensor, size: int) -> Tensor:
    """Backgrounds (B, 3, size, size) in [0, 1]; `details` (B, DETAILS) in [0, 1) places everything."""
    rows, device = [BACKDROPS[name] for name in names], details.device

    def colours(pick) -> Tensor:
        return torch.stack([rgb(pick(row)) for row in rows]).to(device)

    def numbers(pick) -> Tensor:
        return torch.tensor([float(pick(row)) for row in rows], device=device).reshape(-1, 1, 1)

    axis = (torch.arange(size, device=device) + 0.5) / size
    x, y = axis.reshape(1, 1, -1), axis.reshape(1, -1, 1)
    u = [details[:, k].reshape(-1, 1, 1) for k in range(DETAILS)]

    picture = torch.lerp(colours(lambda r: r.sky[0]), colours(lambda r: r.sky[1]), (1.25 * y).clamp(0, 1)[:, None])
    picture = picture.expand(-1, -1, -1, size).contiguous()

    def paint(alpha: Tensor, colour: Tensor) -> None:
        picture.lerp_(colour.expand_as(picture), alpha.expand(-1, size, size)[:, None])

    if any(row.sun_radius for row in rows):
        away = torch.hypot(x - (0.12 + 0.76 * u[0]), y - (0.1 + 0.16 * u[1])) - numbers(lambda r: r.sun_radius)
        visible = numbers(lambda r: r.sun_radius > 0)
        sun = colours(lambda r: r.sun)
        paint(0.3 * visible * torch.exp(-away.clamp_min(0) / 0.07), sun)
        paint(0.8 * visible * (0.5 - away * size / 3).clamp(0, 1), sun)
    for first, star in ((4, False), (6, False), (8, True)):
        if star and any(row.stars for row in rows):
            visible = numbers(lambda r: r.stars)
            away = torch.stack(
                [torch.hypot(x - u[(first + k) % DETAILS], y - 0.6 * u[(first + 3 * k + 7) % DETAILS]) for k in range(12)]
            )
            paint(0.75 * visible * (0.5 - (away.amin(0) - 0.006) * size).clamp(0, 1), rgb("#f6f1d8").to(device))
        elif not star and any(row.cloud_opacity for row in rows):
            cx, cy, r = u[first], 0.1 + 0.3 * u[first + 1], 0.05 + 0.035 * u[first + 8]
            puffs = [torch.hypot(x - cx - dx * r, 1.25 * (y - cy) + dy * r) - k * r for dx, dy, k in PUFFS]
            cloud = torch.stack(puffs).amin(0)
            paint(numbers(lambda r: r.cloud_opacity) * (0.5 - cloud * size / 4).clamp(0, 1), colours(lambda r: r.cloud))
    if any(row.bubbles for row in rows):
        away = torch.stack([torch.hypot(x - u[8 + k], y - u[16 + k]) - 0.012 - 0.014 * u[k] for k in range(7)]).amin(0)
        paint(0.45 * numbers(lambda r: r.bubbles) * (0.5 - away * size).clamp(0, 1), rgb("#d9f5f6").to(device))
    for k in range(3):
        swing = torch.sin(6.2832 * (numbers(lambda r: r.waves) * (0.7 + 0.6 * u[10 + k]) * x + u[13 + k]))
        line = numbers(lambda r, k=k: r.heights[k]) + 0.02 * (u[16 + k] - 0.5) + numbers(lambda r: r.swing) * swing
        near = colours(lambda r, k=k: r.ground[k]) * (1.04 - 0.3 * (y - line).clamp(0, 0.3))[:, None]
        alpha = (0.5 + (y - line) * size / 3).clamp(0, 1)  # three pixels soft: far away, and no corner
        picture.lerp_(near.clamp_(0, 1), alpha[:, None])
    return picture
