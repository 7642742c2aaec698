"""The whole of Pix2Gif as one module (Figure 3 of the paper): the only file that glues the parts together.

    c_T  = CLIP(prompt)                                         text.py
    c_L  = c_T + M(m)                                           motion_embedding.py
    z_W  = WNet(E(c_I), FNet(E(c_I), IM(c_L)))                  warping.py, Eq. 5-6; and second_look.py
    out  = UNet([z_t, E(c_I), z_W], t, c_L)                     4 + 4 + 4 = 12 channels, Eq. 3

The paper's ablation (section 4.3) is one word, the variant:

    variant        text  UNet sees             losses
    base           c_T   [z_t, E(c_I)]         InstructPix2Pix: the motion is a word in the prompt, nothing else
    motion-embed   c_L   [z_t, E(c_I)]
    warp           c_L   [z_t, z_W]
    warp-add       c_L   [z_t, E(c_I) + z_W]
    warp-concat    c_L   [z_t, E(c_I), z_W]    without L_P
    full           c_L   [z_t, E(c_I), z_W]    with L_P

Ours, lite's default (`residual`): the same UNet says how the frame DIFFERS from the warped source, in v_prediction,

    out  = from_residual(UNet([z_t, E(c_I), z_W], t, c_L), around z_W)                     diffusion.py

Where nothing moves the difference is 0, and a UNet that says nothing gives z_W from pure noise: it never has to carry
the picture through its own layers. The variants without a warp differ from E(c_I) instead.

This file does not know about losses, guidance, samplers or pixels: latents and prompts in, prediction out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from .calibration import calibrated
from .diffusion import alphas_cumprod, from_residual
from .motion_embedding import MotionEmbedding
from .presets import VARIANTS, Preset
from .second_look import SecondLook
from .text import encode_text
from .warping import FlowNet, FlowPyramid


def unet_in_channels(variant: str, latent_channels: int = 4) -> int:
    """The UNet's input channels: 12 where E(c_I) and z_W are side by side, else 8. ValueError: unknown variant."""
    if variant not in VARIANTS:
        raise ValueError(f"Unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}.")
    return (3 if variant in ("warp-concat", "full") else 2) * latent_channels


def build_unet(preset: Preset) -> UNet2DConditionModel:
    """eps_theta of Eq. 3: diffusers' UNet with the preset's sizes, random weights.

    Of a single width it has no middle: attention over all cells of the latent would take longer than the rest together.
    """
    levels = tuple(zip(preset.unet_channels, preset.unet_attention, strict=True))
    return UNet2DConditionModel(
        sample_size=preset.latent_size,
        in_channels=unet_in_channels(preset.variant, preset.autoencoder.latent_channels),
        out_channels=preset.autoencoder.latent_channels,
        block_out_channels=preset.unet_channels,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for _, a in levels),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for _, a in reversed(levels)),
        mid_block_type="UNetMidBlock2DCrossAttn" if len(levels) > 1 else None,
        layers_per_block=preset.unet_layers,
        norm_num_groups=preset.unet_norm_groups,
        cross_attention_dim=preset.text_width,
        attention_head_dim=preset.unet_heads,  # diffusers keeps an old misnomer: this is the NUMBER of heads
    )


