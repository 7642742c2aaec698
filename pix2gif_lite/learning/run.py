"""A run: how long, how fast, where to, and in what pieces. Everything about training that is not what is learnt.

The learning rate and the pieces of a batch follow from a step's number and the number of devices alone: a run that stops and
goes on, here or on other machines, has the same of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SCHEDULES = ("cosine", "constant")
OPTIMIZERS = ("adamw", "adamw8bit")
ABOVE_ZERO = (
    "steps",
    "minutes",
    "batch_size",
    "micro_batch",
    "accumulation",
    "callback_every",
    "checkpoint_every",
    "log_every",
)


@dataclass(frozen=True)
class Run:
    """How long, how fast and where to. It ends after `steps` or after `minutes`, whichever comes first.

    ValueError for a number or a word out of range; ModuleNotFoundError where `optimizer` or `tensorboard` asks for a package
    that is not there.
    """

    out: str | Path
    batch_size: int  # effective: over all devices and accumulated micro-batches
    learning_rate: float
    warmup_steps: int = 0
    lr_start: float = 0.0  # where the linear warm-up begins
    lr_schedule: str = "cosine"  # after it: falls to 0 at the end of the run, or stays ("constant")
    steps: int | None = None
    minutes: float | None = None  # wall time, resumed runs added up
    resume: bool = False
    seed: int = 0
    weight_decay: float = 1e-2
    grad_clip: float = 1.0
    ema_decay: float = 0.999
    micro_batch: int | None = None  # samples a device at once; the rest of a batch is accumulated. None: all
    accumulation: int | None = None  # instead of micro_batch: micro-batches a step
    mixed_precision: str = "auto"  # auto | no | fp16 | bf16
    optimizer: str = "adamw"  # | adamw8bit
    gradient_checkpointing: bool = False
    compile: bool = False
    cpu: bool = False  # stay on the CPU even where there is a GPU
    callback: Callable[[dict[str, Any]], None] | None = None  # called in the first process alone
    callback_every: int = 500
    checkpoint_every: int = 500
    log_every: int = 20
    tensorboard: bool = False
    progress_bar: bool = True

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("A run without an end: give steps or minutes.")
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: it must be above 0.")
        if not 0 <= self.lr_start <= self.learning_rate:
            raise ValueError(f"lr_start is {self.lr_start}: give one from 0 to learning_rate, {self.learning_rate}.")
        for name, known in (("lr_schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"Unknown {name} {getattr(self, name)!r}: choose one of {', '.join(known)}.")
        for package, wanted in (("bitsandbytes", self.optimizer == "adamw8bit"), ("tensorboard", self.tensorboard)):
            if wanted and find_spec(package) is None:
                asked = "tensorboard=True" if package == "tensorboard" else f"optimizer {self.optimizer!r}"
                raise ModuleNotFoundError(f"{asked} needs {package}: pip install 'pix2gif-lite[paper]'.")

    def progress(self, step: int, elapsed: float) -> float:
        """How much of the run is over, 0 - 1, after `step` steps and `elapsed` seconds."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = elapsed / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self, step: int, progress: float) -> float:
        """The learning rate: linear warm-up from lr_start, then a cosine to 0 at the end of the run, or constant."""
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        warm = self.lr_start + (self.learning_rate - self.lr_start) * warmup
        return warm if self.lr_schedule == "constant" else warm * 0.5 * (1 + math.cos(math.pi * progress))

    def split(self, devices: int) -> tuple[int, int]:
        """(micro-batches a step, the most samples in each), with `devices` of them at once: together at least a batch.

        ValueError where accumulation and micro_batch say different things.
        """
        if self.accumulation is None:
            share = self.micro_batch or math.ceil(self.batch_size / devices)
            return math.ceil(self.batch_size / (devices * share)), share
        share = math.ceil(self.batch_size / (devices * self.accumulation))
        if self.micro_batch not in (None, share):
            raise ValueError(
                f"accumulation {self.accumulation} makes micro-batches of {share} on {devices} device(s), not of "
                f"{self.micro_batch}: leave one of the two out."
            )
        return self.accumulation, share

    def piece(self, micro: int, rank: int, devices: int) -> tuple[range, float]:
        """Which places of a batch device `rank` takes in its micro-batch number `micro`, and what their mean loss weighs.

        Whatever the number of devices, the gradients of all pieces, weighed and averaged over the devices, are those of the
        whole batch. Where a batch does not split evenly the last pieces are smaller; one that is left with nothing looks at
        the first sample with weight 0, since all devices have to compute together.
        """
        _, share = self.split(devices)
        first = (micro * devices + rank) * share
        size = min(share, self.batch_size - first)
        return (range(first, first + size), size * devices / self.batch_size) if size > 0 else (range(1), 0.0)
