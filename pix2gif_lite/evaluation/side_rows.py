"""Rows of the quality table that need frames of their own: other steps, a searched flow, m = 0, others' networks, photographs.

Each takes a few scenes, since it compares two numbers of the same frames, and tells `tick(n)` when n more are done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..canvas import to_tensor
from ..data.mixture import FAMILIES
from ..data.training_data import held_out_crops
from ..metrics import psnr, region_mean
from ..origins.reach import NotInReach
from ..photos import MovedPhoto
from ..pipeline import Pix2GifPipeline
from ..presets import DEMO_MOTIONS
from ..scenes import Scene
from .generating import drawn, generate_for, through_autoencoder
from .measuring import best_warp, fidelity
from .network_metrics import LPIPS, PIC, CLIPSim
from .summary import mean

PHOTO_CROPS = 32


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
    fewest = 1 if pipe.config.distilled_steps is None else min(pipe.config.distilled_steps)  # the flow is the same in all
    for part in drawn(scenes, DEMO_MOTIONS, pipe.config.image_size):
        start = generate_for(pipe, part, DEMO_MOTIONS, fewest, None).flow
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
    gifs: list[tuple[Tensor, ...]] = []
    motions = (0, *DEMO_MOTIONS)
    for part in drawn(scenes, motions, pipe.config.image_size):
        made = generate_for(pipe, part, motions, steps, sampler).image.unflatten(0, (-1, len(motions)))
        asked = [(picture, scene.caption) for picture, scene in zip(part.source, part.scenes, strict=True)]
        returned = torch.cat([to_tensor(pipe(picture, caption, [0], quiet=True).frames[0]) for picture, caption in asked])
        firsts = made[:, 0], through_autoencoder(pipe, part.source), returned
        for values, frames in zip(columns.values(), firsts, strict=True):
            values.append(psnr(frames, part.source))
        exact = (values.unflatten(0, (-1, len(motions)))[:, 1:] for values in (part.exact.image, part.exact.moving))
        gifs.append((part.source, made[:, 1:], *exact))
        if tick:
            tick(len(part.scenes))
    found = {name: mean(torch.cat(values)) for name, values in columns.items()}
    source, frames, exact, moving = (torch.cat(parts) for parts in zip(*gifs, strict=True))
    networks = network_rows(source, frames, exact, [scene.caption for scene in scenes], moving)
    return {"first_frame": found | {"scenes": len(scenes)}, "network_metrics": networks | {"scenes": len(scenes)}}


def network_rows(
    first: Tensor,
    frames: Tensor,
    exact: Tensor,
    captions: Sequence[str],
    moving: Tensor | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """The means of the metrics of pictures over N GIFs; None for those that are not in reach.

    first     (N, 3, S, S), the users' pictures
    frames    (N, K, 3, S, S) generated; `exact` the same of the exact ones
    moving    (N, K, 1, S, S) bool: where something moves; None: then no LPIPS of the regions

    -> {"lpips", "moving_lpips", "still_lpips", "pic", "clipsim": float or None, "fvd": None, "not_computed": {name: reason}},
    where the LPIPS of a region is that of `LPIPS.maps`, averaged over it. FVD is of clips, see zero_shot.py.

    Raises ValueError for other shapes.
    """
    fits = frames.ndim == 5 and frames.shape == exact.shape and first.shape == frames[:, 0].shape
    if not fits or len(captions) != len(first):
        shapes = f"{tuple(first.shape)}, {tuple(frames.shape)}, {tuple(exact.shape)} and {len(captions)} captions"
        raise ValueError(f"GIFs of shapes {shapes} do not fit: give (N, 3, S, S), twice (N, K, 3, S, S), and N.")
    if moving is not None and moving.shape != frames[:, :, :1].shape:
        raise ValueError(f"A region of shape {tuple(moving.shape)} does not fit frames {tuple(frames.shape)}.")

    def lpips() -> dict[str, Tensor]:
        metric, pair = LPIPS(device), (frames.flatten(0, 1), exact.flatten(0, 1))
        found = {"lpips": metric(*pair)}
        if moving is not None:
            maps, where = metric.maps(*pair), moving.flatten(0, 1)
            found |= {"moving_lpips": region_mean(maps, where), "still_lpips": region_mean(maps, ~where)}
        return found

    compute: dict[str, Callable[[], dict[str, Tensor]]] = {
        "lpips": lpips,
        "pic": lambda: {"pic": PIC(device)(first, frames)},
        "clipsim": lambda: {"clipsim": CLIPSim(device=device)(frames, captions)},
    }
    rows: dict[str, Any] = dict.fromkeys(("lpips", "moving_lpips", "still_lpips", "pic", "clipsim", "fvd"))
    missing = {"fvd": "needs real clips beside the generated ones: run `pix2gif-lite evaluate --videos DIR --layout NAME`"}
    for name, values in compute.items():
        try:
            rows |= {key: mean(found) for key, found in values().items()}
        except NotInReach as error:
            missing[name] = str(error)
    return {**rows, "not_computed": missing}


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
