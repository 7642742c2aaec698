"""How the ablation reads: Table 2 of the paper at our scale, what else was measured, and what it says of the paper's claims.

Everything is worked out from ablation.json: means and standard deviations over seeds, and verdicts that compare two settings
seed by seed, so that what differs is the setting and not the luck of a start. A verdict needs all seeds to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

from .ablation import SETTINGS
from .paper_tables import TABLE_2
from .presets import VARIANTS

OWN = "1"  # the s_I that lite samples with: no guidance
REFERENCES = {"floor": "copy of the source (floor)", "ceiling": "exact frame through E, D (ceiling)"}


class Figure(NamedTuple):
    """One figure of a run, as it is written."""

    label: str
    unit: str
    digits: int
    less: bool  # whether less is better


FIGURES = {
    "rmse": Figure("RMSE a GIF", "px", 2, True),
    "pearson": Figure("Pearson a GIF", "", 3, False),
    "curve_l2": Figure("L2 of the averaged curve", "px", 2, True),
    "curve_pearson": Figure("Pearson of the averaged curve", "", 3, False),
    "psnr": Figure("PSNR, whole picture", "dB", 2, False),
    "moving_psnr": Figure("PSNR, moving region", "dB", 2, False),
    "still_psnr": Figure("PSNR, still region", "dB", 2, False),
    "flow_error": Figure("error of the flow F", "px", 2, True),
    "extent": Figure("mean measured motion", "px", 2, True),
}
SHOWN = ("rmse", "pearson", "psnr", "moving_psnr", "still_psnr", "flow_error")


class Claim(NamedTuple):
    """What is claimed: in each comparison (a, b, figure, s_I) a is better than b, or for `extent` moves less."""

    text: str
    comparisons: tuple[tuple[str, str, str, str], ...]


_OTHERS = tuple(name for name in VARIANTS if name != "full")
CLAIMS = (
    *(Claim(f"`full` obeys the number better than `{b}`", tuple(("full", b, key, OWN) for key in ("rmse", "pearson")))
      for b in _OTHERS),
    Claim("At the paper's own s_I, `full` is nearer the asked curve than `base`", (("full", "base", "curve_l2", "1.8"),)),
    Claim("The paper: `base` is the worst of all", tuple((a, "base", "rmse", OWN) for a in VARIANTS if a != "base")),
    Claim("The paper: `warp`, whose UNet sees z_W alone, loses the source", (("warp-concat", "warp", "still_psnr", OWN),)),
    Claim("The paper: z_W beside E(c_I) is better than their sum",
          tuple(("warp-concat", "warp-add", key, OWN) for key in ("rmse", "psnr"))),
    Claim("The paper: L_P gives up some extent of motion for control",
          tuple(("full", "warp-concat", key, OWN) for key in ("extent", "pearson"))),
    Claim("Ours: L_P against the target is better than against the source (Eq. 7)",
          tuple(("full", "source", key, OWN) for key in ("rmse", "moving_psnr"))),
    Claim("Ours: a flow of displacements is better than one of absolute places",
          tuple(("full", "absolute", key, OWN) for key in ("rmse", "moving_psnr"))),
    Claim("Ours: our losses are better than the paper's",
          tuple(("full", "paper-losses", key, OWN) for key in ("rmse", "moving_psnr"))),
)  # fmt: skip


def spread(values: Sequence[float], digits: int = 2) -> str:
    """ "mean +- standard deviation" of the seeds, the mean alone where there is one, a dash where there is none."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} +- {stdev(values):.{digits}f}"


def over_seeds(results: dict[str, Any], name: str, scale: str, key: str) -> dict[str, float]:
    """One figure of a setting at one s_I ("1.4"), by seed; without those that do not have it, as Base has no flow error."""
    found = {}
    for seed, run in results["runs"].get(name, {}).items():
        row = run["s_I"].get(scale, {})
        value = mean(row["curve"]) if key == "extent" and "curve" in row else row.get(key)
        if value is not None:
            found[seed] = value
    return found


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
    lines = _header(head, "seeds", *(f"s_I = {s}" for s in scales))
    for key, label in REFERENCES.items():
        if key in results:
            cell = " / ".join(f"{results[key][figure]:.{FIGURES[figure].digits}f}" for figure in keys)
            lines.append(_row(label, "", *[cell] * len(scales)))
    for name, label in _trained(results):
        cells = (" / ".join(_cell(results, name, s, key) for key in keys) for s in scales)
        lines.append(_row(label, _seeds(results, name), *cells))
    for method, by_scale in TABLE_2.items() if of == "curve" else ():
        paper = {f"{s:g}": f"*{found.l2:.3f} / {found.pearson:.3f}*" for s, found in by_scale.items()}
        lines.append(_row(f"*the paper's own: {method}*", "", *(paper.get(s, "") for s in scales)))
    return "\n".join(lines)


