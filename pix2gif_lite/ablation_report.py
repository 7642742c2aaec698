"""How the ablation reads: Table 2 of the paper at our scale, mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from .ablation import SETTINGS


def spread(values: Sequence[float], digits: int = 2) -> str:
    """ "mean +- standard deviation" of the seeds, the mean alone where there is one."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} +- {stdev(values):.{digits}f}"


def over_seeds(results: dict[str, Any], name: str, scale: str, key: str) -> list[float]:
    """One figure of a setting at one s_I, of each seed."""
    return [run["s_I"][scale][key] for run in results["runs"][name].values()]


def table(results: dict[str, Any]) -> str:
    """Markdown: L2 / Pearson of the averaged curve by s_I, as the paper's Table 2 has it, then the stricter figures."""
    scales = [f"{s:g}" for s in results["made"]["scales"]]
    rows = ["| | " + " | ".join(f"s_I = {s}" for s in scales) + " |", "|---" * (1 + len(scales)) + "|"]
    for key in ("floor", "ceiling"):
        if key in results:
            cell = f"{results[key]['curve_l2']:.2f} / {results[key]['curve_pearson']:.3f}"
            rows.append(f"| {key} | " + " | ".join([cell] * len(scales)) + " |")
    for setting in SETTINGS:
        if results["runs"].get(setting.name):
            cells = [
                f"{spread(over_seeds(results, setting.name, s, 'curve_l2'))} / "
                f"{spread(over_seeds(results, setting.name, s, 'curve_pearson'), 3)}"
                for s in scales
            ]
            rows.append(f"| {setting.label} | " + " | ".join(cells) + " |")
    return "\n".join(rows)
