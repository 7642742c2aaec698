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

from ..data.latent_cache import SCENES, Family
from ..markdown import markdown_table
from ..pipeline import Pix2GifPipeline
from ..sheets import contact_sheet
from .generating import drawn, generate_for
from .quality_rows import ROWS

SHEET_MOTIONS = (6, 11, 19)


def look_up(results: dict[str, Any], path: str) -> Any:
    """`look_up(r, "a.b")` is r["a"]["b"]; None where there is none."""
    for key in path.split("."):
        results = results.get(key) if isinstance(results, dict) else None
    return results


def reached(value: float, target: tuple[str, float]) -> bool:
    """Whether a figure meets its target, one of ROWS: (">=", x), ("<=", x), or ("+-", x) for at most x from zero."""
    return {">=": value >= target[1], "<=": value <= target[1], "+-": abs(value) <= target[1]}[target[0]]


def figure(results: dict[str, Any], path: str, unit: str) -> str:
    """A figure as it is shown, with its standard error where it has one: "1.164 +- 0.310 dB"."""
    error = look_up(results, path + "_error")
    return f"{look_up(results, path):.3f}{'' if error is None else f' +- {error:.3f}'} {unit}".rstrip()


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table, targets beside the figures, and below it how they were made."""
    rows = []
    for label, path, unit, target in ROWS:
        value = look_up(results, path)
        shown = _why(results, path) if value is None else figure(results, path, unit)
        aim, met = "", ""
        if target is not None:
            aim = f"{target[0]} {target[1]:g} {unit}".rstrip()
            if value is not None:
                met = "met" if reached(value, target) else "**missed**"
        rows.append((label, shown, aim, met))
    lines = markdown_table(("", "figure", "target", ""), rows)
    made, photos = results["made"], look_up(results, "moved_photographs.photos")
    also = f" and {photos} moved photographs" if photos else ""
    lines += ["", f"{made['scenes']} scenes of `{made['split']}`{also}, m = {', '.join(results['by_motion'])};"
              f" {made['sampler']}, {made['steps']} step{'s' * (made['steps'] != 1)}. `{made['command']}`, {made['date']},"
              f" {made['machine']}, commit {made['commit']}, {results['seconds']:.0f} s.", ""]  # fmt: skip
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
    reason = reasons.get(name.removeprefix("moving_").removeprefix("still_")) if isinstance(reasons, dict) else None
    return "not computed" if reason is None else f"not computed: {reason.split(':')[0]}"


def made_here() -> dict[str, Any]:
    """The command, when, on which machine, at which commit."""
    info = Path("/proc/cpuinfo")  # Linux alone tells the processor's name without a tool
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    program = Path(sys.argv[0]).name
    return {
        "command": shlex.join(
            ["pix2gif-lite" if program == "cli.py" else program, *sys.argv[1:]]
        ),  # python -m pix2gif_lite.cli
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit_of(Path(__file__).parent.parent),
    }


def commit_of(folder: Path) -> str | None:
    """The commit that a package's folder is at, "134b632", or "134b632 + changes" where it is not as committed.

    None where git does not know it: an installed wheel, also one that lies inside of somebody else's repository.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), "--no-optional-locks", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "--short", "HEAD")
        return f"{commit} + changes" if git("status", "--porcelain", "--", ".") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


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
