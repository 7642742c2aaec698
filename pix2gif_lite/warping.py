"""The warping module of Pix2Gif (section 3.3.2 of the paper): from the source latent and the text to a warped latent.

    F   = FNet(E(c_I), IM(c_L))     Eq. 5    a flow: for every cell, how far away to look
    z_W = WNet(E(c_I), F)           Eq. 6    the source latent, looked up there

Shapes, for the paper's latent of 4 x 32 x 32 and text of 77 tokens (B is the batch, w the width of the text, ngf = 64):

    E(c_I)  B x 4 x 32 x 32
      | conv0
    64 x 32 x 32 --conv1--> 128 x 16 x 16 --conv2--> 128 x 8 x 8 --> flow2
                                                       | deconv1, and flow2 enlarged
    c_L  B x 77 x w --IM--> 16 x 16 x 16 ----------> 50 x 16 x 16 --> flow1
                                                       | deconv0, and flow1 enlarged
                                                     18 x 32 x 32 --> flow0 = F, the only one that warps

WNet is `warp` (lookup.py), without weights, as the paper's. Lite's has some: it learns to look between the cells (subcell.py),
and F to move a thing as one (bodies.py). The flow points BACKWARDS: z_W(p) = E(c_I)(p + F(p)), so every cell of
the result has exactly one value. Flows are in cells of their own grid, float32, (B, 2, h, w), x then y. This file does not
know what a latent or c_L means.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from .lookup import check_warp, warp
from .subcell import Places, SubcellWarp


class FlowPyramid(NamedTuple):
    """The flow at three scales: in cells of each one's own grid, or (absolute mode) as grid_sample coordinates."""

    flow0: Tensor  # (B, 2, h, w)      F of Eq. 5, warps the latent
    flow1: Tensor  # (B, 2, h/2, w/2)  a feature on the way, for the reader to look at
    flow2: Tensor  # (B, 2, h/4, w/4)  the same, coarser
    places: Places | None = None  # within the cells, for the learnt look-up alone

    @property
    def finest(self) -> Tensor:
        """The flow on the finest grid there is, in cells of that grid."""
        return self.flow0 if self.places is None else self.places.flow

    @property
    def seen(self) -> Tensor:
        """The flow as z_W shows it, on the finest grid: `finest`, but 0 where more stays than moves."""
        return self.finest if self.places is None else self.places.flow * (self.places.staying < 0.5)

    def of(self, rows: Tensor) -> FlowPyramid:
        """The flows of the samples where `rows` (B,) is True; each must have a source of its own (no `expand`)."""
        flows = (flow[rows] for flow in self[:3])
        return FlowPyramid(*flows, None if self.places is None else Places(*(part[rows] for part in self.places)))


