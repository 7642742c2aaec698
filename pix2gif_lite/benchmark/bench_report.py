"""How the benchmark reads: the ways to make a GIF in one table, what a user feels in another with the targets beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.report import look_up, reached
from ..markdown import markdown_table

HEADINGS = ("", "steps", "predictions", "seconds a GIF", "G operations", "of the machine", "PSNR, dB", "moving region, dB",
            "Pearson a GIF", "RMSE a GIF, px")  # fmt: skip

# What the second table says: label, path in the results, unit, what to multiply by, digits, target (None: for the reader).
ROWS: tuple[tuple[str, str, str, float, int, tuple[str, float] | None], ...] = (
    ("a GIF of 8 frames, the fastest of ours", "gif_s", "s", 1, 3, ("<=", 0.25)),
    ("times as fast as the reference's recipe", "ratio_reference", "", 1, 0, (">=", 100)),
    ("the same, on the same weights", "ratio_reference_same_weights", "", 1, 0, None),
    ("times as fast as diffusers", "ratio_diffusers", "", 1, 0, None),
    ("the same, with the same steps and three predictions", "ratio_diffusers_same_work", "", 1, 2, None),
    ("below our 100 steps, whole picture", "gap_100_db", "dB", 1, 2, ("<=", 1)),
    ("RMSE of motion a GIF, above that of our 100 steps", "rmse_above_100", "px", 1, 2, None),
    ("one move of the slider, a picture of 256 px as in notebook 00", "slider_ms", "ms", 1, 1, ("<=", 30)),
    ("the same with the undistilled weights", "slider.256_undistilled.ms", "ms", 1, 1, None),
    ("one move of the slider, the picture at the models' size", "slider.own.ms", "ms", 1, 1, None),
    ("the same in bfloat16", "slider.own_bfloat16.ms", "ms", 1, 1, None),
    ("`import pix2gif_lite`", "start.import_s", "s", 1, 3, ("<=", 0.3)),
    ("the first GIF of a fresh process", "start.first_gif_s", "s", 1, 2, ("<=", 10)),
    ("the most memory that takes", "start.peak_bytes", "GB", 1e-9, 2, ("<=", 1.2)),
    ("training on cached latents", "training.cached.samples_per_second", "samples/s", 1, 1, None),
    ("operations a sample", "training.cached.operations_per_sample", "G", 1e-9, 2, None),
    ("share of the machine's rate", "training.cached.share_of_matrix_rate", "", 1, 2, (">=", 0.5)),
    ("training on pictures encoded at every step", "training.uncached.samples_per_second", "samples/s", 1, 1, None),
    ("share of the machine's rate", "training.uncached.share_of_matrix_rate", "", 1, 2, None),
    ("curation", "curation.ours", "pairs/s", 1, 0, None),
    ("times as fast as a plain loop over pairs", "curation.times", "", 1, 1, None),
    ("the same, the loop's frames made small first", "curation.times_small", "", 1, 1, None),
    ("growth with frames, the power", "growth.frames.slope", "", 1, 2, None),
    ("growth with the area of a frame, the power", "growth.pixels.slope", "", 1, 2, None),
    ("growth with steps, the power", "growth.steps.slope", "", 1, 2, None),
)


def bench_markdown(results: Mapping[str, Any]) -> str:
    """Both tables and how they came about."""
    made = results["made"]
    head = [
        "# Benchmark",
        "",
        f"One picture, one caption, {len(made['motions'])} frames at {made['size']} px, written to a GIF file, on"
        f" {made['machine']}; a float32 matrix product runs at {results['matrix_rate'] / 1e9:.0f} G operations a second."
        f" `{made['command']}`, {made['date']}, commit {made['commit']}, {results['seconds']:.0f} s"
        + (f" in {results['sittings']} sittings." if results["sittings"] > 1 else "."),
        "",
    ]
    return "\n".join([*head, *generation_table(results["rows"]), "", *_notes(results), "", *felt_table(results), ""])


def generation_table(rows: list[Mapping[str, Any]]) -> list[str]:
    """A line a row; what stands in the place of a figure that there is none of is a dash."""
    lines = []
    for row in rows:
        seconds = row["note"] if row["seconds"] is None else f"{row['seconds']:.3f}" + " *" * bool(row["extrapolated"])
        psnr = number(row["psnr"], 2) + (f" at {row['quality_steps']} steps" if _fewer(row) else "")
        share = "-" if row["share"] is None else f"{row['share']:.0%}"
        count = number(row["operations"] and row["operations"] / 1e9, 1)
        cells = [row["label"], str(row["steps"]), str(row["predictions"]), seconds, count, share, psnr]
        cells += [number(row["moving_psnr"], 2), number(row["pearson"], 4), number(row["rmse"], 2)]
        lines.append(cells)
    return markdown_table(HEADINGS, lines, ["---", *["--:"] * (len(HEADINGS) - 1)])


def felt_table(results: Mapping[str, Any]) -> list[str]:
    """What a user feels, and what the project set itself."""
    lines = []
    for label, path, unit, factor, digits, target in ROWS:
        value = look_up(dict(results), path)
        aim = "" if target is None else f"{target[0]} {target[1]:g} {unit}".rstrip()
        if value is None:
            lines.append((label, "-", aim, ""))
            continue
        met = "" if target is None else "met" if reached(factor * value, target) else "**missed**"
        shown = f"{factor * value:.{digits}f} {unit}".rstrip() + " *" * (path in results["estimated"])
        lines.append((label, shown, aim, met))
    return markdown_table(("", "figure", "target", ""), lines, ("---", "--:", "--:", "---"))


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the rows that were timed say of themselves, a sentence each, once."""
    notes = dict.fromkeys(row["note"] for row in rows if row["seconds"] is not None and row["note"])
    return [f"{note[0].upper()}{note[1:]}." for note in notes]


def _notes(results: Mapping[str, Any]) -> list[str]:
    """What the tables leave out, a line each."""
    rows, lines = results["rows"], []
    for short in dict.fromkeys(tuple(row["extrapolated"]) for row in rows if row["extrapolated"]):
        lines.append(
            f"\\* not run to the end: a straight line through runs of {short[0]} and {short[1]} steps. A figure of the second"
            " table with this mark rests on such rows, or on their quality at fewer steps."
        )
    lines += remarks(rows)
    count = results["made"]["scenes"]
    scenes = f"{count} scene{'s' * (count != 1)}"
    repeats = sorted({row["repeats"] for row in rows if row["repeats"]})
    lines.append(
        f"Seconds are medians of {' or '.join(map(str, repeats))} runs after a warm-up. A multiply-add is two operations; their"
        f" share is of the rate of a matrix product. Quality: {scenes} of `test`, frames as D makes them."
    )
    lines.append(
        f"The fastest of ours is `{results['fastest']}`; the slider moves with the same weights. diffusers' time is that of its"
        " faster way."
    )
    if "not_drawn" in results:
        lines.append(f"No figure of the growth: {results['not_drawn']}")
    return [line for each in lines for line in (each, "")][:-1]


def number(value: float | None, digits: int) -> str:
    """A figure as both tables show it; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def _fewer(row: Mapping[str, Any]) -> bool:
    return row["quality_steps"] is not None and row["quality_steps"] != row["steps"]
