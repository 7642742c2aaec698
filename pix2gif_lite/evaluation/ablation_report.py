"""How the ablation reads: Table 2 of the paper at our scale, and what else was measured; mean and spread over seeds."""

from __future__ import annotations

from typing import Any

from ..markdown import markdown_table
from ..presets import get_preset
from .ablation import SETTINGS, UNSAID
from .ablation_claims import FIGURES, OWN, over_seeds, spread, verdicts
from .paper_tables import TABLE_2

REFERENCES = {"floor": "copy of the source (floor)", "ceiling": "exact frame through E, D (ceiling)"}
SHOWN = ("rmse", "pearson", "psnr", "moving_psnr", "still_psnr", "flow_error")


def table(results: dict[str, Any], of: str = "curve") -> str:
    """Markdown in the layout of the paper's Table 2: a row a setting, a column an s_I, in each cell L2 / Pearson.

    `of` "curve": of the measured motions averaged over scenes, as the paper has it, with the paper's own rows; "gif": RMSE
    and Pearson of each GIF, averaged over GIFs, the stricter reading. ValueError for another word.
    """
    keys = {"curve": ("curve_l2", "curve_pearson"), "gif": ("rmse", "pearson")}.get(of)
    if keys is None:
        raise ValueError(f"No table of {of!r}: choose curve or gif.")
    scales = [f"{s:g}" for s in results["made"]["scales"]]
    head = "L2 / Pearson of the averaged curve" if of == "curve" else "RMSE / Pearson a GIF"
    lines = []
    for key, label in REFERENCES.items():
        if key in results:
            cell = " / ".join(f"{results[key][figure]:.{FIGURES[figure].digits}f}" for figure in keys)
            lines.append([label, "", *[cell] * len(scales)])
    for name, label in _trained(results):
        cells = (" / ".join(_cell(results, name, s, key) for key in keys) for s in scales)
        lines.append([label, _seeds(results, name), *cells])
    for method, by_scale in TABLE_2.items() if of == "curve" else ():
        paper = {f"{s:g}": f"*{found.l2:.3f} / {found.pearson:.3f}*" for s, found in by_scale.items()}
        lines.append([f"*the paper's own: {method}*", "", *(paper.get(s, "") for s in scales)])
    return "\n".join(markdown_table([head, "seeds", *(f"s_I = {s}" for s in scales)], lines))


def own_table(results: dict[str, Any]) -> str:
    """Markdown: all that was measured without guidance, s_I = 1, as lite samples, and what each run took."""
    units = {key: f"{FIGURES[key].label}, {FIGURES[key].unit}".removesuffix(", ") for key in SHOWN}
    lines, took_head = [], ("training, s, of the fastest run", "trained parameters, M")
    for key, label in REFERENCES.items():
        if key in results:
            found = (results[key].get(figure) for figure in SHOWN)
            cells = ("-" if v is None else f"{v:.{FIGURES[k].digits}f}" for k, v in zip(SHOWN, found, strict=True))
            lines.append([label, "", *cells, "", ""])
    for name, label in _trained(results):
        trained = [run["trained"] for run in results["runs"][name].values()]
        # the clock also counts other work and pauses, so the fastest run says most of what a run takes
        took = f"{min(run['seconds'] for run in trained):.0f}", f"{trained[0]['parameters'] / 1e6:.2f}"
        lines.append([label, _seeds(results, name), *(_cell(results, name, OWN, key) for key in SHOWN), *took])
    return "\n".join(markdown_table(["s_I = 1", "seeds", *units.values(), *took_head], lines))


def notes(results: dict[str, Any]) -> str:
    """Below the tables: how the runs were made."""
    made = UNSAID | results["made"]
    budget, motions = made["budget"], ", ".join(f"{m:g}" for m in made["motions"])
    preset = get_preset(made["preset"])
    commits = {run["made"]["commit"] for runs in results["runs"].values() for run in runs.values() if "made" in run}
    others = sorted(commit for commit in commits - {made["commit"]} if commit)
    later = f" Others at commit {', '.join(others)}." if others else ""
    return (
        f"Each run: {budget['samples']:,} samples in batches of {budget['batch_size']}, on the same latents of"
        f" {budget['scenes']:,} scenes, from the same E, D and text encoder; the rest from random weights, the UNet of"
        f" widths {', '.join(map(str, made['unet']))}. That text encoder"
        f" learnt in the full model, beside c_M, which the paper's CLIP did not: Base, which hears the motion in words alone,"
        f" may lose by it. Measured on {budget['test_scenes']} held-out scenes at m = {motions}, {preset.sampler} with"
        f" {made['steps']} steps. Mean +- standard deviation over seeds. s_I = 1 is lite's own scale, without guidance."
        " s_T is s_I in every column, where the paper's is 7.5: picture and caption are guided alike."
        " The paper's rows are the paper's: other data, 256 x 256, a far larger model trained far longer."
        f" Where two settings are alike, a given one is ahead in every seed by chance: in 1 of 2 cases with one seed,"
        f" in 1 of 8 with three. Seconds are the clock's, other work on the machine included. First run: `{made['command']}`,"
        f" {made['date']}, {made['machine']}, commit {made['commit']}.{later}"
    )


def markdown(results: dict[str, Any]) -> str:
    """All of it, as ablation.md holds it."""
    lines = "\n".join(f"- {line}" for line in verdicts(results)) or "Too few settings are trained to compare any."
    parts = ["# The ablation at lite scale", table(results), table(results, "gif"), own_table(results), notes(results)]
    return "\n\n".join([*parts, "## What it says", lines]) + "\n"


def _trained(results: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, label) of the settings with at least one run."""
    return [(setting.name, setting.label) for setting in SETTINGS if results["runs"].get(setting.name)]


def _seeds(results: dict[str, Any], name: str) -> str:
    return str(len(results["runs"][name]))


def _cell(results: dict[str, Any], name: str, scale: str, key: str) -> str:
    return spread(list(over_seeds(results, name, scale, key).values()), FIGURES[key].digits)
