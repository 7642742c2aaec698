"""The reference's own checkpoint, one file for everything, becomes our parts: the same numbers, hence the same outputs.

Sizes are read off the shapes of the weights, so that a small one loads too; only the heads of the UNet's attention leave
no trace in a shape. What is particular to these weights: the flow is a place to look at, not a displacement
(`flow_mode="absolute"`), FNet's norms are batch norms, z_W is looked up bilinearly, E(c_I) goes in unscaled.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from ..autoencoder import PatchAutoencoderKL
from ..model import Pix2GifModel
from ..motion_embedding import MotionEmbedding
from ..presets import PAPER
from ..warping import FlowNet
from .hub import fetch
from .loading import load_part
from .parents import load_clip_tokenizer
from .reference_file import Checkpoint, check_whole, fill, read_checkpoint
from .reference_keys import (
    EMA,
    FLOW,
    MOTION,
    PARTS,
    TEXT,
    UNET,
    VAE,
    ema_key,
    flow_net_sizes,
    motion_sizes,
    text_sizes,
    unet_key,
    unet_sizes,
    vae_key,
    vae_sizes,
)

SUFFIXES = (".ckpt", ".safetensors")
TOKENIZER = "openai/clip-vit-large-patch14"  # the text encoder's own, which no checkpoint holds
SCALING_FACTOR = 0.18215  # of Stable Diffusion's latents, unless the file says otherwise
HEAD_WIDTH = 64  # of CLIP's text encoders
TEXT_WIDTH = 768  # the reference's


def is_reference(path: str | Path) -> bool:
    """Whether that is a file of the reference's kind, by its name: an existing `.ckpt` or `.safetensors` file."""
    path = Path(path).expanduser()
    return path.suffix.lower() in SUFFIXES and path.is_file()


def load_reference(
    path: str | Path, num_heads: int = 8, use_ema: bool = True, *, text_heads: int | None = None
) -> Pix2GifModel:
    """The reference's network, float32, in eval mode: computes what the reference computes.

    num_heads   of the UNet's attention, which no shape tells (Stable Diffusion v1: 8)
    use_ema     the UNet's averaged weights (the other parts have none), else the raw ones
    text_heads  of the text encoder; None: its width / 64, as CLIP's

    Raises FileNotFoundError without the file; ValueError for one that is no checkpoint, is cut short or would run code, for
    names that are missing or unknown, shapes that do not fit, averaged weights that are not there.
    """
    checkpoint = read_checkpoint(path)
    return Pix2GifModel(**_network(checkpoint, num_heads, use_ema, text_heads)).eval()


def load_reference_parts(
    path: str | Path,
    num_heads: int = 8,
    use_ema: bool = True,
    tokenizer: Any = None,
    *,
    text_heads: int | None = None,
    **hub: Any,
) -> dict[str, Any]:
    """All parts by the names of `loading.PARTS`, float32, in eval mode; the autoencoder too, which has to be in the file.

    tokenizer  a folder (its own, or one that holds it), a Hub id or a tokenizer; None: CLIP ViT-L/14's, from the Hub
    hub        revision, token, cache_dir, local_files_only

    Raises what `load_reference` does, and ValueError for a tokenizer whose ids or length are not the text encoder's.
    """
    checkpoint = read_checkpoint(path)
    check_whole(checkpoint)
    for prefix in PARTS:  # before the Hub is asked
        checkpoint.part(prefix)
    words = _tokenizer(TOKENIZER if tokenizer is None else tokenizer, checkpoint, hub)
    parts = _network(checkpoint, num_heads, use_ema, text_heads)
    return {"vae": _autoencoder(checkpoint), "tokenizer": words, **parts}


def load_reference_flow_net(path: str | Path, *, text_width: int | None = None) -> FlowNet:
    """FNet alone, float32, in eval mode. The file need not hold anything else; what else it holds is not looked at.

    `text_width`: of c_L, a multiple of 256, which no shape of FNet tells. None: the motion embedding's where the file has
    one, else 768. Raises what `load_reference` does.
    """
    checkpoint = read_checkpoint(path)
    if text_width is None and any(name.startswith(MOTION) for name in checkpoint.weights):
        text_width = checkpoint.sizes(MOTION, motion_sizes)["width"]
    return _flow_net(checkpoint, text_width or TEXT_WIDTH)


def _network(checkpoint: Checkpoint, num_heads: int, use_ema: bool, text_heads: int | None) -> dict[str, Any]:
    """text_encoder, motion_embedding, flow_net and unet; the large ones last, after all small reasons to fail."""
    check_whole(checkpoint)
    motion = checkpoint.sizes(MOTION, motion_sizes)
    unet_weights = _unet_weights(checkpoint, use_ema)
    with init_empty_weights(include_buffers=False):
        table = MotionEmbedding(**motion)
    return {
        "flow_net": _flow_net(checkpoint, motion["width"]),
        "motion_embedding": fill(table, checkpoint.part(MOTION), checkpoint, MOTION),
        "text_encoder": _text_encoder(checkpoint, text_heads),
        "unet": _unet(checkpoint, unet_weights, num_heads),
    }


