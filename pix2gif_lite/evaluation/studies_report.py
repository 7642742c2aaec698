"""How the studies read: a table each, what they say in a sentence, and steps against quality as a figure.

Every sentence is worked out from the rows, so that it says whatever was measured, also that a knob does nothing or harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..markdown import markdown_table
from ..viz import line_charts

Rows = Sequence[Mapping[str, Any]]

SAMPLER_NAMES = {"dpmpp_2m": "DPM-Solver++(2M)", "euler_ancestral": "Euler ancestral"}
KIND_NAMES = {
    "one": "one subject, which acts",
    "beside": "two subjects, one acts, the other stands still",
    "two": "two subjects, both act",
}
# What a column shows: heading, key, decimals (None: two, and the error).
PSNR = ("PSNR, dB", "psnr", 2)
CHANGE = ("change, dB", "psnr_change", None)  # with its error
MOVING = ("moving region, dB", "moving_psnr", 2)
GAP = ("below E/D alone, dB", "gap_db", 2)
PEARSON = ("Pearson a GIF", "pearson", 4)
RMSE = ("RMSE a GIF, px", "rmse", 2)
CURVE_L2 = ("L2 of the averaged curve, px", "curve_l2", 2)
CURVE_PEARSON = ("its Pearson", "curve_pearson", 4)
FLICKER = ("flicker, grey levels", "flicker", 2)
STILL_FLICKER = ("of what stands still", "still_flicker", 3)
SECONDS = ("seconds a GIF", "seconds", 2)


def studies_markdown(studies: Mapping[str, Any]) -> str:
    """All tables of what `run_studies` returns, each under a heading of the third level, with its findings above it."""
    made, own = studies["made"], studies["own"]
    intro = (
        f"On {made['scenes']} scenes of `{made['split']}` at m = {', '.join(map(str, made['motions']))}, the same pictures,"
        f" captions and seeds in every row. The weights' own way: {_sampler(own)}, {_steps(own)}, s_I = {own['s_I']:g},"
        f" s_T = {own['s_T']:g}, one noise for all frames. +- is the standard error, over scenes, of the difference to it."
    )
    say = findings(studies)
    parts = [intro, "### One noise for all frames of a GIF, or one each", say["noise"], noise_table(studies["noise"])]
    parts += ["### The motion in every guidance branch, or dropped with the text", say["motion_guidance"]]
    parts += [motion_table(studies["motion_guidance"])]
    parts += ["### Guidance by picture and text", say["guidance"], guidance_table(studies["guidance"])]
    parts += ["### Motion coherency by guidance, as in the paper's Table 2", say["coherency"]]
    parts += [coherency_table(studies["coherency"])]
    parts += ["### Number of steps by sampler", say["steps"], steps_table(studies["steps"])]
    parts += ["### Two actions at once", say["two_actions"], two_table(studies["two_actions"])]
    return "\n\n".join(parts) + "\n"


def studies_figures(studies: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """steps.png in the folder: PSNR over the number of steps and over seconds, and how motion is obeyed, by sampler.

    Returns the paths written. Raises ModuleNotFoundError without matplotlib.
    """
    names = dict.fromkeys(row["sampler"] for row in studies["steps"])
    rows = {SAMPLER_NAMES.get(name, name): [r for r in studies["steps"] if r["sampler"] == name] for name in names}

    def curves(x: str, y: str) -> dict[str, tuple[list[float], list[float]]]:
        return {name: ([row[x] for row in some], [row[y] for row in some]) for name, some in rows.items()}

    style = {"log": "x", "marker": "o"}
    charts = [
        {"series": curves("steps", "psnr"), "xlabel": "steps", "ylabel": "PSNR, dB", **style},
        {"series": curves("seconds", "psnr"), "xlabel": "seconds a GIF of 8 frames", "ylabel": "PSNR, dB", **style},
        {"series": curves("steps", "rmse"), "xlabel": "steps", "ylabel": "RMSE of motion, px", **style},
    ]
    return [line_charts(charts, Path(folder) / "steps.png")]


def findings(studies: Mapping[str, Any]) -> dict[str, str]:
    """What each study comes to, one or two sentences by its name, worked out from its rows."""
    found = {"noise": [], "motion_guidance": [], "guidance": [], "coherency": [], "steps": [], "two_actions": []}
    for shared, independent in zip(studies["noise"][::2], studies["noise"][1::2], strict=True):
        still = [_number(row["still_flicker"], 3) for row in (shared, independent)]
        found["noise"].append(
            f"{_sampler(shared)}, {_steps(shared)}: a noise of its own for each frame changes PSNR by"
            f" {_more(independent, shared)} dB, and what should stand still changes by {still[1]} grey levels from frame to"
            f" frame instead of {still[0]}."
        )
    rows = studies["motion_guidance"]
    for s_T in dict.fromkeys(row["s_T"] for row in rows):
        some = [row for row in rows if row["s_T"] == s_T]
        best = min(some, key=lambda row: row["rmse"])
        paper = next((row for row in some if row["s_M"] is None), best)
        better = ""
        if best["rmse"] < paper["rmse"]:
            gain = f"{paper['rmse'] - best['rmse']:.2f} px better than with it in every branch"
            better = f", {gain}, at {_more(best, paper)} dB of PSNR"
        found["motion_guidance"].append(
            f"At s_T = {s_T:g} motion is obeyed best with {_dropped(best)} (RMSE {best['rmse']:.2f} px a GIF){better}."
        )
    for key, what, unit in (("psnr", "highest", "dB"), ("rmse", "lowest", "px")):
        best = (max if key == "psnr" else min)(studies["guidance"], key=lambda row: row[key])
        label = {"psnr": "PSNR", "rmse": "RMSE of motion"}[key]
        found["guidance"].append(
            f"{label} is {what} at s_I = {best['s_I']:g}, s_T = {best['s_T']:g} ({best[key]:.2f} {unit}"
            f"; the weights' own way gives {_own(studies)[key]:.2f})."
        )
    best = min(studies["coherency"], key=lambda row: row["curve_l2"])
    found["coherency"].append(
        f"s_I and s_T are raised together, {_steps(best)}. The averaged curve is nearest to what was asked for at s_I ="
        f" {best['s_I']:g} (L2 {best['curve_l2']:.2f} px)."
    )
    for sampler in dict.fromkeys(row["sampler"] for row in studies["steps"]):
        some = [row for row in studies["steps"] if row["sampler"] == sampler]
        best, most = max(some, key=lambda row: row["psnr"]), some[-1]
        sentence = f"{_sampler(best)} is nearest to the exact frames with {_steps(best)} ({best['psnr']:.2f} dB)"
        if most is not best:
            times = most["seconds"] / best["seconds"]
            sentence += f"; {_steps(most)} give {_more(most, best)} dB in {times:.0f} times the time"
        found["steps"].append(sentence + ".")
    made = studies["made"]
    found["steps"].append(
        f"Seconds are those of the pipeline for one GIF of {len(made['motions'])} frames; threads: {made['threads']}."
    )
    two = studies["two_actions"]
    found["two_actions"].append(
        f"Two actions at once are {_with_error(two, 'worse_db')} dB farther below E/D alone than one, in the moving region"
        f" {_with_error(two, 'moving_worse_db')} dB ({two['scenes']} scenes of each kind, standing for the paper's Figure 6;"
        " +- is the standard error over scenes)."
    )
    return {name: " ".join(sentences) for name, sentences in found.items()}


def noise_table(rows: Rows) -> str:
    """Markdown: shared and independent noise, by sampler."""
    kinds = {"shared": "one for all", "independent": "one each"}
    named = [(f"{_sampler(row)}, {_steps(row)}, {kinds[row['noise']]}", row) for row in rows]
    return _table("noise", named, (PSNR, CHANGE, FLICKER, STILL_FLICKER, RMSE))


def motion_table(rows: Rows) -> str:
    """Markdown: the paper's guidance, and motion as a third condition."""
    named = [(f"s_T = {row['s_T']:g}, {_dropped(row)}", row) for row in rows]
    return _table("guidance", named, (PEARSON, RMSE, PSNR, CHANGE, MOVING))


