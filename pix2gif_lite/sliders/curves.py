"""Motion as a curve over the frames: a GIF is a list of magnitudes m_0 .. m_n, and this is where such lists come from."""

from __future__ import annotations

import math

from ..presets import DEMO_MOTIONS, MOTION_MIN
from ..request import check_motions, parse_motions

CURVES = ("linear", "ease", "pingpong")
LISTS = (*CURVES, "custom")
CUSTOM = ",".join(map(str, DEMO_MOTIONS))  # how a list of one's own is written


def motion_curve(kind: str, top: float, frames: int) -> list[float]:
    """`frames` magnitudes from 0 (the picture itself) to `top`, px at 256 x 256, rounded to hundredths;
    what moves at all moves by at least 2 px, where the range of section 3.1 begins.

    linear    equal steps
    ease      slow at both ends: half a cosine
    pingpong  up and back down, without repeating the first frame at the end, so that it loops

    Raises ValueError for an unknown kind, fewer than two frames, or a top that is no number from 0 on.
    """
    if kind not in CURVES:
        raise ValueError(f"Unknown curve {kind!r}: choose one of {', '.join(CURVES)}.")
    if frames < 2:
        raise ValueError(f"A curve of {frames} frames: give at least 2.")
    if not (math.isfinite(top) and top >= 0):
        raise ValueError(f"A curve up to {top}: give a motion of 0 or more, in px at 256 x 256.")
    if kind == "pingpong":
        shares = [1 - abs(1 - 2 * k / frames) for k in range(frames)]
    else:
        shares = [k / (frames - 1) for k in range(frames)]
    if kind == "ease":
        shares = [0.5 - 0.5 * math.cos(math.pi * share) for share in shares]
    least = min(top, MOTION_MIN)  # below it Alg. 1 hardly measures anything
    return [0.0 if share == 0 else round(max(least, top * share), 2) for share in shares]


def motion_list(kind: str, top: float, frames: int, custom: str = CUSTOM) -> list[float]:
    """What a GIF asks for: a curve, or for the kind "custom" the numbers of a text such as "2,4,6".

    Raises ValueError as `motion_curve` does, and for a text that is no list of motions.
    """
    return check_motions(parse_motions(custom)) if kind == "custom" else motion_curve(kind, top, frames)
