"""The model's job: Eq. 3 and 8 of the paper on cached latents, with conditions dropped. The loop is training_loop.py's.

A job is a module whose `forward(batch)` returns a dict of loss terms, their weighted sum under "loss" (see
autoencoder_job.py). This file knows latents, prompts and losses; it never sees a pixel. What is frozen may be held in
half precision: what it gives is float32 from where it meets what is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from ..calibration import as_long_as
from ..data.latent_cache import Latents
from ..data.mixture import Mixture, Pairs
from ..data.text_cache import TextCache
from ..data.training_data import keyed_noise, keyed_rng
from ..diffusion import alphas_cumprod, q_sample, residual_variance, velocity
from ..guidance import DropMasks, drop, drop_masks
from ..losses import DecoderFeatures, VGG19Features, check_vgg19_size, diffusion_loss, total_loss, warp_loss
from ..model import Pix2GifModel
from ..presets import Preset
from ..text import NULL_PROMPT, encode_text, motion_prompt, tokenize
from ..warp_terms import FROM_THE_EXACT_FLOW, warp_terms
from .lora import add_lora

PAIR_STREAM, NOISE_STREAM = 0x9A18, 0x4015  # set apart random numbers drawn for the same (seed, number)
ONLY = (None, "warp", "unet")


class ModelBatch(NamedTuple):
    """What the model trains on. Latents are unscaled."""

    source: Tensor  # (B, 4, h, w) E(c_I)
    target: Tensor  # (B, 4, h, w) E of the later frame
    input_ids: Tensor  # (B, tokens); the null prompt's where the text is dropped
    motion: Tensor  # (B,) int64
    timestep: Tensor  # (B,) int64, 0 .. T - 1, uniform but for the preset's `noisiest`
    noise: Tensor  # (B, 4, h, w)
    drop_image: Tensor  # (B,) bool
    drop_motion: Tensor  # (B,) bool
    c_T: Tensor | None = None  # (B, tokens, width) of the same prompts, from a cache; None: ask the text encoder
    flow: Tensor | None = None  # (B, 2, S, S) exact, pixels, NaN where unknown; None: known of none


def latent_scales(vae: AutoencoderKL, preset: Preset) -> tuple[float, float]:
    """What latents are multiplied by: those that get noise (to unit variance), and E(c_I) where the preset scales it."""
    scale = float(vae.config.scaling_factor)
    return scale, scale if preset.scale_image_latents else 1.0


class ModelJob(nn.Module):
    """Text encoder, M, FNet and UNet together on cached latents, with the preset's mix of losses (section 3.4).

    What is dropped: E(c_I) = 0, hence z_W = 0, and nothing asks such a sample's warp to be right; the prompt "";
    c_M = 0 and no number in the prompt. Only parameters that require a gradient are trained: `preset.train_text` decides
    about the text encoder.

    `only`: "warp" trains text, M and FNet by the warp's own terms and leaves the UNet, 90 % of the work, out of it; "unet"
    trains the UNet by L_LDM on a warp that stays as it is; None is Eq. 8, all at once. ValueError for another word, and for
    the warp of a variant that has none.

    `latents`, `held_out`: one set, or a `Mixture` of several; `held_out` also a dict of sets by name.

    `lora_rank`: of the UNet only adapters and its input's new channels are trained, see `add_lora`; its frozen weights are
    held in `frozen_dtype` (None: as they are). `merge_lora(model.unet)` makes it a plain UNet afterwards.
    `texts`: the prompts' c_T, see text_cache.py. ValueError where the text encoder is trained, for LoRA with only="warp",
    for perceptual_network "auto" (`choose_perceptual` first) and for latents too small for VGG19.
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
        only: str | None = None,
        lora_rank: int | None = None,
        frozen_dtype: torch.dtype | None = None,
        texts: TextCache | None = None,
    ) -> None:
        super().__init__()
        if only not in ONLY or (only == "warp" and not model.uses_warp):
            raise ValueError(f"Nothing to train as only={only!r} in variant {model.variant}: give 'warp', 'unet' or None.")
        if lora_rank is not None and only == "warp":
            raise ValueError("LoRA adapts the UNet, and only='warp' leaves it out: leave lora_rank or only out.")
        self.trains_text = preset.train_text and only != "unet"
        if texts is not None and self.trains_text:
            raise ValueError("The text encoder is trained, so c_T changes: leave the text cache out, or set train_text=False.")
        self.preset, self.tokenizer, self.seed, self.texts = preset, tokenizer, seed, texts
        self.latents, self.held_out = latents if isinstance(latents, Mixture) else Mixture(latents), held_out
        self.vae = vae.requires_grad_(False)  # only for callbacks that want to look
        self.model, self.only = model.requires_grad_(True), only
        model.text_encoder.requires_grad_(preset.train_text)
        conditions = [part for part in (model.text_encoder, model.motion_embedding, model.flow_net) if part is not None]
        self.frozen = [vae, *{"warp": [model.unet], "unet": conditions, None: []}[only]]
        if not preset.train_text:
            self.frozen.append(model.text_encoder)
        for part in self.frozen:
            part.requires_grad_(False)
        self.weights = {k: w for k, w in preset.loss_weights.items() if w and (k == "diffusion" or model.uses_warp)}
        if model.variant != "full":
            self.weights.pop("perceptual", None)  # L_P is what "full" adds to "warp-concat"
        if only:
            self.weights = {k: w for k, w in self.weights.items() if (k == "diffusion") == (only == "unet")}
        self.scale, self.image_scale = latent_scales(vae, preset)
        self.calibrates = preset.calibrate and model.uses_warp and model.flow_net.config.flow_mode == "displacement"
        self.features = None
        if "perceptual" in self.weights:
            self.features = self._look_with(preset.perceptual_network)
        self.register_buffer("alphas_cumprod", alphas_cumprod(preset), persistent=False)
        halves = lora_rank is not None and frozen_dtype in (torch.float16, torch.bfloat16)
        self.half = frozen_dtype if halves else None  # what part of the UNet is held in
        if lora_rank is not None:
            add_lora(model.unet, lora_rank, frozen_dtype=frozen_dtype, seed=seed)

    def _look_with(self, network: str) -> DecoderFeatures | VGG19Features:
        if network == "decoder":
            return DecoderFeatures(self.vae, self.preset.perceptual_depth, self.preset.scale_image_latents)
        if network != "vgg19":
            raise ValueError(
                f"perceptual_network is {network!r}: choose_perceptual(preset) says which, and the run records it."
            )
        check_vgg19_size(*self.latents.shape[-2:])
        return VGG19Features()

    @property
    def heavy(self) -> list[nn.Module]:
        """Where a step's time and memory go: the UNet, and a text encoder that is trained."""
        return [self.model.unet] * (self.only != "warp") + [self.model.text_encoder] * self.trains_text

    @property
    def held_out_sets(self) -> Mixture | None:
        """`held_out` as sets by their names; None where nothing is held out."""
        return self.held_out if self.held_out is None or isinstance(self.held_out, Mixture) else Mixture(self.held_out)

    def running(self) -> AbstractContextManager[None]:
        """For callbacks that call the model themselves: autocast where part of the UNet is held in half precision."""
        return nullcontext() if self.half is None else torch.autocast(self.alphas_cumprod.device.type, self.half)

    def train(self, mode: bool = True) -> ModelJob:
        """What is frozen stays in eval mode."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def batch(self, numbers: Sequence[int]) -> ModelBatch:
        """Sample n: a random pair of the cache, its timestep, noise and dropped conditions, all keyed by (seed, n)."""
        rngs = [keyed_rng(self.seed, n, PAIR_STREAM) for n in numbers]
        pairs = self.latents.pairs([self.latents.pick(rng) for rng in rngs])
        timesteps = [self._timestep(rng) for rng in rngs]
        drops = drop_masks(numbers, self.seed, self.preset)
        noise = keyed_noise(self.seed, numbers, self.latents.shape, NOISE_STREAM)
        return self._assemble(pairs, timesteps, noise, drops)

    def _timestep(self, rng: np.random.Generator) -> int:
        T, noisiest = self.preset.train_timesteps, self.preset.noisiest
        return int(rng.integers(T * 9 // 10 if noisiest and rng.random() < noisiest else 0, T))

    def _assemble(self, pairs: Pairs, timesteps: Sequence[int], noise: Tensor, drops: DropMasks) -> ModelBatch:
        source, target, motion, captions, flow = pairs
        prompts = [
            NULL_PROMPT if no_text else caption if no_motion else motion_prompt(caption, m)
            for caption, m, no_text, no_motion in zip(
                captions, motion.tolist(), drops.text.tolist(), drops.motion.tolist(), strict=True
            )
        ]
        ids = tokenize(self.tokenizer, prompts)
        c_T = None if self.texts is None else self.texts.c_T(prompts)
        return ModelBatch(source, target, ids, motion, torch.tensor(timesteps), noise, drops.image, drops.motion, c_T, flow)

    def forward(self, batch: ModelBatch) -> dict[str, Tensor]:
        # 1. Conditions: c_L, E(c_I) or nothing, F and z_W (Eq. 5-6).
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.only != "unet"):
            c_T = encode_text(self.model.text_encoder, batch.input_ids) if batch.c_T is None else batch.c_T
            c_L = self.model.add_motion(c_T.float(), batch.motion, ~batch.drop_motion)  # (B, tokens, w)
            image = drop(self.image_scale * batch.source, batch.drop_image)  # (B, 4, h, w)
            flows = self.model.flows(image, c_L)
            known = self.calibrates and batch.flow is not None
            z_W = self.model.look_up(image, as_long_as(flows, batch.flow) if known else flows)
        # 2. Eq. 3: noise the later frame's latent, predict the noise or the velocity.
        terms = {}
        if "diffusion" in self.weights:
            x0 = self.scale * batch.target
            z_t = q_sample(x0, batch.noise, batch.timestep, self.alphas_cumprod)
            prediction = self.model(z_t, batch.timestep, image, z_W, c_L)
            wanted = batch.noise
            if self.preset.prediction_type == "v_prediction":
                wanted = velocity(x0, batch.noise, batch.timestep, self.alphas_cumprod)
            residual = self.preset.residual  # then the noise levels are weighted as its outputs are scaled
            weight = 1.0 if residual is None else residual_variance(batch.timestep, self.alphas_cumprod, residual)[1]
            terms["diffusion"] = diffusion_loss(prediction, wanted, weight)
        # 3. The warp's own terms, of the samples that have a picture; a mean over all, so that batches add up.
        if own := self.weights.keys() - {"diffusion"}:
            kept = ~batch.drop_image
            target, exact = self.image_scale * batch.target[kept], None if batch.flow is None else batch.flow[kept]
            like = target if self.preset.perceptual_target == "target" else image[kept]
            if kept.any():
                found = warp_terms(own, flows.of(kept), z_W[kept], target, exact, self.features, like)
            else:
                found = dict.fromkeys(own, z_W.sum())  # times 0
            terms |= {name: kept.float().mean() * term for name, term in found.items()}
        weights = {k: w for k, w in self.weights.items() if k in terms or k not in FROM_THE_EXACT_FLOW}
        return {"loss": total_loss(terms, weights), **terms}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """The losses on held-out pairs at fixed times and noises, nothing dropped; val_copy: L_W of no warp.

        Of the first set val_loss, val_warp, ...; of each further one the same with its name behind, val_warp_photos.
        """
        held_out, measured = self.held_out_sets, {}
        if held_out is None:
            return measured
        for name in held_out.names:
            picks = held_out.every(name)
            timesteps = [int((k + 0.5) * self.preset.train_timesteps / len(picks)) for k in range(len(picks))]
            noise = keyed_noise(0, range(len(picks)), held_out.shape, NOISE_STREAM)
            nothing = torch.zeros(len(picks), dtype=torch.bool)
            batch = self._assemble(held_out.pairs(picks), timesteps, noise, DropMasks(nothing, nothing, nothing))
            batch = ModelBatch(*(part if part is None else part.to(self.alphas_cumprod.device) for part in batch))
            terms = self(batch)
            terms["copy"] = warp_loss(self.image_scale * batch.source, self.image_scale * batch.target)
            suffix = "" if name == held_out.names[0] else f"_{name}"
            measured |= {f"val_{term}{suffix}": float(value) for term, value in terms.items()}
        return measured
