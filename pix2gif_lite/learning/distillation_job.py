"""The student's job: where the teacher's long way ends, from every state of its own short one. The loop is training_loop.py's.

One step of a diffusion model gives the mean of all latents that a noise may become: right where there is one answer, a blur
where there are several. Many steps give one of them, and which one the start noise alone decides, since DPM-Solver++ draws
no more. So there is a function to learn, of the noise to the latent in which the teacher ends,

    x_0*(z_T) = the teacher's N steps from z_T, with its guidance                                     N = 12

and the student, a copy of the teacher's UNet or a smaller one, learns it by regression (Luhman and Luhman 2021). They distil
to one step; here the student may take k = 1, 2 or 4. From the same z_T it walks its own sampler's way, over states y_1, ...,
y_k at the noise levels sigma_1 > ... > sigma_k, and is told at each where it should end:

    L = mean over k, i of  w(sigma_i) || D(y_i; sigma_i) - x_0*(z_T) ||^2,      w = 1 + s^2 / sigma_i^2

D is the UNet's estimate of x_0. No gradient goes through the states, but they are the student's, mistakes and all: what it
meets when it is used, and each further step can mend what the one before it got wrong. The weight is the one that the
UNet's own output has in its training (`from_residual`; s = 1 without a residual, which is the loss on v).

Why not consistency between neighbouring points (Song et al. 2023)? It spares the teacher's way, of which it needs one step a
sample, and pays with a target that is the student's own estimate, right only once all later points are. Here the whole way
is N calls without gradient, as much as N / 3 steps of training, and the target is right from the first step on. Nor are
states taken from the teacher's way: a student of k straight steps never comes by there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from ..branches import make_branches
from ..data.latent_cache import Latents
from ..data.mixture import Mixture, Pairs
from ..data.training_data import keyed_noise, keyed_rng
from ..diffusion import sigmas_for
from ..distilled import SAMPLER, SPACING, STEPS, TEACHER_STEPS, check_step_counts, distilled
from ..guidance import DropMasks, needed_predictions
from ..losses import diffusion_loss
from ..model import Pix2GifModel
from ..presets import Preset
from ..sampling import Branch, Denoiser, dpmpp_2m, start
from ..text import NULL_PROMPT, encode_text, tokenize
from .model_job import NOISE_STREAM, ModelBatch, ModelJob

PAIR_STREAM = 0xD157  # sets apart random numbers drawn for the same (seed, number)


class State(NamedTuple):
    """A state of a sampler's way."""

    sigma: float  # its noise level
    denoised: Tensor  # (B, 4, h, w) the estimate of x_0 made from it


