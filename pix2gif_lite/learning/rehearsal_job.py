"""E and D rehearse with the model: to be warped as it warps. The loop is training_loop.py's.

The autoencoder's job teaches D to decode latents moved by random flows. The flows that matter are FNet's: one for a thing
that moves as a whole, torn at its edge, made up where the background comes out from behind it. Here the warp stays as it
is, and E and D learn the exact later frame through it,

    D(WNet(E(c_I), F))  against the frame at m,    F = FNet(E(c_I), c_L), no gradient

beside all that `AutoencoderJob` asks of them. It moves E, so FNet and UNet have to go on learning, on its new latents.
Or FNet, M and the text encoder learn here too (`flow_learns`), from the pixels themselves: the gradient then reaches F.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ..autoencoder import PatchAutoencoderKL
from ..data.mixture import FAMILIES
from ..data.training_data import FrameStream, PictureBatch, PictureSource, as_bytes, keyed_noise, keyed_rng
from ..metrics import psnr
from ..model import Pix2GifModel
from ..presets import DEMO_MOTIONS, MOTION_MAX, Preset
from ..scenes import draw, sample_scenes
from ..text import motion_prompt, tokenize
from .autoencoder_job import AutoencoderJob, reconstruction_terms
from .model_job import latent_scales

# set apart random numbers drawn for the same (seed, number)
BLOCK_STREAM, SAMPLE_STREAM, POSTERIOR_STREAM = 0x9EA4, 0x9EA5, 0x90B5
FRAMES_A_SCENE = 2
TRAINED_WITH_FLOW = ("text_encoder", "motion_embedding", "flow_net")


class PairBlock(NamedTuple):
    """Drawn pairs of frames."""

    source: Tensor  # (N, 3, S, S) uint8, at rest
    target: Tensor  # (N, 3, S, S) uint8, at `motion`
    moving: Tensor  # (N, 1, S, S) bool
    prompts: list[str]
    motion: Tensor  # (N,) int64


class PairStream(FrameStream):
    """Drawn pairs in numbered blocks, as `FrameStream` does frames: of scenes, and of moved photographs in a share of them."""

    def __init__(self, *args: Any, photo_share: float = 0.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.photo_share = photo_share

    def make(self, k: int) -> PairBlock:
        rng = keyed_rng(self.seed, k, BLOCK_STREAM)
        seed = int(rng.integers(1, 2**31))
        motions = rng.integers(1, MOTION_MAX + 1, FRAMES_A_SCENE * self.scenes).tolist()
        photos = bool(rng.random() < self.photo_share)
        family = FAMILIES["photos" if photos else "scenes"]
        scenes = family.sample(self.scenes, "train", seed)
        frame = family.draw([*scenes * FRAMES_A_SCENE, *scenes], [*motions, *[0] * self.scenes], self.size)
        later, rest = as_bytes(frame.image).split([len(motions), self.scenes])
        prompts = [motion_prompt(s.caption, m) for s, m in zip(scenes * FRAMES_A_SCENE, motions, strict=True)]
        source = rest.repeat(FRAMES_A_SCENE, 1, 1, 1)
        moving = frame.moving[: len(motions)] & (not photos)  # a photograph moves everywhere: it would outweigh all scenes
        return PairBlock(source, later, moving, prompts, torch.tensor(motions))


class RehearsalBatch(NamedTuple):
    """What `AutoencoderJob` trains on, and pairs beside it; either may be None."""

    pictures: PictureBatch | None
    source: Tensor | None  # (P, 3, S, S) c_I, in [-1, 1]
    target: Tensor | None  # (P, 3, S, S) the exact frame at `motion`
    moving: Tensor | None  # (P, 1, S, S) float
    input_ids: Tensor | None  # (P, tokens)
    motion: Tensor | None  # (P,) int64
    noise: Tensor | None  # (P, 4, h, w), of the posterior of E(c_I)


class RehearsalJob(AutoencoderJob):
    """`pair_share` of the samples are pairs, decoded through the warp of `model`; the rest is `AutoencoderJob`'s."""

    def __init__(
        self,
        preset: Preset,
        vae: PatchAutoencoderKL,
        source: PictureSource,
        model: Pix2GifModel,
        tokenizer: PreTrainedTokenizerFast,
        seed: int = 0,
        pair_share: float = 0.6,
        pair_weight: float = 3.0,
        window: int = 8,
        reuse: float = 2.0,
        scenes_a_block: int = 16,
        pair_photos: float = 0.0,
        flow_learns: bool = False,
        **options: Any,
    ) -> None:
        """pair_weight: how much more a pixel of a pair weighs where something moves; pair_photos: share of the pairs that are
        moved photographs; flow_learns: text encoder, M and FNet are trained along. options: `AutoencoderJob`'s."""
        super().__init__(preset, vae, source, seed, **options)
        if not model.uses_warp or not 0 < pair_share <= 1:
            raise ValueError(f"Variant {model.variant}, pair_share {pair_share}: rehearsing needs a warp and a share above 0.")
        self.model, self.tokenizer, self.flow_learns = model.requires_grad_(False), tokenizer, flow_learns
        for name in TRAINED_WITH_FLOW if flow_learns else ():
            getattr(model, name).requires_grad_(True)
        self.pair_share, self.pair_weight, self.window = pair_share, pair_weight, window
        self.pairs = PairStream(preset.image_size, seed, scenes_a_block, keep=window + 2, photo_share=pair_photos)
        self._pairs: tuple[Any, ...] | None = None  # what `measure` looks at, drawn once
        self.stride = max(1, int(reuse * FRAMES_A_SCENE * scenes_a_block / pair_share))  # samples a block
        # FNet reads latents at the scale it was trained with, wherever E goes.
        _, self.image_scale = latent_scales(vae, preset)

    def train(self, mode: bool = True) -> RehearsalJob:
        """The model stays in eval mode."""
        super().train(mode)
        self.model.eval()
        return self

    def batch(self, numbers: Sequence[int]) -> RehearsalBatch:
        """Sample n: a pair or one of `AutoencoderJob`'s pictures, keyed by (seed, n)."""
        rngs = {n: keyed_rng(self.seed, n, SAMPLE_STREAM) for n in numbers}
        paired = [n for n in numbers if rngs[n].random() < self.pair_share]
        alone = [n for n in numbers if n not in set(paired)]
        pictures = self.source.batch(alone) if alone else None
        if not paired:
            return RehearsalBatch(pictures, *[None] * 6)
        rows, prompts, motions = [], [], []
        for n in paired:
            block = self.pairs.block(n // self.stride + int(rngs[n].integers(self.window)))
            k = int(rngs[n].integers(len(block.motion)))
            rows.append((block.source[k], block.target[k], block.moving[k]))
            prompts.append(block.prompts[k])
            motions.append(int(block.motion[k]))
        source, target, moving = (torch.stack(part) for part in zip(*rows, strict=True))
        source, target = (part.float().div(127.5).sub(1) for part in (source, target))
        cells = self.image_size // self.vae.downsampling
        noise = keyed_noise(self.seed, paired, (self.vae.config.latent_channels, cells, cells), POSTERIOR_STREAM)
        ids = tokenize(self.tokenizer, prompts)
        return RehearsalBatch(pictures, source, target, moving.float(), ids, torch.tensor(motions), noise)

    def warped(self, z: Tensor, input_ids: Tensor, motion: Tensor) -> Tensor:
        """z_W of latents z = E(c_I), both unscaled (P, 4, h, w). Gradients: to what is looked up; to where, if FNet learns."""
        net = self.model.flow_net
        with torch.set_grad_enabled(self.flow_learns and torch.is_grad_enabled()):
            flows = net(self.image_scale * z.detach(), self.model.condition(input_ids, motion))
        return net.look_up(self.image_scale * z, flows) / self.image_scale

    def forward(self, batch: RehearsalBatch) -> dict[str, Tensor]:
        terms = super().forward(batch.pictures) if batch.pictures else {}
        if batch.source is None:
            return terms
        posterior = self.vae.encode(batch.source).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        z_W = self.warped(mean + batch.noise * (0.5 * logvar).exp(), batch.input_ids, batch.motion)
        decoded = self.vae.decode(z_W).sample.float()
        made = reconstruction_terms(decoded, batch.target, 1 + self.pair_weight * batch.moving)
        loss = sum(self.weights[name] * value for name, value in made.items())
        if batch.pictures:
            share = len(batch.source) / (len(batch.source) + len(batch.pictures.numbers))
            loss = (1 - share) * terms["loss"] + share * loss
        return {**terms, "loss": loss, **{f"made_{name}": value for name, value in made.items()}}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """`AutoencoderJob`'s, and on twice as many scenes of `val` the PSNR through the warp (made) and of D(E(x)) (own)."""
        measured, device = super().measure(), self.vae.device
        if not self.held_out:
            return measured
        if self._pairs is None:
            scenes = sample_scenes(2 * self.held_out, "val")
            motion = [DEMO_MOTIONS[k % len(DEMO_MOTIONS)] for k in range(len(scenes))]
            self._pairs = scenes, motion, *(draw(scenes, m, self.image_size) for m in (motion, [0] * len(scenes)))
        scenes, motion, frame, rest = self._pairs
        ids = tokenize(self.tokenizer, [motion_prompt(s.caption, m) for s, m in zip(scenes, motion, strict=True)])
        z = self.vae.encode(rest.image.to(device)).latent_dist.mode().float()
        z_W = self.warped(z, ids.to(device), torch.tensor(motion, device=device))
        image, moving = frame.image.to(device), frame.moving.to(device)
        for name, latent in (("made", z_W), ("own", self.vae.encode(image).latent_dist.mode())):
            picture = self.vae.decode(latent).sample.float().clamp(-1, 1)
            for region, mask in (("", None), ("_moving", moving), ("_still", ~moving)):
                measured[f"psnr_{name}{region}"] = float(psnr(picture, image, mask).nanmean())
        return measured
