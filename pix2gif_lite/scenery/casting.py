"""Who plays in a scene: the rules that pick subjects, colours, actions, places and sizes, and what each split leaves out."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ..presets import MOTION_MAX, MOTION_SIZE
from .actions import ACTIONS, SUITS, direction

COLOURS = {
    "red": "#e2453c", "orange": "#f28c28", "yellow": "#f5c631", "green": "#3f9d57", "blue": "#3b74c9", "purple": "#8a56b8",
    "pink": "#ee86ad", "teal": "#1fa39b",
}  # fmt: skip
# Pairs that training never draws: `test_pairs` is made of them.
HELD_OUT_ACTIONS = {("star", "grow"), ("lantern", "rise"), ("kite", "rock"), ("butterfly", "drift"), ("rocket", "fall")}
HELD_OUT_COLOURS = {("car", "purple"), ("balloon", "green"), ("fish", "pink"), ("boat", "yellow"), ("windmill", "blue")}

GROUND = ("hills", "sunset", "night", "desert", "snow", "meadow")
AIR, WATER, SEA = (*GROUND, "sea"), ("underwater",), ("sea",)
LIVES = {
    "balloon": AIR, "boat": SEA, "bird": AIR, "fish": WATER, "flower": GROUND, "windmill": GROUND, "rocket": AIR, "car": GROUND,
    "butterfly": ("hills", "sunset", "desert", "meadow"), "lantern": AIR, "ball": GROUND, "star": ("night", "sunset", "snow"),
    "tree": GROUND, "leaf": AIR, "kite": AIR, "whale": ("underwater", "sea"),
}  # fmt: skip
STANDS = {
    "flower": 0.5,
    "windmill": 0.5,
    "car": 0.325,
    "tree": 0.5,
    "ball": 0.42,
    "boat": 0.3,
}  # subject centre to the ground
TILTS = {"leaf": (-0.9, 0.9), "star": (-0.3, 0.3), "kite": (-0.35, 0.35), "ball": (0.0, 2.1), "bird": (-0.15, 0.2)}  # radians
TOO_ALIKE = {  # colours that would drown in a backdrop
    ("green", "hills"), ("green", "meadow"), ("teal", "meadow"), ("orange", "sunset"), ("pink", "sunset"), ("purple", "sunset"),
    ("yellow", "desert"), ("orange", "desert"), ("blue", "night"), ("purple", "night"), ("blue", "sea"), ("teal", "sea"),
    ("blue", "underwater"), ("green", "underwater"), ("teal", "underwater"),
}  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """One subject: where it rests (centre, in pictures), how large it is, which way it faces, and what it does."""

    subject: str
    colour: str
    action: str | None  # None stands still
    way: str
    x: float
    y: float
    size: float
    facing: int
    tilt: float
    angle: float  # of an open direction, radians
    tint: tuple[float, float, float]

    @property
    def direction(self) -> tuple[float, float]:
        return direction(self.way, self.angle) if self.action else (0.0, 0.0)


def _place(rng: random.Random, subject: str, action: str | None, backdrop: str, column: float | None, split: str) -> Actor:
    """Place one subject so that it stays inside the picture at m = MOTION_MAX. `column` in [0, 1] fixes x in a pair."""
    rule = ACTIONS.get(action or "")
    alone = column is None
    size = rng.uniform(0.42, 0.56) if alone else rng.uniform(0.32, 0.38)
    if rule and rule.large:
        size = rng.uniform(0.5, 0.58)
    way = rng.choice(rule.ways) if rule else "right"
    angle = rng.uniform(0, 2 * math.pi)
    facing = {"left": -1, "right": 1}.get(way, rng.choice((-1, 1))) if rule and rule.faces else rng.choice((-1, 1))
    dx, dy = direction(way, angle) if rule and rule.kind in ("shift", "swim", "bounce", "roll") else (0.0, 0.0)
    reach, half = (MOTION_MAX + 2) / MOTION_SIZE, 0.5 * size + 0.015
    grow = 0.1 if rule and rule.kind in ("grow", "turn", "sway") else 0.0

    def span(step: float, column: float | None = None) -> float:
        low, high = half + grow + max(0.0, -step * reach), 1 - half - grow - max(0.0, step * reach)
        return 0.5 * (low + high) if low >= high else rng.uniform(low, high) if column is None else low + column * (high - low)

    x, y = span(dx, column), span(dy)
    if subject in STANDS:
        ground = 0.66 + 0.1 * rng.random() if subject == "boat" else 0.82 + 0.12 * rng.random()
        y = ground - STANDS[subject] * size
    colours = [c for c in COLOURS if (c, backdrop) not in TOO_ALIKE]
    held_out = [c for c in colours if (subject, c) in HELD_OUT_COLOURS]
    if split == "test_pairs" and held_out and (subject, action) not in HELD_OUT_ACTIONS:
        colours = held_out
    else:
        colours = [c for c in colours if c not in held_out]
    tilts = {name: rng.uniform(low, high) for name, (low, high) in TILTS.items()}
    tilt = tilts.get(subject, 0.0)
    tint = tuple(rng.uniform(-0.035, 0.035) for _ in range(3))
    return Actor(subject, rng.choice(colours), action, way, x, y, size, facing, tilt, angle, tint)


def cast(rng: random.Random, split: str) -> tuple[str, list[Actor]]:
    """A backdrop and its one or two actors, first the one that the split is about."""
    closed = {s: [a for a in actions if not ACTIONS[a].open] for s, actions in SUITS.items()}
    usual = {s: [a for a in actions if (s, a) not in HELD_OUT_ACTIONS] for s, actions in closed.items()}
    if split == "test_pairs":
        coloured = [(s, a) for s, _ in sorted(HELD_OUT_COLOURS) for a in usual[s]]
        subject, action = rng.choice(sorted(HELD_OUT_ACTIONS) + coloured)
    elif split == "test_open" or (split == "train" and rng.random() < 0.06):
        subject, action = rng.choice([(s, a) for s, actions in SUITS.items() for a in actions if ACTIONS[a].open])
    else:
        subject = rng.choice(sorted(SUITS))
        action = rng.choice(usual[subject])
    places = LIVES[subject]
    if split == "test_pairs" and (subject, action) not in HELD_OUT_ACTIONS:
        places = [p for p in places if any((subject, c) in HELD_OUT_COLOURS and (c, p) not in TOO_ALIKE for c in COLOURS)]
    backdrop = rng.choice(places)
    others = [s for s in sorted(SUITS) if s != subject and backdrop in LIVES[s]]
    if ACTIONS[action].open or ACTIONS[action].large or not others or rng.random() > 0.3:
        return backdrop, [_place(rng, subject, action, backdrop, None, split)]
    second = rng.choice(others)
    choices = [a for a in usual[second] if not ACTIONS[a].large]
    second_action = rng.choice(choices) if choices and rng.random() < 0.6 else None
    return backdrop, [
        _place(rng, subject, action, backdrop, rng.uniform(0, 0.1), split),
        _place(rng, second, second_action, backdrop, rng.uniform(0.9, 1.0), "train"),
    ]
