"""How long something takes and how much it computes: medians after a warm-up, operations by torch's counter, growth as a slope.

Both are straight lines in the number of steps, so a run of 100 steps can be told from two shorter ones: its operations exactly,
its seconds as an estimate, which says so (`Timed.extrapolated`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from ..hardware import fast_attention


class Timed(NamedTuple):
    """What running something once costs."""

    seconds: float  # median
    repeats: int  # how many runs that is the median of, after one that does not count
    operations: int  # see `operations`
    extrapolated: tuple[int, int] | None = None  # the numbers of steps that were run; None: all of them


def operations(run: Callable[[], Any]) -> int:
    """What `run()` computes in matrix products, convolutions and attention, a multiply-add counting as two.

    Attention is made of plain products here: torch counts none of what its fused kernel for CPUs does.
    """
    with fast_attention("cpu"), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def seconds_of(run: Callable[[], Any], repeats: int = 5) -> list[float]:
    """How long each of `repeats` runs takes. What comes before counts as the warm-up."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return times


def timed(run: Callable[[int], Any], steps: int, repeats: int = 5, short: tuple[int, int] | None = None) -> Timed:
    """What `run(steps)` costs. `short`: two smaller numbers of steps, to be run in its place. ValueError where they are not.

    The run that counts the operations is the warm-up.
    """
    if short is not None and not 0 < short[0] < short[1] <= steps:
        raise ValueError(f"{short} cannot stand for {steps} steps: give two numbers, rising, of at most {steps}.")
    found = {}
    for n in (steps,) if short is None else short:
        count = operations(lambda n=n: run(n))
        found[n] = statistics.median(seconds_of(lambda n=n: run(n), repeats)), count
    if short is None:
        return Timed(found[steps][0], repeats, found[steps][1])
    few, many = short
    seconds, count = (a + (steps - few) * (b - a) / (many - few) for a, b in zip(found[few], found[many], strict=True))
    return Timed(seconds, repeats, round(count), short)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The power p of y = c x^p, by least squares on logarithms. ValueError for less than two places, or one not > 0."""
    if len(x) != len(y) or len(set(x)) < 2 or not all(value > 0 for value in (*x, *y)):
        raise ValueError(f"No slope goes through x = {list(x)}, y = {list(y)}: give at least two places, all above 0.")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
