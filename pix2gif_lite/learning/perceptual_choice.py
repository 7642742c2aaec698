"""Which network the perceptual loss looks with, chosen before a run starts: what a run was trained with must be known.

The paper's is ImageNet's VGG19, from torchvision; where that cannot be had, the decoder's own first blocks stand in, and
a warning says so. This file only chooses: the networks are losses.py's, and the job refuses a preset that says "auto".
"""

from __future__ import annotations

import warnings

from ..losses import VGG19Features, check_vgg19_size
from ..presets import Preset

NETWORKS = ("auto", "vgg19", "decoder")


def uses_perceptual(preset: Preset) -> bool:
    """Whether L_P is part of the loss: it is what the variant "full" adds, where its weight is not 0."""
    return preset.variant == "full" and bool(preset.loss_weights.get("perceptual"))


def choose_perceptual(preset: Preset) -> Preset:
    """The preset with `perceptual_network` "vgg19" or "decoder", which it keeps where it says so already.

    "auto" is VGG19 where torchvision can be imported and its ImageNet weights (550 MB, downloaded once) can be loaded;
    else the decoder, with a UserWarning. Without L_P in the loss nothing is looked for, and "auto" is "decoder".
    Raises ValueError for another word, and where "vgg19" is asked for latents below 16 x 16; ImportError and
    FileNotFoundError, with what to do, where it is asked for and cannot be had.
    """
    if preset.perceptual_network not in NETWORKS:
        raise ValueError(f"Unknown perceptual_network {preset.perceptual_network!r}: choose one of {', '.join(NETWORKS)}.")
    if preset.perceptual_network == "decoder":
        return preset
    if not uses_perceptual(preset):
        return preset if preset.perceptual_network == "vgg19" else preset.with_changes(perceptual_network="decoder")
    try:
        check_vgg19_size(preset.latent_size, preset.latent_size)
        VGG19Features()
    except (ImportError, OSError, ValueError) as error:
        if preset.perceptual_network == "vgg19":
            raise
        warnings.warn(f"The perceptual loss looks with the decoder instead of VGG19: {error}", stacklevel=2)
        return preset.with_changes(perceptual_network="decoder")
    return preset.with_changes(perceptual_network="vgg19")
