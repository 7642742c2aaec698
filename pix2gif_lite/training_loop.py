"""One training loop for both jobs: the autoencoder, then the model on its latents (paper section 4.1).

A job (autoencoder_job.py, model_job.py) is a module: `job(batch)` returns a dict of loss terms, their weighted sum
under "loss"; `job.batch(numbers)` makes the samples of those numbers, always the same ones; `job.measure()` is called
with the averaged weights in place and returns numbers for the log. Step i of a run takes the samples
i * batch_size .. (i + 1) * batch_size - 1, which is all that exact resume and any number of devices need.
The loop knows nothing of pictures; it prints nothing but its progress bar.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from .checkpoints import (
    EMA,
    Log,
    checkpoints,
    interruptible,
    load_checkpoint,
    pack,
    save_checkpoint,
    unpack,
)
from .files import write_whole
from .hardware import choose_precision, fast_attention, matrix_rate

LOG_FILE, SUMMARY_FILE, CHECKPOINTS = "log.jsonl", "summary.json", "checkpoints"
BETAS = (0.9, 0.99)  # the second moment follows the small steps of a short run


@dataclass(frozen=True)
class Run:
    """How long, how fast and where to: everything about a run that is not its job.

    A run ends after `steps` or after `minutes`, whichever comes first; the learning rate falls towards that end.
    """

    out: str | Path
    batch_size: int  # effective: over all devices and accumulated micro-batches
    learning_rate: float
    warmup_steps: int = 0
    steps: int | None = None
    minutes: float | None = None  # wall time, resumed runs added up
    resume: bool = False
    seed: int = 0
    weight_decay: float = 1e-2
    grad_clip: float = 1.0
    ema_decay: float = 0.999
    accumulation: int = 1  # micro-batches a step
    mixed_precision: str = "auto"  # auto | no | fp16 | bf16
    cpu: bool = False  # stay on the CPU even where there is a GPU
    callback: Callable[[dict[str, Any]], None] | None = None
    callback_every: int = 500
    checkpoint_every: int = 500
    log_every: int = 20
    progress_bar: bool = True

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("A run without an end: give steps or minutes.")
        for name in (
            "steps",
            "minutes",
            "batch_size",
            "accumulation",
            "callback_every",
            "checkpoint_every",
            "log_every",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: it must be above 0.")

    def progress(self, step: int, elapsed: float) -> float:
        """How much of the run is over, 0 - 1, after `step` steps and `elapsed` seconds."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = elapsed / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def rate(self, step: int, progress: float) -> float:
        """The learning rate: linear warm-up, then a cosine to 0 at the end of the run."""
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return self.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * progress))


