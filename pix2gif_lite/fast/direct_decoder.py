"""D by a shorter way: the same weights and the same sums, as plain functions with their channels last (see direct_unet.py).

    z -- conv --> x -- residual blocks, each larger than the last --> norm, silu, conv --> picture

For one frame on a CPU, from weights that stay as they are. What it does not know (`is_known`), such as the attention in the
middle of Stable Diffusion's D, goes through diffusers' own `decode`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder, DecoderOutput
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets import unet_2d_blocks as blocks
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from ..autoencoder import PatchAutoencoderKL
from .direct_unet import conv, enlarged, group_norm, is_watched, resnet
from .laid import can_lay, laid

KNOWN = {Decoder, blocks.UNetMidBlock2D, blocks.UpDecoderBlock2D, ResnetBlock2D, Upsample2D}
KNOWN |= {nn.ModuleList, nn.Conv2d, nn.GroupNorm, nn.SiLU, nn.Dropout}


def is_known(vae: nn.Module) -> bool:
    """Is its D of the kind that is written out here?"""
    return type(vae) in (AutoencoderKL, PatchAutoencoderKL) and all(type(part) in KNOWN for part in vae.decoder.modules())


class DirectDecoder(nn.Module):
    """A `vae` whose weights will not change, in its place: it decodes sooner, in its dtype.

    inside: what convolutions multiply in, such as torch.bfloat16, where this CPU can; None: their own dtype.
    """

    def __init__(self, vae: AutoencoderKL, inside: torch.dtype | None = None) -> None:
        super().__init__()
        self.vae, self.inside = vae, inside
        can = is_known(vae) and can_lay(inside or vae.decoder.conv_in.weight.dtype)
        self.parts = tuple(vae.modules()) if can else ()
        self._laid: Any = None

    @property
    def config(self) -> Any:
        """The autoencoder's own."""
        return self.vae.config

    def decode(self, z: Tensor) -> DecoderOutput:
        """As the autoencoder's: latents (B, 4, h, w) -> `sample` (B, 3, H, W)."""
        vae = self.vae
        plain = z.device.type != "cpu" or torch.is_grad_enabled() or vae.training or vae.use_tiling
        if plain or not self.parts or is_watched(self.parts):
            return vae.decode(z)
        if self._laid is None:
            self._laid = laid(vae.decoder, self.inside), laid(vae.post_quant_conv, self.inside)
        folded = decode(*self._laid, z.contiguous(memory_format=torch.channels_last))
        return DecoderOutput(sample=F.pixel_shuffle(folded, vae.config.get("patch", 1)))


def decode(decoder: Any, after: Any | None, z: Tensor) -> Tensor:
    """What D (`laid`) makes of latents (B, 4, h, w), its pixels still folded; after: the convolution before it, or None."""
    x = conv(decoder.conv_in, z if after is None else conv(after, z)).to(z.dtype)
    for part in decoder.mid_block.resnets:
        x = resnet(part, x)
    for block in decoder.up_blocks:
        for part in block.resnets:
            x = resnet(part, x)
        x = enlarged(block, x)
    return conv(decoder.conv_out, F.silu(group_norm(decoder.conv_norm_out, x), inplace=True)).to(z.dtype)
