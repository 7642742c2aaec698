"""What the machine can do: the precision it is fastest in, and its measured matrix rate."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

PRECISIONS = ("auto", "no", "fp16", "bf16")


def choose_precision(asked: str, cpu: bool = False) -> str:
    """The mixed precision to train in: no, fp16 or bf16. ValueError for another word than these and auto.

    auto: bf16 on GPUs from capability 8.0 and on CPUs that multiply bf16 (AVX512-BF16 or AMX: twice float32's speed,
    measured), fp16 with a loss scaler on older GPUs, no elsewhere.
    """
    if asked not in PRECISIONS:
        raise ValueError(f"Unknown mixed_precision {asked!r}: choose one of {', '.join(PRECISIONS)}.")
    if asked != "auto":
        return asked
    if torch.cuda.is_available() and not cpu:
        return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "amx_tile")) else "no"


def fast_attention(device: torch.device | str) -> AbstractContextManager[None]:
    """A context in which attention trains fastest: on CPUs plain products, elsewhere torch's own choice.

    torch's fused CPU kernel has a slow backward pass: 24.2 against 29.1 samples/s of the lite preset (2 cores, bf16).
    """
    return sdpa_kernel(SDPBackend.MATH) if torch.device(device).type == "cpu" else nullcontext()


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
