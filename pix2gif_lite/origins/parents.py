"""Starting from a parent: Stable Diffusion v1.5 or InstructPix2Pix becomes a Pix2Gif that computes what it computed.

    parent's conv_in     [z_t]  or  [z_t, E(c_I)]            4 or 8 channels
    ours                 [z_t, E(c_I), z_W]                  12: the known ones copied in place, 0 for the new ones

M is 0 too and all else is the parent's, so before training eps is the parent's eps, whatever FNet says. Section 4.1 of the
paper; the zeros are InstructPix2Pix's way (Brooks et al. 2023, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from tokenizers import Tokenizer
from torch import nn
from torch.nn.utils import skip_init
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast

from ..autoencoder import PatchAutoencoderKL
from ..model import unet_in_channels
from ..motion_embedding import MotionEmbedding
from ..presets import Preset
from ..pretrained import build_flow_net, resolve_weights
from .completeness import check_complete, read_json
from .hub import fetch
from .loading import load_part
from .parent_layout import downsampling, fitted, is_parent, latent_channels, read_configs

__all__ = ["is_parent", "load_clip_tokenizer", "load_parent", "load_parent_vae", "widen_conv_in"]

STABLE_DIFFUSION = {"latent_channels": 4, "block_out_channels": (128, 256, 512, 512)}  # its autoencoder, scaled by 0.18215
VAE_CLASSES = ("AutoencoderKL", "PatchAutoencoderKL")


def load_parent(
    name: str | Path, preset: Preset, *, vae: str | Path | None = None, seed: int = 0, **hub: Any
) -> tuple[dict[str, Any], Preset]:
    """All parts to train from, by the names of `loading.PARTS`, and the preset with the parent's sizes and noise schedule.

    name    a diffusers folder or Hub id of Stable Diffusion v1.5 (conv_in of 4 channels) or InstructPix2Pix (8)
    preset  says what a parent does not: variant, motion rows, FNet, size of the pictures, rates, sampling. It must have
            scale_image_latents=False and residual=None, which is how parents see E(c_I) and what they predict
    vae     another AutoencoderKL: its folder, that of a pipeline, or a Hub id (stabilityai/sd-vae-ft-mse)
    seed    of FNet, the only part whose weights are random; hub: revision, token, cache_dir, local_files_only

    Everything is float32 and in eval mode; the autoencoder is a PatchAutoencoderKL of patch 1. Variants whose UNet sees 8
    channels take an InstructPix2Pix's first convolution as it is. Raises FileNotFoundError for what is missing, ValueError
    for another layout, for sizes that do not fit, and for weights that are damaged, incomplete or no safetensors.
    """
    if preset.scale_image_latents or preset.residual is not None:
        raise ValueError(
            f"The preset {preset.name!r} scales E(c_I) or predicts a residual, and no parent does: set "
            "scale_image_latents=False and residual=None, as the preset 'paper' has them."
        )
    folder = _folder(name, hub)
    configs = read_configs(folder)
    preset = fitted(preset, configs, folder)
    channels = unet_in_channels(preset.variant, preset.autoencoder.latent_channels)

    parts: dict[str, Any] = {"tokenizer": load_clip_tokenizer(folder / "tokenizer", preset)}
    if vae is None:
        parts["vae"] = load_part(PatchAutoencoderKL, folder / "vae")
    else:
        parts["vae"] = load_parent_vae(vae, configs["vae"], **hub)
    parts["text_encoder"] = load_part(CLIPTextModel, folder / "text_encoder")
    parts["unet"] = widen_conv_in(load_part(UNet2DConditionModel, folder / "unet"), channels)
    with torch.random.fork_rng(devices=[]):  # the caller's random state is left alone
        torch.manual_seed(seed)
        parts["flow_net"] = build_flow_net(preset).eval()
        parts["motion_embedding"] = MotionEmbedding(preset.motion_rows, preset.text_width).eval()
    nn.init.zeros_(parts["motion_embedding"].embedding.weight)
    return parts, preset


def load_parent_vae(name: str | Path, like: Mapping[str, Any] = STABLE_DIFFUSION, **hub: Any) -> PatchAutoencoderKL:
    """A plain AutoencoderKL, float32, in eval mode: from its own folder, a pipeline's that holds a `vae`, or a Hub id.

    `like`: the config of the autoencoder on whose latents the UNet was trained. ValueError for latents of another kind
    (channels, px a cell, scaling factor); otherwise errors as `load_parent`.
    """
    folder = _folder(name, hub, part="vae")
    check_complete(folder, [""])
    config = read_json(folder / "config.json")
    if config.get("_class_name") not in VAE_CLASSES:
        raise ValueError(f"{str(folder)!r} holds a {config.get('_class_name', 'model without a name')}, no AutoencoderKL.")
    for what, size in {"channels": latent_channels, "px a cell": downsampling, "scaling factor": _scaling_factor}.items():
        if size(config) != size(like):
            raise ValueError(
                f"The autoencoder {str(name)!r} makes latents of {size(config)} {what}, the UNet reads {size(like)}: choose "
                "one made for this UNet, such as stabilityai/sd-vae-ft-mse for Stable Diffusion v1.5."
            )
    return load_part(PatchAutoencoderKL, folder)


def widen_conv_in(unet: UNet2DConditionModel, channels: int = 12) -> UNet2DConditionModel:
    """The same UNet, whose first convolution now takes `channels`: the known ones in place, 0 for those behind them.

    So what it computes is unchanged, whatever the new channels hold. ValueError for fewer channels than it has.
    """
    old = unet.conv_in
    if channels < old.in_channels:
        raise ValueError(f"The UNet has {old.in_channels} input channels: {channels} would lose some of them.")
    if channels > old.in_channels:
        sizes = {"kernel_size": old.kernel_size, "stride": old.stride, "padding": old.padding}
        new = skip_init(nn.Conv2d, channels, old.out_channels, **sizes).to(old.weight)  # draws no random numbers
        with torch.no_grad():
            new.weight.zero_()[:, : old.in_channels] = old.weight
            new.bias.copy_(old.bias)
        unet.conv_in = new.train(unet.training)
        unet.register_to_config(in_channels=channels)
    return unet


def _folder(name: str | Path, hub: Mapping[str, Any], part: str | None = None) -> Path:
    """The folder of a pipeline, or of that part of it."""
    place = resolve_weights(name)
    if not Path(place).is_dir():
        return fetch(place, part=part, **hub)
    return Path(place) / part if part and (Path(place) / part).is_dir() else Path(place)


def _scaling_factor(vae: Mapping[str, Any]) -> float:
    return vae.get("scaling_factor", 0.18215)


def load_clip_tokenizer(folder: Path, preset: Preset) -> PreTrainedTokenizerFast:
    """CLIP's tokenizer, which saves and loads as ours do: the same ids from one tokenizer.json.

    Raises ValueError where it is damaged, or knows more than the text encoder.
    """
    try:
        clip = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        backend = Tokenizer.from_str(clip.backend_tokenizer.to_str())
    except Exception as error:  # damaged files raise nearly anything
        raise ValueError(f"The tokenizer in {str(folder)!r} cannot be used ({type(error).__name__}): get it again.") from error
    if len(clip) > preset.vocab_size:
        raise ValueError(
            f"The tokenizer in {str(folder)!r} has {len(clip)} entries, its text encoder {preset.vocab_size}: get both again."
        )
    special = {
        name: clip.added_tokens_decoder[clip.convert_tokens_to_ids(token)] for name, token in clip.special_tokens_map.items()
    }
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=preset.text_tokens, **special)
