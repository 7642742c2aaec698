"""How results read: the quality table with its targets, where the figures come from, and a sheet of pictures to look at."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .generating import drawn, generate_for
from .latent_cache import SCENES, Family
from .pipeline import Pix2GifPipeline
from .sheets import contact_sheet

SHEET_MOTIONS = (6, 11, 19)

# What the table says: label, path in the results, unit, and the target (None: no target, for the reader).
ROWS: tuple[tuple[str, str, str, tuple[str, float] | None], ...] = (
    ("E/D alone, whole picture", "fidelity.ceiling_psnr", "dB", (">=", 34)),
    ("E/D alone, moving region", "fidelity.ceiling_moving_psnr", "dB", (">=", 26)),
    ("E/D alone, photographs kept out of training", "photographs.psnr", "dB", (">=", 26)),
    ("generated, whole picture", "fidelity.psnr", "dB", None),
    ("generated, below E/D alone, whole picture", "fidelity.gap_db", "dB", ("<=", 1)),
    ("generated, moving region", "fidelity.moving_psnr", "dB", None),
    ("generated, below E/D alone, moving region", "fidelity.moving_gap_db", "dB", ("<=", 1)),
    ("generated, above a copy of the source, moving region, m >= 8", "fidelity.moving_gain_db", "dB", (">=", 8)),
    ("generated, below E/D alone, still region", "fidelity.still_gap_db", "dB", ("<=", 0.5)),
    ("generated, with the detail that the pipeline adds, whole picture", "fidelity.detail_psnr", "dB", None),
    ("generated, with the detail that the pipeline adds, moving region", "fidelity.detail_moving_psnr", "dB", None),
    ("generated, with the detail that the pipeline adds, still region", "fidelity.detail_still_psnr", "dB", None),
    ("E/D alone, still region", "fidelity.ceiling_still_psnr", "dB", None),
    ("warp alone, whole picture", "fidelity.warp_psnr", "dB", None),
    ("warp alone, moving region", "fidelity.warp_moving_psnr", "dB", None),
    ("warp by a flow searched for each frame, below E/D alone, whole picture", "searched_flow.gap_db", "dB", None),
    ("warp by a flow searched for each frame, below E/D alone, moving region", "searched_flow.moving_gap_db", "dB", None),
    ("warp by a flow searched for each frame, below E/D alone, still region", "searched_flow.still_gap_db", "dB", None),
    ("copy of the source, whole picture", "fidelity.copy_psnr", "dB", None),
    ("copy of the source, moving region", "fidelity.copy_moving_psnr", "dB", None),
    ("generated, whole picture, SSIM", "fidelity.ssim", "", None),
    ("generated, moving region, SSIM", "fidelity.moving_ssim", "", None),
    ("generated, still region, SSIM", "fidelity.still_ssim", "", None),
    ("E/D alone, whole picture, SSIM", "fidelity.ceiling_ssim", "", None),
    ("E/D alone, moving region, SSIM", "fidelity.ceiling_moving_ssim", "", None),
    ("E/D alone, still region, SSIM", "fidelity.ceiling_still_ssim", "", None),
    ("copy of the source, whole picture, SSIM", "fidelity.copy_ssim", "", None),
    ("copy of the source, moving region, SSIM", "fidelity.copy_moving_ssim", "", None),
    ("generated, LPIPS", "network_metrics.lpips", "", None),
    ("generated, PIC", "network_metrics.pic", "", None),
    ("generated, CLIPSim", "network_metrics.clipsim", "", None),
    ("asked against measured motion, Pearson a GIF", "coherency.pearson", "", (">=", 0.995)),
    ("asked against measured motion, RMSE a GIF", "coherency.rmse", "px", ("<=", 1.2)),
    ("the ruler itself (exact frames), Pearson a GIF", "ruler.pearson", "", None),
    ("the ruler itself (exact frames), RMSE a GIF", "ruler.rmse", "px", ("<=", 0.6)),
    ("the ruler itself (exact frames), median error", "ruler.median_error", "px", ("<=", 0.3)),
    ("flow F against the exact flow, end-point error where things move", "flow.end_point_error", "px", None),
    (
        "measured flow (DIS) against the exact flow, end-point error where things move",
        "flow.measured_end_point_error",
        "px",
        None,
    ),
    ("the same of the exact frames: the ruler's error", "flow.ruler_end_point_error", "px", None),
    ("change of the still region against the source", "stillness.generated", "grey levels", None),
    ("the same of the exact frames through E/D", "stillness.ceiling", "grey levels", None),
    ("flicker: change from frame to frame beyond the exact frames' own", "flicker.excess", "grey levels", None),
    ("the same of the exact frames through E/D", "flicker.ceiling_excess", "grey levels", None),
    ("flicker of the still region", "flicker.still_excess", "grey levels", None),
    ("the same of the exact frames through E/D, still region", "flicker.still_ceiling_excess", "grey levels", None),
    ("flicker along the exact motion", "flicker.warped_excess", "grey levels", None),
    ("the same of the exact frames through E/D, along the exact motion", "flicker.warped_ceiling_excess", "grey levels", None),
    ("first frame (m = 0) against the picture, as the pipeline returns it", "first_frame.returned_psnr", "dB", None),
    ("first frame (m = 0) against the picture, as the model makes it", "first_frame.psnr", "dB", None),
    ("the picture through E/D alone", "first_frame.ceiling_psnr", "dB", None),
    ("5 steps, below 20 steps", "few_steps.gap_db", "dB", ("+-", 0.3)),
    ("pairs never seen together, below E/D alone, whole picture", "test_pairs.gap_db", "dB", None),
    ("pairs never seen together, below E/D alone, moving region", "test_pairs.moving_gap_db", "dB", None),
    ("pairs never seen together, worse than seen ones, whole picture", "test_pairs.worse_db", "dB", ("<=", 1)),
    ("pairs never seen together, worse than seen ones, moving region", "test_pairs.moving_worse_db", "dB", ("<=", 1)),
    ("subject and action never seen together, worse, whole picture", "test_pairs.actions.worse_db", "dB", ("<=", 1)),
    ("subject and action never seen together, worse, moving region", "test_pairs.actions.moving_worse_db", "dB", ("<=", 1)),
    ("subject and colour never seen together, worse, whole picture", "test_pairs.colours.worse_db", "dB", ("<=", 1)),
    ("subject and colour never seen together, worse, moving region", "test_pairs.colours.moving_worse_db", "dB", ("<=", 1)),
    ("pairs never seen together, Pearson a GIF", "test_pairs.pearson", "", None),
    ("pairs never seen together, RMSE a GIF", "test_pairs.rmse", "px", None),
    ("pairs never seen together, the ruler's RMSE", "test_pairs.ruler_rmse", "px", None),
    ("two actions at once, worse than one, whole picture", "studies.two_actions.worse_db", "dB", ("<=", 2)),
    ("two actions at once, worse than one, moving region", "studies.two_actions.moving_worse_db", "dB", ("<=", 2)),
    ("open captions, Pearson a GIF", "test_open.pearson", "", None),
    ("open captions, RMSE a GIF", "test_open.rmse", "px", None),
    ("open captions, sharpness against E/D alone", "test_open.sharpness", "of 1", None),
    # Of photographs only what the source shows is compared: what comes into view is anyone's guess.
    (
        "photographs: E/D alone where the frame shows what the source shows",
        "moved_photographs.fidelity.ceiling_seen_psnr",
        "dB",
        (">=", 26),
    ),
    ("photographs: generated, below E/D alone", "moved_photographs.fidelity.seen_gap_db", "dB", ("<=", 3)),
    ("photographs: above standing still, m >= 8", "moved_photographs.fidelity.seen_gain_db", "dB", (">=", 4)),
    ("photographs: generated, with detail", "moved_photographs.fidelity.detail_seen_psnr", "dB", None),
    ("photographs: warp alone", "moved_photographs.fidelity.warp_seen_psnr", "dB", None),
    ("photographs: asked against measured, Pearson a GIF", "moved_photographs.coherency.pearson", "", (">=", 0.95)),
    ("photographs: asked against measured, RMSE a GIF", "moved_photographs.coherency.rmse", "px", None),
    ("photographs: the ruler's RMSE", "moved_photographs.ruler.rmse", "px", None),
)


def look_up(results: dict[str, Any], path: str) -> Any:
    """`look_up(r, "a.b")` is r["a"]["b"]; None where there is none."""
    for key in path.split("."):
        results = results.get(key) if isinstance(results, dict) else None
    return results


def reached(value: float, target: tuple[str, float]) -> bool:
    """Whether a figure meets its target, one of ROWS: (">=", x), ("<=", x), or ("+-", x) for at most x from zero."""
    return {">=": value >= target[1], "<=": value <= target[1], "+-": abs(value) <= target[1]}[target[0]]


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table, targets beside the figures, and below it how they were made."""
    lines = ["| | figure | target | |", "|---|---|---|---|"]
    for label, path, unit, target in ROWS:
        value = look_up(results, path)
        shown = _why(results, path) if value is None else f"{value:.3f} {unit}".rstrip()
        aim, met = "", ""
        if target is not None:
            aim = f"{target[0]} {target[1]:g} {unit}".rstrip()
            if value is not None:
                met = "met" if reached(value, target) else "**missed**"
        lines.append(f"| {label} | {shown} | {aim} | {met} |")
    made, photos = results["made"], look_up(results, "moved_photographs.photos")
    also = f" and {photos} moved photographs" if photos else ""
    lines += ["", f"{made['scenes']} scenes of `{made['split']}`{also}, m = {', '.join(results['by_motion'])};"
              f" {made['sampler']}, {made['steps']} steps. `{made['command']}`, {made['date']}, {made['machine']},"
              f" commit {made['commit']}, {results['seconds']:.0f} s.", ""]  # fmt: skip
    reasons: dict[str, None] = {}  # each once, in the order of the sections
    for section in results.values():
        found = section.get("not_computed", {}) if isinstance(section, dict) else {}
        reasons |= dict.fromkeys([found] if isinstance(found, str) else [f"{name}: {why}" for name, why in found.items()])
    lines += [line for reason in reasons for line in (f"Not computed: {reason}", "")]
    return "\n".join(lines)


