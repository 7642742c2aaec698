"""How fast is it, and what does that cost? The whole benchmark in one call: one machine, one picture, one run.

    the ways to make a GIF (bench_rows) --> seconds, operations, quality --.
    a move of the slider, a cold start, memory                             +--> bench.json, bench.md, growth.png
    training, curation, growth with frames, pixels and steps --------------'

Each part has a file of its own; this one runs them after each other, so that nothing else is at work while something is timed,
and works out the ratios. A part is written down when it is measured (benchmark/bench_parts.py).
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from .benchmark.bench_cold import cold_start
from .benchmark.bench_growth import growth, growth_figure
from .benchmark.bench_live import over, slider_moves
from .benchmark.bench_parts import Parts
from .benchmark.bench_plan import FULL, QUICK, Plan
from .benchmark.bench_quality import Judge
from .benchmark.bench_report import bench_markdown
from .benchmark.bench_rows import generation_rows, run_row
from .benchmark.bench_training import training_speed
from .canvas import to_pil
from .curating.curation_bench import bench as curation_speed
from .data.latent_cache import fingerprint, hash_of
from .evaluate import NO_FIGURES
from .evaluation.report import made_here
from .files import write_whole
from .gifs import save_animation
from .hardware import matrix_rate
from .pipeline import Pix2GifPipeline
from .presets import DEMO_MOTIONS, MOTION_MAX
from .pretrained import TURBO_WEIGHTS
from .scenes import draw, sample_scenes

ASSETS = Path(__file__).parent / "assets"
SHOWN, CLIP_SIZE = 256, 240  # px: of the pictures in notebook 00, of the clips that are curated
OURS = ("ours", "distilled_4", "distilled_2", "distilled_1")  # what gif_s may be, without what is only there to compare
EXTRA_TICKS = 5  # matrix rate, slider, start, training, curation


def run(
    weights: str | os.PathLike = "lite",
    out: str | os.PathLike | None = None,
    turbo: str | os.PathLike | None = None,
    quick: bool = False,
    scenes: int | None = None,
    plan: Plan | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Time the weights ("lite", a folder, a Hub id); returns what `out`/bench.json holds. `out` None: no files.

    turbo   distilled weights of the same model (None: those shipped beside "lite", if there are)
    quick   below three minutes: fewer steps, scenes and repeats, marked where something was computed from them
    scenes  whose frames are judged (None: the plan's); plan: what to run, in place of the whole or the quick one

    Stopped, it goes on with the parts that are missing when it is called again with the same `out`.
    ValueError for distilled `weights`, a `turbo` that is not or that is another model's, no scenes, or an `out` that holds
    parts of another benchmark; and whatever loading raises.
    """
    plan = plan or (QUICK if quick else FULL)
    count = plan.scenes if scenes is None else scenes
    if count < 1:
        raise ValueError(f"{count} scenes cannot be judged: give at least 1.")
    pipe, fast = load(weights, turbo)
    made = made_here() | {"weights": str(weights), "turbo": None if fast is None else str(turbo or TURBO_WEIGHTS)}
    made |= {"quick": quick, "scenes": count, "motions": list(DEMO_MOTIONS), "diffusers": diffusers.__version__}
    caption = (ASSETS / "example.txt").read_text(encoding="utf-8").strip()
    example = Image.open(ASSETS / "example.png").convert("RGB")
    picture = example.resize(pipe.work_size(example), Image.Resampling.LANCZOS)
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)  # refused now rather than after an hour
    same = {name: made[name] for name in ("machine", "python", "torch", "diffusers", "commit", "scenes")}
    same |= {
        "plan": asdict(plan),
        "weights": hash_of(_tensors(pipe)),
        "turbo": None if fast is None else hash_of(_tensors(fast)),
    }
    parts = Parts(None if out is None else Path(out), same)
    rows = generation_rows(pipe, fast, picture, caption)
    for each in filter(None, (pipe, fast)):  # a pipeline knows its texts from its second GIF on: all rows are of such
        each(picture, caption, DEMO_MOTIONS, quiet=True)
    places = len(plan.frames) + len(plan.pixels) + len(plan.steps)
    with tqdm(total=len(rows) + places + EXTRA_TICKS, desc="bench", disable=not progress) as bar:

        def part(name: str, measure: Callable[[], Any], ticks: int = 1) -> Any:
            bar.set_postfix_str(name)
            end = bar.n + ticks
            found = parts.get(name, measure)
            bar.update(end - bar.n)  # less what the part told of itself
            return found

        rate = part("matrix rate", lambda: statistics.median(matrix_rate("cpu") for _ in range(5)))
        judge, found = Judge(count, pipe.config.image_size), []
        for row in rows:
            found.append(part(row.key, lambda row=row: run_row(row, plan, judge, rate)))
            if row.judged is not None:  # another row may ask in the same way
                judge.learn(row.judged, row.judged_way(plan), found[-1])
        results: dict[str, Any] = {"made": made | {"size": min(picture.size)}, "matrix_rate": rate, "rows": found}
        results |= ratios(found)
        own = results["fastest"] == "ours"
        live, named = (pipe, weights) if own else (fast, turbo or TURBO_WEIGHTS)
        shown = example.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)
        moves = {"own": (live, picture, False), "own_bfloat16": (live, picture, True), str(SHOWN): (live, shown, False)}
        moves |= {} if own else {f"{SHOWN}_undistilled": (pipe, shown, False)}

        def sliders() -> dict[str, Any]:
            def one_round() -> dict[str, Any]:
                return {name: slider_moves(who, what, caption, plan.moves, half) for name, (who, what, half) in moves.items()}

            rounds = [one_round() for _ in range(plan.rounds)]
            return {name: over([each[name] for each in rounds]) for name in moves}

        results["slider"] = part("slider", sliders)
        results["slider_ms"] = results["slider"][str(SHOWN)]["ms"]
        results["start"] = part("fresh processes", lambda: cold_start(str(named), plan.starts))
        results["training"] = part("training", lambda: training_speed(pipe, plan.training_steps))
        results["curation"] = part("curation", lambda: curation(plan.clips, plan.clip_frames, plan.repeats))
        results["growth"] = part("growth", lambda: growth(pipe, picture, caption, plan, bar.update), places)
    if importlib.util.find_spec("matplotlib") is None:
        results["not_drawn"] = NO_FIGURES
    results |= {"sittings": parts.sittings, "seconds": round(parts.seconds, 1)}
    if out is not None:
        write(Path(out), results)
        parts.end()
    return results


