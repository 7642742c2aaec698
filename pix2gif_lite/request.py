"""What a user asks for, checked before any model runs: motions, loss weights, guidance scales, seed, sizes, device, folder.

A GIF is a list of magnitudes m_1 .. m_N, one a frame, all from the same picture: a curve m(k) over the frames. This file
imports nothing heavy, so that the command line can refuse a request within milliseconds.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from .presets import MOTION_MAX, MOTION_MIN

MAX_FRAMES = 256  # of one call
DATA_SETS = {  # what the model can learn from: how to have it, and its weight where no mix is given
    "scenes": ("say how many scenes", 0.65),
    "large": ("say how many of what turns, leans and grows", 0.35),
    "photos": ("say how many photos", 0.35),
    "gifs": ("give the data, a folder that `pix2gif-lite curate` wrote", 1.0),
}
DEVICES = ("cpu", "cuda", "mps", "xpu")


def parse_motions(text: str) -> list[float]:
    """ "2,4, 6.5" as [2.0, 4.0, 6.5]. Raises ValueError naming what is not a number."""
    motions = []
    for word in text.replace(";", ",").split(","):
        if not word.strip():
            continue
        try:
            motions.append(float(word))
        except ValueError:
            raise ValueError(f"The motion {word.strip()!r} is not a number: give a list such as 2,4,6,8.") from None
    return motions


def parse_loss_weights(text: str, known: Mapping[str, float]) -> dict[str, float]:
    """ "warp=0.3,perceptual=0" over the weights `known`: all of them, some changed.

    Raises ValueError for a term there is not, and for a weight that is no number from 0.
    """
    return _parse_weights(text, known, "loss term")


def parse_mix(text: str) -> dict[str, float]:
    """ "scenes=0.6,photos=0.4" as a dict, sets of weight 0 left out. Raises ValueError as `parse_loss_weights` does."""
    weights = _parse_weights(text, dict.fromkeys(DATA_SETS, 0.0), "data set")
    return {name: weight for name, weight in weights.items() if weight}


def _parse_weights(text: str, known: Mapping[str, float], what: str) -> dict[str, float]:
    weights = dict(known)
    for part in filter(str.strip, text.split(",")):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in known:
            raise ValueError(f"Unknown {what} {name!r}: choose from {', '.join(known)}, such as {next(iter(known))}=1.")
        try:
            weights[name] = float(value)
        except ValueError:
            weights[name] = math.nan
        if not 0 <= weights[name] < math.inf:
            raise ValueError(f"The weight of {name} is {value!r}: give a number from 0, such as {name}=0.3.")
    return weights


def parse_colour(text: str) -> tuple[int, int, int]:
    """ "00C8FF" as (0, 200, 255). Raises ValueError for what is not six hexadecimal digits."""
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        raise ValueError(f"The colour {text!r} is not RRGGBB: give six hexadecimal digits, such as FFFFFF.") from None
    return red, green, blue


def check_mix(mix: Mapping[str, float] | None, counts: Mapping[str, int]) -> dict[str, float]:
    """The share of each data set that is used, above 0, together 1, in the order of DATA_SETS.

    `mix` holds weights by name (None: gifs alone if there are any, else the default weights of what there is), `counts` how
    many entries there are of each.
    ValueError for a set there is not, one without entries, a weight that is no finite number from 0, or nothing left.
    """
    if mix is None:
        there = ["gifs"] if counts.get("gifs") else [name for name in DATA_SETS if counts.get(name)]
        mix = {name: DATA_SETS[name][1] for name in there}
    for name, weight in mix.items():
        if name not in DATA_SETS:
            raise ValueError(f"Unknown data set {name!r}: choose from {', '.join(DATA_SETS)}, such as scenes=1.")
        if not _is_number(weight) or not 0 <= weight < math.inf:
            raise ValueError(f"The weight of {name} is {weight!r}: give a number from 0, such as {name}=0.3.")
        if weight and not counts.get(name):
            raise ValueError(f"The mix asks for {name}, but there are none: {DATA_SETS[name][0]}, or leave {name} out of it.")
    used = {name: float(mix[name]) for name in DATA_SETS if mix.get(name)}
    if not used:
        raise ValueError("There is nothing to train on: give one of the data sets a weight, such as scenes=1.")
    return {name: weight / sum(used.values()) for name, weight in used.items()}


def check_motions(motion: Real | Iterable[Real], rows: int | None = None) -> list[float]:
    """The motions as floats, px at 256 x 256; one number is a list of one. Fractions are allowed, 0 is the picture itself.

    `rows` is the length of the motion table: its last entry is rows - 1 (None: not known yet). Raises ValueError for an
    empty list, more than 256 frames, or an entry that is no number from 0 to rows - 1.
    """
    entries = _entries(motion)
    if not entries:
        raise ValueError("The list of motions is empty: give one number a frame, such as 2,4,6,8.")
    if len(entries) > MAX_FRAMES:
        raise ValueError(f"The list of motions has {len(entries)} entries: give at most {MAX_FRAMES} frames a call.")
    motions = [_number(entry) for entry in entries]
    top = math.inf if rows is None else rows - 1
    for m in motions:
        if not 0 <= m <= top:  # also true for NaN
            limit = "0 up" if rows is None else f"0 to {top}, the end of the motion table,"
            raise ValueError(f"The motion {m:g} is outside the range: give numbers from {limit} in pixels at 256 x 256.")
    return motions


def untrained_note(motions: Iterable[float]) -> list[str]:
    """A sentence about motions outside 2-20, the range trained with, or nothing; 0, the picture itself, is fine."""
    untrained = sorted({m for m in motions if m != 0 and not MOTION_MIN <= m <= MOTION_MAX})
    if not untrained:
        return []
    names = ", ".join(f"{m:g}" for m in untrained[:5]) + (", ..." if len(untrained) > 5 else "")
    limits = f"{MOTION_MIN}-{MOTION_MAX}, the range the model was trained with"
    return [f"Motion {names} is outside {limits}: it may not be followed."]


def check_scales(s_I: Real, s_T: Real, s_M: Real | None = None) -> tuple[float, float, float | None]:
    """The guidance scales as floats. Raises ValueError for one that is not a finite number from 0 up."""
    for name, scale in {"s_I": s_I, "s_T": s_T, "s_M": s_M}.items():
        if scale is not None and not (_is_number(scale) and 0 <= scale < math.inf):
            raise ValueError(f"The guidance scale {name} is {scale!r}: give a number from 0 up, 1 for no guidance.")
    return float(s_I), float(s_T), None if s_M is None else float(s_M)


def check_interval(interval: Any) -> tuple[float, float] | None:
    """(low, high) noise levels between which guidance acts. Raises ValueError unless 0 <= low < high."""
    if interval is None:
        return None
    pair = list(interval) if isinstance(interval, (list, tuple)) else []
    if len(pair) != 2 or not all(map(_is_number, pair)) or not 0 <= pair[0] < pair[1]:
        raise ValueError(f"The guidance interval is {interval!r}: give two noise levels, 0 <= low < high.")
    return float(pair[0]), float(pair[1])


def check_seed(seed: Any) -> int:
    """A whole number from 0 to 2^63 - 1. Raises ValueError otherwise."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise ValueError(f"The seed is {seed!r}: give a whole number from 0 up.")
    return int(seed)


