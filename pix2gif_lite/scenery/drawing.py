"""Renders a batch of scenes: pictures, which layer each pixel shows, and the exact backward flow.

Layer 0 is the background; actor k has layer 2k + 1 for what stands still and 2k + 2 for what moves. Actors of one kind are
painted together, each in a patch just large enough for it: that is what makes the drawing fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..shapes import Brush, Deform
from .actions import MOVING_PART, deform
from .backdrops import draw_backdrops
from .casting import COLOURS, Actor
from .subjects import PAINTERS, Palette, rgb

if TYPE_CHECKING:
    from ..scenes import Scene


def column(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(-1, 1, 1)


def deform_of(actors: Sequence[Actor], amplitudes: Tensor) -> Deform:
    sizes = column([a.size for a in actors], amplitudes.device).flatten()
    facings = column([a.facing for a in actors], amplitudes.device).flatten()
    moved = amplitudes * column([a.action is not None for a in actors], amplitudes.device).flatten()
    return deform([a.action or "drift" for a in actors], [a.direction for a in actors], sizes, facings, moved)


def _windows(actors: Sequence[Actor], moved: Deform, size: int) -> tuple[list[int], list[int], int]:
    """Left and top of the square patches that hold the moved actors, and the patches' common side, in pixels."""
    edge = torch.tensor([-0.53, 0.0, 0.53], device=moved.pivot.device)
    x, y = moved.forward(edge.expand(len(actors), 3, 3), edge[:, None].expand(len(actors), 3, 3))
    facing, scale = column([a.facing for a in actors], x.device), column([a.size * size for a in actors], x.device)
    x = (x * facing * scale + column([a.x * size for a in actors], x.device)).flatten(1)
    y = (y * scale + column([a.y * size for a in actors], x.device)).flatten(1)
    side = min(size, int(torch.maximum(x.amax(1) - x.amin(1), y.amax(1) - y.amin(1)).amax()) + 4)
    corner = torch.stack([0.5 * (v.amin(1) + v.amax(1)) - side / 2 for v in (x, y)]).round().clamp(0, size - side).int()
    return corner[0].tolist(), corner[1].tolist(), side


def _paint_slot(actors: Sequence[Actor], amplitudes: Tensor, slot: int, picture: Tensor, layers: Tensor, flow: Tensor) -> None:
    """Paint one actor a picture, all the same subject. Layer 2 slot + 1 stands still, layer 2 slot + 2 moves."""
    device, full = picture.device, picture.shape[-1]
    moved = deform_of(actors, amplitudes)
    # Only a square patch around each actor is computed: that is where the time goes.
    left, top, patch = _windows(actors, moved, full)
    windows = [(slice(t, t + patch), slice(x, x + patch)) for t, x in zip(top, left, strict=True)]
    canvas = torch.stack([picture[i][:, r, c] for i, (r, c) in enumerate(windows)])
    ids = torch.stack([layers[i][r, c] for i, (r, c) in enumerate(windows)])

    axis = torch.arange(patch, device=device) + 0.5
    unit = column([a.size * full for a in actors], device)  # pixels a subject unit
    facing = column([a.facing for a in actors], device)
    # pixel -> v, the subject's unit square, mirrored where it faces left -> v0, the same point at rest
    vx = (axis + column([x - a.x * full for x, a in zip(left, actors, strict=True)], device)) / unit * facing
    vy = (axis[:, None] + column([t - a.y * full for t, a in zip(top, actors, strict=True)], device)) / unit
    vx, vy = torch.broadcast_tensors(vx, vy)
    rest_x, rest_y = moved.inverse(vx, vy)
    tilt = column([a.tilt for a in actors], device)
    cos, sin = torch.cos(tilt), torch.sin(tilt)

    brush = Brush(canvas, ids, unit)
    mover = MOVING_PART.get((actors[0].subject, actors[0].action))

    def part(name: str | None) -> None:
        moving = actors[0].action is not None and mover in (None, name)
        x, y = (rest_x, rest_y) if moving else (vx, vy)
        if actors[0].tilt:
            x, y = cos * x + sin * y, cos * y - sin * x
        brush.use(x, y, 2 * slot + (2 if moving else 1))

    part(None)
    PAINTERS[actors[0].subject](brush, _palette(actors, device), part)
    brush.finish()
    backward = torch.stack([(rest_x - vx) * facing * unit, (rest_y - vy) * unit], 1)
    # At rest the inverse returns each point but for rounding; the flow of a rest frame is zero, not nearly zero.
    moves = (ids == 2 * slot + 2) & (amplitudes != 0).reshape(-1, 1, 1)
    backward = torch.where(moves[:, None], backward, 0.0)
    for i, (r, c) in enumerate(windows):
        picture[i][:, r, c], layers[i][r, c] = canvas[i], ids[i]
        flow[i][:, r, c] = torch.where((ids[i] > 2 * slot)[None], backward[i], flow[i][:, r, c])


