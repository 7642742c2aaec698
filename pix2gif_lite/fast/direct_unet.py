"""diffusers' UNet by a shorter way: the same weights and the same sums, without what its forward does for other models.

A UNet of lite's size spends more time between its operations than in them: diffusers calls 370 modules a prediction, asks
every attention which arguments it takes, and copies each picture into tokens and back. Here pictures lie in memory with
their channels last, where every cell is a token already, and plain functions are called on the modules' own weights:

    picture (B, C, h, w), channels last  =  tokens (B, h w, C)      a view, no copy
    resnet        x + conv(silu(norm(conv(silu(norm x)) + time)))
    transformer   x + W_out(blocks(W_in(norm x)))                   attention to itself, to the text, then GEGLU
    U             down, middle, up with what the way down saw       in diffusers' order

For predictions on a CPU, not for training. What it does not know (`is_known`) goes through diffusers' own forward.

With `fixed`, a promise that the weights never change, they are laid out once (laid.py): for one picture a layer has more
weights than cells, and to lay them out is most of its work. And convolutions may multiply in bfloat16, where the CPU does so
twice as fast, while what is passed from block to block stays as it was: each block's share is rounded, their sum is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter, contains, itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets import unet_2d_blocks as blocks
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from .laid import LaidConv, can_lay, laid

KNOWN = {UNet2DConditionModel, Transformer2DModel, BasicTransformerBlock, Attention, FeedForward, GEGLU, ResnetBlock2D}
KNOWN |= {blocks.DownBlock2D, blocks.CrossAttnDownBlock2D, blocks.UNetMidBlock2DCrossAttn, blocks.UpBlock2D}
KNOWN |= {blocks.CrossAttnUpBlock2D, Downsample2D, Upsample2D, TimestepEmbedding, Timesteps, nn.ModuleList}
KNOWN |= {nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm, nn.SiLU, nn.Dropout}
FREE = {"sample_size", "in_channels", "out_channels", "block_out_channels", "down_block_types", "up_block_types"}
FREE |= {"layers_per_block", "norm_num_groups", "norm_eps", "cross_attention_dim", "attention_head_dim"}
FREE |= {"transformer_layers_per_block", "flip_sin_to_cos", "freq_shift", "mid_block_type"}
SETTINGS = inspect.signature(UNet2DConditionModel.__init__).parameters.items()
FIXED = {name: setting.default for name, setting in SETTINGS if name not in FREE | {"self"}}  # as diffusers has them


def is_known(unet: nn.Module) -> bool:
    """Is it of the kind that is written out here, with no adapters and no other attention?"""
    if type(unet) is not UNet2DConditionModel or any(unet.config[name] != value for name, value in FIXED.items()):
        return False
    if any(getattr(block, "s1", None) is not None for block in unet.up_blocks):  # FreeU
        return False
    attentions = (module for module in unet.modules() if type(module) is Attention)
    return all(type(m) in KNOWN for m in unet.modules()) and all(type(a.processor) is AttnProcessor2_0 for a in attentions)


def is_watched(parts: Iterable[nn.Module]) -> bool:
    """Does somebody see or change what goes through one of them: a hook, a forward of its own, as an offload gives it, or
    kernels that it was compiled to (`unet.compile()`)?

    Asked of hundreds at every prediction, so it looks where nn.Module keeps its attributes, without a line of Python for each.
    """
    parts = [*parts]
    states = [*map(vars, parts)]
    hooked = (any(map(itemgetter(kind), states)) for kind in ("_forward_hooks", "_forward_pre_hooks"))
    return any(hooked) or any(map(contains, states, repeat("forward"))) or any(map(attrgetter("_compiled_call_impl"), parts))


class DirectUNet(nn.Module):
    """A UNet in the place of `unet`, whose weights it uses. It computes in their dtype and answers in that of its input.

    Which modules there are is looked at once: make another after an adapter was put in, or another attention.
    fixed   the weights will not change: those of convolutions are copied, as the CPU wants them, at a size's first prediction,
            and what the time adds is kept
    inside  what fixed convolutions multiply in, such as torch.bfloat16, where this CPU can; None: their own dtype.
            ValueError if not fixed
    """

    def __init__(self, unet: UNet2DConditionModel, fixed: bool = False, inside: torch.dtype | None = None) -> None:
        super().__init__()
        if inside is not None and not fixed:
            raise ValueError(f"Weights that may change cannot be kept in {inside}: say fixed=True, or no inside.")
        self.unet, self.inside = unet, inside
        self.parts = tuple(unet.modules()) if is_known(unet) else ()
        self.fixed = fixed and bool(self.parts) and can_lay(inside or self.dtype)
        self._laid: Any = None
        self._last: tuple[float, list[Tensor]] | None = None

    @property
    def config(self) -> Any:
        """The UNet's own."""
        return self.unet.config

    @property
    def dtype(self) -> torch.dtype:
        """The UNet's own, asked of one weight: diffusers goes through all. But of all where a layer may be stored otherwise."""
        first = self.unet.conv_in
        return self.unet.dtype if is_watched((first,)) else first.weight.dtype

    def can_predict(self, x: Tensor) -> bool:
        """May this prediction go the shorter way?"""
        wanted = x.device.type == "cpu" and not (torch.is_grad_enabled() or self.unet.training)
        return wanted and bool(self.parts) and not is_watched(self.parts)

    def forward(
        self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        """The prediction (B, C, h, w), in a tuple, as diffusers gives it: sample (B, C', h, w), timestep () or (B,), text
        (B, tokens, width). h and w are multiples of 2 for each time that the UNet halves them."""
        x, text = sample.to(self.dtype), encoder_hidden_states.to(self.dtype)
        if self.can_predict(x):
            weights, t = self._weights(), torch.as_tensor(timestep).expand(len(x))
            out = predict(weights, x, self._shifts(weights, t), text)
        else:
            (out,) = self.unet(x, timestep, encoder_hidden_states=text, return_dict=False)
        return (out.to(sample.dtype),)

    def _shifts(self, weights: Any, t: Tensor) -> list[Tensor]:
        """`shifts`, of fixed weights not again for the one picture's timestep that was asked for last."""
        if not self.fixed or len(t) > 1:
            return shifts(weights, t)
        last = self._last
        if last is None or last[0] != float(t):
            self._last = last = float(t), shifts(weights, t)
        return last[1]

    def _weights(self) -> Any:
        """What `predict` reads: the UNet, or its weights as they were when first asked for."""
        if not self.fixed:
            return self.unet
        if self._laid is None:
            self._laid = laid(self.unet, self.inside)
        return self._laid


def shifts(unet: Any, t: Tensor) -> list[Tensor]:
    """What each resnet, as `predict` comes by them, adds to its channels at timesteps t (B,): (B, C, 1, 1) each."""
    width, emb = unet.time_proj.num_channels, unet.time_embedding
    told = unet.time_proj(t).view(len(t), width).to(emb.linear_1.weight.dtype)
    time = F.silu(linear(emb.linear_2, F.silu(linear(emb.linear_1, told))))
    every = filter(None, (*unet.down_blocks, unet.mid_block, *unet.up_blocks))  # the middle may be left out
    found = [part for block in every for part in block.resnets]
    return [linear(part.time_emb_proj, time)[:, :, None, None] for part in found]


def predict(unet: Any, x: Tensor, shifts: Sequence[Tensor], text: Tensor) -> Tensor:
    """The prediction (B, C, h, w) of a UNet that `is_known`, or of it `laid`; see `shifts`. Its channels lie last."""
    kind, by_time = x.dtype, iter(shifts)
    x = conv(unet.conv_in, x.contiguous(memory_format=torch.channels_last)).to(kind)
    # 1. down; `seen` is what the way up will be told
    seen = [x]
    for block in unet.down_blocks:
        for k, part in enumerate(block.resnets):
            x = resnet(part, x, next(by_time))
            if hasattr(block, "attentions"):
                x = transformer(block.attentions[k], x, text)
            seen.append(x)
        if block.downsamplers is not None:
            x = conv(block.downsamplers[0].conv, x).to(kind)
            seen.append(x)
    # 2. middle
    if unet.mid_block is not None:
        first, *others = unet.mid_block.resnets
        x = resnet(first, x, next(by_time))
        for attention, part in zip(unet.mid_block.attentions, others, strict=True):
            x = resnet(part, transformer(attention, x, text), next(by_time))
    # 3. up
    for block in unet.up_blocks:
        for k, part in enumerate(block.resnets):
            x = resnet(part, torch.cat([x, seen.pop()], dim=1), next(by_time))
            if hasattr(block, "attentions"):
                x = transformer(block.attentions[k], x, text)
        x = enlarged(block, x)
    return conv(unet.conv_out, F.silu(group_norm(unet.conv_norm_out, x), inplace=True))


def resnet(block: ResnetBlock2D, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """(B, C, h, w) and what the time adds to its channels (B, C', 1, 1) (None: there is no time) -> (B, C', h, w)."""
    h = conv(block.conv1, F.silu(group_norm(block.norm1, x), inplace=True))
    if shift is not None:
        h += shift
    h = conv(block.conv2, F.silu(group_norm(block.norm2, h), inplace=True))
    return (x if block.conv_shortcut is None else conv(block.conv_shortcut, x).to(x.dtype)).add(h)


def enlarged(block: nn.Module, x: Tensor) -> Tensor:
    """x (B, C, h, w), twice as large where the block ends in an upsampler, else as it is."""
    if block.upsamplers is None:
        return x
    return conv(block.upsamplers[0].conv, F.interpolate(x, scale_factor=2.0, mode="nearest")).to(x.dtype)


def transformer(model: Transformer2DModel, x: Tensor, text: Tensor) -> Tensor:
    """(B, C, h, w) and text (B, tokens, width) -> (B, C, h, w)."""
    h = group_norm(model.norm, x).permute(0, 2, 3, 1).flatten(1, 2)  # (B, h w, C), a view
    h = F.linear(h, model.proj_in.weight.flatten(1), model.proj_in.bias)  # 1 x 1
    for block in model.transformer_blocks:
        own = layer_norm(block.norm1, h)
        h += attend(block.attn1, own, own)
        h += attend(block.attn2, layer_norm(block.norm2, h), text)
        widen, _, narrow = block.ff.net
        gated, gate = linear(widen.proj, layer_norm(block.norm3, h)).chunk(2, dim=-1)
        h += linear(narrow, gated * F.gelu(gate))
    h = F.linear(h, model.proj_out.weight.flatten(1), model.proj_out.bias)
    return x + h.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


def attend(layer: Attention, x: Tensor, to: Tensor) -> Tensor:
    """What tokens x (B, n, C) learn from others (B, k, width): (B, n, C)."""
    parts = (linear(layer.to_q, x), linear(layer.to_k, to), linear(layer.to_v, to))
    q, k, v = (part.unflatten(2, (layer.heads, -1)).transpose(1, 2) for part in parts)  # (B, heads, n or k, C / heads)
    heard = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return linear(layer.to_out[0], heard)


def conv(layer: nn.Conv2d | LaidConv, x: Tensor) -> Tensor:
    """The layer without a module's call; so are the others below. One that is laid answers in what it multiplies in."""
    if type(layer) is LaidConv:
        return layer(x)
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """See `conv`."""
    return F.linear(x, layer.weight, layer.bias)


def group_norm(layer: nn.GroupNorm, x: Tensor) -> Tensor:
    """See `conv`. In its weights' dtype: mixed, torch takes five times as long for small maps with their channels last."""
    return F.group_norm(x.to(layer.weight.dtype), layer.num_groups, layer.weight, layer.bias, layer.eps)


def layer_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """See `conv`."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
