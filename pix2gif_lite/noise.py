"""The noise of a GIF's frames: one for all of them, or one each.

With the same start noise, and the same fresh noise at each step, two frames differ by their motion alone, so what should
stand still does. The paper's code does both, its demo the first. Either way a frame's noise depends on the seed and on
its place in the GIF, never on which frames happen to be computed together. This file knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

NOISES = ("shared", "independent")


class FrameNoise:
    """Standard normal noise, (n, *shape) for any n of the frames. Drawn where the generator lives (the CPU, for a seed), so
    that a seed means the same GIF on every device.

    kind    "shared": all frames get the same, however many there are; "independent": each has a generator of its own
    count   how many a frame may ask for: the start, and one for each step that adds noise
    frames  how many frames there are
    """

    def __init__(
        self, kind: str, shape: Sequence[int], count: int, generator: torch.Generator, device: torch.device, frames: int
    ) -> None:
        self.shape, self.device, self.shared = shape, device, None
        if kind == "shared":
            self.shared = [self._draw([generator]) for _ in range(count)]
        else:
            seeds = torch.randint(2**63 - 1, (frames,), generator=generator, device=generator.device).tolist()
            self.own = [torch.Generator(generator.device).manual_seed(seed) for seed in seeds]

    def _draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        return torch.stack([torch.randn(self.shape, generator=g, device=g.device) for g in generators]).to(self.device)

    def batch(self, frames: Sequence[int]) -> tuple[Tensor, Callable[[int], Tensor]]:
        """The start noise of those frames, and a function that gives step i its own, to be asked in the order of steps."""
        if (shared := self.shared) is not None:
            return shared[0].expand(len(frames), *self.shape), lambda step: shared[1 + step]
        own = [self.own[k] for k in frames]
        return self._draw(own), lambda step: self._draw(own)
