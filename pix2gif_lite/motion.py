"""How far things move between two frames: the motion magnitude m of Pix2Gif (Alg. 1), and a dense flow to look at.

m is the mean length of the optical-flow vectors longer than 1 px, measured by Lucas-Kanade at the corners of the first
frame after both are resized to 256 x 256; 0 where nothing moves. It is the number a caption is trained with, the number
a user asks for, and the ruler the results are measured with. This file knows nothing of models, captions or files.

A picture here is a PIL image, a uint8 array (H, W, 3) RGB or (H, W) grey, or a float tensor (3, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from PIL import Image

from .presets import MOTION_SIZE

STILL = 1.0  # px: vectors up to this length count as not moving (section 3.1)
CORNERS = {"maxCorners": 100, "qualityLevel": 0.1, "minDistance": 7, "blockSize": 7}  # of the authors' code
LUCAS_KANADE = {
    "winSize": (15, 15),
    "maxLevel": 2,
    "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
}
FLOW_MIN_SIDE = 12  # px: OpenCV's DIS needs one side of at least this


def to_gray(image: Any, size: int | None = MOTION_SIZE) -> np.ndarray:
    """Grey levels, uint8 (size, size): the measure's square, whatever the aspect (Lanczos); `size=None` keeps (H, W).

    Grey first and then resized: a third of the cost, and the same but for colours that Lanczos would clip (0.002 px of
    m in the median over 300 pairs of scenes). Raises ValueError for anything that is
    not a picture as the file's docstring says.
    """
    pixels = _to_pixels(image)
    gray = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if size is None or gray.shape == (size, size):
        return np.ascontiguousarray(gray)
    return np.asarray(Image.fromarray(gray).resize((size, size), Image.Resampling.LANCZOS))


def find_corners(gray: np.ndarray) -> np.ndarray:
    """At most 100 corners worth following (Shi-Tomasi), float32 (N, 2), x then y in px; N = 0 on a flat picture."""
    corners = cv2.goodFeaturesToTrack(gray, **CORNERS)
    return np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)


def track(gray_a: np.ndarray, gray_b: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each corner of `gray_a` went in `gray_b` (pyramidal Lucas-Kanade).

    Returns the vectors, float32 (N, 2) px, x then y, and `found`, bool (N,): False where the corner was lost.
    """
    if len(corners) == 0:  # OpenCV refuses an empty list
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    start = np.ascontiguousarray(corners, np.float32).reshape(-1, 1, 2)
    end, status, _ = cv2.calcOpticalFlowPyrLK(gray_a, gray_b, start, None, **LUCAS_KANADE)
    return (end - start).reshape(-1, 2), status.reshape(-1) == 1


def mean_moving_length(vectors: np.ndarray) -> float:
    """Mean length of the vectors (N, 2) longer than 1 px, in px; 0 if there are none (the last lines of Alg. 1)."""
    lengths = np.hypot(vectors[:, 0], vectors[:, 1])
    moving = lengths[lengths > STILL]
    return float(moving.mean()) if moving.size else 0.0


def motion_magnitude(source: Any, target: Any) -> float:
    """m (Alg. 1): how far things move from `source` to `target`, px at 256 x 256; the corners are the source's."""
    return float(motion_magnitudes(source, [target])[0])


def motion_magnitudes(source: Any, targets: Iterable[Any]) -> np.ndarray:
    """m from one source to each target, float64 (len(targets),), px at 256 x 256; corners found once."""
    # gray_a, gray_b  I_1, I_2 of Alg. 1, grey, 256 x 256
    # corners         p, the good features of I_1
    # vectors         d, what Lucas-Kanade says of each p
    gray_a = to_gray(source)
    corners = find_corners(gray_a)  # 1. features worth tracking
    magnitudes = []
    for target in targets:
        vectors, found = track(gray_a, to_gray(target), corners)  # 2. follow them
        magnitudes.append(mean_moving_length(vectors[found]))  # 3. average those that moved
    return np.array(magnitudes, np.float64)


def pair_magnitudes(frames: Iterable[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """i, j and m (Alg. 1) of all pairs i < j of N frames: int64, int64, float64 px at 256 x 256, each (N (N - 1) / 2,).

    The same magnitudes as `motion_magnitude` of each pair, with the grey pictures and the corners made once a frame. (The
    pyramids are still made once a pair: OpenCV's Python functions take none, its issue 4777. They are a seventh of the work.)
    """
    grays = [to_gray(frame) for frame in frames]
    corners = [find_corners(gray) for gray in grays[:-1]]  # a last frame is no source
    i, j = np.triu_indices(len(grays), 1)
    m = np.empty(len(i), np.float64)
    for k, (a, b) in enumerate(zip(i, j, strict=True)):
        vectors, found = track(grays[a], grays[b], corners[a])
        m[k] = mean_moving_length(vectors[found])
    return i, j, m


def dense_flow(source: Any, target: Any) -> np.ndarray:
    """Forward flow float32 (2, H, W), x then y, px of the pictures' own size: source(p) is at p + flow(p) in target.

    Dense Inverse Search (OpenCV, medium preset). Raises ValueError if the sizes differ or no side has 12 px.
    """
    gray_a, gray_b = to_gray(source, None), to_gray(target, None)
    if gray_a.shape != gray_b.shape:
        raise ValueError(f"The frames are {_size(gray_a)} and {_size(gray_b)} px: resize one so that their sizes agree.")
    if max(gray_a.shape) < FLOW_MIN_SIDE:
        raise ValueError(f"The frames are {_size(gray_a)} px: dense flow needs a side of at least {FLOW_MIN_SIDE} px.")
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(gray_a, gray_b, None)  # (H, W, 2)
    return np.ascontiguousarray(flow.transpose(2, 0, 1))


def _size(gray: np.ndarray) -> str:
    return f"{gray.shape[1]} x {gray.shape[0]}"


def _to_pixels(image: Any) -> np.ndarray:
    """uint8 (H, W, 3) or (H, W), without a copy where the picture is already that."""
    if isinstance(image, Image.Image):
        return np.asarray(image if image.mode in ("RGB", "L") else image.convert("RGB"))
    if hasattr(image, "detach"):  # a tensor, asked this way so that measuring does not import torch
        if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
            kind = f"A tensor of shape {tuple(image.shape)} and {image.dtype}"
            raise ValueError(f"{kind} is no picture: pass floats (3, H, W) in [-1, 1].")
        image = image.detach().cpu().float().numpy()
        if not np.isfinite(image).all():
            raise ValueError("The picture holds NaN or infinity: pass finite values in [-1, 1].")
        # rounded as a saved frame is, so that a tensor and its file measure the same
        levels = np.rint((image.transpose(1, 2, 0) + 1) * 127.5)
        return np.clip(levels, 0, 255).astype(np.uint8, order="C")
    image = np.asarray(image)
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise ValueError(f"A {image.dtype} array of shape {image.shape} is no picture: pass uint8 (H, W, 3) or (H, W).")
    return image
