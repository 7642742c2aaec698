"""A GPU for tests on machines without one: tensors that say they are on cuda:0, and are held and computed by the CPU.

An operation that mixes them with tensors of the CPU fails, as it would on a GPU; moving is a copy. So what runs in here moves
its weights and its inputs as a real GPU needs it, with the real code of torch, diffusers and accelerate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")


class OnGPU(torch.Tensor):
    """A tensor that is somewhere else: torch's C++ takes it for one without data (meta), Python for one on cuda:0."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnGPU:
        place = {"strides": held.stride(), "storage_offset": held.storage_offset(), "layout": held.layout, "device": "meta"}
        tensor = torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, **place)
        tensor.held = held
        return tensor

    device = property(lambda self: GPU)
    is_meta = property(lambda self: False)

    def tolist(self) -> list:
        """Of a real GPU's tensor, too, the numbers come to Python by a copy."""
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    leaves = tree_leaves((args, kwargs))
    tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
    here = [x for x in tensors if isinstance(x, OnGPU)]
    places = [x.type for x in leaves if isinstance(x, torch.device)]
    name = func.overloadpacket.__name__
    if name == "_has_compatible_shallow_copy_type":  # may `weight.data` be set to that?
        return len(here) != 1
    mixed = here and any(not isinstance(x, OnGPU) and x.dim() > 0 for x in tensors)  # a number may come from the CPU
    if mixed and name != "copy_":
        raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got cuda:0 and cpu.")

    def bare(x: Any) -> Any:
        return x.held if isinstance(x, OnGPU) else torch.device("cpu") if isinstance(x, torch.device) else x

    out = func(*tree_map(bare, args), **tree_map(bare, kwargs))
    if func._schema.is_mutable and isinstance(out, torch.Tensor):
        return args[0]
    on_gpu = places[0] != "cpu" if places else bool(here)
    return tree_map(lambda x: OnGPU(x) if on_gpu and isinstance(x, torch.Tensor) else x, out)


class _Compute(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


class _Make(TorchFunctionMode):
    """Tensors made of Python's numbers do not pass through the mode above."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.new_tensor and isinstance(args[0], OnGPU):
            return torch.tensor(args[1], dtype=args[0].dtype).to(GPU)
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu").type == GPU.type:
            del kwargs["device"]
            return args[0].to(GPU) if isinstance(args[0], torch.Tensor) else func(*args, **kwargs).to(GPU)
        return func(*args, **kwargs)


@contextmanager
def pretend_gpu() -> Iterator[torch.device]:
    """In here cuda:0 exists. Not for training: what is on it has no gradient."""
    with patch.object(torch.cuda, "_lazy_init", lambda: None), _Make(), _Compute():
        yield GPU
