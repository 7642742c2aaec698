"""Rows of the quality table that need frames of their own: other steps, a searched flow, m = 0, held-out pairs, photographs.

Each takes a few scenes, since it compares two numbers of the same frames, and tells `tick(n)` when n more are done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .canvas import to_tensor
from .casting import HELD_OUT_ACTIONS, HELD_OUT_COLOURS
from .generating import drawn, generate_for, through_autoencoder
from .measuring import best_warp, fidelity
from .metrics import psnr
from .mixture import FAMILIES
from .network_metrics import network_rows
from .photos import MovedPhoto
from .pipeline import Pix2GifPipeline
from .presets import DEMO_MOTIONS
from .scenes import Scene, scenes_where
from .summary import mean
from .training_data import held_out_crops

PHOTO_CROPS = 32
PAIRS: dict[str, Callable[[Scene], bool]] = {  # what training never drew together
    "actions": lambda scene: any((actor.subject, actor.action) in HELD_OUT_ACTIONS for actor in scene.actors),
    "colours": lambda scene: any((actor.subject, actor.colour) in HELD_OUT_COLOURS for actor in scene.actors),
}


def held_out_pairs(count: int, kind: str) -> list[Scene]:
    """The first `count` scenes of test_pairs that have a pair of that kind, one of PAIRS."""
    return scenes_where(count, "test_pairs", PAIRS[kind], f"with held-out {kind}")


def fidelity_at(
    pipe: Pix2GifPipeline, scenes: Sequence[Scene], steps: int, sampler: str | None = None, tick: Any = None
) -> float:
    """PSNR of the generated frames at that many steps, dB, mean over scenes and motions."""
    rows = []
    for part in drawn(scenes, DEMO_MOTIONS, pipe.config.image_size):
        rows.append(psnr(generate_for(pipe, part, DEMO_MOTIONS, steps, sampler).image, part.exact.image))
        if tick:
            tick(len(part.scenes))
    return float(torch.cat(rows).mean())


def searched_flow(pipe: Pix2GifPipeline, scenes: Sequence[Scene], tick: Any = None) -> dict[str, Any]:
    """How far below E/D alone the warp is with a flow searched for each frame; None for the variants without a warp."""
    if pipe.flow_net is None:
        return {"gap_db": None, "moving_gap_db": None, "still_gap_db": None}
    gaps: dict[str, list[Tensor]] = {"psnr": [], "moving_psnr": [], "still_psnr": []}
    for part in drawn(scenes, DEMO_MOTIONS, pipe.config.image_size):
        start = generate_for(pipe, part, DEMO_MOTIONS, 1, None).flow
        best = fidelity(best_warp(pipe, part, start), part.exact)
        ceiling = fidelity(through_autoencoder(pipe, part.exact.image), part.exact)
        for name, values in gaps.items():
            values.append(ceiling[name] - best[name])
        if tick:
            tick(len(part.scenes))
    return {name.replace("psnr", "gap_db"): mean(torch.cat(values)) for name, values in gaps.items()} | {"scenes": len(scenes)}


def first_frames(
    pipe: Pix2GifPipeline, scenes: Sequence[Scene], steps: int | None = None, sampler: str | None = None, tick: Any = None
) -> dict[str, Any]:
    """The sections first_frame and network_metrics, of the same GIFs.

    first_frame      PSNR against the user's picture, dB: psnr of the frame that the model makes for m = 0, returned_psnr of
                     the one that the pipeline returns for it, ceiling_psnr of the picture through E and D
    network_metrics  what `network_rows` returns, of the frames of DEMO_MOTIONS
    """
    columns: dict[str, list[Tensor]] = {"psnr": [], "ceiling_psnr": [], "returned_psnr": []}
    gifs: list[tuple[Tensor, Tensor, Tensor]] = []
    motions = (0, *DEMO_MOTIONS)
    for part in drawn(scenes, motions, pipe.config.image_size):
        made = generate_for(pipe, part, motions, steps, sampler).image.unflatten(0, (-1, len(motions)))
        asked = [(picture, scene.caption) for picture, scene in zip(part.source, part.scenes, strict=True)]
        returned = torch.cat([to_tensor(pipe(picture, caption, [0], quiet=True).frames[0]) for picture, caption in asked])
        firsts = made[:, 0], through_autoencoder(pipe, part.source), returned
        for values, frames in zip(columns.values(), firsts, strict=True):
            values.append(psnr(frames, part.source))
        gifs.append((part.source, made[:, 1:], part.exact.image.unflatten(0, (-1, len(motions)))[:, 1:]))
        if tick:
            tick(len(part.scenes))
    found = {name: mean(torch.cat(values)) for name, values in columns.items()}
    source, frames, exact = (torch.cat(parts) for parts in zip(*gifs, strict=True))
    networks = network_rows(source, frames, exact, [scene.caption for scene in scenes])
    return {"first_frame": found | {"scenes": len(scenes)}, "network_metrics": networks | {"scenes": len(scenes)}}


def photographs(pipe: Pix2GifPipeline) -> dict[str, Any]:
    """E/D alone on crops of photographs that training never saw; None with the reason where they are not installed."""
    try:
        crops = held_out_crops(pipe.config.image_size, PHOTO_CROPS)
    except ModuleNotFoundError as error:
        return {"psnr": None, "not_computed": str(error)}
    return {"psnr": float(psnr(through_autoencoder(pipe, crops), crops).mean()), "crops": len(crops)}


def moved_photos(count: int) -> tuple[list[MovedPhoto], dict[str, str]]:
    """Photographs that training never saw, each with its move; none, and the reason, where they are not installed."""
    try:
        return FAMILIES["photos"].sample(count, "test", 0), {}
    except ModuleNotFoundError as error:
        return [], {"not_computed": str(error)}