class Pix2GifModel(nn.Module):
    """Text encoder, M, FNet and UNet as one. The autoencoder stays outside: it is frozen and works on pixels.

    Latents are (B, C, h, w) with sides that are multiples of `latent_multiple`; c_L is (B, tokens, width).
    """

    def __init__(
        self,
        text_encoder: CLIPTextModel,
        motion_embedding: MotionEmbedding | None,
        flow_net: FlowNet | None,
        unet: UNet2DConditionModel,
        variant: str = "full",
        residual: float | None = None,
        alphas_cumprod: Tensor | None = None,
    ) -> None:
        """`residual`: the spread of x_0 around the warped source, with the schedule it needs; None: the paper's UNet."""
        super().__init__()
        channels = unet_in_channels(variant, unet.config.out_channels)
        if unet.config.in_channels != channels:
            raise ValueError(f"Variant {variant} needs a UNet of {channels} input channels, not {unet.config.in_channels}.")
        self.variant = variant
        self.uses_motion = variant != "base"
        self.uses_warp = variant.startswith("warp") or variant == "full"
        if self.uses_motion and motion_embedding is None:
            raise ValueError(f"Variant {variant} needs a motion embedding, but none was given.")
        if self.uses_warp and flow_net is None:
            raise ValueError(f"Variant {variant} needs a FlowNet, but none was given.")
        self.text_encoder = text_encoder
        self.motion_embedding = motion_embedding if self.uses_motion else None  # an idle part would never get a gradient
        self.flow_net = flow_net if self.uses_warp else None
        self.unet = unet
        if residual is not None and alphas_cumprod is None:
            raise ValueError(f"A residual of {residual} needs the schedule: give alphas_cumprod.")
        self.residual = residual
        self.register_buffer("alphas_cumprod", alphas_cumprod, persistent=False)

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any], settings: Preset) -> Pix2GifModel:
        """The model of parts by their names, as `build_components` returns them; parts the variant lacks may be None.

        `settings`: a preset, or anything with its fields. ValueError where residual and prediction_type do not fit:
        eps holds sqrt(a_t / (1 - a_t)) times x_0, which has no bound as the noise falls.
        """
        if settings.residual is not None and settings.prediction_type != "v_prediction":
            raise ValueError(f"residual needs v_prediction, not {settings.prediction_type!r}: set residual=None.")
        named = {name: parts.get(name) for name in ("text_encoder", "motion_embedding", "flow_net", "unet")}
        schedule = None if settings.residual is None else alphas_cumprod(settings)
        return cls(**named, variant=settings.variant, residual=settings.residual, alphas_cumprod=schedule)

    @property
    def latent_multiple(self) -> int:
        """Both sides of a latent must be a multiple of this: the UNet halves them that far, FNet twice."""
        return max(2 ** (len(self.unet.config.block_out_channels) - 1), 4 if self.uses_warp else 1)

    @property
    def flow_places(self) -> int:
        """r: how many places a side of a cell the flow has that `warp` gives."""
        return max(1, self.flow_net.config.subcells) if self.uses_warp else 1

    def condition(self, input_ids: Tensor, motion: Tensor, keep_motion: Tensor | None = None) -> Tensor:
        """c_L (B, tokens, width) of prompts (B, tokens) and motions (B,); the base variant's is c_T.

        `keep_motion` (B,) bool: where False, c_M = 0.
        """
        return self.add_motion(encode_text(self.text_encoder, input_ids), motion, keep_motion)

    def add_motion(self, c_T: Tensor, motion: Tensor, keep_motion: Tensor | None = None) -> Tensor:
        """c_L of texts that are already encoded: one c_T (B, tokens, width) can serve many motions."""
        if self.motion_embedding is None:
            return c_T
        return self.motion_embedding(c_T, motion, keep_motion)

    def flows(self, image_latents: Tensor, c_L: Tensor) -> FlowPyramid | None:
        """FNet's flow at its scales, Eq. 5; None for the variants without a warp."""
        return None if self.flow_net is None else self.flow_net(image_latents, c_L)

    def look_up(self, image_latents: Tensor, flows: FlowPyramid | None) -> Tensor | None:
        """z_W of Eq. 6, (B, C, h, w), where `flows` point; None where there are none."""
        return None if flows is None else self.flow_net.look_up(image_latents, flows)

    def warp(
        self,
        image_latents: Tensor,
        c_L: Tensor,
        corners: Tensor | None = None,
        motion: Tensor | None = None,
        second_look: SecondLook | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """F of Eq. 5 as z_W shows it, float32, and z_W (B, C, h, w) of Eq. 6; (None, None) for the variants without a warp.

        F is (B, 2, r h, r w), in cells of its own grid: r = `flow_places`, 1 for the WNet without weights. Once a frame is
        enough: neither depends on the noise. A dropped picture, E(c_I) = 0, gives z_W = 0.
        With the pictures' corners (B, N, 2), as calibration.py finds them, and motion (B,), F is made as long as they say. With
        a second look, z_W is in part E of the picture itself. Neither is for absolute flows.
        """
        flows = self.flows(image_latents, c_L)
        if flows is None:
            return None, None
        moves = self.flow_net.config.flow_mode == "displacement"
        if moves and corners is not None:
            flows = calibrated(flows, corners, motion)
        z_W = self.look_up(image_latents, flows)
        if moves and second_look is not None:
            z_W = second_look(z_W, flows, self.flow_net.config.interpolation)
        return flows.seen, z_W

    def unet_input(self, z_t: Tensor, image_latents: Tensor, z_W: Tensor | None) -> Tensor:
        """What the UNet sees of the pictures: (B, 8 or 12, h, w), by variant. ValueError where z_W is missing."""
        if self.uses_warp and z_W is None:
            raise ValueError(f"Variant {self.variant} needs z_W: call warp() first.")
        if not self.uses_warp:
            parts = [z_t, image_latents]
        elif self.variant == "warp":
            parts = [z_t, z_W]
        elif self.variant == "warp-add":
            parts = [z_t, image_latents + z_W]
        else:
            parts = [z_t, image_latents, z_W]
        return torch.cat(parts, dim=1)

    def forward(self, z_t: Tensor, t: Tensor, image_latents: Tensor, z_W: Tensor | None, c_L: Tensor) -> Tensor:
        """The UNet's prediction, eps or v, (B, C, h, w), for noisy latents z_t (B, C, h, w) at times t, (B,) or ()."""
        x = self.unet_input(z_t, image_latents, z_W)
        prediction = self.unet(x, t, encoder_hidden_states=c_L, return_dict=False)[0]
        if self.residual is None:
            return prediction
        guess = z_W if self.uses_warp else image_latents
        return from_residual(prediction, z_t, guess, t, self.alphas_cumprod, self.residual)
