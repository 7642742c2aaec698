"""From trained weights to weights that need 1-4 steps and no guidance: the same parts, but for a UNet that learnt to hurry,
and may be smaller.

What is learnt is in learning/distillation_job.py, how in learning/training_loop.py, from what in data/mixture.py; this file
puts them together as training.py does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from .data.latent_cache import fingerprint, hash_of
from .diffusion import alphas_cumprod, sigmas_for
from .distilled import SAMPLER, SPACING, STEPS, TEACHER_STEPS, check_step_counts, distilled, smaller
from .hardware import choose_precision
from .learning.distillation_job import DistillationJob
from .learning.training_loop import fit
from .model import Pix2GifModel, build_unet
from .origins.starting import starting_parts
from .presets import Preset
from .processes import device
from .training import chosen_data, planned_run, save_pipeline

LENGTH, WARMUP = 2000, 20  # steps: the student starts where the teacher is
RATE = 0.3  # times the preset's learning rate, which is for random weights, such as those of a smaller student


def train_turbo(
    preset: Preset,
    out: str | Path,
    init: str | Path,
    *,
    distilled_steps: Sequence[int] = STEPS,
    teacher_steps: int = TEACHER_STEPS,
    student_channels: Sequence[int] | None = None,
    held_out: int = 16,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Distil the weights `init` to a few steps; saves a pipeline in `out` that takes no others. Returns `fit`'s summary.

    init            "lite", a folder or a Hub id: the teacher, sampled with the preset's s_I and s_T
    distilled_steps, teacher_steps   see `DistillationJob`
    student_channels   widths of the student's UNet, the finest first, such as (32, 64, 96): a new one, which says nothing at
                    first, so that with a residual it starts at z_W; of one width it has no attention, and knows the text by z_W
                    alone. None: a copy of the teacher's, which starts where it is
    held_out        of each set, validation members measured at every callback (0: none)
    steps, minutes  of training: it ends at whichever comes first (neither: 2000 steps)
    options         the data, see `TrainingData`, and fields of `Run`, as in `train_model`

    All but the UNet stays as it is. Errors: those of `fit`, `TrainingData`, `starting_parts` and `smaller`; ValueError for step
    counts out of range, and for weights that are distilled already.
    """
    check_step_counts(distilled_steps, teacher_steps)
    sigmas_for(teacher_steps, alphas_cumprod(preset), SPACING, SAMPLER)  # refuses more steps than there are times
    data = chosen_data(preset, seed, options)
    student = None if student_channels is None else smaller(preset, student_channels)
    options = {"learning_rate": (RATE if student is None else 1) * preset.learning_rate, "warmup_steps": WARMUP} | options
    steps = LENGTH if steps is None and minutes is None else steps
    run = planned_run(preset, preset, out, steps, minutes, seed, options)
    start = starting_parts(init, preset, seed=seed, unet_stays=True)  # its output has to mean what the preset says
    parts, preset = start.parts, start.preset
    vae, precision = parts["vae"].to(device(run.cpu)), choose_precision(run.mixed_precision, run.cpu)
    latents, val = data.encode(vae.eval(), out, held_out, mixed_precision=precision, progress_bar=run.progress_bar)
    model = Pix2GifModel.from_parts(parts, preset)
    known_by = {"autoencoder": fingerprint(vae), "teacher_weights": hash_of(model.state_dict().items())}
    lengths = {"distilled_steps": distilled_steps, "teacher_steps": teacher_steps}
    teacher_unet = parts["unet"]
    if student is not None:
        parts["unet"] = model.unet = new_student(student, seed)
        known_by["student_channels"] = list(student.unet_channels)
    job = DistillationJob(preset, model, parts["tokenizer"], vae, latents, seed, val, **lengths, teacher_unet=teacher_unet)
    lengths = {"distilled_steps": list(job.preset.distilled_steps), "teacher_steps": teacher_steps}
    settings = {"job": "turbo", "batch_size": run.batch_size, "seed": seed, **known_by, **lengths}
    settings |= {"teacher": f"{SAMPLER}, s_I {preset.s_I:g}, s_T {preset.s_T:g}"} | data.settings()
    summary = fit(job, run, settings)
    save_pipeline(start._replace(preset=distilled(student or preset, job.preset.distilled_steps)), out, init, summary, settings)
    return summary


def new_student(preset: Preset, seed: int) -> UNet2DConditionModel:
    """A UNet of the preset's sizes, of random weights, whose answer is 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = build_unet(preset)
    for parameter in unet.conv_out.parameters():
        nn.init.zeros_(parameter)
    return unet