def fit(job: nn.Module, run: Run, settings: dict[str, Any]) -> dict[str, Any]:
    """Train the job and leave its averaged weights in it. Returns the summary, also written to `out`/summary.json.

    `settings` (plain values) are kept with each checkpoint: to resume with others is a ValueError. Ctrl-C finishes the
    step, writes a checkpoint and raises KeyboardInterrupt. Raises FileExistsError when `out` holds a run and resume is
    off, FileNotFoundError when there is nothing to resume, FloatingPointError when the loss is no longer finite.
    """
    out = Path(run.out)
    if checkpoints(out / CHECKPOINTS) and not run.resume:
        raise FileExistsError(f"{out} holds a run already: resume it, or choose another folder.")
    saved = load_checkpoint(out / CHECKPOINTS) if run.resume else None
    if saved:
        changed = [k for k, value in settings.items() if saved["settings"].get(k, value) != value]
        if changed:
            raise ValueError(f"The run in {out} was started with another {', '.join(changed)}: it must not change.")
    out.mkdir(parents=True, exist_ok=True)

    # 1. Everything that has a state.
    AcceleratorState._reset_state(reset_partial_state=True)  # a notebook may train twice, with other precisions
    accelerator = Accelerator(mixed_precision=choose_precision(run.mixed_precision, run.cpu), cpu=run.cpu)
    if accelerator.device.type == "cuda":
        job.to(memory_format=torch.channels_last)  # on CPUs it was measured to be slower: 15.6 against 20.2 pictures/s
    trained = [p for p in job.parameters() if p.requires_grad]
    groups = [  # biases and norms are not decayed
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": run.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=run.learning_rate, betas=BETAS, fused=True)
    model, optimizer = accelerator.prepare(job.train(), optimizer)
    ema = EMA(job, run.ema_decay)
    start, elapsed_before = 0, 0.0
    if saved:
        start, elapsed_before = saved["step"], saved["elapsed"]
        unpack(saved, job, ema, optimizer, accelerator.scaler)
    log = Log(out / LOG_FILE, start, accelerator.is_main_process)

    def checkpoint(step: int, elapsed: float) -> None:
        if accelerator.is_main_process:
            state = {"step": step, "elapsed": elapsed, "settings": settings}
            save_checkpoint(out / CHECKPOINTS, step, state | pack(job, ema, optimizer, accelerator.scaler))

    # 2. The loop.
    began, aside = time.perf_counter(), 0.0  # aside: seconds spent on anything but training
    step, terms = start, {}
    bar = tqdm(total=1.0, disable=not (run.progress_bar and accelerator.is_main_process), bar_format=BAR)
    with bar, interruptible() as interrupt, fast_attention(accelerator.device):
        while True:
            elapsed = elapsed_before + time.perf_counter() - began
            progress = run.progress(step, _agree(elapsed, accelerator))
            if interrupt or progress >= 1:
                checkpoint(step, elapsed)
                if interrupt:
                    raise KeyboardInterrupt(f"Training stopped after step {step}; the checkpoint is in {out}.")
                break
            for group in optimizer.param_groups:
                group["lr"] = run.rate(step, progress)
            terms = _forward_backward(model, job, run, step, accelerator)
            norm = accelerator.clip_grad_norm_(trained, run.grad_clip)
            optimizer.step()
            optimizer.zero_grad()
            ema.update(job)
            step += 1

            speed = (step - start) * run.batch_size / (time.perf_counter() - began - aside)
            if step % run.log_every == 0 or step == start + 1:
                values = {name: float(value) for name, value in terms.items()}
                if not math.isfinite(values["loss"]):
                    raise FloatingPointError(f"The loss is {values['loss']} at step {step}: lower the learning rate.")
                line = {"step": step, "samples": step * run.batch_size, "seconds": elapsed, **values}
                line |= {"grad_norm": float(norm), "lr": run.rate(step - 1, progress), "samples_per_second": speed}
                log.add(line)
                _show(bar, progress, step, values["loss"], speed, elapsed)
            paused = time.perf_counter()
            if step % run.checkpoint_every == 0:
                checkpoint(step, elapsed_before + paused - began)
            if step % run.callback_every == 0 and accelerator.is_main_process:
                with ema.applied(job):
                    measured = job.measure()
                    log.add({"step": step, **measured})
                    if run.callback:
                        run.callback({"step": step, "progress": progress, "job": job, "out": out, **measured})
            aside += time.perf_counter() - paused

    # 3. What is left: the average, and what it took.
    rate = (step - start) * run.batch_size / (time.perf_counter() - began - aside)
    operations = operations_per_sample(job, range(run.batch_size), accelerator.device)
    ema.copy_to(job.eval())
    summary = {"steps": step, "samples": step * run.batch_size, "seconds": elapsed, "samples_per_second": rate}
    summary |= {"parameters": sum(p.numel() for p in trained), "device": str(accelerator.device)}
    summary |= {"mixed_precision": accelerator.mixed_precision, "operations_per_sample": operations}
    peak = accelerator.num_processes * matrix_rate(accelerator.device, accelerator.mixed_precision)
    summary |= {"matrix_rate": peak, "share_of_matrix_rate": rate * operations / peak}
    summary |= {name: float(value) for name, value in terms.items()} | job.measure()
    if accelerator.is_main_process:
        write_whole(out / SUMMARY_FILE, (json.dumps(summary, indent=2) + "\n").encode())
    job.to("cpu")
    return summary


def _forward_backward(model: nn.Module, job: nn.Module, run: Run, step: int, accelerator: Accelerator) -> dict:
    """Gradients of one step, its samples split over devices and micro-batches. Returns this device's mean terms."""
    parts = run.accumulation * accelerator.num_processes
    if run.batch_size % parts:
        raise ValueError(f"A batch of {run.batch_size} does not split into {parts} equal parts.")
    share, totals = run.batch_size // parts, {}
    for micro in range(run.accumulation):
        first = step * run.batch_size + (micro * accelerator.num_processes + accelerator.process_index) * share
        batch = _to_device(job.batch(range(first, first + share)), accelerator.device)
        last = micro == run.accumulation - 1
        with nullcontext() if last else accelerator.no_sync(model):
            terms = model(batch)
            accelerator.backward(terms["loss"] / run.accumulation)
        for name, value in terms.items():
            totals[name] = totals.get(name, 0) + value.detach() / run.accumulation
    return totals


def operations_per_sample(job: nn.Module, numbers: range, device: torch.device) -> int:
    """Operations of a forward and backward pass, a multiply-add counting as two. Leaves no gradients behind.

    Not part of a real step: torch's counter changes the order of some sums, and a resumed run would differ in a bit.
    """
    with FlopCounterMode(display=False) as counter:
        job(_to_device(job.batch(numbers), device))["loss"].backward()
    job.zero_grad(set_to_none=True)
    return counter.get_total_flops() // len(numbers)


def _to_device(batch: Any, device: torch.device) -> Any:
    """A NamedTuple with its tensors on the device."""
    return type(batch)(*(x.to(device, non_blocking=True) if isinstance(x, torch.Tensor) else x for x in batch))


def _agree(elapsed: float, accelerator: Accelerator) -> float:
    """The longest time any process has seen, so that all stop at the same step."""
    if accelerator.num_processes == 1:
        return elapsed
    return float(accelerator.gather(torch.tensor([elapsed], device=accelerator.device)).max())


BAR = "{percentage:3.0f}%|{bar:24}|{postfix}"


def _show(bar: tqdm, progress: float, step: int, loss: float, speed: float, elapsed: float) -> None:
    left = f"{elapsed * (1 / progress - 1) / 60:.1f} min left" if progress else ""
    bar.n = progress
    bar.set_postfix_str(f"step {step}, loss {loss:.4f}, {speed:.1f} samples/s, {left}")
