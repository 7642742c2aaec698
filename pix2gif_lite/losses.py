"""The loss terms of Pix2Gif (section 3.4 of the paper), each a pure function that returns one number.

    L_T = L'_LDM + lambda_P L_P (+ lambda_W L_W + lambda_F L_F + lambda_O L_O + lambda_S L_S)      Eq. 8

    diffusion    L'_LDM  || target - prediction ||^2, target = eps or v    Eq. 3
    perceptual   L_P     sum_k lambda_k || phi_k(a) - phi_k(z_W) ||^2      Eq. 7; a = E(c_I) (the paper) or the target
    warp         L_W     | z_W - target latent |                           ours: it is what makes the flow right
    flow         L_F     | F - exact flow |                                ours: where the data know it, as drawn scenes do
    outline      L_O     - log | O - still |                               ours: what of the source moves, of the same data
    smooth       L_S     | dF/dx | + | dF/dy |                             drawn in the paper's Fig. 4, weight 0

phi is a frozen network on latents: VGG19 (`VGG19Features`, the paper's) or, offline, the first blocks of the
autoencoder's own decoder (`DecoderFeatures`). All means are over everything, in float32.
"""

from __future__ import annotations

import copy
import socket
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .extension import extended
from .lookup import resized, warp
from .reasons import reason

VGG19_LAYERS = (0, 5, 10, 19, 28)  # the first convolution at each of VGG19's five scales
VGG19_SIDE = 16  # cells: VGG19 halves its input four times on the way to the last of them
EPSILON = 0.1  # px: below it an error of a flow counts by its square, and small errors give little gradient
AROUND = 0.25  # weight in L_F of a pixel beyond the outline: F shall go on there, but z_W does not show it
UNSURE = 0.25  # px: shorter flows that are not exactly 0 count neither as moving nor as still in L_O
TIMEOUT = 30.0  # seconds that a server may say nothing while VGG19's weights are fetched; torch.hub would wait for ever