def _tensors(pipe: Pix2GifPipeline) -> chain[tuple[str, Tensor]]:
    return chain(pipe.model.state_dict().items(), pipe.vae.state_dict().items())


def load(weights: str | os.PathLike, turbo: str | os.PathLike | None) -> tuple[Pix2GifPipeline, Pix2GifPipeline | None]:
    """The weights, and the distilled ones where there are any.

    ValueError where either is what the other should be, and where the distilled ones are another model's.
    """
    pipe = Pix2GifPipeline.from_pretrained(weights)
    if pipe.config.get("distilled_steps"):
        raise ValueError(f"{str(weights)!r} are distilled weights, which have no 100 steps: give them as turbo (--turbo).")
    if turbo is None and not (str(weights) == "lite" and TURBO_WEIGHTS.is_dir()):
        return pipe, None
    turbo = TURBO_WEIGHTS if turbo is None else turbo
    fast = Pix2GifPipeline.from_pretrained(turbo)
    if not fast.config.get("distilled_steps"):
        raise ValueError(f"{str(turbo)!r} are no distilled weights: give a folder that `pix2gif-lite train turbo` wrote.")
    if fast.config.image_size != pipe.config.image_size:
        sizes = fast.config.image_size, pipe.config.image_size
        raise ValueError(f"The distilled weights work at {sizes[0]} px, the others at {sizes[1]}: give two of one model.")
    if apart := parts_apart(pipe, fast):
        raise ValueError(
            f"{str(turbo)!r} were distilled from another model than {str(weights)!r} (not equal: {', '.join(apart)}): give"
            " distilled weights of this model, made by `pix2gif-lite train turbo`."
        )
    return pipe, fast


