"""Clips made for tests: a picture that is a formula, shifted by known pixels, in files that keep every grey level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def texture(dx: float = 0, dy: float = 0, seed: int = 3, size: int = 256) -> np.ndarray:
    """A smooth grey picture uint8 (size, size): a sum of waves, moved by (dx, dy) px at 256 without interpolation."""
    rng = np.random.default_rng(seed)
    fx, fy = rng.normal(0, 0.12, (2, 60, 1))  # radians a px
    phase = rng.uniform(0, 6.28, (60, 1))
    along = (np.arange(size) + 0.5) * 256 / size
    x, y = fx * (along - dx) + phase, fy * (along - dy)
    field = np.sin(y).T @ np.cos(x) + np.cos(y).T @ np.sin(x)  # sum of sin(x + y)
    return np.rint(np.clip(128 + 14 * field, 0, 255)).astype(np.uint8)


def pan(step: float, frames: int, seed: int = 3, size: int = 256, start: int = 0) -> list[np.ndarray]:
    """`frames` pictures, each `step` px at 256 to the right of the one before."""
    return [texture(step * (start + k), seed=seed, size=size) for k in range(frames)]


def save(path: Path, frames: list[np.ndarray], ms: int = 100) -> Path:
    """The frames as a GIF or lossless WebP or APNG, by suffix."""
    pictures = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=ms, loop=0, **options)
    return path