def _why(results: dict[str, Any], path: str) -> str:
    """What stands in the place of a figure: for the network metrics, what is not in reach."""
    section, _, name = path.rpartition(".")
    reasons = look_up(results, section + ".not_computed")
    reason = reasons.get(name) if isinstance(reasons, dict) else None
    return "not computed" if reason is None else f"not computed: {reason.split(':')[0]}"


def made_here() -> dict[str, Any]:
    """The command, when, on which machine, at which commit."""
    here = Path(__file__).parent
    try:
        git = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None  # an installed wheel
    info = Path("/proc/cpuinfo")  # Linux alone tells the processor's name without a tool
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit,
    }


def provenance(weights: Any, pipe: Pix2GifPipeline, settings: dict[str, Any]) -> dict[str, Any]:
    """What was measured, how, when, on which machine, at which commit."""
    return {
        **settings,
        "steps": settings["steps"] or pipe.config.sampling_steps,
        "sampler": settings["sampler"] or pipe.config.sampler,
        "weights": "in memory" if isinstance(weights, Pix2GifPipeline) else str(weights),
        "preset": pipe.config.preset,
        "variant": pipe.config.variant,
        **made_here(),
    }


def sheet(
    pipe: Pix2GifPipeline,
    scenes: Sequence[Any],
    steps: int | None = None,
    sampler: str | None = None,
    family: Family = SCENES,
) -> Image.Image:
    """A sheet, a scene or photograph a row: the source, then at each of SHEET_MOTIONS the exact frame, ours, the warp alone."""
    rows, labels = [], []
    for part in drawn(scenes, SHEET_MOTIONS, pipe.config.image_size, family):
        made = generate_for(pipe, part, SHEET_MOTIONS, steps, sampler)
        warped = [None] * len(made.image) if made.warped is None else made.warped
        for n, scene in enumerate(part.scenes):
            row = [part.source[n]]
            for k in range(n * len(SHEET_MOTIONS), (n + 1) * len(SHEET_MOTIONS)):
                row += [part.exact.image[k], made.image[k], warped[k]]
            rows.append(row)
            labels.append(f"{scene.index}: {scene.caption}")
    names = [f"m = {m} {what}" for m in SHEET_MOTIONS for what in ("exact", "ours", "warp only")]
    return contact_sheet(rows, labels, ["source", *names], size=pipe.config.image_size)
