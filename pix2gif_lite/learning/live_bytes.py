"""How many bytes of tensors are alive at once, counted while the operations run: on a CPU, or on torch's meta device.

A meta tensor has a shape and a dtype but no memory, and every operation, its gradient too, says what it would make.
So a training step of a billion weights can be run on any machine, in a second, only to count. `LiveBytes` adds up the
storages that operations make and that Python or autograd still hold. `LikeGPU` makes the step what it is on a GPU in
mixed precision, where torch's own autocast does nothing: autocast looks at the device, and meta is none of those it
knows. This file knows no model.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import checkpoint

# What torch's autocast does on CUDA (torch.amp, "CUDA Ops that can autocast"), as far as our networks call it.
IN_HALF = {F.linear, F.conv1d, F.conv2d, F.conv_transpose2d, F.scaled_dot_product_attention}
IN_HALF |= {torch.matmul, torch.bmm, torch.baddbmm, torch.Tensor.matmul, torch.Tensor.__matmul__}
IN_FLOAT32 = {F.group_norm, F.layer_norm, F.softmax, F.mse_loss, F.l1_loss, torch.softmax, torch.Tensor.softmax}


class LiveBytes(TorchDispatchMode):
    """Inside, `now` is how many bytes of new storages are alive and `peak` the most there ever were.

    `known`: tensors that were there before and are counted elsewhere, such as weights and gradients. A storage counts
    once, whatever number of views it has. What an operation needs while it runs, but does not return, is not seen.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._alive or key in self._known:
            return
        self._alive[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key).atexit = False

    def _remove(self, key: int) -> None:
        self.now -= self._alive.pop(key)


class LikeGPU(TorchFunctionMode):
    """Inside, operations on meta tensors choose dtypes and attention as they would on a GPU.

    `half`: autocast's dtype; None: no autocast, dtypes are left alone. Attention is torch's memory-efficient kernel, which
    every GPU from capability 5.0 has: no matrix of all pairs of cells is made. Operations in `float32` run in float32.

    A trained float32 weight is made half once and kept until `end_of_autocast()`, as autocast's cache does; a frozen one
    is made half at every use. `checkpoint` is for diffusers' `enable_gradient_checkpointing`: a backward pass leaves the
    mode, and the blocks that run again must not.
    """

    def __init__(self, half: torch.dtype | None = torch.float16, float32: Iterable[Callable] = IN_FLOAT32) -> None:
        super().__init__()
        self.half, self.float32 = half, frozenset(float32)
        self._cache: dict[Tensor, Tensor] | None = {}

    def end_of_autocast(self) -> None:
        """The forward pass is over: the cached half weights go, but for those that autograd keeps."""
        self._cache = None

    def checkpoint(self, block: Callable, *args: Any) -> Any:
        """The block's output; what its backward pass needs is computed again, in this mode, when its turn comes."""
        contexts = (nullcontext(), self)
        return checkpoint(block, *args, use_reentrant=False, context_fn=lambda: contexts)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if self.half is not None and func in IN_HALF:
            args, kwargs = tree_map(self._to_half, (args, kwargs))
        elif self.half is not None and func in self.float32:
            args, kwargs = tree_map(lambda x: x.float() if _is_half(x) else x, (args, kwargs))
        if func is F.scaled_dot_product_attention and args[0].device.type == "meta":
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _to_half(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or x.dtype != torch.float32:
            return x
        if self._cache is None or not (isinstance(x, nn.Parameter) and x.requires_grad):
            return x.to(self.half)
        if x not in self._cache:
            self._cache[x] = x.to(self.half)
        return self._cache[x]

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, **options: Any) -> Tensor:
        keep = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
        causal, scale = options.get("is_causal", False), options.get("scale")
        attend = torch.ops.aten._scaled_dot_product_efficient_attention
        return attend(q, k, v, attn_mask, keep, 0.0, causal, scale=scale)[0]


def _is_half(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16)