def guidance_table(rows: Rows) -> str:
    """Markdown: s_I downwards, s_T to the right; PSNR, and RMSE of asked and measured motion, in a cell."""
    scales = list(dict.fromkeys(row["s_T"] for row in rows))
    lines = []
    for s_I in dict.fromkeys(row["s_I"] for row in rows):
        some = {row["s_T"]: f"{row['psnr']:.2f} / {row['rmse']:.2f}" for row in rows if row["s_I"] == s_I}
        lines.append([f"s_I = {s_I:g}", *(some.get(s_T, "") for s_T in scales)])
    return "\n".join(markdown_table(["PSNR, dB / RMSE a GIF, px", *(f"s_T = {s_T:g}" for s_T in scales)], lines))


def coherency_table(rows: Rows) -> str:
    """Markdown: one row for each s_I = s_T, the averaged curve's L2 and Pearson, and those of a GIF."""
    named = [(f"{row['s_I']:g}", row) for row in rows]
    return _table("s_I = s_T", named, (CURVE_L2, CURVE_PEARSON, RMSE, PEARSON, PSNR))


def steps_table(rows: Rows) -> str:
    """Markdown: samplers and numbers of steps, quality and time."""
    named = [(f"{_sampler(row)}, {row['steps']}", row) for row in rows]
    return _table("sampler, steps", named, (PSNR, CHANGE, MOVING, PEARSON, RMSE, SECONDS))


