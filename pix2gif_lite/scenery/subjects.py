"""The subjects of the default data, each a few shapes in its own unit square: x to the right, y down, centre (0, 0).

Every painter takes a `Brush` whose coordinates are the subject's and a `Palette`, and paints back to front. A subject faces
right; `part("name")` switches to a part that some action moves on its own (a windmill's blades, a bird's wing).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..shapes import Brush, both, box, circle, either, ellipse, polygon, segment, star


class Palette(NamedTuple):
    """Colours of one batch of subjects, (B, 3, 1, 1) each in [0, 1]."""

    main: Tensor
    dark: Tensor
    light: Tensor


def rgb(hexadecimal: str) -> Tensor:
    """'#ffcc00' -> (3, 1, 1) in [0, 1]."""
    return torch.tensor([int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5)]).reshape(3, 1, 1)


CREAM, INK, WOOD, BARK = rgb("#fff4de"), rgb("#2b2a3a"), rgb("#9a6238"), rgb("#7b4a2b")
SUN, LEAF, STEM, GLASS, STONE, FLAME = map(rgb, ("#ffd34f", "#4f9b4c", "#3f8445", "#bfe6f5", "#e9dcc9", "#ff8a2a"))

Part = Callable[[str], None]


def eye(b: Brush, x: float, y: float, r: float = 0.05) -> None:
    b.fill(circle(b.x, b.y, x, y, r), CREAM)
    b.fill(circle(b.x, b.y, x + 0.3 * r, y, 0.6 * r), INK)


def balloon(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(either(segment(x, y, -0.2, 0.1, -0.08, 0.38, 0.014), segment(x, y, 0.2, 0.1, 0.08, 0.38, 0.014)), BARK)
    skin = either(circle(x, y, 0, -0.14, 0.35), polygon(x, y, (-0.31, 0.02), (0.31, 0.02), (0.09, 0.27), (-0.09, 0.27)))
    b.fill(skin, c.main)
    b.fill(both(skin, ellipse(x, y, 0, -0.1, 0.235, 0.46)), c.light)
    b.fill(both(skin, ellipse(x, y, 0, -0.1, 0.095, 0.44)), c.main)
    b.fill(both(skin, box(x, y, 0, 0.25, 0.2, 0.03)), c.dark)
    b.fill(box(x, y, 0, 0.42, 0.1, 0.075, 0.025), WOOD)
    b.fill(box(x, y, 0, 0.365, 0.115, 0.022, 0.01), BARK)


def boat(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(box(x, y, -0.02, -0.08, 0.018, 0.36), BARK)
    b.fill(polygon(x, y, (0.02, -0.42), (0.02, 0.16), (0.38, 0.16)), CREAM)
    b.fill(polygon(x, y, (0.02, -0.06), (0.02, 0.02), (0.302, 0.02), (0.247, -0.06)), c.light)
    b.fill(polygon(x, y, (-0.06, -0.32), (-0.06, 0.16), (-0.34, 0.16)), c.light)
    b.fill(polygon(x, y, (-0.02, -0.46), (-0.02, -0.36), (-0.2, -0.41)), c.main)
    hull = polygon(x, y, (-0.46, 0.2), (0.48, 0.2), (0.3, 0.42), (-0.32, 0.42), round=0.015)
    b.fill(hull, c.main)
    b.fill(both(hull, y - 0.26), c.dark)
    b.fill(either(*[circle(x, y, cx, 0.325, 0.035) for cx in (-0.18, 0.02, 0.22)]), CREAM)


def bird(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(polygon(x, y, (-0.26, 0.0), (-0.5, -0.12), (-0.46, 0.14), round=0.01), c.dark)
    b.fill(polygon(x, y, (0.34, -0.16), (0.5, -0.09), (0.34, -0.03)), FLAME)
    body = either(ellipse(x, y, -0.03, 0.03, 0.32, 0.21, 0.15), circle(x, y, 0.24, -0.11, 0.15))
    b.fill(body, c.main)
    b.fill(both(body, ellipse(x, y, 0.06, 0.19, 0.26, 0.14)), CREAM)
    eye(b, 0.28, -0.14, 0.05)
    part("wing")
    x, y = b.x, b.y
    b.fill(ellipse(x, y, -0.11, -0.15, 0.12, 0.26, -0.5), c.dark)
    b.fill(ellipse(x, y, -0.1, -0.13, 0.06, 0.17, -0.5), c.light)


def fish(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(polygon(x, y, (-0.22, 0), (-0.48, -0.23), (-0.41, 0.0)), c.dark)
    b.fill(polygon(x, y, (-0.22, 0), (-0.48, 0.23), (-0.41, 0.0)), c.dark)
    b.fill(either(ellipse(x, y, 0.0, -0.22, 0.2, 0.11, 0.25), ellipse(x, y, 0.02, 0.22, 0.12, 0.08)), c.dark)
    body = ellipse(x, y, 0.06, 0, 0.37, 0.245)
    b.fill(body, c.main)
    b.fill(both(body, either(box(x, y, 0.06, 0, 0.05, 0.4), box(x, y, -0.14, 0, 0.045, 0.4))), CREAM)
    b.fill(ellipse(x, y, 0.02, 0.06, 0.1, 0.06, 0.4), c.dark)
    eye(b, 0.27, -0.06, 0.058)


def flower(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(box(x, y, 0, 0.26, 0.026, 0.26, 0.01), STEM)
    b.fill(ellipse(x, y, 0.13, 0.29, 0.14, 0.055, -0.5), LEAF)
    b.fill(ellipse(x, y, -0.13, 0.35, 0.14, 0.055, 0.5), LEAF)
    petals = [(0.19 * math.sin(k * math.pi / 3), -0.17 - 0.19 * math.cos(k * math.pi / 3)) for k in range(6)]
    b.fill(either(*[circle(x, y, px, py, 0.125) for px, py in petals]), c.main)
    b.fill(either(*[circle(x, y, 0.9 * px, 0.9 * (py + 0.17) - 0.17, 0.06) for px, py in petals]), c.light)
    b.fill(circle(x, y, 0, -0.17, 0.115), SUN)
    b.fill(either(*[circle(x, y, px, -0.17 + py, 0.02) for px, py in ((-0.045, 0.03), (0.045, 0.03), (0, -0.05))]), WOOD)


def windmill(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(polygon(x, y, (-0.1, -0.1), (0.1, -0.1), (0.19, 0.5), (-0.19, 0.5)), STONE)
    b.fill(polygon(x, y, (-0.15, -0.1), (0.15, -0.1), (0.0, -0.3), round=0.01), c.dark)
    b.fill(either(box(x, y, 0, 0.43, 0.06, 0.1, 0.04), box(x, y, 0, 0.18, 0.04, 0.05, 0.01)), BARK)
    part("blades")
    x, y = b.x, b.y + 0.12
    for k in range(4):
        a = math.pi / 4 + k * math.pi / 2
        s, co = math.sin(a), math.cos(a)
        b.fill(box(x, y, 0.23 * s, -0.23 * co, 0.02, 0.22, 0, a), BARK)
        b.fill(box(x, y, 0.3 * s + 0.06 * co, -0.3 * co + 0.06 * s, 0.065, 0.16, 0.01, a), c.main)
        b.fill(box(x, y, 0.3 * s + 0.06 * co, -0.3 * co + 0.06 * s, 0.065, 0.03, 0, a), c.light)
    b.fill(circle(x, y, 0, 0, 0.045), INK)


def rocket(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(ellipse(x, y, 0, 0.34, 0.09, 0.16), FLAME)
    b.fill(ellipse(x, y, 0, 0.31, 0.05, 0.1), SUN)
    b.fill(polygon(x, y, (-0.1, 0.02), (-0.27, 0.26), (-0.25, 0.34), (-0.08, 0.26)), c.dark)
    b.fill(polygon(x, y, (0.1, 0.02), (0.27, 0.26), (0.25, 0.34), (0.08, 0.26)), c.dark)
    body = both(ellipse(x, y, 0, 0.02, 0.17, 0.5), y - 0.27)
    b.fill(body, CREAM)
    b.fill(both(body, y + 0.22), c.main)
    b.fill(both(body, 0.19 - y), c.main)
    b.fill(circle(x, y, 0, -0.06, 0.1), c.dark)
    b.fill(circle(x, y, 0, -0.06, 0.07), GLASS)
    b.fill(ellipse(x, y, -0.02, -0.08, 0.03, 0.02, 0.7), CREAM)


def car(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(polygon(x, y, (-0.32, 0.0), (-0.22, -0.24), (0.12, -0.24), (0.26, 0.0), round=0.02), c.dark)
    b.fill(polygon(x, y, (-0.25, -0.01), (-0.18, -0.19), (-0.06, -0.19), (-0.06, -0.01)), GLASS)
    b.fill(polygon(x, y, (0.0, -0.01), (0.0, -0.19), (0.09, -0.19), (0.2, -0.01)), GLASS)
    b.fill(either(box(x, y, 0, 0.09, 0.48, 0.11, 0.07), box(x, y, -0.1, 0.06, 0.37, 0.1, 0.05)), c.main)
    b.fill(box(x, y, 0, 0.12, 0.46, 0.018), c.light)
    b.fill(circle(x, y, 0.42, 0.05, 0.045), SUN)
    b.fill(box(x, y, -0.45, 0.05, 0.025, 0.04, 0.01), FLAME)
    b.fill(either(circle(x, y, -0.26, 0.2, 0.125), circle(x, y, 0.27, 0.2, 0.125)), INK)
    b.fill(either(circle(x, y, -0.26, 0.2, 0.062), circle(x, y, 0.27, 0.2, 0.062)), CREAM)


def butterfly(b: Brush, c: Palette, part: Part) -> None:
    part("wings")
    x, y = b.x.abs(), b.y
    b.fill(ellipse(x, y, 0.2, 0.16, 0.15, 0.19, 0.6), c.dark)
    b.fill(circle(x, y, 0.2, 0.18, 0.07), c.light)
    b.fill(ellipse(x, y, 0.25, -0.15, 0.26, 0.175, -0.6), c.main)
    b.fill(circle(x, y, 0.31, -0.19, 0.075), CREAM)
    b.fill(circle(x, y, 0.17, -0.07, 0.05), c.light)
    part("body")
    x, y = b.x, b.y
    b.fill(segment(x.abs(), y, 0.02, -0.2, 0.11, -0.38, 0.016), INK)
    b.fill(either(ellipse(x, y, 0, 0.03, 0.05, 0.26), circle(x, y, 0, -0.23, 0.065)), INK)


def lantern(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(box(x, y, 0, -0.4, 0.014, 0.1), INK)
    b.fill(either(box(x, y, 0, 0.37, 0.012, 0.09), box(x, y, 0, 0.42, 0.045, 0.05, 0.02)), c.dark)
    body = ellipse(x, y, 0, 0.02, 0.32, 0.27)
    b.fill(body, c.main)
    b.fill(both(body, ellipse(x, y, 0, 0.02, 0.21, 0.29)), c.light)
    b.fill(both(body, ellipse(x, y, 0, 0.02, 0.09, 0.29)), SUN)
    b.fill(either(box(x, y, 0, -0.25, 0.15, 0.04, 0.015), box(x, y, 0, 0.28, 0.13, 0.035, 0.015)), INK)


def ball(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    disc = circle(x, y, 0, 0, 0.42)
    b.fill(disc, CREAM)
    for k in range(3):
        a = 2 * math.pi * k / 3
        tip, side = (math.sin(a), -math.cos(a)), 0.5
        left = (1.2 * math.sin(a - side), -1.2 * math.cos(a - side))
        right = (1.2 * math.sin(a + side), -1.2 * math.cos(a + side))
        b.fill(both(disc, polygon(x, y, (0.0, 0.0), left, (1.4 * tip[0], 1.4 * tip[1]), right)), c.main if k else c.dark)
    b.fill(circle(x, y, 0, 0, 0.09), c.light)


def star_subject(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y + 0.02
    b.fill(star(x, y, 5, 0.5, 0.25, 0.01), c.main)
    b.fill(star(x, y, 5, 0.36, 0.18), c.light)
    b.fill(either(circle(x, y, -0.08, -0.03, 0.038), circle(x, y, 0.08, -0.03, 0.038)), INK)
    b.fill(both(circle(x, y, 0, 0.05, 0.075), 0.06 - y), INK)


def tree(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(polygon(x, y, (-0.05, -0.1), (0.05, -0.1), (0.08, 0.5), (-0.08, 0.5)), BARK)
    b.fill(either(circle(x, y, -0.19, -0.05, 0.2), circle(x, y, 0.19, -0.05, 0.2), circle(x, y, 0, -0.22, 0.26)), LEAF)
    b.fill(either(circle(x, y, -0.12, -0.17, 0.13), circle(x, y, 0.13, -0.24, 0.11)), rgb("#74b85e"))
    fruit = ((-0.2, -0.02, 0.075), (0.0, -0.27, 0.085), (0.2, -0.06, 0.08))
    b.fill(either(*[circle(x, y, fx, fy, r) for fx, fy, r in fruit]), c.main)
    b.fill(either(*[circle(x, y, fx - 0.3 * r, fy - 0.3 * r, 0.3 * r) for fx, fy, r in fruit]), c.light)


def leaf(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(segment(x, y, 0.18, 0.18, 0.42, 0.42, 0.025), BARK)
    blade = both(circle(x, y, -0.22, 0.22, 0.5), circle(x, y, 0.22, -0.22, 0.5))
    b.fill(blade, c.main)
    b.fill(both(blade, y - x), c.light)
    veins = [segment(x, y, t, t, t + dx, t + dy, 0.016) for t in (-0.15, 0.02, 0.17) for dx, dy in ((-0.17, 0.0), (0.0, -0.17))]
    b.fill(both(blade + 0.015, either(segment(x, y, -0.3, -0.3, 0.3, 0.3, 0.02), *veins)), c.dark)


def kite(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(segment(x, y, 0, 0.16, -0.06, 0.3, 0.014), INK)
    b.fill(segment(x, y, -0.06, 0.3, 0.03, 0.47, 0.014), INK)
    for cx, cy in ((-0.06, 0.31), (0.03, 0.46)):
        b.fill(either(polygon(x, y, (cx, cy), (cx - 0.09, cy - 0.05), (cx - 0.09, cy + 0.05)),
                      polygon(x, y, (cx, cy), (cx + 0.09, cy - 0.05), (cx + 0.09, cy + 0.05))), c.dark)  # fmt: skip
    b.fill(polygon(x, y, (0, -0.48), (-0.31, -0.16), (0, 0.2)), c.main)
    b.fill(polygon(x, y, (0, -0.48), (0.31, -0.16), (0, 0.2)), c.light)
    b.fill(polygon(x, y, (0, -0.16), (0.31, -0.16), (0, 0.2)), CREAM)
    b.fill(polygon(x, y, (0, -0.48), (-0.31, -0.16), (0, -0.16)), c.dark)


def whale(b: Brush, c: Palette, part: Part) -> None:
    x, y = b.x, b.y
    b.fill(polygon(x, y, (-0.3, 0.1), (-0.5, -0.2), (-0.38, -0.14), round=0.015), c.dark)
    b.fill(polygon(x, y, (-0.3, 0.1), (-0.3, -0.24), (-0.38, -0.14), round=0.015), c.dark)
    body = either(ellipse(x, y, 0.08, 0.06, 0.38, 0.26), ellipse(x, y, -0.2, 0.1, 0.22, 0.1, 0.35))
    b.fill(body, c.main)
    b.fill(both(body, ellipse(x, y, 0.16, 0.27, 0.34, 0.16)), CREAM)
    b.fill(ellipse(x, y, 0.02, 0.18, 0.12, 0.06, 0.6), c.dark)
    eye(b, 0.28, 0.02, 0.05)
    b.fill(either(segment(x, y, 0.1, -0.22, 0.1, -0.33, 0.02), segment(x, y, 0.1, -0.33, 0.02, -0.4, 0.02),
                  segment(x, y, 0.1, -0.33, 0.18, -0.4, 0.02)), GLASS)  # fmt: skip


PAINTERS: dict[str, Callable[[Brush, Palette, Part], None]] = {
    "balloon": balloon, "boat": boat, "bird": bird, "fish": fish, "flower": flower, "windmill": windmill, "rocket": rocket,
    "car": car, "butterfly": butterfly, "lantern": lantern, "ball": ball, "star": star_subject, "tree": tree, "leaf": leaf,
    "kite": kite, "whale": whale,
}  # fmt: skip
