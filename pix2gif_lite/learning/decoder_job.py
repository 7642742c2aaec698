"""The decoder's last lesson: to decode what the model makes, not only what E makes. The loop is training_loop.py's.

A generated latent is a warped one: where an object's edge passes through a cell, one look-up cannot serve both sides, and
D, which knows only what E writes there, smears it. Here E and the model stay as they are, and D learns the exact later
frame from the latent that the model would give for it (its estimate of x_0 from pure noise), so that everything which was
trained on the latents stays right. Beside it, so that nothing is forgotten, E's own latents of frames and of photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from ..data.latent_cache import Family, Latents
from ..data.mixture import FAMILIES, Mixture
from ..data.training_data import PictureSource, keyed_noise, keyed_rng
from ..diffusion import alphas_cumprod, predict_x0
from ..metrics import psnr
from ..model import Pix2GifModel
from ..presets import DEMO_MOTIONS, Preset
from ..text import motion_prompt, tokenize
from .autoencoder_job import LOSS_WEIGHTS, reconstruction_terms
from .model_job import latent_scales

KEPT_BYTES = 2.6e9  # of frames, in a process: 12,000 of 128 px
DECODER_STREAM, NOISE_STREAM = 0xDEC0, 0x4DEC  # set apart random numbers drawn for the same (seed, number)


class DecoderBatch(NamedTuple):
    """What D trains on. Latents are unscaled; those of a photograph are zeros, and E is asked."""

    image: Tensor  # (B, 3, S, S) in [-1, 1], what D has to give
    moving: Tensor  # (B, 1, S, S) float, 1 where something moves
    source: Tensor  # (B, 4, h, w) E(c_I)
    own: Tensor  # (B, 4, h, w) E of the picture
    input_ids: Tensor  # (B, tokens)
    motion: Tensor  # (B,) int64
    noise: Tensor  # (B, 4, h, w)
    made: Tensor  # (B,) bool: decode the model's latent
    is_photo: Tensor  # (B,) bool


class DecoderJob(nn.Module):
    """D on the model's latents (`made_share` of the pairs), on E's own, and on still photographs (all that `photos` gives).

    `members` are those that the latents were made of, in their order: scenes, or of a `Mixture` a dict of each set's, to be
    drawn by `families`. The loss terms are the autoencoder's. ValueError where their number is not the latents'.
    """

    def __init__(
        self,
        preset: Preset,
        model: Pix2GifModel,
        tokenizer: PreTrainedTokenizerFast,
        vae: AutoencoderKL,
        latents: Latents | Mixture,
        members: Sequence[Any] | Mapping[str, Sequence[Any]],
        photos: PictureSource | None = None,
        photo_share: float = 0.15,
        made_share: float = 0.85,
        moving_weight: float = 3.0,
        seed: int = 0,
        held_out: int = 12,
        families: Mapping[str, Family] = FAMILIES,
    ) -> None:
        super().__init__()
        self.latents = latents if isinstance(latents, Mixture) else Mixture(latents)
        self.members = members if isinstance(members, Mapping) else {self.latents.names[0]: members}
        for name, cached in self.latents.sets.items():
            if len(self.members[name]) != len(cached.source):
                raise ValueError(
                    f"{len(self.members[name])} {name} do not match {len(cached.source)} cached ones: give those they were "
                    "made of."
                )
        self.preset, self.tokenizer, self.seed = preset, tokenizer, seed
        self.photos, self.photo_share, self.made_share = photos, photo_share if photos else 0.0, made_share
        self.moving_weight, self.held_out, self.families = moving_weight, held_out, families
        self.model, self.vae = model.requires_grad_(False), vae.requires_grad_(False)
        for part in (vae.decoder, vae.post_quant_conv):
            if part is not None:
                part.requires_grad_(True)
        self.scale, self.image_scale = latent_scales(vae, preset)
        self.register_buffer("alphas_cumprod", alphas_cumprod(preset), persistent=False)
        self._drawn: dict[tuple[str, int, int], tuple[Tensor, Tensor]] = {}

    @property
    def heavy(self) -> list[nn.Module]:
        """Where a step's time goes: D learns, the UNet makes what it learns from."""
        return [self.vae.decoder, self.model.unet]

    def train(self, mode: bool = True) -> DecoderJob:
        """The model stays in eval mode."""
        super().train(mode)
        self.model.eval()
        return self

    def batch(self, numbers: Sequence[int]) -> DecoderBatch:
        """Sample n: a photograph's crop, or a pair of the cache with its later frame drawn, all keyed by (seed, n)."""
        rngs = [keyed_rng(self.seed, n, DECODER_STREAM) for n in numbers]
        is_photo = [bool(rng.random() < self.photo_share) for rng in rngs]
        made = [bool(rng.random() < self.made_share) and not photo for rng, photo in zip(rngs, is_photo, strict=True)]
        picks = [self.latents.pick(rng) for rng in rngs]
        source, own, motion, captions, _ = self.latents.pairs(picks)
        size = self.preset.image_size
        image, moving = torch.empty(len(picks), 3, size, size), torch.zeros(len(picks), 1, size, size)
        for name in self.latents.names:
            rows = [row for row, pick in enumerate(picks) if pick.name == name and not is_photo[row]]
            if rows:
                image[rows], moving[rows] = self._frames(name, [picks[row].entry for row in rows], motion[rows].tolist())
        for row in np.flatnonzero(is_photo):
            image[row] = torch.from_numpy(self.photos.sample(numbers[row])[0])
        prompts = [motion_prompt(caption, m) for caption, m in zip(captions, motion.tolist(), strict=True)]
        noise = keyed_noise(self.seed, numbers, source.shape[1:], NOISE_STREAM)
        ids = tokenize(self.tokenizer, prompts)
        return DecoderBatch(image, moving, source, own, ids, motion, noise, torch.tensor(made), torch.tensor(is_photo))

    def _frames(self, name: str, entries: Sequence[int], motions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Frames (N, 3, S, S) of a set's members, and where they move (N, 1, S, S), 0 or 1.

        Drawn once, as far as `KEPT_BYTES` goes: to draw one takes longer than to learn from it. And each alone, for in another
        batch, after a resume, a place is rounded otherwise.
        """
        frames = []
        for entry, m in zip(entries, motions, strict=True):
            key = name, entry, m
            if (frame := self._drawn.get(key)) is None:
                drawn = self.families[name].draw([self.members[name][entry]], [m], self.preset.image_size)
                frame = drawn.image[0], drawn.moving[0]
                if (len(self._drawn) + 1) * sum(part.nbytes for part in frame) <= KEPT_BYTES:
                    self._drawn[key] = frame
            frames.append(frame)
        images, moving = zip(*frames, strict=True)
        return torch.stack(images), torch.stack(moving).float()

    @torch.no_grad()
    def generated(self, source: Tensor, input_ids: Tensor, motion: Tensor, noise: Tensor) -> Tensor:
        """The model's x_0 from pure noise, unscaled (B, 4, h, w): the first step of every sampler, without what needs the
        source's pixels, the length of F by its corners and the second look."""
        c_L, image = self.model.condition(input_ids, motion), self.image_scale * source
        _, z_W = self.model.warp(image, c_L)
        t = torch.full((len(source),), self.preset.train_timesteps - 1, device=source.device)
        prediction = self.model(noise, t, image, z_W, c_L)
        return predict_x0(noise, prediction, t, self.alphas_cumprod, self.preset.prediction_type).float() / self.scale

    def forward(self, batch: DecoderBatch) -> dict[str, Tensor]:
        z, made, photo = batch.own.clone(), batch.made, batch.is_photo
        if made.any():
            z[made] = self.generated(batch.source[made], batch.input_ids[made], batch.motion[made], batch.noise[made])
        if photo.any():
            with torch.no_grad():
                z[photo] = self.vae.encode(batch.image[photo]).latent_dist.mode().float()
        decoded = self.vae.decode(z).sample.float()
        terms = reconstruction_terms(decoded, batch.image, 1 + self.moving_weight * batch.moving)
        return {"loss": sum(LOSS_WEIGHTS[name] * value for name, value in terms.items()), **terms}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """PSNR in dB on members of `val`, of D on the model's latents and on E's own: whole picture, moving region.

        Of the first set psnr_made, psnr_own, ...; of each further one the same with its name behind, psnr_made_photos.
        """
        measured: dict[str, float] = {}
        for name in self.latents.names if self.held_out else ():
            suffix = "" if name == self.latents.names[0] else f"_{name}"
            measured |= {f"{key}{suffix}": value for key, value in self._measure(self.families[name]).items()}
        return measured

    def _measure(self, family: Family) -> dict[str, float]:
        members = family.sample(self.held_out, "val", 0)
        if not members:  # curated data may have no val split
            return {}
        demo = [DEMO_MOTIONS[k % len(DEMO_MOTIONS)] for k in range(len(members))]
        motion = [getattr(member, "motion", m) for member, m in zip(members, demo, strict=True)]  # a curated pair has but one
        frame, rest = (family.draw(members, m, self.preset.image_size) for m in (motion, [0] * len(members)))
        device = self.alphas_cumprod.device
        image, moving = frame.image.to(device), frame.moving.to(device)
        source, own = (self.vae.encode(x.to(device)).latent_dist.mode().float() for x in (rest.image, frame.image))
        ids = tokenize(self.tokenizer, [motion_prompt(s.caption, m) for s, m in zip(members, motion, strict=True)])
        noise = keyed_noise(0, range(len(members)), source.shape[1:], NOISE_STREAM).to(device)
        z = self.generated(source, ids.to(device), torch.tensor(motion, device=device), noise)
        measured = {}
        for name, latent in (("made", z), ("own", own)):
            decoded = self.vae.decode(latent).sample.float().clamp(-1, 1)
            measured[f"psnr_{name}"] = float(psnr(decoded, image).mean())
            measured[f"psnr_{name}_moving"] = float(psnr(decoded, image, moving).nanmean())
        return measured
