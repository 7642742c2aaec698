"""What the ablation says: which setting is better at what, seed by seed, and whether the paper's claims hold here.

Two settings are compared with the same seed each, so that what differs is the setting and not the luck of a start. A claim
holds where every seed agrees, and fails where every seed contradicts it. Where one does not hold, what sets lite apart from
the paper there is said beside it: that is an explanation, not a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import correlation, mean, stdev
from typing import Any, NamedTuple

from ..presets import LITE, VARIANTS
from .paper_tables import TABLE_2

OWN = "1"  # the s_I that lite samples with: no guidance
FLAT = 0.05  # of the asked change: a curve that rises by less has stopped to tell motions apart


class Figure(NamedTuple):
    """One figure of a run, as it is written."""

    label: str
    unit: str
    digits: int
    less: bool  # whether less is better


FIGURES = {
    "rmse": Figure("RMSE a GIF", "px", 2, True),
    "pearson": Figure("Pearson a GIF", "", 4, False),
    "curve_l2": Figure("L2 of the averaged curve", "px", 2, True),
    "curve_pearson": Figure("Pearson of the averaged curve", "", 4, False),
    "psnr": Figure("PSNR, whole picture", "dB", 2, False),
    "moving_psnr": Figure("PSNR, moving region", "dB", 2, False),
    "still_psnr": Figure("PSNR, still region", "dB", 2, False),
    "flow_error": Figure("error of the flow F", "px", 2, True),
    "extent": Figure("mean measured motion", "px", 2, True),
}


class Claim(NamedTuple):
    """What is claimed: in each comparison (a, b, figure, s_I) a is better than b, or for `extent` moves less."""

    text: str
    comparisons: tuple[tuple[str, str, str, str], ...]
    why: str = ""  # what may be the reason where it does not hold; {weighs} stands for what `weighs` says


def _at_own(a: str, b: str, *keys: str) -> tuple[tuple[str, str, str, str], ...]:
    return tuple((a, b, key, OWN) for key in keys)


_RESIDUAL = (
    "Lite's UNet says how the frame differs from z_W, and L_W teaches the warp from exact frames, so that z_W alone holds what"
    " the paper's needs E(c_I) for; more input channels then are more to learn within the budget."
)
_GUIDED = "Guidance leads away from the prediction that sees nothing, and few samples taught that one."
_SMALL = "The two differ in L_P alone, which is small in the loss: {weighs}"
_WHY = {
    "warp": _RESIDUAL,
    "warp-add": _RESIDUAL,
    "warp-concat": f"{_SMALL}. L_W pulls z_W to the same target.",
}
CLAIMS = (
    *(Claim(f"`full` obeys the number better than `{b}`", _at_own("full", b, "rmse", "pearson"), _WHY.get(b, ""))
      for b in VARIANTS if b != "full"),
    Claim("At the paper's own s_I, `full` is nearer the asked curve than `base`", (("full", "base", "curve_l2", "1.8"),)),
    Claim("At the paper's own s_I, `full` is nearer the asked curve than any other variant",
          tuple(("full", b, "curve_l2", "1.8") for b in VARIANTS if b != "full"), _GUIDED),
    Claim("The paper: `base` is the worst of all", tuple((a, "base", "rmse", OWN) for a in VARIANTS if a != "base")),
    Claim("The paper: `warp`, whose UNet sees z_W alone, loses the source",
          _at_own("warp-concat", "warp", "still_psnr"), _RESIDUAL),
    Claim("The paper: z_W beside E(c_I) is better than their sum",
          _at_own("warp-concat", "warp-add", "rmse", "psnr"), _RESIDUAL),
    Claim("The paper: L_P gives up some extent of motion for control, here against the target",
          _at_own("full", "warp-concat", "extent", "pearson"),
          "Against the target L_P asks for the asked motion; only against the source does it reward standing still."),
    Claim("The same with L_P against the source, as Eq. 7 has it", _at_own("source", "warp-concat", "extent", "pearson"),
          f"{_SMALL}."),
    Claim("Ours: L_P against the target is better than against the source (Eq. 7)",
          _at_own("full", "source", "rmse", "moving_psnr"), f"{_SMALL}."),
    Claim("Ours: a flow of displacements is better than one of absolute places",
          _at_own("full", "absolute", "rmse", "moving_psnr")),
    Claim("Ours: a look-up that learns (WNet with weights) is better than the paper's without",
          _at_own("subcell", "full", "rmse", "moving_psnr")),
    Claim("Ours: F and O that learn from the exact flow too (L_F, L_O, bodies, calibration) are better",
          _at_own("flow-loss", "subcell", "rmse", "moving_psnr", "flow_error")),
    Claim("Ours: our losses are better than the paper's", _at_own("full", "paper-losses", "rmse", "moving_psnr")),
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


def gains(results: dict[str, Any], a: str, b: str, key: str, scale: str = OWN) -> list[float]:
    """How much better setting a is than b in a figure of FIGURES, of each seed that both were trained with."""
    ours, theirs = over_seeds(results, a, scale, key), over_seeds(results, b, scale, key)
    sign = -1 if FIGURES[key].less else 1
    return [sign * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs]


def ranking(results: dict[str, Any], key: str = "rmse", scale: str = OWN) -> str:
    """One sentence: the paper's variants by a figure at one s_I, best first; "" where fewer than two were measured."""
    found = {name: list(over_seeds(results, name, scale, key).values()) for name in VARIANTS}
    found = {name: values for name, values in found.items() if values}
    if len(found) < 2:
        return ""
    figure = FIGURES[key]
    order = sorted(found, key=lambda name: mean(found[name]) * (1 if figure.less else -1))
    listed = ", ".join(f"`{name}` {spread(found[name], figure.digits)}" for name in order)
    return f"{figure.label} at s_I = {scale}, best first: {listed} {figure.unit}".rstrip() + "."


