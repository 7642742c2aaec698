"""Numbers to figures: the only file that draws charts. matplotlib is imported when one is asked for.

Charts come back as PIL images, which a notebook shows as they are; the two at the end are written to files.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from .learning.run_log import read_log
from .sheets import as_picture

COLOURS = ("#3b74c9", "#d9603b", "#4f9d5d", "#8a5fb0", "#c39a2b", "#5aa7b3", "#999999")


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log: str = "",
    diagonal: bool = False,
    marker: str = "",
) -> Image.Image:
    """Curves by name, each (x, y). `log`: "x", "y" or "xy"; `diagonal`: the line y = x; `marker`: matplotlib's, "o"."""
    figure, (axis,) = _figure(1, 1, 5.2, 3.2)
    _lines(axis, series, xlabel, ylabel, title, log, diagonal, marker)
    return _picture_of(figure)


def line_charts(charts: Sequence[Mapping[str, Any]], out: str | Path) -> Path:
    """Charts beside each other as a picture file, each given by the arguments of `line_chart`; returns its path."""
    figure, axes = _figure(1, len(charts), 4.2, 3.2)
    for axis, chart in zip(axes, charts, strict=True):
        _lines(axis, **chart)
        if "x" in chart.get("log", ""):  # few numbers, as one reads them: 1, 2, 5, 10
            axis.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter("")
    return _save(figure, out)


def _lines(
    axis: Any,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log: str = "",
    diagonal: bool = False,
    marker: str = "",
) -> None:
    for (name, (x, y)), colour in zip(series.items(), itertools.cycle(COLOURS)):
        axis.plot(np.asarray(x, float), np.asarray(y, float), label=name, color=colour, marker=marker, markersize=4)
    if diagonal:
        ends = np.array([min(min(x) for x, _ in series.values()), max(max(x) for x, _ in series.values())], float)
        axis.plot(ends, ends, color="#999999", linestyle="--", linewidth=1, label="y = x")
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    for letter in log:
        getattr(axis, f"set_{letter}scale")("log")
    if any(series):
        axis.legend(frameon=False, fontsize=8)


def bar_chart(values: Mapping[str, float], ylabel: str = "", title: str = "") -> Image.Image:
    """One bar a name, its value written above it."""
    figure, (axis,) = _figure(1, 1, max(3.2, 0.9 * len(values) + 1.2), 3.0)
    bars = axis.bar(list(values), list(values.values()), color=COLOURS[0], width=0.6)
    axis.bar_label(bars, fmt="%.3g", fontsize=8, padding=2)
    axis.margins(y=0.15)
    axis.set(ylabel=ylabel, title=title)
    axis.tick_params(axis="x", labelsize=8)
    return _picture_of(figure)


def histogram(
    values: Mapping[str, Sequence[float]],
    bins: Sequence[float],
    xlabel: str = "",
    title: str = "",
    keep: tuple | None = None,
    weights: Mapping[str, Sequence[float]] | None = None,
) -> Image.Image:
    """Counts by name over the edges `bins`; `keep` (low, high) is shaded as the range that is kept.

    `weights`, by the same names, say how often each value counts (default: once).
    """
    figure, (axis,) = _figure(1, 1, 5.2, 3.0)
    if keep is not None:
        axis.axvspan(*keep, color="#4f9d5d", alpha=0.15, label=f"kept: {keep[0]:g} to {keep[1]:g}")
    for (name, numbers), colour in zip(values.items(), itertools.cycle(COLOURS)):
        often = weights[name] if weights else None
        axis.hist(np.asarray(numbers, float), np.asarray(bins, float), weights=often, label=name, color=colour, alpha=0.7)
    axis.set(xlabel=xlabel, ylabel="count", title=title)
    axis.legend(frameon=False, fontsize=8)
    return _picture_of(figure)


def heatmap(
    matrix: Any,
    rows: Sequence[Any] | None = None,
    columns: Sequence[Any] | None = None,
    ylabel: str = "",
    xlabel: str = "",
    title: str = "",
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
    numbers: bool = False,
) -> Image.Image:
    """A matrix (R, C) as colours with its scale; labels of rows and columns; `numbers` writes each value in its cell."""
    matrix = np.asarray(matrix, float)
    if matrix.ndim != 2:
        raise ValueError(f"An array of shape {matrix.shape} is no matrix: pass two dimensions.")
    figure, (axis,) = _figure(1, 1, 4.6, 3.8)
    low, high = limits if limits else (None, None)
    shown = axis.imshow(matrix, cmap="RdBu_r" if diverging else "viridis", vmin=low, vmax=high, aspect="auto")
    figure.colorbar(shown, ax=axis, shrink=0.85)
    for labels, place in ((rows, axis.set_yticks), (columns, axis.set_xticks)):
        if labels is not None:
            place(range(len(labels)), [str(label) for label in labels], fontsize=8)
    if numbers:
        for (r, c), value in np.ndenumerate(matrix):
            red, green, blue, _ = shown.cmap(shown.norm(value))
            paint = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"  # on what is light, and on what is not
            axis.text(c, r, f"{value:.3g}", ha="center", va="center", fontsize=8, color=paint)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return _picture_of(figure)


