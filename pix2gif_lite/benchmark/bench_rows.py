"""The ways to make one GIF that are timed beside each other, and what a row of the table says of each.

Every row makes the same thing: frames of DEMO_MOTIONS from one picture and caption, written to a GIF file. Rows of 12 steps and
more, each of which costs the same, are `slow`: --quick runs fewer of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ..evaluation.generating import Scales
from ..gifs import save_animation
from ..pipeline import Pix2GifPipeline
from ..presets import DEMO_MOTIONS
from .bench_diffusers import diffusers_frames, instruct_pix2pix
from .bench_plan import Plan
from .bench_quality import FIGURES, Judge, Way
from .bench_reference import S_I, S_T, STEPS, reference_frames
from .bench_timing import timed

GUIDED = Scales(S_I, S_T)
# About the middle third of the noise levels, in their logarithm, as Kynkaanniemi et al. 2024 find for latent diffusion.
INTERVAL = (0.25, 2.0)
DISTILLED = (4, 2, 1)
SLOW = 12  # steps
NOT_DISTILLED = "no distilled weights yet: `pix2gif-lite train turbo`, then --turbo"
TWICE = "the time is without lite's second look, which the recipe has not; the frames that are judged have it"
RANDOM_UNET = "diffusers is there for the time alone: the 8-channel UNet has random weights"

Make = Callable[[int], list[Image.Image]]


class Row(NamedTuple):
    """One way to make the GIF."""

    key: str  # its name in bench.json
    label: str
    way: Way  # whose steps are those of the row
    make: Make | None  # steps -> frames; None: it cannot be had, `note` says why
    judged: Pix2GifPipeline | None = None  # whose frames by `way` are those of the row; None: there is no quality to judge
    note: str = ""
    slow: bool = False

    def judged_way(self, plan: Plan) -> Way:
        """`way`, in at most as many steps as the plan has for frames that are judged."""
        if plan.quality_steps is None or not self.slow:
            return self.way
        return self.way._replace(steps=min(self.way.steps, plan.quality_steps))


def generation_rows(pipe: Pix2GifPipeline, turbo: Pix2GifPipeline | None, picture: Image.Image, caption: str) -> list[Row]:
    """The rows, slowest first. `turbo`: distilled weights, None where there are none."""
    c = pipe.config
    theirs = instruct_pix2pix(pipe)
    guided = Way(STEPS, "euler_ancestral", GUIDED)

    def reference(steps: int) -> list[Image.Image]:
        return reference_frames(pipe, picture, caption, DEMO_MOTIONS, steps)

    def diffusers(batched: bool) -> Make:
        return lambda steps: diffusers_frames(theirs, picture, caption, DEMO_MOTIONS, steps, S_I, S_T, batched)

    def ours(way: Way, weights: Pix2GifPipeline = pipe) -> Make:
        how = {"sampler": way.sampler, "interval": way.interval, "quiet": True, **way.scales._asdict()}
        return lambda steps: weights(picture, caption, DEMO_MOTIONS, steps=steps, **how).frames

    plain = Scales(c.s_I, c.s_T)
    named = {
        "ours_guided": ("ours, the same three predictions, all frames at once", guided),
        "ours_100": ("ours, DPM-Solver++(2M)", Way(STEPS, "dpmpp_2m", plain)),
        "ours_12": ("ours, DPM-Solver++(2M)", Way(12, "dpmpp_2m", plain)),
        "ours_12_guided": ("ours, three predictions", Way(12, "dpmpp_2m", GUIDED)),
        "ours_12_interval": (f"ours, three predictions at {INTERVAL[0]:g} < sigma <= {INTERVAL[1]:g}, else one",
                             Way(12, "dpmpp_2m", GUIDED, INTERVAL)),
        "ours": ("ours, as these weights are asked by default", Way(c.sampling_steps, c.sampler, plain)),
    }  # fmt: skip
    note = TWICE if c.second_look else ""
    rows = [
        Row("reference", "the reference's recipe, frame by frame", guided, reference, pipe, note, True),
        Row("diffusers", "diffusers' InstructPix2Pix, frame by frame", guided, diffusers(False), None, RANDOM_UNET, True),
        Row("diffusers_batched", "the same, all frames at once", guided, diffusers(True), None, RANDOM_UNET, True),
    ]
    for key, (label, way) in named.items():  # in an interval some steps cost more than others: no straight line
        rows.append(Row(key, label, way, ours(way), pipe, slow=way.steps >= SLOW and way.interval is None))
    for steps in DISTILLED:
        label, t = "ours, distilled weights", c if turbo is None else turbo.config
        way = Way(steps, t.sampler, Scales(t.s_I, t.s_T))
        if turbo is None:
            rows.append(Row(f"distilled_{steps}", label, way, None, note=NOT_DISTILLED))
        elif steps in turbo.config.distilled_steps:
            rows.append(Row(f"distilled_{steps}", label, way, ours(way, turbo), turbo))
        else:
            takes = ", ".join(str(n) for n in turbo.config.distilled_steps)
            rows.append(Row(f"distilled_{steps}", label, way, None, note=f"these weights take {takes} steps"))
    return rows


def run_row(row: Row, plan: Plan, judge: Judge, rate: float) -> dict[str, Any]:
    """The row as JSON values: key, label, steps, predictions, note, seconds, repeats, extrapolated, operations, share (of
    `rate`, operations a second), and what `Judge.figures` returns. None where there is nothing to say."""
    found: dict[str, Any] = {"key": row.key, "label": row.label, "steps": row.way.steps, "predictions": row.way.predictions}
    found |= {"s_I": row.way.scales.s_I, "s_T": row.way.scales.s_T, "sampler": row.way.sampler, "note": row.note}
    names = ("seconds", "repeats", "operations", "extrapolated", "share")
    found |= dict.fromkeys((*names, *FIGURES))
    if row.make is None:
        return found
    make, repeats = row.make, plan.repeats if row.way.steps < SLOW else plan.slow_repeats
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.gif"
        cost = timed(lambda steps: save_animation(make(steps), path), row.way.steps, repeats, plan.short if row.slow else None)
    found |= cost._asdict() | {"share": cost.operations / cost.seconds / rate}
    if row.judged is not None:
        found |= judge.figures(row.judged, row.judged_way(plan))
    return found
