"""A second look-up, of the picture itself (ours, lite's default): moved along the same flow, and encoded.

    a    = what stays                                              subcell.py; 0 where the flow does not know
    z_E  = E((1 - a) WNet(c_I, F) + a c_I)                         the picture looked up, between its own pixels
    z_W  = (1 - share) WNet(E(c_I), F) + share z_E

The first looks up in a latent, whose cells have forgotten some of the picture: it learns to make up for that, and is wrong
wherever it did not. The second forgets nothing, and gives latents as E makes them, but of a picture that looking between pixels
has blurred a little. They are wrong in different ways, so along FNet's flow a mean of both is nearer to E of the later frame
than either. Along a flow of 0 both are E(c_I). It costs one E for every prediction that sees the picture, which is one a frame
without guidance; lite-turbo, which is to be quick, does without.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lookup import resized, warp
from .warping import FlowPyramid

AT_ONCE = 16  # pictures that E encodes in one call


def carried(picture: Tensor, flows: FlowPyramid, interpolation: str = "bicubic") -> Tensor:
    """A picture (B, C, H, W) moved along displacements (B, ...) of whatever grids, the backdrop left where it is; float32."""
    H, W = picture.shape[-2:]
    moved = warp(picture.float(), resized(flows.finest, H, W), interpolation=interpolation)
    if flows.places is None:
        return moved
    stays = flows.places.staying.float()
    if stays.shape[-2:] != (H, W):
        stays = F.interpolate(stays, size=(H, W), mode="bilinear", align_corners=False)
    return torch.lerp(moved, picture.float(), stays)


class SecondLook:
    """E of a picture, wherever flows carry it, as a share of z_W."""

    def __init__(self, vae: nn.Module, picture: Tensor, scale: float = 1.0, share: float = 0.4) -> None:
        """picture (1 or B, 3, H, W) in [-1, 1], as it was given to `vae` for E(c_I); scale: what E's latents are multiplied by
        before FNet and the UNet see them; share: how much of z_W is E's, 0 .. 1, ValueError otherwise."""
        self.vae, self.picture, self.scale, self.share = vae, picture, scale, check_share(share)

    def __call__(self, z_W: Tensor, flows: FlowPyramid, interpolation: str = "bicubic") -> Tensor:
        """z_W (B, C, h, w) of the learnt look-up along `flows` -> z_W of both. That of a dropped picture, all 0, stays 0."""
        picture, dtype = self.picture.to(z_W.device).expand(len(z_W), -1, -1, -1), next(self.vae.parameters()).dtype
        moved = carried(picture, flows, interpolation).clamp(-1, 1).to(dtype)
        parts = (self.vae.encode(part).latent_dist.mode() for part in moved.split(AT_ONCE))
        there = (z_W != 0).flatten(1).any(dim=1)[:, None, None, None]  # (B, 1, 1, 1)
        return torch.lerp(z_W, self.scale * torch.cat([*parts]).to(z_W), self.share * there.to(z_W))


def check_share(share: float) -> float:
    """The share as it is; ValueError for what is no share."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ValueError(f"second_look={share!r} is no share of z_W: give a number from 0 (none) to 1.")
    return share
