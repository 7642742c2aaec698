"""What the machine can do and hold: its precision, its processes under accelerate, its memory, its measured matrix rate."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import psutil
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch.nn.attention import SDPBackend, sdpa_kernel

from .processes import on_cpus

PRECISIONS = ("auto", "no", "fp16", "bf16")
SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")  # they rename or split the weights that averages and checkpoints look up
# CUDA's allocator and driver, its libraries, the CPU's allocator on Linux, macOS and Windows
NO_MEMORY = re.compile("out of memory|ALLOC_FAILED|can't allocate memory|not enough memory", re.IGNORECASE)


def choose_precision(asked: str, cpu: bool = False) -> str:
    """The mixed precision to train in: no, fp16 or bf16.

    auto: bf16 on GPUs from capability 8.0 and on CPUs that multiply bf16 (AVX512-BF16 or AMX: twice float32's speed,
    measured), fp16 with a loss scaler on older GPUs, no elsewhere. ValueError for another word than these and auto, and
    for fp16 without a GPU.
    """
    if asked not in PRECISIONS:
        raise ValueError(f"Unknown mixed_precision {asked!r}: choose one of {', '.join(PRECISIONS)}.")
    if asked == "fp16" and on_cpus(cpu):
        raise ValueError("mixed_precision 'fp16' needs a GPU: choose 'no', 'bf16' or 'auto' on a CPU.")
    if asked != "auto":
        return asked
    if torch.cuda.is_available() and not on_cpus(cpu):
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "amx_tile")) else "no"


def let_helpers_go() -> None:
    """End the threads that stand by for this thread's products on a CPU; its next product gets new ones, in 0.1 ms.

    For a thread that computes next to another one, as a studio's does beside the notebook's cells: GNU's OpenMP counts the
    helpers of all threads together and, with more than cores, sleeps between any two products. A slider's move then took 40
    to 60 ms instead of 30 (two cores). Does nothing where OpenMP is another one.
    """
    if (pause := _openmp_pause()) is not None:
        pause(1)  # softly: settings stay


@functools.cache
def _openmp_pause() -> Callable[[int], int] | None:
    if os.name != "posix":
        return None
    known = ctypes.CDLL(None)  # what this process has loaded
    gnu = hasattr(known, "GOMP_parallel") and not hasattr(known, "__kmpc_fork_call")  # LLVM's and Intel's know both names
    return getattr(known, "omp_pause_resource_all", None) if gnu else None


def half_on_gpu(precision: str, cpu: bool) -> torch.dtype | None:
    """What frozen parts are held in: on a GPU that trains in half precision, that; None: as they are."""
    on_gpu = torch.cuda.is_available() and not on_cpus(cpu)
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision) if on_gpu else None


def start_accelerator(mixed_precision: str = "auto", cpu: bool = False) -> Accelerator:
    """accelerate, for this process alone or together with those that `accelerate launch` started beside it.

    May be called again and again, with other precisions: what accelerate remembers of an earlier run is forgotten, but for
    the connection between processes, which is made once. ValueError: `choose_precision`'s, and for FSDP and its like.
    """
    precision = choose_precision(mixed_precision, cpu)
    AcceleratorState._reset_state(reset_partial_state=not dist.is_initialized())
    once = GradientAccumulationPlugin(num_steps=1)  # the loop divides by itself, whatever accelerate's config file says
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a process's share may lack a condition
    accelerator = Accelerator(
        mixed_precision=precision, cpu=on_cpus(cpu), gradient_accumulation_plugin=once, kwargs_handlers=[unused]
    )
    if accelerator.distributed_type.value in SHARDED:
        raise ValueError(f"accelerate is set to {accelerator.distributed_type.value}: choose multi-GPU, which copies weights.")
    return accelerator


def fast_attention(device: torch.device | str) -> AbstractContextManager[None]:
    """A context in which attention trains fastest: on CPUs plain products, elsewhere torch's own choice.

    torch's fused CPU kernel has a slow backward pass: 24.2 against 29.1 samples/s of the lite preset (2 cores, bf16).
    """
    return sdpa_kernel(SDPBackend.MATH) if torch.device(device).type == "cpu" else nullcontext()


def memory_in_use(device: torch.device | str) -> int:
    """Bytes: on CUDA the most that tensors have taken since the run began, elsewhere what this process takes now."""
    device = torch.device(device)
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


@contextmanager
def out_of_memory(advice: str) -> Iterator[None]:
    """Inside (or as a decorator), memory that cannot be had is a MemoryError that ends in `advice`, on GPUs and CPUs."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU's allocator raises a plain one
        if not (isinstance(error, torch.OutOfMemoryError) or NO_MEMORY.search(str(error))):
            raise
        amount = re.search(r"tried to allocate ([\d.]+ \w+)", str(error), re.IGNORECASE)
        wanted = f": {amount[1]} more could not be had" if amount else ""
        raise MemoryError(f"Out of memory{wanted}. {advice}") from error


def matrix_rate(device: torch.device | str, mixed_precision: str = "no", seconds: float = 0.3) -> float:
    """Operations a second of a large matrix product, in the precision trained in: the rate nothing can beat."""
    device = torch.device(device)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(mixed_precision, torch.float32)
    side = 1024 if device.type == "cpu" else 8192
    a = torch.ones(side, side, device=device, dtype=dtype)
    (a @ a)[0, 0].item()  # the first call chooses a kernel
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        (a @ a)[0, 0].item()  # reading a number waits for the product
        count += 1
    return 2 * side**3 * count / (time.perf_counter() - began)
