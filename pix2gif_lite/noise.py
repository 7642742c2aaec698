"""The noise of a GIF's frames: one for all of them, or one each.

With the same start noise, and the same fresh noise at each step, two frames differ by their motion alone, so what should
stand still does. The paper's code does both, its demo the first. This file knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

NOISES = ("shared", "independent")


class FrameNoise:
    """Standard normal noise, (n, *shape) for any n frames. Drawn where the generator lives (the CPU, for a seed), so that
    a seed means the same GIF on every device.

    kind   "shared": all frames get the same, however many there are; "independent": nothing is shared
    count  how many a frame may ask for: the start and one for each step
    """

    def __init__(self, kind: str, shape: Sequence[int], count: int, generator: torch.Generator, device: torch.device) -> None:
        self.shape, self.generator, self.device = shape, generator, device
        self.shared = [self._draw(1) for _ in range(count)] if kind == "shared" else None

    def _draw(self, frames: int) -> Tensor:
        noise = torch.randn((frames, *self.shape), generator=self.generator, device=self.generator.device)
        return noise.to(self.device)

    def batch(self, frames: int) -> tuple[Tensor, Callable[[int], Tensor]]:
        """The start noise of that many frames, and a function that gives step i its own."""
        if self.shared is None:
            return self._draw(frames), lambda step: self._draw(frames)
        shared = self.shared
        return shared[0].expand(frames, *self.shape), lambda step: shared[1 + step]