def _palette(actors: Sequence[Actor], device: torch.device) -> Palette:
    main = torch.stack([rgb(COLOURS[a.colour]) + torch.tensor(a.tint).reshape(3, 1, 1) for a in actors]).to(device)
    return Palette(main, 0.74 * main, main + 0.45 * (1 - main))


CHUNK = 12  # actors drawn at once: their patches stay in a core's cache


def render(scenes: Sequence[Scene], amplitudes: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (B, 3, S, S) in [0, 1], layers (B, S, S) uint8 and backward flow (B, 2, S, S) at nominal amplitudes (B,)."""
    device = amplitudes.device
    unique = {id(scene): scene for scene in scenes}  # frames of one scene share its background
    row = {key: k for k, key in enumerate(unique)}
    details = torch.tensor([scene.details for scene in unique.values()], device=device)
    picture = draw_backdrops([scene.backdrop for scene in unique.values()], details, size)
    picture = picture[torch.tensor([row[id(scene)] for scene in scenes], device=device)]
    layers = torch.zeros(len(scenes), size, size, dtype=torch.uint8, device=device)
    flow = torch.zeros(len(scenes), 2, size, size, device=device)
    for slot in range(max(len(scene.actors) for scene in scenes)):
        groups: dict[tuple, list[int]] = {}
        for i, scene in enumerate(scenes):
            if slot < len(scene.actors):
                actor = scene.actors[slot]
                part = MOVING_PART.get((actor.subject, actor.action))
                groups.setdefault((actor.subject, actor.action is None, part), []).append(i)
        for members in groups.values():
            for start in range(0, len(members), CHUNK):
                chunk = members[start : start + CHUNK]
                at = torch.tensor(chunk, device=device)
                parts = picture[at], layers[at], flow[at]
                _paint_slot([scenes[i].actors[slot] for i in chunk], amplitudes[at], slot, *parts)
                picture[at], layers[at], flow[at] = parts
    return picture.clamp_(0, 1), layers, flow


def explain(layers: Tensor, rest: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Occlusion and moving region from the layers of a frame, the layers at rest, both (B, S, S), and the flow between them."""
    size = layers.shape[-1]
    axis = torch.arange(size, device=layers.device)
    x, y = flow[:, 0] + axis, flow[:, 1] + axis[:, None]
    inside = (x > -0.5) & (x < size - 0.5) & (y > -0.5) & (y < size - 0.5)
    column, line = x.round().long().clamp(0, size - 1), y.round().long().clamp(0, size - 1)
    source = rest.flatten(1).gather(1, (line * size + column).flatten(1)).reshape_as(rest)
    hidden = ((source != layers) | ~inside)[:, None]
    moving = ((layers > 0) & (layers % 2 == 0) | (rest > 0) & (rest % 2 == 0))[:, None]
    return hidden, moving
