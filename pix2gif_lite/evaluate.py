"""Does it work? The quality table on held-out scenes and photographs: `run` measures, averages and writes it down.

It returns one dict and writes it as results.json, with a Markdown table and sheets of pictures. Figures in dB are means over
frames of each frame's dB. How they are made is in generating.py, how measured in measuring.py, how it reads in report.py.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .files import write_whole
from .generating import drawn, generate_for, through_autoencoder
from .measuring import best_warp, fidelity, measure
from .metrics import coherency, psnr
from .mixture import FAMILIES
from .photo_moves import MOVES
from .photos import MovedPhoto
from .pipeline import Pix2GifPipeline
from .presets import DEMO_MOTIONS, MOTION_MAX
from .report import provenance, sheet, table
from .scenes import Scene, draw, sample_scenes
from .training_data import held_out_crops

FAST = 8  # px at 256: the gain over a copied source counts from this motion on, below it a copy is nearly right
FEW, MANY = 5, 20  # steps compared
SHEET_SCENES = 8
PHOTOS, QUICK_PHOTOS = 32, 8
PHOTO_CROPS = 32
QUICK_SCENES = 40


def run(
    weights: str | os.PathLike | Pix2GifPipeline = "lite",
    out: str | os.PathLike | None = None,
    scenes: int = 200,
    quick: bool = False,
    steps: int | None = None,
    sampler: str | None = None,
    split: str = "test",
    progress: bool = True,
) -> dict[str, Any]:
    """Measure weights ("lite", a folder, a Hub id, or a pipeline in memory) on the first `scenes` scenes of a split.

    Moved photographs that training never saw are measured too: 32, but no more than scenes.

    out      a folder for results.json, results.md and the sheets sheet, worst and photos.png (made if missing; None: no files)
    quick    at most 40 scenes and 8 moved photographs
    steps, sampler   None: the weights' own defaults

    Returns the dict that results.json holds. Rows that cannot be computed are None, and "not_computed" says why.
    Raises ValueError for no scenes or an unknown split, and whatever loading the weights raises.
    """
    if scenes < 1:
        raise ValueError(f"{scenes} scenes cannot be measured: give at least 1.")
    sample_scenes(0, split)  # refuses an unknown one
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)  # refused now rather than after ten minutes
    began = time.perf_counter()
    pipe = weights if isinstance(weights, Pix2GifPipeline) else Pix2GifPipeline.from_pretrained(weights)
    count = min(scenes, QUICK_SCENES) if quick else scenes
    # The side rows need fewer scenes: each compares two numbers of the same frames, or is there to be looked at.
    compared, aside = min(count, max(8, count // 5)), min(count, max(8, count // 8))
    photos, reason = moved_photos(min(count, QUICK_PHOTOS if quick else PHOTOS))
    total = count + 2 * compared + 3 * aside + len(photos)
    with tqdm(total=total, unit="picture", desc="evaluate", disable=not progress) as bar:
        options = {"steps": steps, "sampler": sampler, "tick": bar.update}
        chosen = sample_scenes(count, split)
        frames = measure(pipe, chosen, **options)
        few, many = (fidelity_at(pipe, chosen[:compared], n, sampler, bar.update) for n in (FEW, MANY))
        pairs = measure(pipe, sample_scenes(aside, "test_pairs"), **options)
        opened = measure(pipe, sample_scenes(aside, "test_open"), **options)
        searched = searched_flow(pipe, chosen[:aside], bar.update)
        moved = summarise_photos(photos, measure(pipe, photos, family=FAMILIES["photos"], **options)) if photos else reason
    results: dict[str, Any] = {
        "made": provenance(weights, pipe, {"scenes": count, "split": split, "steps": steps, "sampler": sampler}),
        **summarise(frames),
        "few_steps": {"few": few, "many": many, "gap_db": many - few, "steps": [FEW, MANY], "scenes": compared},
        "test_pairs": brief(pairs) | {"scenes": aside},
        "test_open": brief(opened) | {"scenes": aside},
        "searched_flow": searched,
        **photographs(pipe),
        "moved_photographs": moved,
    }
    score = (frames["moving_psnr"] - frames["ceiling_moving_psnr"]).nanmean(1)
    worst = score.nan_to_num(math.inf).argsort()[:SHEET_SCENES].tolist()
    results["worst_scenes"] = worst
    results["seconds"] = round(time.perf_counter() - began, 1)
    if out is not None:
        folder = Path(out)
        write_whole(folder / "results.json", (json.dumps(results, indent=1) + "\n").encode())
        write_whole(folder / "results.md", table(results).encode())
        sheet(pipe, chosen[:SHEET_SCENES], steps, sampler).save(folder / "sheet.png")
        sheet(pipe, [chosen[k] for k in worst], steps, sampler).save(folder / "worst.png")
        if photos:
            sheet(pipe, photos[:SHEET_SCENES], steps, sampler, FAMILIES["photos"]).save(folder / "photos.png")
    return results


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


def photographs(pipe: Pix2GifPipeline) -> dict[str, Any]:
    """E/D alone on crops of photographs that training never saw; None with the reason where they are not installed."""
    try:
        crops = held_out_crops(pipe.config.image_size, PHOTO_CROPS)
    except ModuleNotFoundError as error:
        return {"photographs": {"psnr": None, "not_computed": str(error)}}
    return {"photographs": {"psnr": float(psnr(through_autoencoder(pipe, crops), crops).mean()), "crops": len(crops)}}


def moved_photos(count: int) -> tuple[list[MovedPhoto], dict[str, str]]:
    """Photographs that training never saw, each with its move; none, and the reason, where they are not installed."""
    try:
        return FAMILIES["photos"].sample(count, "test", 0), {}
    except ModuleNotFoundError as error:
        return [], {"not_computed": str(error)}


def summarise_photos(photos: Sequence[MovedPhoto], frames: dict[str, Tensor]) -> dict[str, Any]:
    """The section moved_photographs of the results, from `measure`'s columns: all of them, and each kind of move alone."""
    kinds = [MOVES[photo.move].kind for photo in photos]
    rows = {kind: [k for k, other in enumerate(kinds) if other == kind] for kind in sorted(set(kinds))}
    alone = {kind: brief({name: v[some] for name, v in frames.items()}) | {"photos": len(some)} for kind, some in rows.items()}
    return {"photos": len(photos), **summarise(frames), "by_move": alone}


