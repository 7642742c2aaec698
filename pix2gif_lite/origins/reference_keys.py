"""What the reference calls each weight, and which sizes the shapes of its weights tell.

Its parts are CompVis' latent diffusion ones; ours are diffusers' and transformers' classes. Every weight of ours has one
name there: asked from our side, so that what is missing, or is nobody's, can be said in the file's own words (diffusers'
converters go the other way and drop what they do not know). No weights are touched here: names and shapes only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Shapes = Mapping[str, Sequence[int]]  # of one part's weights, under the names they have in the file, without the prefix

UNET, EMA, VAE = "model.diffusion_model.", "model_ema.", "first_stage_model."
TEXT, MOTION, FLOW = "cond_stage_model.transformer.text_model.", "interval_embedding.", "flownet."
PARTS = {UNET: "UNet", VAE: "autoencoder", TEXT: "text encoder", MOTION: "motion embedding", FLOW: "FlowNet"}
BUFFERS = {  # no weights: the noise schedule, which follows from three numbers, and what is counted
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
    *("log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod"),
    *("posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
    *("logvar", "lvlb_weights", "cond_ids", "scale_factor", EMA + "decay", EMA + "num_updates"),
    TEXT + "embeddings.position_ids",
}

_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
_RESNET |= {"time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
_UNET_ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
_UNET_ENDS |= {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ema_key(name: str) -> str:
    """The name behind `EMA` of the average of the UNet's weight `name`: that of the module it sits in, then all dots out."""
    return ("diffusion_model" + name).replace(".", "")


def unet_key(name: str, layers: int, attention: Sequence[bool]) -> str:
    """diffusers' name of a UNet weight -> openaimodel's, which counts blocks through all levels.

    `layers` resnets a level on the way down (one more on the way up); `attention` a level, finest first.
    """
    stem, ending = name.rsplit(".", 1)
    if stem in _UNET_ENDS:
        return f"{_UNET_ENDS[stem]}.{ending}"
    way, *rest = name.split(".")
    level = int(rest.pop(0)) if way != "mid_block" else 0
    kind, index, *inner = rest
    start = level * (layers + 1)
    if kind == "resnets":
        inner[0] = _RESNET[inner[0]]
    if kind == "downsamplers":
        place = [f"input_blocks.{start + layers + 1}.0.op"]
        inner = inner[1:]
    elif kind == "upsamplers":  # behind the level's last resnet, and its attention where it has one
        place = [f"output_blocks.{start + layers}", "2" if attention[-1 - level] else "1"]
    elif way == "mid_block":
        place = ["middle_block", str(2 * int(index) if kind == "resnets" else 1)]
    else:
        block = f"input_blocks.{start + int(index) + 1}" if way == "down_blocks" else f"output_blocks.{start + int(index)}"
        place = [block, "0" if kind == "resnets" else "1"]
    return ".".join([*place, *inner])


def vae_key(name: str, levels: int) -> str:
    """diffusers' name of a weight of E or D -> CompVis'; its decoder counts levels from the finest."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    side, *rest = name.split(".")
    if not rest or rest[0] not in ("down_blocks", "up_blocks", "mid_block"):
        return name
    if rest[0] == "mid_block":
        _, kind, index, *inner = rest
        stem, ending = ".".join(inner).rsplit(".", 1)
        if kind == "attentions":
            return f"{side}.mid.attn_1.{_VAE_ATTENTION[stem]}.{ending}"
        return f"{side}.mid.block_{int(index) + 1}.{stem}.{ending}"
    way, level, kind, index, *inner = rest
    place = f"{side}.down.{level}" if way == "down_blocks" else f"{side}.up.{levels - 1 - int(level)}"
    block = {"resnets": f"block.{index}", "downsamplers": "downsample", "upsamplers": "upsample"}[kind]
    return ".".join([place, block, *inner])


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbers follow the prefix: blocks, levels or layers."""
    return len({name[len(prefix) :].split(".", 1)[0] for name in shapes if name.startswith(prefix)})


def _has(shapes: Shapes, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in shapes)


def unet_sizes(shapes: Shapes) -> dict[str, Any]:
    """`UNet2DConditionModel`'s arguments, but the number of heads, which no shape tells. KeyError: the name that is missing."""
    levels: list[list[int]] = [[]]  # the input blocks of each, without those that halve
    blocks = _count(shapes, "input_blocks.")
    for k in range(1, blocks):
        if _has(shapes, f"input_blocks.{k}.0.op."):
            levels.append([])
        else:
            levels[-1].append(k)
    if not all(levels):
        raise KeyError(f"input_blocks.{blocks}.0.in_layers.0.weight")
    attention = [_has(shapes, f"input_blocks.{level[0]}.1.") for level in levels]
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": tuple(shapes[f"input_blocks.{level[-1]}.0.out_layers.3.weight"][0] for level in levels),
        "layers_per_block": len(levels[0]),
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
        "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
    }


def vae_sizes(shapes: Shapes) -> dict[str, Any]:
    """`AutoencoderKL`'s arguments. KeyError: the name that is missing."""
    levels = _count(shapes, "encoder.down.")
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "block_out_channels": tuple(shapes[f"encoder.down.{k}.block.0.conv2.weight"][0] for k in range(levels)),
        "layers_per_block": _count(shapes, "encoder.down.0.block."),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
    }


def text_sizes(shapes: Shapes) -> dict[str, int]:
    """`CLIPTextConfig`'s arguments, but the number of heads. KeyError: the name that is missing."""
    vocabulary, width = shapes["embeddings.token_embedding.weight"]
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(shapes, "encoder.layers."),
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "bos_token_id": vocabulary - 2,  # CLIP's vocabulary ends with its two special tokens; END pads
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def motion_sizes(shapes: Shapes) -> dict[str, int]:
    """`MotionEmbedding`'s arguments. KeyError: the name that is missing."""
    rows, width = shapes["embedding.weight"]
    return {"rows": rows, "width": width}


def flow_net_sizes(shapes: Shapes) -> dict[str, Any]:
    """`FlowNet`'s arguments, but the width of the text, which is strided over. KeyError: the name that is missing."""
    width, latent_channels = shapes["conv0.0.weight"][:2]
    widths = shapes["deconv1.0.weight"][1], shapes["deconv0.0.weight"][1]  # a transposed convolution's come second
    maps, tokens = shapes["injection1.linear.weight"][:2]
    return {
        "latent_channels": latent_channels,
        "flow_width": width,
        "widths": None if widths == (width // 2, width // 4) else widths,
        "text_maps": maps,
        "tokens": tokens,
    }