def arrows(picture: Any, flow: Tensor, stride: int = 2, scale: float | None = None, size: int = 384) -> Image.Image:
    """A flow (2, h, w), in cells of its own grid, as arrows over a picture: from each place to where its colour came from.

    `stride`: one arrow every so many cells; `scale`: lengths are multiplied by it (default 1: true length); `size`: px.
    """
    picture = as_picture(picture).resize((size, size), Image.Resampling.BICUBIC)
    figure, (axis,) = _figure(1, 1, 4, 4)
    h, w = flow.shape[-2:]
    y, x = np.mgrid[0:h:stride, 0:w:stride]
    u, v = flow.detach().float().cpu().numpy()[:, ::stride, ::stride] * (scale or 1.0)
    axis.imshow(picture, extent=(-0.5, w - 0.5, h - 0.5, -0.5))
    axis.quiver(x, y, u, v, angles="xy", scale_units="xy", scale=1, color="#d9203b", width=0.004)
    axis.set_axis_off()
    return _picture_of(figure)


def plot_curves(log: str | Path, out: str | Path, keys: Sequence[str] | None = None) -> Path:
    """The curves of a training's JSONL log, one panel a quantity over steps, as a picture file; returns its path.

    `keys`: which quantities (default: all numbers in the log). Raises FileNotFoundError without a log, and ValueError
    if it holds none of the keys.
    """
    log = Path(log)
    if not log.is_file():
        raise FileNotFoundError(f"No training log at {log}: give the log.jsonl in a run's folder.")
    series: dict[str, list[tuple[float, float]]] = {}
    for line in read_log(log):
        for key, value in line.items():
            if key != "step" and "step" in line and isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault(key, []).append((line["step"], value))
    chosen = [key for key in (keys or series) if key in series]
    if not chosen:
        raise ValueError(f"{log} holds no {', '.join(keys or ['numbers'])}: it has {', '.join(series) or 'nothing'}.")
    columns = min(3, len(chosen))
    lines = math.ceil(len(chosen) / columns)
    figure, axes = _figure(lines, columns, 3.6, 2.4)
    for axis, key in zip(axes, chosen, strict=False):
        steps, values = np.array(series[key], float).T
        axis.plot(steps, values, color="#3b74c9", linewidth=0.8)
        axis.set_title(key, fontsize=9)
        axis.tick_params(labelsize=7)
    for axis in axes[len(chosen) :]:
        axis.set_axis_off()
    return _save(figure, out)


def requested_vs_measured(asked: Sequence[float], measured: Mapping[str, Any], out: str | Path, title: str = "") -> Path:
    """Measured motion over the motion asked for, with the line of perfect obedience, as a picture file.

    `measured` maps a name to (N, K) magnitudes of N GIFs, drawn as their mean and the band of the middle 80%, or to one
    curve (K,). More than six are named beside the curves; from the eleventh on they are dotted. Raises ValueError if K is not
    the number of motions asked for.
    """
    asked = np.asarray(asked, float)
    many = len(measured) > 6  # their names would lie on their curves
    figure, (axis,) = _figure(1, 1, 6.4 if many else 4.6, 4.2)
    axis.plot(asked, asked, color="#999999", linestyle="--", linewidth=1, label="asked")
    for k, (name, values) in enumerate(measured.items()):
        values = np.atleast_2d(np.asarray(values, float))
        if values.shape[1] != len(asked):
            raise ValueError(f"{name!r} has {values.shape[1]} motions, {len(asked)} were asked for: give one each.")
        style = "-" if k < 10 else ":"  # there are ten colours
        (line,) = axis.plot(asked, values.mean(0), style, marker="o", markersize=3, label=name)
        if len(values) > 1:
            axis.fill_between(asked, *np.percentile(values, (10, 90), axis=0), color=line.get_color(), alpha=0.15)
    axis.set(xlabel="motion asked for, px at 256 x 256", ylabel="motion measured (Alg. 1)", title=title)
    if many:
        figure.legend(loc="outside right center", frameon=False)
    else:
        axis.legend(frameon=False)
    return _save(figure, out)


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure and its axes in a flat list, without pyplot: no window, no state left behind."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModuleNotFoundError("Curves need matplotlib: run `pip install 'pix2gif-lite[notebooks]'`.") from error
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _picture_of(figure: Any) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, dpi=100, format="png")
    return Image.open(file).convert("RGB")


def _save(figure: Any, out: str | Path) -> Path:
    figure.savefig(Path(out), dpi=110)
    return Path(out)
