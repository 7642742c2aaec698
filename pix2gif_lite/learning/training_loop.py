"""One training loop for every job: the autoencoder, then the model on its latents (paper section 4.1).

A job (autoencoder_job.py, model_job.py) is a module: `job(batch)` returns a dict of loss terms, their weighted sum
under "loss"; `job.batch(numbers)` makes the samples of those numbers, always the same ones; `job.measure()` is called
with the averaged weights in place and returns numbers for the log; `job.heavy`, if it has that, lists the modules where
its time goes. Step i of a run takes the samples i * batch_size .. (i + 1) * batch_size - 1, which is all that exact resume
and any number of devices need: each process takes its share of them, and accelerate adds the gradients up. Only the first
process writes, measures and calls back. The loop knows nothing of pictures; it prints nothing but its progress bar.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..files import write_whole
from ..hardware import fast_attention, matrix_rate, memory_in_use, out_of_memory, start_accelerator
from ..processes import agree, mean_terms, on_main
from .checkpoints import EMA, checkpoints, interruptible, load_checkpoint, pack, save_checkpoint, settings_of, unpack
from .optimizers import build_optimizer
from .run import Run
from .run_log import Log, progress_bar, show
from .speedups import compiled, prepare_job

SUMMARY_FILE, CHECKPOINTS = "summary.json", "checkpoints"
SMALLEST_SCALE = 2.0**-10  # the scaler starts at 2^16 and halves: so many steps in a row were no accident
ADVICE = "Use --micro-batch with a smaller number, --gradient-checkpointing, --optimizer adamw8bit or --lora."


@out_of_memory(ADVICE)
def fit(job: nn.Module, run: Run, settings: dict[str, Any]) -> dict[str, Any]:
    """Train the job and leave its averaged weights in it. Returns the summary, also written to `out`/summary.json.

    `settings` (plain values) are kept with each checkpoint: to resume with others is a ValueError. Ctrl-C, in any process,
    finishes the step, writes a checkpoint and raises KeyboardInterrupt in all. `out` is one folder for all machines.

    Raises FileExistsError when `out` holds a run and resume is off, FileNotFoundError when there is nothing to resume,
    ValueError for settings that contradict each other, FloatingPointError when the loss is no longer finite,
    MemoryError that names what would help.
    """
    out = Path(run.out)
    if checkpoints(out / CHECKPOINTS) and not run.resume:
        raise FileExistsError(f"{out} holds a run already: resume it, or choose another folder.")
    settings = settings | {"optimizer": run.optimizer}
    saved = load_checkpoint(out / CHECKPOINTS) if run.resume else None
    if saved:
        before = settings_of(saved)
        changed = [k for k, value in settings.items() if before.get(k, value) != value]
        if changed:
            raise ValueError(f"The run in {out} was started with another {', '.join(changed)}: it must not change.")

    # 1. Everything that has a state.
    accelerator = start_accelerator(run.mixed_precision, run.cpu)
    run.split(accelerator.num_processes)
    out.mkdir(parents=True, exist_ok=True)
    prepare_job(job, accelerator, run.gradient_checkpointing)
    trained = [p for p in job.parameters() if p.requires_grad]
    optimizer = build_optimizer(run.optimizer, trained, run.learning_rate, run.weight_decay)
    model, optimizer = accelerator.prepare(job.train(), optimizer)
    ema = EMA(job, run.ema_decay)
    start, elapsed_before = 0, 0.0
    if saved:
        start, elapsed_before = saved["step"], saved["elapsed"]
        unpack(saved, job, ema, optimizer, accelerator.scaler)
    log = Log(out, start, accelerator.is_main_process, run.tensorboard)

    def checkpoint(step: int, elapsed: float) -> None:
        state = {"step": step, "elapsed": elapsed, "settings": settings} | pack(job, ema, optimizer, accelerator.scaler)
        save_checkpoint(out / CHECKPOINTS, step, state)

    def look(step: int, progress: float) -> None:
        with ema.applied(job):
            measured = job.measure()
            log.add({"step": step, **measured})
            if run.callback:
                run.callback({"step": step, "progress": progress, "job": job, "out": out, **measured})

    # 2. The loop.
    began, aside = time.perf_counter(), 0.0  # aside: seconds spent on anything but training
    step, terms = start, {}
    bar = progress_bar(run.progress_bar and accelerator.is_main_process)
    kernels = compiled(job) if run.compile else nullcontext()
    with bar, log, interruptible() as interrupt, fast_attention(accelerator.device), kernels:
        while True:
            elapsed, stop = agree(elapsed_before + time.perf_counter() - began, bool(interrupt))
            progress = run.progress(step, elapsed)
            if stop or progress >= 1:
                on_main(partial(checkpoint, step, elapsed))
                if stop:
                    raise KeyboardInterrupt(f"Training stopped after step {step}; the checkpoint is in {out}.")
                break
            for group in optimizer.param_groups:
                group["lr"] = run.rate(step, progress)
            terms = _forward_backward(model, job, run, step, accelerator)
            norm = accelerator.clip_grad_norm_(trained, run.grad_clip)
            optimizer.step()
            optimizer.zero_grad()
            if not _skipped(norm, accelerator.scaler):
                ema.update(job)
            step += 1

            speed = (step - start) * run.batch_size / (time.perf_counter() - began - aside)
            if step % run.log_every == 0 or step == start + 1:
                values = mean_terms(terms)
                if not math.isfinite(values["loss"]):
                    raise FloatingPointError(f"The loss is {values['loss']} at step {step}: lower the learning rate.")
                line = {"step": step, "samples": step * run.batch_size, "seconds": elapsed, **values}
                line |= {"grad_norm": float(norm), "lr": run.rate(step - 1, progress), "samples_per_second": speed}
                line |= {"memory_bytes": memory_in_use(accelerator.device)}
                log.add(line)
                show(bar, line, progress)
            paused = time.perf_counter()
            if step % run.checkpoint_every == 0:
                on_main(partial(checkpoint, step, elapsed_before + paused - began))
            if step % run.callback_every == 0:
                on_main(partial(look, step, progress))
            aside += time.perf_counter() - paused

    # 3. What is left: the average, and what it took.
    rate = (step - start) * run.batch_size / (time.perf_counter() - began - aside)
    ema.copy_to(job.eval())
    summary = {"steps": step, "samples": step * run.batch_size, "seconds": elapsed, "samples_per_second": rate}
    summary |= {"parameters": sum(p.numel() for p in trained), "memory_bytes": memory_in_use(accelerator.device)}
    summary |= {"device": str(accelerator.device), "mixed_precision": accelerator.mixed_precision} | mean_terms(terms)

    def finish() -> None:
        summary.update(_share_of_the_machine(job, run, rate, accelerator) | job.measure())
        write_whole(out / SUMMARY_FILE, (json.dumps(summary, indent=2) + "\n").encode())

    on_main(finish)
    job.to("cpu")
    return broadcast_object_list([summary])[0]


def _forward_backward(model: nn.Module, job: nn.Module, run: Run, step: int, accelerator: Accelerator) -> dict:
    """Gradients of one step, its samples split over devices and micro-batches. Returns this device's weighted terms."""
    totals: dict[str, Any] = {}
    count, _ = run.split(accelerator.num_processes)
    for micro in range(count):
        places, weight = run.piece(micro, accelerator.process_index, accelerator.num_processes)
        batch = _to_device(job.batch([step * run.batch_size + k for k in places]), accelerator.device)
        last = micro == count - 1
        with nullcontext() if last else accelerator.no_sync(model):
            terms = model(batch)
            accelerator.backward(weight * terms["loss"])
        for name, value in terms.items():
            totals[name] = totals.get(name, 0) + weight * value.detach()
    return totals


def _skipped(norm: torch.Tensor, scaler: Any) -> bool:
    """Whether fp16's scaler left the weights as they were, because gradients overflowed: it tries half its scale next.

    FloatingPointError when that does not end. Without a scaler no step is skipped.
    """
    if scaler is None or torch.isfinite(norm):
        return False
    if scaler.get_scale() < SMALLEST_SCALE:
        raise FloatingPointError("Gradients are not finite in fp16 at any scale: choose bf16 or no, or a lower learning rate.")
    return True


def _share_of_the_machine(job: nn.Module, run: Run, rate: float, accelerator: Accelerator) -> dict[str, float]:
    """How much of what its devices can multiply a run of `rate` samples/s made use of."""
    _, share = run.split(accelerator.num_processes)
    operations = operations_per_sample(job, range(min(share, run.batch_size)), accelerator.device)
    peak = accelerator.num_processes * matrix_rate(accelerator.device, accelerator.mixed_precision)
    return {"operations_per_sample": operations, "matrix_rate": peak, "share_of_matrix_rate": rate * operations / peak}


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