def mean(values: Tensor | None) -> float | None:
    """Mean of what there is; None where there is nothing."""
    if values is None or values.isnan().all():
        return None
    return float(values.nanmean())


def summarise(frames: dict[str, Tensor]) -> dict[str, Any]:
    """The sections fidelity, coherency, ruler, flow, stillness and by_motion of the results, from `measure`'s columns."""
    asked = frames["asked"]
    dB = {name: mean(value) for name, value in frames.items() if name.endswith("psnr")}
    fast = asked[0] >= FAST
    for region in ("", "moving_", "still_", "seen_"):
        ours, ceiling, copy = (frames[f"{which}{region}psnr"] for which in ("", "ceiling_", "copy_"))
        dB[region + "gap_db"] = mean(ceiling - ours)
        dB[region + "gain_db"] = mean((ours - copy)[:, fast])
    kept = [f"{which}{region}psnr" for region in ("", "moving_", "seen_") for which in ("", "ceiling_", "copy_")]
    kept += ["measured", "ruler"]
    return {
        "fidelity": dB,
        "coherency": coherency(asked, frames["measured"]),
        "ruler": coherency(asked, frames["ruler"]) | {"median_error": float((frames["ruler"] - asked).abs().median())},
        "flow": {"end_point_error": mean(frames.get("flow_error"))},
        "stillness": {"generated": mean(frames["stillness"]), "ceiling": mean(frames["ceiling_stillness"])},
        "by_motion": {f"{float(m):g}": {name: mean(frames[name][:, k]) for name in kept} for k, m in enumerate(asked[0])},
    }


def brief(frames: dict[str, Tensor]) -> dict[str, Any]:
    """The few figures of a side split, or of one kind of move."""
    full = summarise(frames)
    keys = [f"{which}{region}psnr" for region in ("", "moving_", "seen_") for which in ("", "ceiling_")]
    keys += [region + what for region in ("", "moving_", "seen_") for what in ("gap_db", "gain_db")]
    return {
        **{key: full["fidelity"][key] for key in keys},
        "pearson": full["coherency"]["pearson"],
        "rmse": full["coherency"]["rmse"],
        "ruler_rmse": full["ruler"]["rmse"],
        "sharpness": mean(frames["sharpness"]),
    }


def bench_drawing(size: int = 128, seconds: float = 2.0) -> float:
    """How many frames of scenes are drawn a second, after the calibration that a scene needs once."""
    scenes = sample_scenes(32, "train", seed=1)
    motions = [1 + 7 * k % MOTION_MAX for k in range(len(scenes))]
    draw(scenes, motions, size)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        count += len(draw(scenes, motions, size).image)
    return count / (time.perf_counter() - began)
