"""What makes a job fit a device and run fast there, without changing what it learns.

    channels_last            how pictures lie in a GPU's memory
    SyncBatchNorm            batch statistics over all GPUs: as if one had the whole batch
    gradient checkpointing   activations inside a block are computed again for the backward pass instead of kept
    torch.compile            the heavy parts become fused kernels: minutes at the start, faster afterwards

All of it is done in place: the parts that the caller holds stay the same objects, with the same names in their weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from diffusers import ModelMixin
from torch import nn

from ..reasons import Failed, reason


def prepare_job(job: nn.Module, accelerator: Accelerator, gradient_checkpointing: bool = False) -> None:
    """Everything but compiling. Before the optimiser is made and accelerate wraps the job.

    ValueError: gradient checkpointing for a job none of whose parts can.
    """
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(accelerator.device)
        job.to(memory_format=torch.channels_last)  # on CPUs it was measured to be slower: 15.6 against 20.2 pictures/s
        if accelerator.num_processes > 1:  # torch has none for CPUs
            synchronize_batch_norm(job)
    if gradient_checkpointing:
        checkpoint_gradients(job)


def synchronize_batch_norm(module: nn.Module) -> None:
    """Every batch norm inside becomes a SyncBatchNorm with the same parameters and buffers. The module itself stays."""
    for name, child in module.named_children():
        setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


def checkpoint_gradients(job: nn.Module) -> None:
    """Switch gradient checkpointing on in each of diffusers' models inside that is trained and can. ValueError: none can."""
    models = [m for m in job.modules() if isinstance(m, ModelMixin) and any(p.requires_grad for p in m.parameters())]
    able = [m for m in models if m._supports_gradient_checkpointing]
    if not able:
        raise ValueError(f"{type(job).__name__} has no part that can compute activations again: leave it out.")
    for module in able:
        module.enable_gradient_checkpointing()


@contextmanager
def compiled(job: nn.Module, backend: str = "inductor") -> Iterator[None]:
    """Inside, the parts that `job.heavy` lists run compiled; afterwards as before.

    ValueError when the job lists none; Failed, a RuntimeError, in one sentence when torch or its C++ compiler fails.
    """
    heavy = list(getattr(job, "heavy", ()))
    if not heavy:
        raise ValueError(f"{type(job).__name__} lists no heavy parts to compile: leave compile out.")
    from torch._dynamo.exc import TorchDynamoException

    for module in heavy:
        module.compile(backend=backend)
    try:
        yield
    except TorchDynamoException as error:
        text = f"torch.compile failed ({reason(error)}): leave compile out, or see that a C++ compiler works."
        raise Failed(text) from error
    finally:
        for module in heavy:
            module._compiled_call_impl = None
