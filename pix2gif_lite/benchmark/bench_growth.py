"""How the time for a GIF grows: with its frames, with the pixels of a frame, with the steps. A power of each, fitted.

Slope 1 is "twice as much takes twice as long". Below 1 something is paid once however much is asked for; above 1 something
grows faster, as attention does with pixels.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..pipeline import Pix2GifPipeline
from ..presets import MOTION_MAX, MOTION_MIN
from ..viz import line_charts
from .bench_plan import Plan
from .bench_timing import seconds_of, slope

AXES = {"frames": "frames", "pixels": "pixels a side of the work picture", "steps": "steps"}


def spread_motions(frames: int) -> list[float]:
    """So many different motions from MOTION_MIN to MOTION_MAX: equal ones would be made once."""
    return np.linspace(MOTION_MIN, MOTION_MAX, frames).round(3).tolist()


def growth(
    pipe: Pix2GifPipeline, picture: Image.Image, caption: str, plan: Plan, tick: Callable[[int], Any] | None = None
) -> dict[str, Any]:
    """For "frames", "pixels" and "steps": x, seconds (median of `plan.slow_repeats` after a warm-up) and `slope` of both.

    One of them grows, the others stay: `plan.growth_frames` frames of the weights' own size and steps. The slope against
    pixels is per pixel of the area.
    """
    few = plan.growth_frames

    def make(frames: int = few, side: int | None = None, steps: int | None = None) -> None:
        source = picture if side is None else picture.resize((side, side), Image.Resampling.LANCZOS)
        pipe(source, caption, spread_motions(frames), steps=steps, image_size=side, quiet=True)

    runs: dict[str, Callable[[int], None]] = {
        "frames": lambda n: make(frames=n),
        "pixels": lambda n: make(side=n),
        "steps": lambda n: make(steps=n),
    }
    found: dict[str, Any] = {"growth_frames": few, "repeats": plan.slow_repeats}
    for name, run in runs.items():
        places, seconds = getattr(plan, name), []
        for n in places:
            run(n)
            seconds.append(statistics.median(seconds_of(lambda n=n, run=run: run(n), plan.slow_repeats)))
            if tick:
                tick(1)
        sizes = [n * n for n in places] if name == "pixels" else places
        found[name] = {"x": list(places), "seconds": seconds, "slope": slope(sizes, seconds)}
    return found


def growth_figure(found: Mapping[str, Any], out: str | Path) -> Path:
    """Three charts beside each other, logarithmic, the slope in each title. ModuleNotFoundError without matplotlib."""
    charts: list[Mapping[str, Any]] = []
    for name, label in AXES.items():
        curve: Mapping[str, Sequence[float]] = found[name]
        title = f"seconds ~ {'area' if name == 'pixels' else name}^{found[name]['slope']:.2f}"
        series = {"seconds a GIF": (curve["x"], curve["seconds"])}
        charts.append({"series": series, "xlabel": label, "ylabel": "seconds", "title": title, "log": "xy", "marker": "o"})
    return line_charts(charts, out)