def two_table(two: Mapping[str, Any]) -> str:
    """Markdown: one subject, a still companion, two that act."""
    gaps = ((GAP[0], "gap_db"), ("the same, moving region", "moving_gap_db"))
    columns = [(heading, key, None) for heading, key in gaps] + [PSNR, PEARSON, RMSE, ("E/D's RMSE, px", "ceiling_rmse", 2)]
    columns += [("the ruler's RMSE, px", "ruler_rmse", 2), ("error of F, px", "flow_error", 2)]
    return _table("scenes", [(name, two[kind]) for kind, name in KIND_NAMES.items()], columns)


def _table(first: str, named: Sequence[tuple[str, Mapping[str, Any]]], columns: Sequence[tuple[str, str, int | None]]) -> str:
    lines = []
    for name, row in named:
        cells = [_with_error(row, key) if digits is None else _number(row[key], digits) for _, key, digits in columns]
        lines.append([name, *cells])
    return "\n".join(markdown_table([first, *(heading for heading, _, _ in columns)], lines))


def _number(value: float | None, digits: int) -> str:
    return "not computed" if value is None else f"{value:.{digits}f}"


def _with_error(row: Mapping[str, Any], key: str) -> str:
    error = row[key + "_error"]
    return _number(row[key], 2) + ("" if error is None else f" +- {error:.2f}")


def _own(studies: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row that was asked in the weights' own way: the first of the noises."""
    return studies["noise"][0]


def _sampler(row: Mapping[str, Any]) -> str:
    return SAMPLER_NAMES.get(row["sampler"], row["sampler"])


def _steps(row: Mapping[str, Any]) -> str:
    return f"{row['steps']} step{'' if row['steps'] == 1 else 's'}"


def _dropped(row: Mapping[str, Any]) -> str:
    return "the motion in every branch (the paper's)" if row["s_M"] is None else f"the motion dropped, s_M = {row['s_M']:g}"


def _more(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """By how many dB a row is above another: "+0.12" or "-0.12"."""
    return f"{row['psnr'] - other['psnr']:+.2f}"