def diffusion_loss(prediction: Tensor, target: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """L'_LDM of Eq. 3: mean squared error of the UNet's prediction against eps or v, both (B, C, h, w).

    `weight` (B, 1, 1, 1): how much each sample's noise level counts; Eq. 3 has none.
    """
    return (weight * (prediction.float() - target.float()).square()).mean()


def perceptual_loss(features_a: Sequence[Tensor], features_b: Sequence[Tensor]) -> Tensor:
    """L_P of Eq. 7 with lambda_k = 1: the mean squared difference of two lists of feature maps, summed over layers."""
    if len(features_a) != len(features_b) or not features_a:
        raise ValueError(f"Lists of {len(features_a)} and {len(features_b)} feature maps: give two of the same length.")
    return sum(F.mse_loss(a.float(), b.float()) for a, b in zip(features_a, features_b, strict=True))


def warp_loss(z_W: Tensor, target: Tensor) -> Tensor:
    """L_W (ours): mean absolute difference of the warped latent and the target frame's latent, both (B, C, h, w)."""
    return F.l1_loss(z_W.float(), target.float())


def flow_loss(flow: Tensor, exact: Tensor, beyond: int = 0) -> Tensor:
    """L_F (ours): mean end-point error of a flow (B, 2, h, w), in its cells, against the exact one (B, 2, S, S), in pixels.

    In pixels of S x S, over all pixels, rounded off at 0 (Charbonnier). Where the exact flow is NaN, unknown, or 0, nothing is
    asked: an edge in the flow is what a network draws worst. `beyond`: so many pixels around what moves the flow is asked to
    go on (extension.py), and counts by `AROUND`; for a look-up that knows from O where the thing ends.
    """
    flow = resized(flow, *exact.shape[-2:])
    moves = asked = (~exact.isnan() & (exact != 0)).any(dim=1, keepdim=True)
    exact = torch.where(moves, exact, 0.0)
    if beyond:
        exact, asked = extended(exact, moves, beyond)
    error = torch.where(asked, flow - exact, 0.0)
    error = (error.square().sum(dim=1, keepdim=True) + EPSILON**2).sqrt() - EPSILON
    return torch.where(moves, error, AROUND * error).mean()


def outline_loss(moving: Tensor, exact: Tensor) -> Tensor:
    """L_O (ours): cross-entropy of O (B, 1, h, w), what of the source moves, 0 .. 1, against the exact flow (B, 2, S, S).

    Every pixel of the later frame that has a known flow says of one place of the source whether it moves: the place where it
    comes from. Flows shorter than a quarter of a pixel but not 0 say nothing. Mean over all pixels of S x S.
    """
    flow = exact.nan_to_num()
    length = flow.square().sum(dim=1, keepdim=True).sqrt()
    known = ~exact.isnan().any(dim=1, keepdim=True) & ((length == 0) | (length >= UNSURE))
    if moving.shape[-1] != exact.shape[-1]:
        moving = F.interpolate(moving, size=exact.shape[-2:], mode="bilinear", align_corners=False)
    there = warp(moving.float(), flow).clamp(1e-6, 1 - 1e-6)
    moves = length > 0
    return -torch.where(known, torch.where(moves, there, 1 - there).log(), 0.0).mean()


def smoothness_loss(flow: Tensor) -> Tensor:
    """L_S: mean absolute difference of neighbouring flow vectors (B, 2, h, w), in cells; 0 for a uniform flow."""
    flow = flow.float()
    return flow.diff(dim=-1).abs().mean() + flow.diff(dim=-2).abs().mean()


def total_loss(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """L_T of Eq. 8: the weighted sum. A term of weight 0 may be missing; ValueError for any other mismatch of names."""
    unknown = [name for name in terms if name not in weights]
    missing = [name for name, weight in weights.items() if weight and name not in terms]
    if unknown or missing:
        raise ValueError(f"Loss terms and weights differ: no weight for {unknown}, no term for {missing}.")
    if not any(weights[name] for name in terms):
        raise ValueError("All loss weights are 0: nothing would be learnt. Give at least one term a weight.")
    return sum(weights[name] * term for name, term in terms.items() if weights[name])


class _FrozenFeatures(nn.Module):
    """A stack of stages that no training changes; every stage's output is a feature map."""

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> _FrozenFeatures:
        """Stays in eval mode whatever the parent module does."""
        return super().train(False)

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Latents (B, 4, h, w) -> one feature map a stage, shallow first. Gradients reach the latents only."""
        features = []
        x = latents
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class DecoderFeatures(_FrozenFeatures):
    """phi made of a copy of the decoder's first blocks: conv_in, the middle's blocks, then the first scale's.

    `vae`: diffusers' AutoencoderKL or one with its attribute names; its `post_quant_conv` comes first where it has one.
    `depth`: how many of these feature maps, None for all. 1 is conv_in alone, a linear map: L_P is then a quadratic form in
    the difference. 2 adds a residual block, in lite a third of what a UNet call costs.
    `scaled`: True when the latents it will get are multiplied by `vae.config.scaling_factor`: it is divided out again.
    Float32 whatever the autoencoder is held in.
    """

    def __init__(self, vae: nn.Module, depth: int | None = 2, scaled: bool = False) -> None:
        decoder = vae.decoder
        first = [vae.post_quant_conv] if getattr(vae, "post_quant_conv", None) is not None else []
        stages: list[nn.Module] = [nn.Sequential(*first, decoder.conv_in)]
        middle = decoder.mid_block
        stages.append(_Residual(middle.resnets[0]))
        for attention, block in zip(middle.attentions, middle.resnets[1:], strict=False):
            stages.append(_Residual(block, attention))
        stages += [_Residual(block) for block in decoder.up_blocks[0].resnets]
        if depth is not None and not 1 <= depth <= len(stages):
            raise ValueError(f"depth {depth} is outside 1 .. {len(stages)}, the blocks at hand.")
        stages = copy.deepcopy(stages[:depth])  # a copy: freezing it must not freeze the autoencoder
        super().__init__([stage.float() for stage in stages])
        self.scale = float(vae.config.scaling_factor) if scaled else 1.0

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Latents (B, 4, h, w) -> `depth` feature maps of the same height and width."""
        return super().forward(latents / self.scale)


class _Residual(nn.Module):
    """One of the decoder's residual blocks, behind an attention if there is one. Its time embedding is None."""

    def __init__(self, block: nn.Module, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.attention = attention
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x if self.attention is None else self.attention(x), None)


class VGG19Features(_FrozenFeatures):
    """phi of the paper: ImageNet's VGG19, first convolution widened to 4 channels; outputs of layers 0, 5, 10, 19, 28.

    `features`: VGG19's convolutional part (torchvision's `vgg19().features`); None loads it with its ImageNet weights.
    Raises ImportError when torchvision is needed and cannot be imported, FileNotFoundError when its weights are neither
    on the disk nor to be downloaded.
    """

    def __init__(self, features: nn.Sequential | None = None) -> None:
        layers = list(copy.deepcopy(_torchvision_vgg19() if features is None else features))
        layers[0] = widen_first_conv(layers[0])
        for layer in layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # in place, the next ReLU would overwrite a feature map already handed out
        ends = [k + 1 for k in VGG19_LAYERS]
        super().__init__([nn.Sequential(*layers[a:b]) for a, b in zip([0, *ends], ends, strict=False)])

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Latents (B, 4, h, w) -> five feature maps, each half the size of the one before. ValueError below 16 x 16.

        In float32 whatever the precision trained in: unscaled latents are large, and fp16 ends at 65504.
        """
        check_vgg19_size(*latents.shape[-2:])
        kind = latents.device.type
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            return super().forward(latents.float())


def check_vgg19_size(height: int, width: int) -> None:
    """ValueError for latents too small for VGG19's four halvings."""
    if min(height, width) < VGG19_SIDE:
        raise ValueError(
            f"Latents of {height} x {width} are too small for the VGG19 loss: it needs {VGG19_SIDE} x {VGG19_SIDE}, or "
            "set perceptual_network='decoder'."
        )


def widen_first_conv(conv: nn.Conv2d) -> nn.Conv2d:
    """A convolution on 3 channels as one on 4: the 4th kernel is the mean of the three, the bias is copied."""
    wide = nn.Conv2d(4, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=conv.bias is not None)
    weight = conv.weight.data
    wide.weight.data[:, :3] = weight
    wide.weight.data[:, 3:] = weight.mean(dim=1, keepdim=True)
    if conv.bias is not None:
        wide.bias.data.copy_(conv.bias.data)
    return wide


def _torchvision_vgg19() -> nn.Sequential:
    """The convolutions of torchvision's VGG19 with its ImageNet weights, read as tensors only: the file is a pickle."""
    try:
        from torchvision.models import VGG19_Weights, vgg19
    except Exception as error:  # one that was built for another torch raises RuntimeError, on a second try AttributeError
        raise ImportError(
            "The VGG19 loss needs torchvision: run `pip install torchvision` or set perceptual_network='decoder' "
            f"({reason(error)})."
        ) from error
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        weights = VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # no network, no space, a damaged file
        raise FileNotFoundError(
            f"The ImageNet weights of VGG19 cannot be had ({reason(error)}): put {VGG19_Weights.IMAGENET1K_V1.url} into "
            f"{torch.hub.get_dir()}/checkpoints or set perceptual_network='decoder'."
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
    network = vgg19(weights=None, init_weights=False)
    network.load_state_dict(weights)
    return network.features