def weighs(results: dict[str, Any]) -> str:
    """What L_P and L_W come to in `full`'s loss, on held-out pairs at the end of training; of old runs the weights alone."""
    weights = [LITE.loss_weights[term] for term in ("perceptual", "warp")]
    ends = [run["trained"] for run in results["runs"].get("full", {}).values()]
    if not ends or not all("val_perceptual" in end and "val_warp" in end for end in ends):
        return "its weight is {:g}, that of L_W {:g}".format(*weights)
    L_P, L_W = (mean(end[name] for end in ends) for name in ("val_perceptual", "val_warp"))
    share = weights[1] * L_W / (weights[0] * L_P)
    return (f"at the end of training {weights[0]:g} x {L_P:.3f}, where L_W is {weights[1]:g} x {L_W:.3f},"
            f" {share:.0f} times as much")  # fmt: skip


def best_scales(results: dict[str, Any]) -> str:
    """One sentence: at which s_I each of the paper's variants has its lowest RMSE a GIF, and the paper's lowest L2; or ""."""
    scales = [f"{s:g}" for s in results["made"]["scales"]]
    best = {}
    for name in VARIANTS:
        if found := {
            s: mean(over_seeds(results, name, s, "rmse").values()) for s in scales if over_seeds(results, name, s, "rmse")
        }:
            best[name] = min(found, key=found.__getitem__)
    if not best or len(scales) < 2:
        return ""
    ours = ", ".join(f"`{name}` {scale}" for name, scale in best.items())
    paper = ", ".join(f"{method} {min(row, key=lambda s: row[s].l2):g}" for method, row in TABLE_2.items())
    said = f"The s_I with the lowest RMSE a GIF: {ours}. With the lowest L2 in the paper's table: {paper}."
    if best.get("full") != scales[0]:
        return said
    samples = results["made"]["budget"]["samples"]
    blind = round(LITE.drop_both * samples)
    return (f"{said} Likely why more does not help: what s_I = s_T adds is the whole prediction less the one that sees neither"
            f" picture nor caption, which about {blind:,} of the {samples:,} samples teach.")  # fmt: skip


def flat_curves(results: dict[str, Any], scale: str = OWN) -> str:
    """One sentence: from which motion on a setting's averaged curve no longer rises; "" where all rise to the end."""
    asked, found = results["made"]["motions"], []
    for name, runs in results["runs"].items():
        curves = [run["s_I"][scale]["curve"] for run in runs.values() if scale in run["s_I"]]
        curve = [mean(values) for values in zip(*curves, strict=True)]
        for k in range(len(curve) - 2):  # two points are no plateau
            rise = max(curve[k:]) - min(curve[k:])
            if rise < FLAT * (asked[-1] - asked[k]):
                found.append(
                    f"`{name}` from m = {asked[k]:g} on (it rises by {rise:.2f} px, where {asked[-1] - asked[k]:g} are asked)"
                )
                break
    return f"Motions that are not told apart, the averaged curve being flat: {', '.join(found)}." if found else ""


