"""How long a move of the motion slider takes: from its arguments to the bytes of a PNG, in the process that shows it.

Every move asks for a motion that was not asked for before, as a slider that is dragged does; the picture is known since the
first. What the browser adds is not in it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image

from ..live import Live
from ..pipeline import Pix2GifPipeline
from ..presets import MOTION_MAX


def slider_moves(
    pipe: Pix2GifPipeline, picture: Image.Image, caption: str, moves: int = 20, bfloat16: bool = False
) -> dict[str, Any]:
    """`ms`, the median of so many moves (at most 20) after the first, and `slowest_ms`, the longest of them.

    Also first_ms, which encodes picture and caption; moves; bytes, the median size of a PNG. bfloat16: see `Live`.
    ValueError for no moves, or more than there are motions.
    """
    if not 1 <= moves <= MOTION_MAX:
        raise ValueError(f"{moves} moves cannot be timed: give 1 to {MOTION_MAX}, each asks for another motion.")
    live, times, sizes = Live(pipe, bfloat16), [], []
    for m in (MOTION_MAX - 0.5, *range(1, moves + 1)):
        began = time.perf_counter()
        png = live.png(picture, caption, m)
        times.append(1000 * (time.perf_counter() - began))
        sizes.append(len(png))
    first, *later = times
    found = {"ms": statistics.median(later), "slowest_ms": max(later), "first_ms": first, "moves": moves}
    return found | {"bytes": statistics.median(sizes)}


def over(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `slider_moves` said in several rounds as one: medians of medians, the longest move of all, all moves together.

    A round is over in a second, and a machine that others use is slow for many of those.
    """
    found = {key: statistics.median(each[key] for each in rounds) for key in ("ms", "first_ms", "bytes")}
    return found | {"slowest_ms": max(each["slowest_ms"] for each in rounds), "moves": sum(each["moves"] for each in rounds)}
