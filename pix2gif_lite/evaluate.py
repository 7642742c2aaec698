"""Does it work? The whole evaluation of weights in one call: `run` measures, averages and writes it down.

    scenes of `test` --> measure --> summary --.
    fewer of them, held-out pairs, photographs +--> results.json --> the Markdown tables, figures, sheets of pictures
    asked otherwise (studies) -----------------'

In evaluation/: how frames are made is in generating.py, how measured in measuring.py, what that comes to in summary.py, how
it reads in report.py.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from .data.mixture import FAMILIES
from .distilled import check_distilled
from .evaluation.held_out import find_casts, held_out_pairs, pairs_markdown
from .evaluation.held_out import ticks as pair_ticks
from .evaluation.measuring import measure
from .evaluation.report import provenance, sheet, table
from .evaluation.side_rows import fidelity_at, first_frames, moved_photos, photographs, searched_flow
from .evaluation.studies import run_studies, total
from .evaluation.studies_report import studies_figures, studies_markdown
from .evaluation.summary import brief, summarise, summarise_actions, summarise_photos
from .files import write_whole
from .photos import MovedPhoto
from .pipeline import Pix2GifPipeline
from .presets import MOTION_MAX
from .sampling import get_sampler
from .scenes import Scene, draw, sample_scenes
from .viz import requested_vs_measured

FEW, MANY = 5, 20  # steps compared
SHEET_SCENES = 8
PHOTOS, QUICK_PHOTOS = 32, 8
SCENES, QUICK_SCENES = 200, 40
SCENES_A_PAIR = 25  # to so many scenes one of each pair that training never drew
NO_FIGURES = "figures need matplotlib: run `pip install 'pix2gif-lite[notebooks]'`."


def run(
    weights: str | os.PathLike | Pix2GifPipeline = "lite",
    out: str | os.PathLike | None = None,
    scenes: int | None = None,
    quick: bool = False,
    steps: int | None = None,
    sampler: str | None = None,
    split: str = "test",
    progress: bool = True,
    studies: bool = True,
) -> dict[str, Any]:
    """Measure weights ("lite", a folder, a Hub id, or a pipeline in memory) on the first scenes of a split.

    Moved photographs that training never saw are measured too: 32, but no more than scenes.

    scenes   how many; None: 200, quick 40
    out      a folder, made if missing, None: no files. results.json; results.md, the table and the studies; sheet, worst and
             photos.png, sheets of pictures; asked-measured.png and the studies' figures, where matplotlib is installed
    quick    8 moved photographs, and studies of few scenes
    steps, sampler   None: the weights' own defaults
    studies  False leaves out evaluation/studies.py, which asks the weights in other ways

    Distilled weights take few step counts and no guidance: theirs are measured without the studies and without the comparison
    of 5 steps with 20.
    Returns the dict that results.json holds. Rows that cannot be computed are None, and "not_computed" says why.
    Raises ValueError for no scenes, an unknown split or sampler, steps or a sampler that distilled weights do not take, and
    whatever loading the weights raises.
    """
    count = (QUICK_SCENES if quick else SCENES) if scenes is None else scenes
    if count < 1:
        raise ValueError(f"{count} scenes cannot be measured: give at least 1.")
    sample_scenes(0, split)  # refuses an unknown one
    if sampler is not None:
        get_sampler(sampler)  # the same
    began = time.perf_counter()
    pipe = weights if isinstance(weights, Pix2GifPipeline) else Pix2GifPipeline.from_pretrained(weights)
    # now: whoever commits during the run changes what git says, not what runs
    made = provenance(weights, pipe, {"scenes": count, "split": split, "steps": steps, "sampler": sampler})
    made_for = pipe.config.distilled_steps
    check_distilled(made_for, made["steps"], made["sampler"])
    studies = studies and made_for is None
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)  # refused now rather than after ten minutes
    # The side rows need fewer scenes: each compares two numbers of the same frames, or is there to be looked at.
    aside = min(count, max(6, count // 8))
    photos, reason = moved_photos(min(count, QUICK_PHOTOS if quick else PHOTOS))
    ticks = count + (5 if made_for is None else 3) * aside + len(photos) + (total(quick) if studies else 0)
    with tqdm(total=ticks, unit="picture", desc="evaluate", disable=not progress) as bar:
        options = {"steps": steps, "sampler": sampler, "tick": bar.update}
        chosen = sample_scenes(count, split)
        casts = find_casts(max(1, count // SCENES_A_PAIR), chosen if split == "test" else [])
        bar.total += pair_ticks(casts)
        frames = measure(pipe, chosen, **options)
        fewer = few_steps(pipe, chosen[:aside], sampler, bar.update)
        pairs = held_out_pairs(pipe, casts, frames if split == "test" else {}, **options)
        opened = measure(pipe, sample_scenes(aside, "test_open"), **options)
        searched = searched_flow(pipe, chosen[:aside], bar.update)
        firsts = first_frames(pipe, chosen[:aside], **options)
        moved = summarise_photos(photos, measure(pipe, photos, family=FAMILIES["photos"], **options)) if photos else reason
        studied = run_studies(pipe, quick, bar.update) if studies else None
    summary = summarise(frames)
    results: dict[str, Any] = {
        "made": made,
        **summary,
        "by_action": summarise_actions(chosen, frames),
        "few_steps": fewer,
        **firsts,
        "test_pairs": pairs,
        "test_open": brief(opened) | {"scenes": aside},
        "searched_flow": searched,
        "photographs": photographs(pipe),
        "moved_photographs": moved,
        "studies": studied,
    }
    score = (frames["moving_psnr"] - frames["ceiling_moving_psnr"]).nanmean(1)
    worst = score.nan_to_num(math.inf).argsort()[:SHEET_SCENES].tolist()
    results["worst_scenes"] = worst
    if importlib.util.find_spec("matplotlib") is None:
        results["figures"] = {"not_computed": NO_FIGURES}
    results["seconds"] = round(time.perf_counter() - began, 1)
    if out is not None:
        write(Path(out), results, frames)
        sheets = {"sheet": chosen[:SHEET_SCENES], "worst": [chosen[k] for k in worst], "photos": photos[:SHEET_SCENES]}
        save_sheets(Path(out), pipe, sheets, steps, sampler)
    return results


def few_steps(pipe: Pix2GifPipeline, scenes: Sequence[Scene], sampler: str | None, tick: Any) -> dict[str, Any]:
    """How far FEW steps are below MANY, PSNR in dB; of distilled weights why that, and the studies, are not measured."""
    if (made_for := pipe.config.distilled_steps) is not None:
        counts = ", ".join(map(str, made_for))
        reason = f"these weights were distilled for {counts} steps, one sampler and no guidance, and take nothing else"
        reason += f": {FEW} steps are not compared with {MANY}, and the studies, which ask in other ways, are left out."
        return {"gap_db": None, "not_computed": reason}
    few, many = (fidelity_at(pipe, scenes, n, sampler, tick) for n in (FEW, MANY))
    return {"few": few, "many": many, "gap_db": many - few, "steps": [FEW, MANY], "scenes": len(scenes)}


def write(folder: Path, results: dict[str, Any], frames: dict[str, Tensor]) -> None:
    """results.json, results.md and the figures, from the results and `measure`'s columns of the scenes."""
    studied = results["studies"]
    text = table(results) + "\n## Pairs never seen together\n\n" + pairs_markdown(results["test_pairs"]) + "\n"
    if studied is not None:
        text += "\n## The same weights, asked in other ways\n\n" + studies_markdown(studied)
    write_whole(folder / "results.json", (json.dumps(results, indent=1) + "\n").encode())
    write_whole(folder / "results.md", text.encode())
    if "figures" in results:
        return
    measured = {"the exact frames": frames["ruler"], "generated": frames["measured"]}
    title = f"{len(frames['asked'])} scenes: mean, and the middle 80%"
    requested_vs_measured(frames["asked"][0], measured, folder / "asked-measured.png", title)
    if studied is not None:
        studies_figures(studied, folder)


def save_sheets(
    folder: Path, pipe: Pix2GifPipeline, sheets: dict[str, Sequence[Scene | MovedPhoto]], steps: Any, sampler: Any
) -> None:
    """A sheet of pictures a name, NAME.png; none for no scenes."""
    for name, scenes in sheets.items():
        if scenes:
            family = FAMILIES["photos" if name == "photos" else "scenes"]
            sheet(pipe, scenes, steps, sampler, family).save(folder / f"{name}.png")


def bench_drawing(size: int = 128, seconds: float = 2.0) -> float:
    """How many frames of scenes are drawn a second, after the calibration that a scene needs once."""
    scenes = sample_scenes(32, "train", seed=1)
    motions = [1 + 7 * k % MOTION_MAX for k in range(len(scenes))]
    draw(scenes, motions, size)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        count += len(draw(scenes, motions, size).image)
    return count / (time.perf_counter() - began)