def what_decides(results: dict[str, Any]) -> str:
    """One sentence on the variants with a warp: whether RMSE goes with the flow's error, and how far seeds and variants are
    apart; "" for fewer than two of them, or fewer than two seeds of one.
    """
    runs = {name: over_seeds(results, name, OWN, "flow_error") for name in VARIANTS}
    runs = {name: errors for name, errors in runs.items() if errors}
    if len(runs) < 2 or min(map(len, runs.values())) < 2:
        return ""
    rmse = {name: over_seeds(results, name, OWN, "rmse") for name in runs}
    pairs = [(error, rmse[name][seed]) for name, errors in runs.items() for seed, error in errors.items()]
    seeds = mean(stdev(found.values()) ** 2 for found in rmse.values()) ** 0.5
    variants = stdev(mean(found.values()) for found in rmse.values())
    goes = correlation(*zip(*pairs, strict=True))
    return (
        f"What decides among the variants with a warp: over their {len(pairs)} runs RMSE a GIF goes with the error of F"
        f" (correlation {goes:.2f}), and F is made by the same FNet and taught by the same L_W in all, whatever the UNet sees."
        f" Seeds of one variant are {seeds:.2f} px apart (standard deviation), the variants' means {variants:.2f} px."
    )


def verdicts(results: dict[str, Any]) -> list[str]:
    """Sentences: the variants ranked, what s_I does, where a curve is flat, then each claim and whether it holds, with figures.

    A claim "holds" where all its comparisons go its way in every seed, "does not hold" where none does so in any, "partly"
    where some do in every seed and the others in none; else the seeds disagree. Of one seed it says so. A difference
    below the last digit shown is none. Claims about settings that were not trained are left out.
    """
    lines = [ranking(results, "rmse"), ranking(results, "moving_psnr"), ranking(results, "rmse", "1.8")]
    lines += [ranking(results, "curve_l2", "1.8"), best_scales(results), flat_curves(results), what_decides(results)]
    for text, comparisons, why in CLAIMS:
        found = [(_visible(gains(results, *comparison), comparison[2]), comparison) for comparison in comparisons]
        if not all(gain for gain, _ in found):
            continue
        every, none = [min(gain) > 0 for gain, _ in found], [max(gain) <= 0 for gain, _ in found]
        if all(a or b for a, b in zip(every, none, strict=True)):
            word = "holds" if all(every) else "does not hold" if all(none) else "partly"
            if min(len(gain) for gain, _ in found) < 2:
                word += " in the one seed there is"
        else:
            word = "the seeds disagree"
        if len(found) > 2:  # the one that comes nearest to contradicting says enough
            found = [min(found, key=lambda pair: mean(pair[0]))]
        reason = f" Likely why: {why.format(weighs=weighs(results))}" if why and not word.startswith("holds") else ""
        lines.append(f"{text}: **{word}**. " + " ".join(_compared(results, gain, *which) for gain, which in found) + reason)
    return [line for line in lines if line]


def _visible(gain: list[float], key: str) -> list[float]:
    """Gains in the digits that are shown, so that no win is claimed where both figures read the same."""
    return [round(g, FIGURES[key].digits) for g in gain]


def _compared(results: dict[str, Any], gain: list[float], a: str, b: str, key: str, scale: str) -> str:
    figure = FIGURES[key]
    ours, theirs = over_seeds(results, a, scale, key), over_seeds(results, b, scale, key)
    seeds = [seed for seed in ours if seed in theirs]
    values = [f"{mean(side[seed] for seed in seeds):.{figure.digits}f}" for side in (ours, theirs)]
    unit = f" {figure.unit}".rstrip()
    said = f"{figure.label}: `{a}` {values[0]}, `{b}` {values[1]}{unit}"
    if not any(gain):
        return f"{said}, equal."
    change = [-g if figure.less else g for g in gain]
    way = "lower" if mean(change) < 0 else "higher"
    if round(mean(change), figure.digits) == 0:
        return f"{said}, equal on average, {spread(change, figure.digits).removeprefix('-')}{unit}, over {len(change)} seeds."
    by = spread([c if way == "higher" else -c for c in change], figure.digits)
    same = sum((c < 0) == (way == "lower") for c in change if c != 0)
    return f"{said}, {way} by {by}{unit}, in {same} of {len(change)} seeds."