def parts_apart(pipe: Pix2GifPipeline, fast: Pix2GifPipeline) -> list[str]:
    """Of what distillation leaves as it is, the parts in which two models are not equal. UNet and D may be others."""

    def known(of: Pix2GifPipeline) -> dict[str, str]:
        parts = {"text encoder": of.text_encoder, "motion embedding": of.motion_embedding, "FlowNet": of.flow_net}
        found = {name: "" if part is None else hash_of(part.state_dict().items()) for name, part in parts.items()}
        return found | {"E": fingerprint(of.vae)}

    mine, others = known(pipe), known(fast)
    return [name for name in mine if mine[name] != others[name]]


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the rows come to: fastest (its key), gif_s, reference_s, diffusers_s, and of these

    ratio_reference, ratio_diffusers   by gif_s, which may be of distilled weights
    ratio_reference_same_weights       by the undistilled weights, as they are asked by default
    ratio_diffusers_same_work          by ours with the same steps and predictions, all frames at once
    gap_100_db, rmse_above_100         the fastest against our 100 steps: PSNR below, RMSE of motion above (px at 256 x 256)
    estimated                          which of all these rest on rows of which fewer steps were run
    """
    by = {row["key"]: row for row in rows}
    seconds = {key: row["seconds"] for key, row in by.items() if row["seconds"] is not None}
    fastest = min((key for key in OURS if key in seconds), key=seconds.__getitem__)
    theirs = min(("diffusers", "diffusers_batched"), key=seconds.__getitem__)
    gif, reference = seconds[fastest], seconds["reference"]
    found = {
        "gif_s": (gif, fastest),
        "reference_s": (reference, "reference"),
        "diffusers_s": (seconds[theirs], theirs),
        "ratio_reference": (reference / gif, "reference", fastest),
        "ratio_diffusers": (seconds[theirs] / gif, theirs, fastest),
        "ratio_reference_same_weights": (reference / seconds["ours"], "reference", "ours"),
        "ratio_diffusers_same_work": (seconds[theirs] / seconds["ours_guided"], theirs, "ours_guided"),
        "gap_100_db": (by["ours_100"]["psnr"] - by[fastest]["psnr"], "ours_100", fastest),
        "rmse_above_100": (by[fastest]["rmse"] - by["ours_100"]["rmse"], "ours_100", fastest),
    }
    short = {key for key, row in by.items() if row["extrapolated"] or row["quality_steps"] not in (None, row["steps"])}
    estimated = [name for name, (_, *keys) in found.items() if short.intersection(keys)]
    return {"fastest": fastest, **{name: value for name, (value, *_) in found.items()}, "estimated": estimated}


def curation(clips: int, frames: int, repeats: int) -> dict[str, Any]:
    """What curating/curation_bench.py says of so many drawn clips: frames of scenes, moving on evenly."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for scene in sample_scenes(clips, "val"):
            moving = draw([scene] * frames, np.linspace(0, MOTION_MAX, frames).tolist(), CLIP_SIZE).image
            paths.append(save_animation([to_pil(frame) for frame in moving], Path(folder) / f"{scene.index}.gif"))
        return curation_speed(paths, os.cpu_count() or 1, repeats, statistics.median)


def write(folder: Path, results: dict[str, Any]) -> None:
    """bench.json, bench.md and, where matplotlib is installed, growth.png."""
    write_whole(folder / "bench.json", (json.dumps(results, indent=1) + "\n").encode())
    write_whole(folder / "bench.md", bench_markdown(results).encode())
    if "not_drawn" not in results:
        growth_figure(results["growth"], folder / "growth.png")
