"""FlowNet for a picture that stays while the motion changes: what its layers made of the picture alone is not made again.

    E(c_I) -- down, unfold --> what is in the picture          once
    c_L    -- FiLM, up     --> F                               at every motion

Which layers those are is not written down here: each part looks whether it is given the very tensor that it was given last,
in the same memory and not written to since, and then gives what it gave then. Of lite's FlowNet that is half of the
operations. Convolutions are laid out once (laid.py): for predictions on a CPU, by whoever promises that the weights stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..warping import FlowNet, FlowPyramid
from .direct_unet import is_watched
from .kept import state_of
from .laid import with_laid


class SameAgain:
    """A function of one tensor that remembers what it was given last, and what it made of it. Of more it remembers nothing."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._last: tuple[Any, ...] | None = None  # given and made, held, or their memory might become another's

    def __call__(self, *given: Tensor) -> Any:
        """The function's own answer."""
        if len(given) != 1:
            return self.function(*given)
        last = self._last
        if last is None or last[0] != state_of(*given) or last[3] != state_of(last[2]):
            made = self.function(*given)
            self._last = last = state_of(*given), given, made, state_of(made)
        return last[2]


def remembering(net: FlowNet) -> FlowNet:
    """A copy of a network, of the same weights, whose parts and whose look-up's parts each remember their last answer."""
    net = with_laid(net)
    for owner in filter(None, (net, net.subcell)):
        for part in owner.children():  # not theirs: what a sequence made is remembered as a whole, and looking takes time
            part.forward = SameAgain(part.forward)
    return net


class OnePicture(nn.Module):
    """A FlowNet in the place of `net`, whose weights it uses, sooner for a picture that it saw last."""

    def __init__(self, net: FlowNet) -> None:
        super().__init__()
        self.net = net
        self._parts = tuple(net.modules())
        self._copy: tuple[FlowNet, ...] = ()  # not a part of this module

    @property
    def config(self) -> Any:
        """The network's own."""
        return self.net.config

    @property
    def dtype(self) -> torch.dtype:
        """The network's own, asked of one weight: diffusers goes through all of them."""
        return next(self.net.parameters()).dtype

    def forward(self, image_latents: Tensor, c_L: Tensor) -> FlowPyramid:
        """As FlowNet's."""
        return self._way(image_latents)(image_latents, c_L)

    def look_up(self, image_latents: Tensor, flows: FlowPyramid) -> Tensor:
        """As FlowNet's."""
        return self._way(image_latents).look_up(image_latents, flows)

    def _way(self, x: Tensor) -> FlowNet:
        """The copy that remembers, or the network itself: with gradients, on a GPU, or where somebody watches."""
        if x.device.type != "cpu" or torch.is_grad_enabled() or self.net.training or is_watched(self._parts):
            return self.net
        if not self._copy:
            self._copy = (remembering(self.net),)
        return self._copy[0]
