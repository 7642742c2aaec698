"""One clip becomes pairs of its frames, as section 3.1 of the paper: pure work on one file, whoever calls it and where.

Motion is measured between all frames i < j of a shot, pairs of 2 to 20 px are kept, and at most ten of them are drawn. The
dice are thrown by the clip's own content, so that its pairs are the same in any folder, order or process.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from .curating.cuts import same_scene
from .curating.duplicates import content_key, perceptual_hashes
from .media.clips import iter_frames
from .media.pictures import WHITE, check_background
from .motion import pair_magnitudes, to_gray
from .presets import MOTION_MAX, MOTION_MIN
from .request import check_seed

DRAWS = ("uniform", "random")
LOOKED_AT = 128  # frames of a clip that are kept in memory and compared; TGIF's GIFs have 41 on average
QUALITY = 90  # of the WebP frames
TOP = 60  # px: the last bin of the histogram counts everything from here on
RECIPE = 1  # counted up when the same clip and settings would give something else
DATA_SETTINGS = ("val_share",)  # of the whole, not of a clip


@dataclass(frozen=True)
class CurationSettings:
    """How clips become pairs. Raises ValueError for a value out of range."""

    low: float = MOTION_MIN  # px at 256 x 256: m of the pairs that are kept, both ends included
    high: float = MOTION_MAX
    most: int = 10  # pairs drawn from a clip
    draw: str = "uniform"  # over the integer motions that there are; "random", over the pairs, is the paper's
    seed: int = 0
    size: int = 256  # px: side of the frames that are written, a square whatever the aspect, as the authors'
    val_share: float = 0.1  # of the clips
    flip: bool = False  # each pair a second time, mirrored, with the caption's left and right swapped
    background: tuple[int, int, int] = WHITE  # RGB, 0-255, under transparent frames

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 256:
            raise ValueError(f"Motions from {self.low} to {self.high} px: give 0 < low <= high <= 256.")
        if self.draw not in DRAWS:
            raise ValueError(f"Unknown draw {self.draw!r}: choose one of {', '.join(DRAWS)}.")
        if not (isinstance(self.most, int) and self.most >= 1):
            raise ValueError(f"{self.most} pairs a clip: give a whole number from 1 up.")
        if not (isinstance(self.size, int) and 32 <= self.size <= 1024):
            raise ValueError(f"Frames of {self.size} px: give a whole number from 32 to 1024.")
        if not 0 <= self.val_share < 1:
            raise ValueError(f"val_share is {self.val_share}: give a number from 0 to below 1.")
        check_seed(self.seed)
        check_background(self.background)

    def of_a_clip(self) -> str:
        """A short hash of what decides about a single clip: other settings, other pairs."""
        chosen = {name: value for name, value in asdict(self).items() if name not in DATA_SETTINGS}
        return hashlib.sha256(json.dumps([RECIPE, LOOKED_AT, QUALITY, chosen], sort_keys=True).encode()).hexdigest()[:12]

    def of_a_frame(self) -> str:
        """A short hash of what a stored frame looks like: other settings, another name for its file."""
        looks = [RECIPE, QUALITY, self.size, list(self.background)]
        return hashlib.sha256(json.dumps(looks).encode()).hexdigest()[:6]


DEFAULTS = CurationSettings()


class Pair(NamedTuple):
    """Two frames of a clip by their numbers in the file, and m from the first to the second, px at 256 x 256."""

    source: int
    target: int
    m: float

    @property
    def motion(self) -> int:
        """The integer that a model is told: m truncated, as the authors do."""
        return int(self.m)


@dataclass(frozen=True)
class ClipPairs:
    """What a clip gave."""

    pairs: list[Pair]  # drawn, sorted
    frames: int  # in the file
    looked_at: int  # of them, at most LOOKED_AT
    shots: int
    measured: int  # pairs i < j within the shots
    in_range: int
    histogram: list[int]  # of m before the choice, bins of 1 px from 0 to TOP, the last one open
    hashes: list[int]  # perceptual, 64 bits, of up to three frames
    files: dict[str, bytes]  # frame_name -> WebP


@dataclass(frozen=True)
class Dropped:
    """Why a clip gives no pair, in one sentence."""

    reason: str
    passing: bool = False  # a matter of the machine and not of the clip: worth another try


class _Seen(NamedTuple):
    index: int  # in the file
    shot: int
    gray: np.ndarray  # (256, 256), what m is measured on
    picture: Image.Image  # RGB, size x size


def frame_name(index: int, flipped: bool = False) -> str:
    """The name of a frame among those of its clip, without a suffix."""
    return f"{index:04d}-flip" if flipped else f"{index:04d}"


def curate_clip(path: str | os.PathLike, settings: CurationSettings = DEFAULTS) -> ClipPairs | Dropped:
    """The pairs of one clip. A file that cannot be read, or in which nothing moves as asked, is Dropped with its reason.

    Of a clip of more than 128 frames every 2nd, 4th, ... is compared, so that 65 to 128 are left; its frames are made small
    while reading, so that 256 px need less than 40 MB. Raises ModuleNotFoundError if a package is missing.
    """
    try:
        seen, frames, shots = _read(path, settings)
        return _choose(seen, frames, shots, content_key(path), settings)
    except (OSError, ValueError, MemoryError, cv2.error) as error:
        reason = " ".join(str(error).replace(f"{Path(path).parent}{os.sep}", "").split())  # the same wherever the file lies
        return Dropped(reason or type(error).__name__, passing=isinstance(error, (OSError, MemoryError)))


def _read(path: str | os.PathLike, settings: CurationSettings) -> tuple[list[_Seen], int, int]:
    """The frames to compare, how many there are in the file, and how many shots."""
    seen: list[_Seen] = []
    step, shot, count, previous = 1, 0, 0, None
    for index, (frame, _) in enumerate(iter_frames(path, settings.background)):
        gray = to_gray(frame)
        if previous is not None and not same_scene(previous, gray):  # asked of all neighbours, whatever the step
            shot += 1
        previous, count = gray, index + 1
        if index % step == 0:
            picture = frame.resize((settings.size, settings.size), Image.Resampling.LANCZOS)
            seen.append(_Seen(index, shot, gray, picture))
            if len(seen) > LOOKED_AT:
                seen, step = seen[::2], 2 * step
    return seen, count, shot + 1


def _choose(seen: list[_Seen], frames: int, shots: int, key: str, settings: CurationSettings) -> ClipPairs | Dropped:
    if frames < 2:
        return Dropped("It has one frame, so nothing can move.")
    i, j, m = pairs_within_shots(seen)
    kept = np.flatnonzero((settings.low <= m) & (m <= settings.high))
    rng = np.random.default_rng([settings.seed, int(key, 16)])
    drawn: list[Pair] = []
    for k in kept[drawing_order(m[kept], settings.draw, rng)]:
        a, b = seen[i[k]], seen[j[k]]
        if same_scene(a.gray, b.gray):  # not where a slow fade has led to something else
            drawn.append(Pair(a.index, b.index, float(m[k])))
        if len(drawn) == settings.most:
            break
    if not drawn:
        wanted = f"{settings.low:g} to {settings.high:g} px"
        found = f"{m.min():.1f} to {m.max():.1f} px" if len(m) else "cuts between all frames"
        return Dropped(f"No two frames of a shot are {wanted} apart: {len(m)} pairs measured, {found}.")
    used = {index for pair in drawn for index in pair[:2]}
    return ClipPairs(
        pairs=sorted(drawn),
        frames=frames,
        looked_at=len(seen),
        shots=shots,
        measured=len(m),
        in_range=len(kept),
        histogram=np.bincount(np.minimum(m, TOP).astype(int), minlength=TOP + 1).tolist(),
        hashes=perceptual_hashes([s.picture for s in seen]),
        files=_encode([s for s in seen if s.index in used], settings.flip),
    )


def pairs_within_shots(seen: list[_Seen]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """i, j (places in `seen`) and m of all pairs i < j that have no cut between them."""
    parts = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    for shot in sorted({s.shot for s in seen}):
        places = np.array([k for k, s in enumerate(seen) if s.shot == shot])
        i, j, m = pair_magnitudes([seen[k].gray for k in places])
        parts.append((places[i], places[j], m))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def drawing_order(m: np.ndarray, draw: str, rng: np.random.Generator) -> np.ndarray:
    """The order, a permutation of the N pairs with motions `m` (N,), in which pairs are drawn.

    "random" is a plain shuffle (the paper). "uniform" deals one pair of each integer motion there is, then a second of
    each, and so on: a shuffle draws motions as often as the clip has them, and some of them hardly ever.
    """
    order = rng.permutation(len(m))
    if draw == "random":
        return order
    dealt: Counter[int] = Counter()
    rounds = np.zeros(len(m), int)
    for k, whole in enumerate(m[order].astype(int).tolist()):
        rounds[k] = dealt[whole]
        dealt[whole] += 1
    return order[np.lexsort((rng.random(len(m)), rounds))]


def _encode(seen: list[_Seen], flip: bool) -> dict[str, bytes]:
    files = {}
    for s in seen:
        for flipped in (False, True) if flip else (False,):
            file = io.BytesIO()
            picture = s.picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else s.picture
            picture.save(file, format="WEBP", quality=QUALITY)
            files[frame_name(s.index, flipped)] = file.getvalue()
    return files