def _unet_weights(checkpoint: Checkpoint, use_ema: bool) -> dict[str, Tensor]:
    """The UNet's weights, by their names without the prefix: the raw ones, or in their place the averaged ones."""
    raw = checkpoint.part(UNET)
    if not use_ema:
        return raw
    averaged = checkpoint.part(EMA)
    places = {name: ema_key(name) for name in raw}
    missing = [EMA + place for place in places.values() if place not in averaged]
    unexpected = [EMA + place for place in sorted(averaged.keys() - set(places.values()))]
    if missing or unexpected:
        raise checkpoint.misfit(UNET, missing=missing, unexpected=unexpected)
    return {name: averaged[place] for name, place in places.items()}


def _unet(checkpoint: Checkpoint, weights: dict[str, Tensor], num_heads: int) -> UNet2DConditionModel:
    sizes = checkpoint.sizes(UNET, unet_sizes)
    attention = [kind == "CrossAttnDownBlock2D" for kind in sizes["down_block_types"]]
    channels = sizes["block_out_channels"]
    for count in {*(c for c, here in zip(channels, attention, strict=True) if here), channels[-1]}:  # the middle has it too
        if num_heads < 1 or count % num_heads:
            raise ValueError(
                f"num_heads {num_heads} does not divide the {count} channels of the UNet in {str(checkpoint.path)!r}."
            )
    with init_empty_weights(include_buffers=False):
        unet = UNet2DConditionModel(**sizes, attention_head_dim=num_heads)  # a misnomer of diffusers: the NUMBER of heads
    rename = partial(unet_key, layers=sizes["layers_per_block"], attention=attention)
    return fill(unet, weights, checkpoint, UNET, rename)


def _autoencoder(checkpoint: Checkpoint) -> PatchAutoencoderKL:
    sizes = checkpoint.sizes(VAE, vae_sizes)
    scale = float(checkpoint.weights.get("scale_factor", SCALING_FACTOR))
    with init_empty_weights(include_buffers=False):
        vae = PatchAutoencoderKL(**sizes, scaling_factor=scale, patch=1)
    rename = partial(vae_key, levels=len(sizes["block_out_channels"]))
    return fill(vae, checkpoint.part(VAE), checkpoint, VAE, rename)


def _text_encoder(checkpoint: Checkpoint, heads: int | None) -> CLIPTextModel:
    sizes = checkpoint.sizes(TEXT, text_sizes)
    heads = heads or max(1, sizes["hidden_size"] // HEAD_WIDTH)
    with init_empty_weights(include_buffers=False):
        text_encoder = CLIPTextModel(CLIPTextConfig(**sizes, num_attention_heads=heads))
    return fill(text_encoder, checkpoint.part(TEXT), checkpoint, TEXT)


def _flow_net(checkpoint: Checkpoint, text_width: int) -> FlowNet:
    sizes, weights = checkpoint.sizes(FLOW, flow_net_sizes), checkpoint.part(FLOW)
    for name, mean in checkpoint.part(FLOW).items():  # a convolution before a batch norm does without a bias: a bias of 0
        if name.endswith(".1.running_mean"):
            weights.setdefault(name.replace(".1.running_mean", ".0.bias"), torch.zeros_like(mean))
    with init_empty_weights(include_buffers=False):
        flow_net = FlowNet(**sizes, text_width=text_width, norm="batch", flow_mode="absolute", interpolation="bilinear")
    return fill(flow_net, weights, checkpoint, FLOW)


def _tokenizer(tokenizer: Any, checkpoint: Checkpoint, hub: dict[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer, loaded where it is a folder or a Hub id, and checked against the text encoder's tables."""
    sizes = checkpoint.sizes(TEXT, text_sizes)
    rows, tokens = sizes["vocab_size"], sizes["max_position_embeddings"]
    if isinstance(tokenizer, str | Path):
        folder = Path(tokenizer).expanduser()
        try:
            folder = folder if folder.is_dir() else fetch(str(tokenizer), part="tokenizer", **hub)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"The reference's file holds no tokenizer: give one as tokenizer (--tokenizer). {error}"
            ) from error
        folder = folder / "tokenizer" if (folder / "tokenizer").is_dir() else folder
        if not any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json")):
            raise FileNotFoundError(
                f"There is no tokenizer in {str(folder)!r}: give a folder with tokenizer.json or vocab.json."
            )
        if (folder / "vocab.json").is_file():  # as CLIP's authors saved it
            tokenizer = load_clip_tokenizer(folder, PAPER.with_changes(vocab_size=rows, text_tokens=tokens))
        else:
            tokenizer = load_part(PreTrainedTokenizerFast, folder)
    if len(tokenizer) > rows or tokenizer.model_max_length != tokens:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} ids and texts of {tokenizer.model_max_length} tokens, the text encoder in "
            f"{str(checkpoint.path)!r} {rows} and {tokens}: give the tokenizer it was trained with."
        )
    return tokenizer
