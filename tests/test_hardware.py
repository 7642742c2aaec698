"""What the machine can do and hold: precisions, accelerate started again, memory that cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
import torch

from pix2gif_lite.hardware import (
    choose_precision,
    fast_attention,
    matrix_rate,
    memory_in_use,
    out_of_memory,
    start_accelerator,
)

GPU = torch.accelerator.is_available()


def test_precision_is_chosen_or_refused():
    assert [choose_precision(word, cpu=True) for word in ("no", "bf16")] == ["no", "bf16"]
    assert choose_precision("auto", cpu=True) in ("no", "bf16")
    with pytest.raises(ValueError, match="'int8'.*auto, no, fp16, bf16"):
        choose_precision("int8")
    with pytest.raises(ValueError, match="'fp16' needs a GPU: choose 'no', 'bf16'"):
        choose_precision("fp16", cpu=True)


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_fp16_is_refused_without_a_gpu():
    with pytest.raises(ValueError, match="'fp16' needs a GPU"):  # accelerate would train in float32 and say nothing
        start_accelerator("fp16")


def test_attention_stays_attention():
    q, k, v = (torch.randn(2, 2, 5, 8, dtype=torch.float64) for _ in range(3))
    by_hand = torch.softmax(q @ k.mT / 8**0.5, -1) @ v
    for device in ("cpu", "meta"):  # whichever kernel it chooses
        with fast_attention(device):
            torch.testing.assert_close(torch.nn.functional.scaled_dot_product_attention(q, k, v), by_hand)


def test_matrix_rate_is_a_rate():
    assert 1e8 < matrix_rate("cpu", "no", seconds=0.05) < 1e14


def test_accelerate_starts_again_with_another_precision(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")  # as accelerate's config file may say
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    for precision in ("no", "bf16", "no"):
        accelerator = start_accelerator(precision, cpu=True)
        assert accelerator.mixed_precision == precision and accelerator.device.type == "cpu"
        assert accelerator.num_processes == 1 and accelerator.gradient_accumulation_steps == 1
        model = accelerator.prepare(torch.nn.Sequential(torch.nn.Linear(3, 2)))
        inside = []
        model[0].register_forward_hook(lambda *parts, inside=inside: inside.append(parts[2].dtype))
        assert model(torch.ones(1, 3)).dtype == torch.float32
        assert inside == [{"no": torch.float32, "bf16": torch.bfloat16}[precision]]


def test_memory_that_cannot_be_had_names_what_helps():
    with pytest.raises(MemoryError, match=r"^Out of memory: 4000000000000000 bytes more could not be had. Halve it\.$"):
        with out_of_memory("Halve it."):
            torch.empty(10**15)

    @out_of_memory("Halve it.")
    def on_a_gpu(error):
        raise error

    gpus = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 14.56 GiB"
    with pytest.raises(MemoryError, match=r"^Out of memory: 20.00 MiB more could not be had. Halve it\.$"):
        on_a_gpu(torch.OutOfMemoryError(gpus))
    for words in ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "MPS backend out of memory (MPS allocated: 9 GB)"):
        with pytest.raises(MemoryError, match=r"^Out of memory. Halve it\.$"):
            on_a_gpu(RuntimeError(words))
    with pytest.raises(RuntimeError, match="^mat1 and mat2"):  # any other error is left alone
        with out_of_memory("Halve it."):
            torch.ones(2, 3) @ torch.ones(2, 3)


def test_memory_in_use_is_this_process_s():
    before = memory_in_use("cpu")
    held = torch.ones(2**24)  # 64 MiB, written to
    after = memory_in_use("cpu")
    assert 0.9 * held.nbytes < after - before < 1.5 * held.nbytes
    assert before < after < psutil.virtual_memory().total


def test_a_threads_helpers_go_and_come_back():
    """Counted as the system counts them, in a process of its own: other tests' threads come and go."""
    code = """
import os, torch
from pix2gif_lite.hardware import _openmp_pause, let_helpers_go
torch.set_num_threads(2)
alive = lambda: len(os.listdir("/proc/self/task"))
before = alive()
a = torch.ones(1 << 20)
sums = [float((a + a).sum())]
with_helper = alive()
let_helpers_go()
without = alive()
sums.append(float((a + a).sum()))
print(with_helper - before, with_helper - without, alive() - without, sums[0] == sums[1], _openmp_pause() is not None)
"""
    where = {"env": os.environ | {"OMP_NUM_THREADS": "2"}, "capture_output": True, "text": True, "check": True}
    done = subprocess.run([sys.executable, "-c", code], **where)
    *counted, same, gnu = done.stdout.split()
    assert same == "True" and (counted == ["1", "1", "1"] if gnu == "True" else counted[1] == "0")
