"""How much memory a training needs, known before it runs: each part by its formula, activations by counting (dry_run.py).

P numbers are trained and Q frozen; on one device, in bytes:

    weights       4 P + 4 Q      2 Q for what is frozen in half precision, as VAE and CLIP are
    gradients     4 P            float32 as their weights, kept from micro-batch to micro-batch
    buckets       4 P            only on several devices: DDP adds gradients up in them
    AdamW         8 P            two moments, float32
      8-bit       2 P + 8 P/256  a byte a moment and a float32 scale for each 256; tensors below 4096 numbers as above
    average       4 P            the EMA lives where the weights live
    activations                  the most that is alive besides, at any moment of a forward and backward pass in mixed
                                 precision: what the backward pass waits for, half copies of float32 weights, temporaries

What no count sees is the margin: the CUDA context, cuDNN's and cuBLAS's workspaces, the allocator's rounding and gaps.
fp16 and bf16 need the same. `python -m pix2gif_lite.learning.memory` prints the tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..presets import PRESETS, Preset, get_preset
from .dry_run import DryStep, sampling_bytes

GIB = 2**30
MARGIN = GIB * 3 // 2
CARDS = {"15 (T4)": 14.7, "24": 22.0, "40": 39.4, "80": 79.1}  # GiB that torch finds on a card sold as that, at the least
SMALLEST, BLOCK = 4096, 256  # bitsandbytes: tensors below keep float32 moments; numbers that share a scale
SIZES = (256, 512)  # px, of the sampling table


@dataclass(frozen=True)
class Mode:
    """One way to train, by the switches of `pix2gif-lite train`."""

    switches: str
    lora_rank: int | None = None  # None: every weight of the UNet is trained
    frozen_dtype: torch.dtype | None = None  # of the UNet's weights where they are frozen; None: float32
    checkpointing: bool = False
    optimizer: str = "adamw"  # or adamw8bit
    cached_text: bool = False


MODES = {
    "full": Mode("no switch"),
    "full-small": Mode("--gradient-checkpointing --optimizer adamw8bit", checkpointing=True, optimizer="adamw8bit"),
    "lora": Mode("--lora 16 --cache-text --gradient-checkpointing", 16, torch.float16, True, cached_text=True),
    "lora-float32": Mode("the same, had the frozen weights stayed float32", 16, None, True, cached_text=True),
}


class TrainingBytes(NamedTuple):
    """Bytes on one device, by part."""

    trained: int
    frozen: int
    gradients: int
    buckets: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        """The sum, without the margin."""
        return sum(self)

    def fit(self, device_bytes: float) -> bool:
        """Whether a card of so many bytes holds them, margin included."""
        return self.total + MARGIN <= device_bytes


def training_bytes(preset: Preset, mode: str = "full", micro_batch: int = 1, devices: int = 1) -> TrainingBytes:
    """What training the preset's model takes on each of `devices`, `micro_batch` samples at once. Seconds, and no memory.

    Raises ValueError for an unknown mode, or less than one sample or device; ModuleNotFoundError for LoRA without peft.
    """
    if mode not in MODES:
        raise ValueError(f"Unknown mode {mode!r}: choose one of {', '.join(MODES)}.")
    if micro_batch < 1 or devices < 1:
        raise ValueError(f"{micro_batch} samples on {devices} devices: give at least 1 of each.")
    how = MODES[mode]
    step = DryStep(preset, how.lora_rank, how.frozen_dtype, how.checkpointing, how.cached_text)
    trained = [p for p in step.parameters() if p.requires_grad]
    frozen = [p for p in step.parameters() if not p.requires_grad]
    return TrainingBytes(
        trained=_bytes(trained),
        frozen=_bytes(frozen) + _bytes(step.buffers()),
        gradients=_bytes(trained),
        buckets=_bytes(trained) if devices > 1 else 0,
        optimizer=adamw_bytes([p.numel() for p in trained], how.optimizer),
        average=4 * sum(p.numel() for p in trained),
        activations=step.activations(micro_batch),
    )


def fits(preset: Preset, mode: str, device_bytes: int, micro_batch: int = 1, devices: int = 1) -> bool:
    """Whether that training fits on cards of `device_bytes`, margin included. Errors: those of `training_bytes`."""
    return training_bytes(preset, mode, micro_batch, devices).fit(device_bytes)


def adamw_bytes(sizes: Iterable[int], optimizer: str = "adamw") -> int:
    """Bytes of AdamW's moments of tensors that hold so many numbers each; `optimizer`: adamw or adamw8bit."""
    if optimizer == "adamw":
        return sum(8 * n for n in sizes)
    return sum(8 * n if n < SMALLEST else 2 * n + 2 * 4 * -(-n // BLOCK) for n in sizes)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def training_table(preset: Preset, micro_batches: Sequence[int], devices: int = 1) -> str:
    """Markdown, GiB: a row for each mode and micro-batch."""
    head = ["mode", "micro-batch", "weights", "gradients", "AdamW", "average", "activations", "total"]
    rows = []
    for mode in MODES:
        for micro_batch in micro_batches:
            need = training_bytes(preset, mode, micro_batch, devices)
            weights, gradients = need.trained + need.frozen, need.gradients + need.buckets
            parts = (weights, gradients, need.optimizer, need.average, need.activations, need.total)
            fitting = [card for card, size in CARDS.items() if need.fit(size * GIB)]
            rows.append([mode, str(micro_batch), *(f"{part / GIB:.2f}" for part in parts), fitting[0] if fitting else "none"])
    return _markdown([*head, "smallest card"], rows)


def sampling_table(preset: Preset, sizes: Sequence[int] = SIZES, frames: int = 8, branches: int = 3) -> str:
    """Markdown, GiB: a row for each size and number of frames at once."""
    rows = []
    for size in sizes:
        for at_once in (frames, 1):
            need = sampling_bytes(preset, size, at_once, branches)
            parts = (need.weights, need.unet, need.decoder, need.total)
            rows.append([f"{size} px", str(at_once), *(f"{part / GIB:.2f}" for part in parts)])
    return _markdown(["picture", "frames at once", "weights", "UNet", "decoder", "total"], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rules = ["---" if k < 1 else "--:" for k in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of a preset."""
    parser = argparse.ArgumentParser(prog="python -m pix2gif_lite.learning.memory", description="Memory by training mode, GiB.")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="paper")
    text = "samples at once, one or several numbers (default: the preset's)"
    parser.add_argument("--micro-batch", type=int, nargs="+", metavar="N", help=text)
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="more than one adds DDP's buckets (default: 1)")
    parser.add_argument("--sampling", action="store_true", help="sampling instead, at 256 and 512 px")
    asked = parser.parse_args(arguments)
    preset = get_preset(asked.preset)
    if asked.sampling:
        print(sampling_table(preset))
        return 0
    try:
        print(training_table(preset, asked.micro_batch or [preset.micro_batch or 1], asked.devices))
    except (ValueError, ModuleNotFoundError) as error:
        parser.error(str(error))
    print(f"\nThe smallest card, in GiB as sold, holds the total and {MARGIN / GIB:g} GiB that no count sees. Modes:\n")
    print("\n".join(f"- {name}: {mode.switches}" for name, mode in MODES.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
