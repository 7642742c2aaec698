"""Convolutions whose weights will not change, laid out once as oneDNN, torch's library for CPUs, wants to read them.

torch lays the weights at every call, or leaves them as they are and reads them slowly. And no modules around them: a plain
object's attribute is found in one look, a module's in three. For predictions on a CPU.
"""

from __future__ import annotations

import copy
import functools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

POINTWISE, REORDER = "_convolution_pointwise", "mkldnn_reorder_conv2d_weight"  # what torch.compile makes of a convolution


@functools.cache
def can_lay(inside: torch.dtype = torch.float32) -> bool:
    """Can this torch lay convolutions that multiply in `inside` on this CPU, and are they the same then? A small one is tried.

    The names are torch's own, not promised; bfloat16 needs AVX-512 or AVX-NE-CONVERT.
    """
    known = hasattr(torch.ops.mkldnn, POINTWISE) and hasattr(torch._C._nn, REORDER)
    if not (known and torch.backends.mkldnn.is_available()):
        return False
    with torch.random.fork_rng(devices=[]):  # the next random numbers are the caller's
        layer, x = nn.Conv2d(4, 8, 3, padding=1), torch.randn(1, 4, 6, 6)
    try:
        with torch.no_grad():
            made, near = LaidConv(layer, inside)(x).float(), 1e-4 if inside == torch.float32 else 0.05
            return torch.allclose(made, layer(x), atol=near)
    except (RuntimeError, TypeError):  # known by the same name, and called otherwise; or not on this CPU
        return False


class LaidConv:
    """A convolution (B, C, h, w) -> (B, C', h', w') with the weights that it had when it was last asked for another size.

    It multiplies in `inside` (None: the weights' own dtype), adds up in float32, and answers in `inside`.
    """

    def __init__(self, layer: nn.Conv2d, inside: torch.dtype | None = None) -> None:
        self.weight, self.bias = layer.weight, layer.bias  # as they are, for whoever takes a 1 x 1 for a linear layer
        self.inside = inside or layer.weight.dtype
        self._how = [*map(list, (layer.padding, layer.stride, layer.dilation)), layer.groups]
        self._bias = None if layer.bias is None else layer.bias.detach().to(self.inside)
        self._laid: tuple[torch.Size | None, Tensor | None] = None, None  # for one size, on which the best way depends

    def __call__(self, x: Tensor) -> Tensor:
        """See above."""
        size, weight = self._laid
        if size != x.shape:  # only the last is kept: pictures have many sizes, and a UNet's weights are 32 MB for each
            plain = self.weight.detach().to(self.inside).to_mkldnn()
            weight = getattr(torch._C._nn, REORDER)(plain, *self._how, list(x.shape))
            self._laid = x.shape, weight
        return torch.ops.mkldnn._convolution_pointwise(x.to(self.inside), weight, self._bias, *self._how, "none", [], "")


def with_laid(net: nn.Module) -> nn.Module:
    """A copy of a network, of the same weights, with its convolutions laid; without a difference where they cannot be."""
    net = copy.deepcopy(net, {id(each): each for each in (*net.parameters(), *net.buffers())})
    for part in net.modules() if can_lay(next(net.parameters()).dtype) else ():
        if type(part) is nn.Conv2d and part.padding_mode == "zeros" and isinstance(part.padding, tuple):
            part.forward = LaidConv(part)
    return net


def laid(module: nn.Module, inside: torch.dtype | None = None) -> Any:
    """A module as plain objects of the same names: its convolutions laid, see there for `inside`, all else as it is."""
    if module is None:  # a block without attention, an autoencoder without a last convolution
        return None
    if isinstance(module, nn.ModuleList):
        return [laid(part, inside) for part in module]
    if isinstance(module, nn.Conv2d):
        return LaidConv(module, inside)
    if next(module.parameters(), None) is None:
        return module  # which somebody may call
    own = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return SimpleNamespace(**own, **module._parameters, **{name: laid(part, inside) for name, part in module._modules.items()})
