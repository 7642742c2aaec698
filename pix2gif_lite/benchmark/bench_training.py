"""How fast the model trains, on latents that were encoded once and on pictures that are encoded at every step.

It is the real loop (training_loop.py) on a copy of the weights, for a few steps of the preset's own batch. The pictures are in
memory either way: what a cache saves is E.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.latent_cache import Latents, encode, random_motions
from ..data.mixture import Mixture, Pairs, Pick
from ..hardware import choose_precision
from ..learning.model_job import ModelJob
from ..learning.perceptual_choice import choose_perceptual
from ..learning.run import Run
from ..learning.run_log import read_log
from ..learning.training_loop import fit
from ..pipeline import Pix2GifPipeline
from ..presets import Preset, get_preset
from ..scenes import draw, sample_scenes

SCENES = 32


class Encoding(Mixture):
    """The pairs of a `Mixture`, each encoded when it is asked for. pictures: (N, 2, 3, S, S), source and target."""

    def __init__(self, latents: Latents, pictures: Tensor, vae: nn.Module, mixed_precision: str) -> None:
        super().__init__(latents)
        self.pictures, self.vae, self.mixed_precision = pictures, vae, mixed_precision

    def pairs(self, picks: Sequence[Pick]) -> Pairs:
        """As `Mixture.pairs`, up to the rounding of a float16 cache."""
        frames = self.pictures[[entry for _, entry, _ in picks]]
        z = encode(self.vae, frames.flatten(0, 1), self.mixed_precision).float().unflatten(0, (-1, 2))
        return super().pairs(picks)._replace(source=z[:, 0], target=z[:, 1])


def preset_of(pipe: Pix2GifPipeline) -> Preset:
    """The preset that the weights name, with whatever their own settings say otherwise."""
    preset = get_preset(pipe.config.preset)
    own = {f.name: pipe.config[f.name] for f in fields(Preset) if f.name != "name" and f.name in pipe.config}
    return choose_perceptual(preset.with_changes(**own))


def training_speed(pipe: Pix2GifPipeline, steps: int = 12, batch_size: int | None = None) -> dict[str, Any]:
    """The preset's training, "cached" and "uncached". The weights stay as they are.

    Of each: samples_per_second (of the median step, but the first and the last), operations_per_sample, matrix_rate and
    share_of_matrix_rate in the precision trained in. batch_size (None: the preset's), steps and mixed_precision of both.
    ValueError for less than 3 steps.
    """
    if steps < 3:
        raise ValueError(f"{steps} steps are no training to time: give at least 3, the first and the last are not timed.")
    preset, precision = preset_of(pipe), choose_precision("auto", cpu=True)
    vae, size = copy.deepcopy(pipe.vae), pipe.config.image_size
    scenes = sample_scenes(SCENES, "train")
    motions = [random_motions(0, k, 1) for k in range(SCENES)]
    frames = draw(scenes, [m for (m,) in motions], size)
    pictures = torch.stack([draw(scenes, [0] * SCENES, size).image, frames.image], 1)
    z = encode(vae, pictures.flatten(0, 1), precision).unflatten(0, (-1, 2))
    flow = frames.flow.masked_fill(frames.occluded, torch.nan)[:, None] if preset.loss_weights.get("flow") else None
    latents = Latents(z[:, 0], z[:, 1:], torch.tensor(motions), [scene.caption for scene in scenes], flow)
    batch_size = preset.batch_size if batch_size is None else batch_size
    data = {"cached": Mixture(latents), "uncached": Encoding(latents, pictures, vae, precision)}
    found: dict[str, Any] = {"batch_size": batch_size, "steps": steps, "mixed_precision": precision}
    for name, sets in data.items():
        job = ModelJob(preset, copy.deepcopy(pipe.model), pipe.tokenizer, vae, sets)
        with tempfile.TemporaryDirectory() as folder:
            often = {"log_every": 1, "checkpoint_every": steps + 1, "callback_every": steps + 1, "progress_bar": False}
            run = Run(folder, batch_size, preset.learning_rate, preset.warmup_steps, steps=steps, cpu=True, **often)
            summary = fit(job, run, {})
            began = [line["seconds"] for line in read_log(Path(folder) / "log.jsonl") if "samples_per_second" in line]
        rate = batch_size / statistics.median(b - a for a, b in zip(began[1:], began[2:], strict=False))
        counts = {key: summary[key] for key in ("operations_per_sample", "matrix_rate")}
        share = rate * counts["operations_per_sample"] / counts["matrix_rate"]
        found[name] = {"samples_per_second": rate, **counts, "share_of_matrix_rate": share}
    return found
