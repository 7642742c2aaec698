"""How a whole picture can move: the camera pans, zooms, slides past; the picture turns, sways, ripples, breathes, drifts.

Each move is a smooth one-to-one map of the picture's plane, given by a formula and its inverse: where a point of the source
goes, and where a point of the frame comes from. What the words say fixes the map up to its amplitude, so a caption and a
motion have one right answer. When the camera pans to the left, everything in the picture goes right; when the picture
drifts to the left, everything goes left; when the camera rotates clockwise, everything turns counterclockwise.

Coordinates are centred on the picture, x right, y down, and the picture's side is 1. An amplitude is a nominal motion in
pixels at 256 x 256, near to the mean over the picture's area; photos.py calibrates it to the paper's measure.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch
from torch import Tensor

from ..presets import MOTION_SIZE
from ..scenery.actions import direction

LEVER = 0.3826  # mean distance from the centre of a unit square
BREATH = 0.2051  # the same, weighted by `_bulge`
WAVES = 1.0  # wavelengths that fit into the picture: shorter ones would fold small things away at m = 20
WAVE_MEAN = 0.958  # mean length of (sin u, sin v)
FAR, HORIZON, SOFT = 0.3, 0.0, 0.08  # parallax: the far plane's share of the near one's motion; where and how softly they meet
DOUBLINGS = 40  # of the bisection that inverts `breathe`: to float32's last digit


class Move(NamedTuple):
    """One kind of motion and its way: left, right, up, down, in, out, clockwise, counterclockwise or nothing."""

    kind: str
    way: str


_KINDS = {
    "pan": ("left", "right", "up", "down"),
    "zoom": ("in", "out"),
    "turn": ("clockwise", "counterclockwise"),
    "sway": ("left", "right"),
    "ripple": ("",),
    "breathe": ("",),
    "drift": ("left", "right", "up", "down"),
    "slide": ("left", "right"),
}
MOVES = {f"{kind} {way}".strip(): Move(kind, way) for kind, ways in _KINDS.items() for way in ways}
OPPOSITE = {"left": "right", "up": "down", "in": "out", "clockwise": "counterclockwise"}
OPPOSITE |= {other: way for way, other in OPPOSITE.items()}

# {way} "left" or "up"; {to} "to the left" or "up"; {against} the opposite of {way}; {it} the picture
PHRASES = {
    "pan": ("the camera pans {to}", "the camera pans {way}", "the camera is panning {to}", "panning {to} across {it}"),
    "zoom in": ("the camera zooms in", "zooming in on {it}", "the camera moves closer", "{it} gets bigger and bigger"),
    "zoom out": ("the camera zooms out", "zooming out of {it}", "the camera moves back", "{it} gets smaller and smaller"),
    "turn": ("{it} rotates {way}", "{it} is turning {way}", "{it} spins {way}", "the camera rotates {against}"),
    "sway": ("{it} sways {to}", "{it} is swaying {to}", "{it} leans {to}", "{it} bends {to} in the wind"),
    "ripple": ("ripples run through {it}", "{it} ripples", "{it} ripples like water", "waves run through {it}"),
    "breathe": ("{it} breathes", "{it} is breathing", "{it} swells in the middle", "the middle of {it} swells"),
    "drift": ("{it} drifts {to}", "{it} is drifting {to}", "{it} floats {to}", "{it} is carried {to}"),
    "slide": (
        "the camera slides {to}, near things move more than far ones",
        "the camera slides {to} past near and far things",
        "the camera is sliding {to} past the near things",
        "the camera slides {to}",
    ),
}
IT = ("the picture", "the picture", "the photograph", "the scene", "the view")


def describe_move(rng: random.Random, name: str) -> str:
    """A caption for the move of that name: 'the camera pans to the left'."""
    kind, way = MOVES[name]
    to = way if way in ("up", "down") else f"to the {way}"
    phrase = rng.choice(PHRASES.get(name) or PHRASES[kind])
    return phrase.format(way=way, to=to, against=OPPOSITE.get(way, ""), it=rng.choice(IT))


def forward(name: str, x: Tensor, y: Tensor, amplitude: Tensor | float) -> tuple[Tensor, Tensor]:
    """Where the points (x, y) of the source are in the frame. Everything broadcasts."""
    return _moved(MOVES[name], x, y, torch.as_tensor(amplitude) / MOTION_SIZE, backwards=False)


def backward(name: str, x: Tensor, y: Tensor, amplitude: Tensor | float) -> tuple[Tensor, Tensor]:
    """Where the points (x, y) of the frame come from in the source: the inverse of `forward`."""
    return _moved(MOVES[name], x, y, torch.as_tensor(amplitude) / MOTION_SIZE, backwards=True)


def _moved(move: Move, x: Tensor, y: Tensor, d: Tensor, backwards: bool) -> tuple[Tensor, Tensor]:
    sign = -1 if backwards else 1
    if move.kind in ("pan", "drift"):
        dx, dy = direction(OPPOSITE[move.way] if move.kind == "pan" else move.way, 0)
        return x + sign * dx * d + 0 * y, y + sign * dy * d + 0 * x
    if move.kind == "zoom":
        scale = 1 + (1 if move.way == "in" else -1) * d / LEVER
        scale = 1 / scale if backwards else scale
        return x * scale + 0 * y, y * scale + 0 * x
    if move.kind == "turn":
        angle = sign * (1 if move.way == "clockwise" else -1) * d / LEVER  # y points down: a positive angle is clockwise
        return x * torch.cos(angle) - y * torch.sin(angle), x * torch.sin(angle) + y * torch.cos(angle)
    if move.kind == "sway":  # rows slide, the lowest stays
        return x + sign * (1 if move.way == "right" else -1) * d * 2 * (0.5 - y), y + 0 * (x + d)
    if move.kind == "slide":  # rows slide, the near ones below by more
        depth = FAR + (1 - FAR) * torch.sigmoid((y - HORIZON) / SOFT)
        mean = (1 + FAR) / 2  # as much is near as far
        return x + sign * (1 if move.way == "left" else -1) * d * depth / mean, y + 0 * (x + d)
    if move.kind == "ripple":  # a wave through the rows, then one through the columns: each alone is undone exactly
        height, turn = d / WAVE_MEAN, 2 * math.pi * WAVES
        if backwards:
            y = y - height * torch.sin(turn * x)
            return x - height * torch.sin(turn * y), y
        x = x + height * torch.sin(turn * y)
        return x, y + height * torch.sin(turn * x)
    assert move.kind == "breathe", move
    strength = d / BREATH
    if backwards:
        shrink = 1 - strength * _bulge(x, y)
        return x * shrink, y * shrink
    return _swollen(x, y, strength)


def _bulge(x: Tensor, y: Tensor) -> Tensor:
    """1 in the centre, 0 on the picture's edge and outside."""
    return (1 - (2 * x) ** 4).clamp_min(0) * (1 - (2 * y) ** 4).clamp_min(0)


def _swollen(x: Tensor, y: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `breathe` backwards. A point stays on its ray: bisect for how much farther out it is, from 1 on."""
    low = torch.ones_like(x + y + strength)
    high = low / (1 - strength)  # no point is drawn in by more than the centre
    for _ in range(DOUBLINGS):
        middle = (low + high) / 2
        short = middle * (1 - strength * _bulge(middle * x, middle * y)) < 1
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return x * low, y * low
