"""What a call of the pipeline returns: frames, how they came about, and how to save and measure them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from torch import Tensor

from .gifs import save_animation
from .motion import motion_magnitudes


@dataclass
class Pix2GifOutput:
    """The frames of a GIF, one for each motion asked for."""

    frames: list[Image.Image]  # RGB, of the source's size unless another was asked for
    motions: list[float]  # m of each frame, px at 256 x 256, as asked
    flow: Tensor  # F, (N, 2, r h, r w), backward, in its own cells, x then y, see `Pix2GifModel.warp`; 0 for m = 0 or no warp
    timings: dict[str, float]  # seconds: encode, condition (text, flow and warp), sample, decode
    source: Image.Image = field(repr=False)  # the picture as it was read, upright RGB
    notes: list[str] = field(default_factory=list)  # what was warned of, in sentences

    def save(self, path: str | os.PathLike, fps: float = 4, loop: str = "forward", palette: str = "auto") -> Path:
        """Write .gif, .webp or .mp4 (by suffix), see `save_animation`. Returns the path."""
        return save_animation(self.frames, path, fps, loop, palette)

    def measured(self) -> list[float]:
        """m of each frame as Alg. 1 measures it against the source picture, px at 256 x 256."""
        return [float(m) for m in motion_magnitudes(self.source, self.frames)]


class Clock:
    """Seconds by stage; `lap` adds the time since the last one to a stage."""

    def __init__(self, *stages: str) -> None:
        self.times = dict.fromkeys(stages, 0.0)
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.times[stage] = self.times.get(stage, 0.0) + now - self.last
        self.last = now