class DistillationJob(ModelJob):
    """`ModelJob` of the UNet alone, with another target: see the head of this file. Nothing is dropped.

    preset, model   the teacher's, with its guidance scales s_I and s_T; `model.unet` is trained and becomes the student. The
                    preset of the student is `job.preset`
    teacher_unet    None: `model.unet` as it is now
    distilled_steps, teacher_steps   k and N
    latents, held_out                as in `ModelJob`

    ValueError: `check_step_counts`'s.
    """

    def __init__(
        self,
        preset: Preset,
        model: Pix2GifModel,
        tokenizer: PreTrainedTokenizerFast,
        vae: AutoencoderKL,
        latents: Latents | Mixture,
        seed: int = 0,
        held_out: Latents | Mapping[str, Latents] | Mixture | None = None,
        distilled_steps: Sequence[int] = STEPS,
        teacher_steps: int = TEACHER_STEPS,
        teacher_unet: UNet2DConditionModel | None = None,
    ) -> None:
        steps = check_step_counts(distilled_steps, teacher_steps)
        super().__init__(preset, model, tokenizer, vae, latents, seed, held_out, only="unet")
        self.preset, self.scales = distilled(preset, steps), (preset.s_I, preset.s_T)
        parts = {name: getattr(model, name) for name in ("text_encoder", "motion_embedding", "flow_net")}
        parts["unet"] = copy.deepcopy(teacher_unet or model.unet).requires_grad_(False).eval()
        self.teacher = Pix2GifModel.from_parts(parts, preset)
        self.frozen.append(self.teacher)
        levels = {count: sigmas_for(count, self.alphas_cumprod, SPACING, SAMPLER)[0] for count in (*steps, teacher_steps)}
        self.student_sigmas, self.teacher_sigmas = {count: levels[count] for count in steps}, levels[teacher_steps]
        self.spread = 1.0 if preset.residual is None else preset.residual
        self.register_buffer("null_ids", tokenize(tokenizer, [NULL_PROMPT]), persistent=False)
        self._ends: dict[str, tuple[Tensor, dict[str, float]]] = {}  # of held-out sets: they stay the same all along

    @property
    def heavy(self) -> list[nn.Module]:
        """Where a step's time goes: the teacher's UNet walks, the student's learns."""
        return [self.model.unet, self.teacher.unet]

    def batch(self, numbers: Sequence[int]) -> ModelBatch:
        """Sample n: a random pair of the cache and the noise that both start from, keyed by (seed, n)."""
        picks = [self.latents.pick(keyed_rng(self.seed, n, PAIR_STREAM)) for n in numbers]
        return self._undropped(self.latents.pairs(picks), keyed_noise(self.seed, numbers, self.latents.shape, NOISE_STREAM))

    def _undropped(self, pairs: Pairs, noise: Tensor) -> ModelBatch:
        nothing = torch.zeros(len(noise), dtype=torch.bool)
        first = self.preset.train_timesteps - 1  # pure noise
        return self._assemble(pairs, [first] * len(noise), noise, DropMasks(nothing, nothing, nothing))

    @torch.no_grad()
    def conditions(self, batch: ModelBatch) -> dict[str, Branch]:
        """What the UNets see: "full", and what else the teacher's guidance needs. Flow and warp are the frozen model's."""
        names = dict.fromkeys((*needed_predictions(*self.scales), "full"))
        c_T = encode_text(self.model.text_encoder, torch.cat([batch.input_ids, self.null_ids])).float()
        source = self.image_scale * batch.source
        branches, _ = make_branches(self.model, list(names), source, c_T[:-1], c_T[-1], batch.motion)
        return branches

    @torch.no_grad()
    def teacher_end(self, noise: Tensor, branches: Mapping[str, Branch], sigmas: Tensor | None = None) -> Tensor:
        """x_0*(z_T): where the teacher ends from this noise, (B, 4, h, w), scaled. `sigmas` (n + 1,): None is its N steps."""
        sigmas = self.teacher_sigmas if sigmas is None else sigmas
        preset = self.preset
        denoise = Denoiser(self.teacher, self.alphas_cumprod, preset.prediction_type, branches, *self.scales)
        return dpmpp_2m(denoise, start(noise, sigmas), sigmas)

    def student_way(
        self, noise: Tensor, branches: Mapping[str, Branch], steps: int, first: Tensor | None = None
    ) -> list[State]:
        """The student's states in `steps` steps from this noise, the last one's `denoised` being its answer.

        A gradient reaches the UNet from each `denoised`, none through the states. `first`: the first state's `denoised`
        where another way from the same noise began with it.
        """
        student = Denoiser(self.model, self.alphas_cumprod, self.preset.prediction_type, {"full": branches["full"]})
        way: list[State] = []

        def denoise(x: Tensor, sigma: float) -> Tensor:
            denoised = first if first is not None and not way else student(x, sigma)
            way.append(State(sigma, denoised))
            return denoised.detach()

        sigmas = self.student_sigmas[steps]
        dpmpp_2m(denoise, start(noise, sigmas), sigmas)
        return way

    def forward(self, batch: ModelBatch) -> dict[str, Tensor]:
        branches = self.conditions(batch)
        end = self.teacher_end(batch.noise, branches)
        terms, first = {}, None
        for steps in self.student_sigmas:
            way = self.student_way(batch.noise, branches, steps, first)
            first = way[0].denoised
            losses = [diffusion_loss(made, end, 1 + (self.spread / sigma) ** 2) for sigma, made in way]
            terms[f"end_{steps}"] = torch.stack(losses).mean()
        return {"loss": torch.stack(list(terms.values())).mean(), **terms}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Mean squared distances of scaled latents on held-out pairs at fixed noises, of the student in k steps.

        val_end_k: to where the teacher ends; val_end_k_teacher: the same of the teacher in k steps, which is what the student
        began with; val_exact_k: to the later frame's own latent; val_exact_teacher: the same of the teacher's N steps;
        val_loss: the mean of val_end_k. Of each further set the same with its name behind, val_end_1_photos.
        """
        held_out, measured = self.held_out_sets, {}
        for name in () if held_out is None else held_out.names:
            picks = held_out.every(name)
            batch = self._undropped(held_out.pairs(picks), keyed_noise(0, range(len(picks)), held_out.shape, NOISE_STREAM))
            batch = ModelBatch(*(part if part is None else part.to(self.alphas_cumprod.device) for part in batch))
            branches, exact = self.conditions(batch), self.scale * batch.target
            if name not in self._ends:
                end, values = self.teacher_end(batch.noise, branches), {}
                for steps, sigmas in self.student_sigmas.items():
                    values[f"end_{steps}_teacher"] = diffusion_loss(self.teacher_end(batch.noise, branches, sigmas), end)
                values["exact_teacher"] = diffusion_loss(end, exact)
                self._ends[name] = end, {key: float(value) for key, value in values.items()}
            end, values = self._ends[name][0], dict(self._ends[name][1])
            for steps in self.student_sigmas:
                made = self.student_way(batch.noise, branches, steps)[-1].denoised
                values[f"end_{steps}"] = float(diffusion_loss(made, end))
                values[f"exact_{steps}"] = float(diffusion_loss(made, exact))
            values["loss"] = sum(values[f"end_{steps}"] for steps in self.student_sigmas) / len(self.student_sigmas)
            suffix = "" if name == held_out.names[0] else f"_{name}"
            measured |= {f"val_{key}{suffix}": value for key, value in values.items()}
        return measured