def check_image_size(short_side: Any) -> int:
    """The short side of the picture that the models work on, whole px from 32 to 4096. Raises ValueError otherwise."""
    if isinstance(short_side, bool) or not isinstance(short_side, Integral) or not 32 <= short_side <= 4096:
        raise ValueError(f"The image_size is {short_side!r}: give the short side of the work picture, 32 to 4096 px.")
    return int(short_side)


def check_at_once(frames: Any) -> int:
    """How many frames are made together, a whole number from 1. Raises ValueError otherwise."""
    if isinstance(frames, bool) or not isinstance(frames, Integral) or frames < 1:
        raise ValueError(f"frames_at_once is {frames!r}: give a whole number from 1, or None for all frames.")
    return int(frames)


def check_folder(folder: Path) -> None:
    """Raises unless `folder` is there and can be written, or can be made: its parent exists and can be written."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file: give a folder.")
    place = folder
    while not place.exists():
        place = place.parent
    probe = place / f".{uuid.uuid4().hex[:8]}"
    try:  # permissions alone do not tell: the disk may be read-only, the place no real folder
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise ValueError(f"Cannot write into {str(place)!r} ({error.strerror}): choose another folder.") from error


def choose_device(name: str) -> str:
    """The device of that name; "auto" is the fastest there is. ValueError for one that is not here."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if _mps_can_warp() else "cpu"
    try:
        if name.split(":")[0] not in DEVICES:
            raise ValueError
        torch.zeros(1, device=name).cpu()
    except Exception as error:  # CUDA raises what it likes
        raise ValueError(f"The device {name!r} is not on this machine: use --device cpu, or auto.") from error
    return name


def _mps_can_warp() -> bool:
    """Is there an Apple GPU, and a torch that can look up there as `lookup.warp` does, and learn from it? Older ones cannot."""
    import torch

    if not torch.backends.mps.is_available():
        return False
    try:
        picture = torch.zeros(1, 1, 2, 2, device="mps", requires_grad=True)
        places = torch.zeros(1, 1, 2, 2, device="mps", requires_grad=True)
        for mode in ("bilinear", "bicubic"):
            seen = torch.nn.functional.grid_sample(picture, places, mode, padding_mode="border", align_corners=False)
            seen.sum().backward()
    except RuntimeError:  # NotImplementedError is one
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _entries(motion: Any) -> list:
    if isinstance(motion, str):
        raise ValueError(f"The motion {motion!r} is text: give numbers, such as [2, 4, 6, 8].")
    if hasattr(motion, "tolist"):  # NumPy and torch
        motion = motion.tolist()
    try:
        return list(motion)
    except TypeError:
        return [motion]


def _number(entry: Any) -> float:
    value = entry.item() if hasattr(entry, "item") else entry  # a scalar of NumPy or torch
    if not _is_number(value):
        raise ValueError(f"The motion {entry!r} is not a number: give pixels at 256 x 256, such as 8.")
    return float(value)
