"""The reference, written a second time for the tests: latent diffusion's UNet and autoencoder, FlowNet, the whole model.

From the published architecture (Rombach et al. 2022; paper.md, sections 2 and 3) in plain torch, with the names that its
checkpoints have. It shares no code with the package and none with diffusers, so that agreement says something.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def group_norm(channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=eps)


# ---- the UNet


class Timed(nn.Sequential):
    """One block: each layer gets what it needs of time and text."""

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, time)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, text)
            else:
                x = layer(x)
        return x


class ResBlock(nn.Module):
    def __init__(self, inputs: int, time: int, outputs: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(group_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, outputs))
        last = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.out_layers = nn.Sequential(group_norm(outputs), nn.SiLU(), nn.Dropout(0.0), last)
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class CrossAttention(nn.Module):
    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (
            project(source).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project, source in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), dim=-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Dropout(0.0), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.attn1 = CrossAttention(width, width, heads)
        self.ff = FeedForward(width)
        self.attn2 = CrossAttention(width, context, heads)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        seen = self.norm1(x)
        x = x + self.attn1(seen, seen)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, 1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context, heads)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.proj_in(self.norm(x))
        tokens = h.flatten(2).transpose(1, 2)
        tokens = self.transformer_blocks[0](tokens, context)
        return x + self.proj_out(tokens.transpose(1, 2).reshape(h.shape))


class Halve(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Double(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


class UNet(nn.Module):
    """openaimodel's UNet; `attention`: one entry a level, finest first; the middle always has it."""

    def __init__(
        self,
        channels: int = 32,
        multiples: tuple[int, ...] = (1, 2),
        layers: int = 1,
        attention: tuple[bool, ...] = (True, True),
        heads: int = 4,
        context: int = 256,
        inputs: int = 12,
    ) -> None:
        super().__init__()
        self.channels, time = channels, 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, time), nn.SiLU(), nn.Linear(time, time))

        def block(before: int, after: int, attends: bool) -> list[nn.Module]:
            return [ResBlock(before, time, after)] + ([SpatialTransformer(after, context, heads)] if attends else [])

        self.input_blocks = nn.ModuleList([Timed(nn.Conv2d(inputs, channels, 3, padding=1))])
        now, kept = channels, [channels]
        for level, multiple in enumerate(multiples):
            for _ in range(layers):
                self.input_blocks.append(Timed(*block(now, multiple * channels, attention[level])))
                now = multiple * channels
                kept.append(now)
            if level < len(multiples) - 1:
                self.input_blocks.append(Timed(Halve(now)))
                kept.append(now)
        self.middle_block = Timed(*block(now, now, True), ResBlock(now, time, now))
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(multiples))):
            for k in range(layers + 1):
                parts = block(now + kept.pop(), multiples[level] * channels, attention[level])
                now = multiples[level] * channels
                if level and k == layers:
                    parts.append(Double(now))
                self.output_blocks.append(Timed(*parts))
        self.out = nn.Sequential(group_norm(now), nn.SiLU(), nn.Conv2d(now, 4, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        half = self.channels // 2
        angles = t.float()[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)[None]
        time = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        kept = []
        for part in self.input_blocks:
            x = part(x, time, text)
            kept.append(x)
        x = self.middle_block(x, time, text)
        for part in self.output_blocks:
            x = part(torch.cat([x, kept.pop()], dim=1), time, text)
        return self.out(x)


# ---- the autoencoder


class Resnet(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(inputs, 1e-6), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = group_norm(outputs, 1e-6), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, 1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm(x)
        q, k, v = (layer(seen).flatten(2) for layer in (self.q, self.k, self.v))  # (B, C, cells)
        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(x.shape[1]), dim=2)  # (B, asking, asked)
        return x + self.proj_out((v @ weights.transpose(1, 2)).reshape(x.shape))


class PaddedHalve(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


def middle(channels: int) -> nn.Module:
    part = nn.Module()
    part.block_1, part.attn_1, part.block_2 = Resnet(channels, channels), Attention(channels), Resnet(channels, channels)
    return part


class Coder(nn.Module):
    """E (down) or D (up): levels are counted from the finest in both."""

    def __init__(self, way: str, channels: int, multiples: tuple[int, ...], layers: int, ends: tuple[int, int]) -> None:
        super().__init__()
        self.way, self.depth = way, len(multiples)
        levels = list(range(self.depth)) if way == "down" else list(reversed(range(self.depth)))
        now = channels if way == "down" else multiples[-1] * channels
        self.conv_in = nn.Conv2d(ends[0], now, 3, padding=1)
        if way == "up":
            self.mid = middle(now)
        made = {}
        for level in levels:
            part, width = nn.Module(), multiples[level] * channels
            part.block = nn.ModuleList()
            for _ in range(layers if way == "down" else layers + 1):
                part.block.append(Resnet(now, width))
                now = width
            if way == "down" and level < self.depth - 1:
                part.downsample = PaddedHalve(now)
            if way == "up" and level:
                part.upsample = Double(now)
            made[level] = part
        setattr(self, way, nn.ModuleList(made[level] for level in range(self.depth)))
        if way == "down":
            self.mid = middle(now)
        self.norm_out, self.conv_out = group_norm(now, 1e-6), nn.Conv2d(now, ends[1], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        x = x if self.way == "down" else self.through_middle(x)
        levels = self.down if self.way == "down" else reversed(self.up)
        for level in levels:
            for part in level.block:
                x = part(x)
            for name in ("downsample", "upsample"):
                x = getattr(level, name)(x) if hasattr(level, name) else x
        x = self.through_middle(x) if self.way == "down" else x
        return self.conv_out(F.silu(self.norm_out(x)))

    def through_middle(self, x: Tensor) -> Tensor:
        return self.mid.block_2(self.mid.attn_1(self.mid.block_1(x)))


class Autoencoder(nn.Module):
    def __init__(self, channels: int = 32, multiples: tuple[int, ...] = (1, 2, 2), layers: int = 1) -> None:
        super().__init__()
        self.encoder = Coder("down", channels, multiples, layers, (3, 8))
        self.decoder = Coder("up", channels, multiples, layers, (4, 3))
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)

    def mode(self, x: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(x))[:, :4]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


# ---- the warping module


class Injection(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(77, 16, 3, stride=width // 256, padding=1)
        self.norm = nn.LayerNorm((256, 16))

    def forward(self, text: Tensor) -> Tensor:
        rows = F.relu(self.norm(self.linear(text).permute(0, 2, 1)))
        return rows.permute(0, 2, 1).reshape(-1, 16, 16, 16)


class FlowNet(nn.Module):
    """Three flows, coarse to fine; `bias`: of the convolutions that a batch norm follows."""

    def __init__(self, width: int = 256, n: int = 64, bias: bool = True) -> None:
        super().__init__()

        def conv(a: int, b: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=bias), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))

        def deconv(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=bias), nn.BatchNorm2d(b), nn.LeakyReLU(0.2))

        def join(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, 1, 1, bias=bias), nn.BatchNorm2d(b))

        def head(a: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, 2, 3, 1, 1), nn.Tanh())

        self.conv0, self.conv1, self.conv1_1 = conv(4, n), conv(n, n, 2), conv(n, 2 * n)
        self.conv2, self.conv2_1 = conv(2 * n, 2 * n, 2), conv(2 * n, 2 * n)
        self.deconv1, self.deconv0 = deconv(2 * n, n // 2), deconv(n // 2 + 18, n // 4)
        self.inter_conv1, self.inter_conv0 = join(n // 2 + 18, n // 2), join(n // 4 + 2, n // 4)
        self.predict_flow2, self.predict_flow1, self.predict_flow0 = head(2 * n), head(n // 2), head(n // 4)
        self.upsampled_flow2_to_1 = nn.ConvTranspose2d(2, 2, 4, 2, 1)
        self.upsampled_flow1_to_0 = nn.ConvTranspose2d(2, 2, 4, 2, 1)
        self.injection1 = Injection(width)

    def forward(self, latent: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        deep = self.conv2_1(self.conv2(self.conv1_1(self.conv1(self.conv0(latent)))))
        flow2 = self.predict_flow2(deep)
        cat1 = torch.cat((self.deconv1(deep), self.upsampled_flow2_to_1(flow2), self.injection1(text)), 1)
        flow1 = self.predict_flow1(self.inter_conv1(cat1))
        cat0 = torch.cat((self.deconv0(cat1), self.upsampled_flow1_to_0(flow1)), 1)
        return self.predict_flow0(self.inter_conv0(cat0)), flow1, flow2


# ---- the whole, with the names of a Lightning checkpoint


class Reference(nn.Module):
    def __init__(self, clip: nn.Module, width: int, unet: UNet, rows: int = 1024, flow_bias: bool = True) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.diffusion_model = unet
        self.first_stage_model = Autoencoder()
        self.cond_stage_model = nn.Module()
        self.cond_stage_model.transformer = clip  # transformers' own class
        self.interval_embedding = nn.Module()
        self.interval_embedding.embedding = nn.Embedding(rows, width)
        self.flownet = FlowNet(width, bias=flow_bias)

    def text(self, ids: Tensor, motion: Tensor) -> Tensor:
        return self.cond_stage_model.transformer(ids).last_hidden_state + self.interval_embedding.embedding(motion)[:, None]

    def warp(self, latent: Tensor, c_L: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        flows = self.flownet(latent, c_L)
        places = flows[0].permute(0, 2, 3, 1)  # not added to any grid
        return F.grid_sample(latent, places, mode="bilinear", padding_mode="zeros", align_corners=False), flows

    def eps(self, z_t: Tensor, t: Tensor, latent: Tensor, z_W: Tensor, c_L: Tensor) -> Tensor:
        return self.model.diffusion_model(torch.cat((z_t, latent, z_W), 1), t, c_L)