class InjectionModule(nn.Module):
    """IM: reads the text as 77 channels of length w and writes `maps` maps of 16 x 16, the size of FNet's middle scale."""

    def __init__(self, width: int = 256, tokens: int = 77, maps: int = 16) -> None:
        super().__init__()
        if width % 256:
            raise ValueError(f"A text of width {width} cannot be strided to 256 numbers: choose a multiple of 256.")
        self.linear = nn.Conv1d(tokens, maps, kernel_size=3, stride=width // 256, padding=1)  # the reference's name
        self.norm = nn.LayerNorm((256, maps))

    def forward(self, c_L: Tensor) -> Tensor:
        """Text and motion c_L (B, tokens, width) -> (B, maps, 16, 16)."""
        x = self.linear(c_L)  # (B, maps, 256)
        x = F.relu(self.norm(x.transpose(1, 2)))  # (B, 256, maps)
        return x.transpose(1, 2).unflatten(2, (16, 16))


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(max(1, channels // 8), channels)  # 8 channels a group: a bias before it is not cancelled


class Mixing(nn.Module):
    """A residual block in which the text, pooled over its tokens, scales and shifts every channel (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, text_width: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_norm(norm, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1))
        self.norm2 = _norm(norm, channels)
        self.modulation = nn.Linear(text_width, 2 * channels)
        self.conv2 = nn.Sequential(nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        """(B, C, h, w) and pooled text (B, width) -> (B, C, h, w)."""
        scale, shift = self.modulation(pooled)[:, :, None, None].chunk(2, dim=1)
        return x + self.conv2((1 + scale) * self.norm2(self.conv1(x)) + shift)


class FlowNet(ModelMixin, ConfigMixin):
    """FNet, Eq. 5: a small U-shape that predicts the flow at three scales, coarse to fine.

    Topology and names are the reference's: in every block `.0` is the convolution and `.1` the norm. norm="batch" is
    its choice, "group" does not mind small batches. flow_width is ngf, text_width a multiple of 256, text_maps the channels
    that IM writes, widths those of the way up (None: ngf / 2, ngf / 4), flow_mode and interpolation as in `warp`. Ours:
    skips   what the way down saw joins the way up at its own scale. The reference's picture goes through 8 x 8 cells:
            its flow cannot end where an object does.
    mixing  blocks in the middle, half as many at the finest scale, in which text and picture multiply ("this object"
            times "that far"). The reference's flow is one layer away from their sum.
    subcells  r: the look-up learns to look at r x r places a cell, see subcell.py (0: the paper's WNet, without weights).
            Displacements only; ValueError otherwise.
    bodies  how many things may each move as one, see bodies.py (0: every place goes its own way). Needs subcells.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 4,
        flow_width: int = 64,
        text_width: int = 256,
        tokens: int = 77,
        norm: str = "group",
        flow_mode: str = "displacement",
        interpolation: str = "bilinear",
        text_maps: int = 16,
        widths: tuple[int, int] | None = None,
        skips: bool = False,
        mixing: int = 0,
        subcells: int = 0,
        bodies: int = 0,
    ) -> None:
        super().__init__()
        if norm not in ("group", "batch"):
            raise ValueError(f"Unknown norm {norm!r}: choose group or batch.")
        check_warp(flow_mode, interpolation)
        if not isinstance(subcells, int) or subcells < 0:
            raise ValueError(f"subcells {subcells!r} is not a number of places a side of a cell: 0 or more, whole.")
        if subcells and flow_mode != "displacement":
            raise ValueError(f"subcells={subcells} refines displacements, not flow_mode={flow_mode!r}: set subcells=0.")
        if not isinstance(bodies, int) or bodies < 0 or (bodies and not subcells):
            raise ValueError(f"bodies {bodies!r} with subcells={subcells}: give a whole number, 0 where subcells is 0.")
        if flow_width % 4:
            raise ValueError(f"flow_width {flow_width} is not a multiple of 4: the finest scale has a quarter of it.")

        def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(*inter_conv(inputs, outputs, stride), nn.LeakyReLU(0.2))

        def deconv(inputs: int, outputs: int) -> nn.Sequential:
            layer = nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1)
            return nn.Sequential(layer, _norm(norm, outputs), nn.LeakyReLU(0.2))

        def inter_conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), _norm(norm, outputs))

        def head(inputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, 2, kernel_size=3, padding=1), nn.Tanh())

        n = flow_width  # comments: the paper's sizes, ngf = 64 and a latent of 32 x 32
        middle, fine = widths or (n // 2, n // 4)
        self.conv0 = conv(latent_channels, n)  #      4 ->  64, 32 x 32
        self.conv1 = conv(n, n, stride=2)  #         64 ->  64, 16 x 16
        self.conv1_1 = conv(n, 2 * n)  #             64 -> 128
        self.conv2 = conv(2 * n, 2 * n, stride=2)  # 128 -> 128, 8 x 8
        self.conv2_1 = conv(2 * n, 2 * n)  #         128 -> 128
        self.predict_flow2 = head(2 * n)

        self.injection1 = InjectionModule(text_width, tokens, text_maps)
        self.deconv1 = deconv(2 * n, middle)  #      128 ->  32, 16 x 16
        self.upsampled_flow2_to_1 = nn.ConvTranspose2d(2, 2, kernel_size=4, stride=2, padding=1)
        joined = middle + 2 + text_maps  #           50
        if mixing:
            self.merge1, joined = nn.Conv2d(joined, middle, kernel_size=1), middle
        self.mixing1 = nn.ModuleList(Mixing(middle, text_width, norm) for _ in range(mixing))
        self.inter_conv1 = inter_conv(joined, middle)  # 50 -> 32
        self.predict_flow1 = head(middle)

        self.deconv0 = deconv(joined, fine)  #       50 -> 16, 32 x 32
        self.upsampled_flow1_to_0 = nn.ConvTranspose2d(2, 2, kernel_size=4, stride=2, padding=1)
        self.inter_conv0 = inter_conv(fine + 2, fine)  # 18 -> 16
        self.mixing0 = nn.ModuleList(Mixing(fine, text_width, norm) for _ in range((mixing + 1) // 2))
        self.predict_flow0 = head(fine)
        if skips:
            self.skip1, self.skip0 = nn.Conv2d(2 * n, middle, kernel_size=1), nn.Conv2d(n, fine, kernel_size=1)
            for silent in (*self.skip1.parameters(), *self.skip0.parameters()):  # the text has to be heard before details help
                nn.init.zeros_(silent)
        self.subcell = SubcellWarp(latent_channels, fine, subcells, flow_width, bodies=bodies) if subcells else None
        # Training starts at the identity, within about 0.02 cell, and finds out from there what moves.
        nn.init.normal_(self.predict_flow0[0].weight, std=1e-4)
        nn.init.zeros_(self.predict_flow0[0].bias)

    def forward(self, image_latents: Tensor, c_L: Tensor) -> FlowPyramid:
        """The flow at three scales, from source latents E(c_I) (B, C, h, w) and text and motion c_L (B, tokens, width).

        Any h and w that are multiples of 4; ValueError otherwise.
        """
        _, _, h, w = image_latents.shape
        if h % 4 or w % 4:
            raise ValueError(f"A latent of {h} x {w} cells cannot be halved twice: its sides must be multiples of 4.")
        pooled, B = c_L.mean(1), len(c_L)  # (B, width), for the mixing blocks
        if image_latents.stride(0) == 0 and not self.training:  # one picture for all, from `expand`: looked at once
            image_latents = image_latents[:1]

        # 1. Down: what is in the picture.
        seen0 = self.conv0(image_latents)  #              (B,  64, 32, 32)
        seen1 = self.conv1_1(self.conv1(seen0))  #        (B, 128, 16, 16)
        x = self.conv2_1(self.conv2(seen1))  #            (B, 128,  8,  8)
        flow2 = self.predict_flow2(x)  #                  (B,   2,  8,  8)

        # 2. Middle scale: what is asked for joins in.
        injected = self.injection1(c_L)  #                (B,  16, 16, 16)
        x = self.deconv1(x)  #                            (B,  32, 16, 16)
        if self.config.skips:
            x = x + self.skip1(seen1)
        if x.shape[-2:] != injected.shape[-2:]:  # another size or aspect: the text's maps are stretched over it
            injected = F.interpolate(injected, size=x.shape[-2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, self.upsampled_flow2_to_1(flow2)], dim=1).expand(B, -1, -1, -1)
        x = torch.cat([x, injected.to(x.dtype)], dim=1)  # (B,  50, 16, 16)
        if self.mixing1:
            x = self.merge1(x)
        for block in self.mixing1:
            x = block(x, pooled)
        flow1 = self.predict_flow1(self.inter_conv1(x))  # (B,   2, 16, 16)

        # 3. Up: the flow of every latent cell.
        x = self.deconv0(x)  #                            (B,  16, 32, 32)
        if self.config.skips:
            x = x + self.skip0(seen0)
        x = self.inter_conv0(torch.cat([x, self.upsampled_flow1_to_0(flow1)], dim=1))  # 18 -> 16
        for block in self.mixing0:
            x = block(x, pooled)
        flow0 = self.predict_flow0(x)  #                  (B,   2, 32, 32)

        # 4. tanh ends at 1. As a displacement, 1 is half the grid.
        flows = (flow0.float(), flow1.float(), flow2.float().expand(B, -1, -1, -1))
        if self.config.flow_mode == "absolute":
            return FlowPyramid(*flows)
        flows = tuple(flow * flow.new_tensor([flow.shape[3] / 2, flow.shape[2] / 2])[:, None, None] for flow in flows)

        # 5. And the flow of every place in a cell, for the learnt look-up.
        if self.subcell is None:
            return FlowPyramid(*flows)
        flow, places = self.subcell.refine(image_latents, flows[0], x)
        return FlowPyramid(flow, *flows[1:], places)

    def look_up(self, image_latents: Tensor, flows: FlowPyramid) -> Tensor:
        """z_W of Eq. 6, (B, C, h, w): the latents E(c_I) looked up where `flows`, this network's own, point."""
        how = self.config
        if self.subcell is None:
            return warp(image_latents, flows.flow0, how.flow_mode, how.interpolation)
        return self.subcell(image_latents, flows.flow0, flows.places, how.interpolation)
