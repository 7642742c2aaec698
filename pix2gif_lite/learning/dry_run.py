"""A training step, or sampling, with the real modules and no memory: on torch's meta device, only to count what it takes.

The modules are those that train and sample, with the preset's sizes; what a step holds is counted by live_bytes.py. The
job itself (model_job.py) looks at values, and meta tensors have none: here is what it computes, on a batch of shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from ..autoencoder import build_autoencoder
from ..diffusion import alphas_cumprod, q_sample
from ..losses import DecoderFeatures, VGG19Features, diffusion_loss, total_loss
from ..model import Pix2GifModel, build_unet
from ..motion_embedding import MotionEmbedding
from ..presets import Preset
from ..pretrained import build_flow_net
from ..text import build_text_encoder, encode_text
from ..warp_terms import warp_terms
from .live_bytes import LikeGPU, LiveBytes
from .lora import add_lora
from .perceptual_choice import uses_perceptual

# VGG19's convolutions up to the last that is looked at, by their channels; 0 halves the picture.
VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)


def meta_parts(preset: Preset) -> dict[str, nn.Module]:
    """vae, text_encoder, motion_embedding, flow_net and unet as `build_components` makes them, but of shapes alone."""
    words = Tokenizer(WordLevel({str(k): k for k in range(preset.vocab_size)}, unk_token="0"))
    ends = {"bos_token": "0", "eos_token": "1", "pad_token": "1", "unk_token": "0"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=preset.text_tokens, **ends)
    with torch.device("meta"):
        return {
            "vae": build_autoencoder(preset),
            "text_encoder": build_text_encoder(preset, tokenizer),
            "motion_embedding": MotionEmbedding(preset.motion_rows, preset.text_width),
            "flow_net": build_flow_net(preset),
            "unet": build_unet(preset),
        }


class DryStep(nn.Module):
    """What a training step of a preset has on its device, on meta: `model`, `vae` and `features`, frozen as in `ModelJob`.

    `lora_rank`, `frozen_dtype`: see `add_lora`; the new channels are z_W's. `cached_text`: c_T comes from a cache. VAE and a
    frozen text encoder are there in half precision in any case: pictures of the run's progress are made with them.
    """

    def __init__(
        self,
        preset: Preset,
        lora_rank: int | None = None,
        frozen_dtype: torch.dtype | None = None,
        checkpointing: bool = False,
        cached_text: bool = False,
    ) -> None:
        super().__init__()
        parts = meta_parts(preset)
        self.preset, self.checkpointing, self.cached_text = preset, checkpointing, cached_text
        self.model = Pix2GifModel.from_parts(parts, preset).requires_grad_(True)
        self.features = _features(preset, parts["vae"]) if uses_perceptual(preset) else None
        self.vae = parts["vae"].half().requires_grad_(False)
        if not preset.train_text:
            parts["text_encoder"].half().requires_grad_(False)
        if lora_rank is not None:
            new = preset.autoencoder.latent_channels
            add_lora(self.model.unet, lora_rank, new_channels=new, frozen_dtype=frozen_dtype)

    def loss(self, micro_batch: int) -> Tensor:
        """Eq. 8 of `micro_batch` samples, a number without a value."""
        preset, model = self.preset, self.model
        source, target, noise = (_empty(micro_batch, preset.autoencoder.latent_channels, preset.latent_size) for _ in range(3))
        t = torch.zeros(micro_batch, dtype=torch.long, device="meta")
        if self.cached_text:
            c_T = torch.empty(micro_batch, preset.text_tokens, preset.text_width, device="meta")
        else:
            c_T = encode_text(model.text_encoder, torch.zeros(micro_batch, preset.text_tokens, dtype=torch.long, device="meta"))
        c_L = _c_L(model, c_T.float())
        flows = model.flows(source, c_L)
        z_W = model.look_up(source, flows)
        z_t = q_sample(target, noise, t, alphas_cumprod(preset))
        terms = {"diffusion": diffusion_loss(model(z_t, t, source, z_W, c_L), noise)}
        weights = {name: weight for name, weight in preset.loss_weights.items() if weight}
        if not model.uses_warp:
            weights = {"diffusion": weights["diffusion"]}
        else:
            exact = _empty(micro_batch, 2, preset.image_size)
            terms |= warp_terms(weights, flows, z_W, target, exact, self.features, source)
        return total_loss(terms, {name: weights[name] for name in terms})

    def activations(self, micro_batch: int, gpu: LikeGPU | None = None) -> int:
        """Bytes: the most that a step holds at once besides weights, gradients and what outlives it.

        The gradients are there already, as in every micro-batch but the first. `gpu`: how dtypes are chosen (None: autocast
        in half precision, as CUDA's).
        """
        gpu = LikeGPU() if gpu is None else gpu
        if self.checkpointing:
            self.model.unet.enable_gradient_checkpointing(gpu.checkpoint)
        self.train()
        trained = [p for p in self.parameters() if p.requires_grad]
        for p in trained:
            p.grad = torch.empty_like(p)
        with LiveBytes([*self.parameters(), *self.buffers(), *(p.grad for p in trained)]) as live, gpu:
            loss = self.loss(micro_batch)
            gpu.end_of_autocast()
            loss.backward()
        return live.peak


class SamplingBytes(NamedTuple):
    """Bytes of sampling: all weights, and the most that the UNet and the decoder hold besides, one after the other."""

    weights: int
    unet: int
    decoder: int

    @property
    def total(self) -> int:
        """Of the moment that takes most."""
        return self.weights + max(self.unet, self.decoder)


@torch.no_grad()
def sampling_bytes(preset: Preset, size: int, frames: int = 8, branches: int = 3) -> SamplingBytes:
    """Sampling squares of `size` px in half precision: `frames` at once, the UNet sees each with all its guidance branches.

    ValueError for a size that is no multiple of what the autoencoder and the UNet halve.
    """
    parts = {name: part.half().eval() for name, part in meta_parts(preset).items()}
    model = Pix2GifModel.from_parts(parts, preset).eval()
    vae = parts["vae"]
    unit = vae.downsampling * model.latent_multiple
    if size < unit or size % unit:
        raise ValueError(f"{size} px: give a multiple of {unit}.")
    cells, batch = size // vae.downsampling, frames * branches
    known = [tensor for part in parts.values() for tensor in (*part.parameters(), *part.buffers())]
    with LiveBytes(known) as unet, LikeGPU(None):
        z = _empty(batch, preset.autoencoder.latent_channels, cells).half()
        c_L = _c_L(model, torch.empty(batch, preset.text_tokens, preset.text_width, device="meta").half())
        model(z, torch.zeros(batch, dtype=torch.long, device="meta"), z, model.warp(z, c_L)[1], c_L)
    with LiveBytes(known) as decoder, LikeGPU(None):
        vae.decode(_empty(frames, preset.autoencoder.latent_channels, cells).half())
    return SamplingBytes(sum(tensor.nbytes for tensor in known), unet.peak, decoder.peak)


def _empty(batch: int, channels: int, side: int) -> Tensor:
    return torch.empty(batch, channels, side, side, device="meta")


def _c_L(model: Pix2GifModel, c_T: Tensor) -> Tensor:
    """c_T + c_M; `MotionEmbedding` itself refuses motions by their values."""
    if model.motion_embedding is None:
        return c_T
    motion = torch.zeros(len(c_T), dtype=torch.long, device="meta")
    return c_T + model.motion_embedding.embedding(motion)[:, None].to(c_T.dtype)


def _features(preset: Preset, vae: nn.Module) -> nn.Module:
    """phi of L_P: the decoder's first blocks, or VGG19 as torchvision has it ("auto" counts as VGG19, the larger)."""
    with torch.device("meta"):
        if preset.perceptual_network == "decoder":
            return DecoderFeatures(vae, preset.perceptual_depth, preset.scale_image_latents)
        layers: list[nn.Module] = []
        channels = 3
        for width in VGG19:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            channels = width or channels
        return VGG19Features(nn.Sequential(*layers))