def own_table(results: dict[str, Any]) -> str:
    """Markdown: all that was measured without guidance, s_I = 1, as lite samples, and what each run took."""
    units = {key: f"{FIGURES[key].label}, {FIGURES[key].unit}".removesuffix(", ") for key in SHOWN}
    lines = _header("s_I = 1", "seeds", *units.values(), "training, s", "trained parameters, M")
    for key, label in REFERENCES.items():
        if key in results:
            found = (results[key].get(figure) for figure in SHOWN)
            cells = ("-" if v is None else f"{v:.{FIGURES[k].digits}f}" for k, v in zip(SHOWN, found, strict=True))
            lines.append(_row(label, "", *cells, "", ""))
    for name, label in _trained(results):
        trained = [run["trained"] for run in results["runs"][name].values()]
        took = spread([run["seconds"] for run in trained], 0), f"{trained[0]['parameters'] / 1e6:.2f}"
        lines.append(_row(label, _seeds(results, name), *(_cell(results, name, OWN, key) for key in SHOWN), *took))
    return "\n".join(lines)


def gains(results: dict[str, Any], a: str, b: str, key: str, scale: str = OWN) -> list[float]:
    """How much better setting a is than b in a figure of FIGURES, of each seed that both were trained with."""
    ours, theirs = over_seeds(results, a, scale, key), over_seeds(results, b, scale, key)
    sign = -1 if FIGURES[key].less else 1
    return [sign * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs]


def ranking(results: dict[str, Any], key: str = "rmse") -> str:
    """One sentence: the paper's variants by a figure at s_I = 1, best first; "" where fewer than two are there."""
    found = {name: list(over_seeds(results, name, OWN, key).values()) for name in VARIANTS}
    found = {name: values for name, values in found.items() if values}
    if len(found) < 2:
        return ""
    figure = FIGURES[key]
    order = sorted(found, key=lambda name: mean(found[name]) * (1 if figure.less else -1))
    listed = ", ".join(f"`{name}` {spread(found[name], figure.digits)}" for name in order)
    return f"{figure.label}, best first: {listed} {figure.unit}".rstrip() + "."


def verdicts(results: dict[str, Any]) -> list[str]:
    """Sentences: the variants ranked, then each claim and whether it holds in these runs, with the figures that say so.

    A claim "holds" where all its comparisons go its way in every seed, "does not hold" where one goes the other way in
    every seed; else the seeds disagree. Claims about settings that were not trained are left out.
    """
    lines = [line for line in (ranking(results, "rmse"), ranking(results, "moving_psnr")) if line]
    for text, comparisons in CLAIMS:
        found = [(gains(results, *comparison), comparison) for comparison in comparisons]
        if not all(gain for gain, _ in found):
            continue
        if any(max(gain) <= 0 for gain, _ in found):
            word = "does not hold"
        else:
            word = "holds" if all(min(gain) > 0 for gain, _ in found) else "the seeds disagree"
        if len(found) > 2:  # the one that comes nearest to contradicting says enough
            found = [min(found, key=lambda pair: mean(pair[0]))]
        lines.append(f"{text}: **{word}**. " + " ".join(_compared(results, gain, *which) for gain, which in found))
    return lines


def _compared(results: dict[str, Any], gain: list[float], a: str, b: str, key: str, scale: str) -> str:
    figure = FIGURES[key]
    ours, theirs = over_seeds(results, a, scale, key), over_seeds(results, b, scale, key)
    seeds = [seed for seed in ours if seed in theirs]
    values = [f"{mean(side[seed] for seed in seeds):.{figure.digits}f}" for side in (ours, theirs)]
    change = [-g if figure.less else g for g in gain]
    way = "lower" if mean(change) < 0 else "higher"
    by = spread([c if way == "higher" else -c for c in change], figure.digits)
    same = sum((c < 0) == (way == "lower") for c in change if c != 0)
    unit = f" {figure.unit}".rstrip()
    return (f"{figure.label}: `{a}` {values[0]}, `{b}` {values[1]}{unit}, {way} by {by}{unit},"
            f" in {same} of {len(change)} seeds.")  # fmt: skip


def notes(results: dict[str, Any]) -> str:
    """Below the tables: how the runs were made."""
    made = results["made"]
    budget, motions = made["budget"], ", ".join(f"{m:g}" for m in made["motions"])
    return (
        f"Each run: {budget['samples']:,} samples in batches of {budget['batch_size']}, on the same latents of"
        f" {budget['scenes']:,} scenes, from the same E, D and text encoder; the rest from random weights. Measured on"
        f" {budget['test_scenes']} held-out scenes at m = {motions}. Mean +- standard deviation over seeds. s_I = 1 is lite's"
        f" own scale, without guidance. The paper's rows are the paper's: other data, 256 x 256, a far larger model trained far"
        f" longer. First run: `{made['command']}`, {made['date']}, {made['machine']}, commit {made['commit']}."
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


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _header(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]
