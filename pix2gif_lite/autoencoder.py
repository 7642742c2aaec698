"""E and D: pictures to latents and back, as diffusers' AutoencoderKL, with one addition for small machines.

`patch` folds p x p pixels into channels before the first convolution and unfolds them after the last one, so that no
convolution runs at full resolution: that is where a small autoencoder would spend most of its time. Everything else,
`encode(x).latent_dist`, `decode(z).sample`, tiling, saving, is Stable Diffusion's class. It does not know how it is
trained. Paper section 3.2 (the latent of Eq. 3); Rombach et al. 2022.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import Decoder, DecoderOutput
from torch.nn import functional as tf

from .presets import Preset


class PatchAutoencoderKL(AutoencoderKL):
    """AutoencoderKL on pixel-unshuffled pictures; `patch=1` is a plain AutoencoderKL.

    `decoder_channels`: D's widths where they are not E's `block_out_channels`, as many of them; ValueError otherwise.
    Pictures are (B, 3, H, W) in [-1, 1], H and W multiples of `downsampling`; latents (B, latent_channels, h, w) with
    h = H / downsampling, unscaled (`config.scaling_factor` brings them to unit variance).
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",),
        up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",),
        block_out_channels: tuple[int, ...] = (64,),
        layers_per_block: int = 1,
        act_fn: str = "silu",
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        sample_size: int = 32,
        scaling_factor: float = 0.18215,
        shift_factor: float | None = None,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
        force_upcast: bool = True,
        use_quant_conv: bool = True,
        use_post_quant_conv: bool = True,
        mid_block_add_attention: bool = True,
        patch: int = 1,
        decoder_channels: tuple[int, ...] | None = None,
    ):
        super().__init__(
            in_channels * patch**2,
            out_channels * patch**2,
            down_block_types,
            up_block_types,
            block_out_channels,
            layers_per_block,
            act_fn,
            latent_channels,
            norm_num_groups,
            sample_size,
            scaling_factor,
            shift_factor,
            latents_mean,
            latents_std,
            force_upcast,
            use_quant_conv,
            use_post_quant_conv,
            mid_block_add_attention,
        )
        # The parent wrote the folded channel counts into the config; the config speaks of pictures.
        self.register_to_config(in_channels=in_channels, out_channels=out_channels)
        if decoder_channels is not None:
            check_decoder_channels(decoder_channels, len(block_out_channels), norm_num_groups)
            self.decoder = Decoder(
                in_channels=latent_channels,
                out_channels=out_channels * patch**2,
                up_block_types=up_block_types,
                block_out_channels=decoder_channels,
                layers_per_block=layers_per_block,
                norm_num_groups=norm_num_groups,
                act_fn=act_fn,
                mid_block_add_attention=mid_block_add_attention,
            )
        # Tiles are cut from folded pictures.
        self.tile_sample_min_size //= patch
        self.tile_latent_min_size //= patch

    @property
    def downsampling(self) -> int:
        """Pixels a latent cell spans on a side: 4 for lite, 8 for Stable Diffusion."""
        return self.config.patch * 2 ** (len(self.config.block_out_channels) - 1)

    def encode(self, x: torch.Tensor, return_dict: bool = True):
        """(B, 3, H, W) in [-1, 1] -> `AutoencoderKLOutput`, whose `latent_dist.mode()` is (B, 4, h, w).

        Raises ValueError when a side is no multiple of `downsampling`.
        """
        if x.shape[-2] % self.downsampling or x.shape[-1] % self.downsampling:
            height, width = x.shape[-2:]
            raise ValueError(f"A picture of {width} x {height} px: both sides must be multiples of {self.downsampling}.")
        return super().encode(tf.pixel_unshuffle(x, self.config.patch), return_dict=return_dict)

    def decode(self, z: torch.Tensor, return_dict: bool = True, generator: torch.Generator | None = None):
        """Latents (B, 4, h, w) -> `DecoderOutput`, whose `sample` is (B, 3, H, W), about [-1, 1], not clamped."""
        (folded,) = super().decode(z, return_dict=False, generator=generator)
        sample = tf.pixel_shuffle(folded, self.config.patch)
        return DecoderOutput(sample=sample) if return_dict else (sample,)


def build_autoencoder(preset: Preset) -> PatchAutoencoderKL:
    """A randomly initialised E and D of the preset's sizes.

    The folding kind has no attention in the middle (it would cost more than everything else at 32 x 32); `patch=1` is
    Stable Diffusion's architecture, attention included, so that its weights load.
    """
    sizes = preset.autoencoder
    resolutions = len(sizes.channels)
    return PatchAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * resolutions,
        up_block_types=("UpDecoderBlock2D",) * resolutions,
        block_out_channels=sizes.channels,
        layers_per_block=sizes.layers,
        act_fn="silu",
        latent_channels=sizes.latent_channels,
        norm_num_groups=sizes.norm_groups,
        sample_size=preset.image_size,
        mid_block_add_attention=sizes.patch == 1,
        patch=sizes.patch,
    )


def check_decoder_channels(channels: Sequence[int], resolutions: int, norm_groups: int) -> None:
    """Raises ValueError for widths that a D of so many resolutions, normed in groups, cannot have."""
    if len(channels) != resolutions or any(c < 1 or c % norm_groups for c in channels):
        raise ValueError(
            f"A decoder of widths {', '.join(map(str, channels))}: give {resolutions}, one a resolution, the finest first, each"
            f" a multiple of {norm_groups}."
        )


def with_smaller_decoder(vae: PatchAutoencoderKL, channels: Sequence[int]) -> PatchAutoencoderKL:
    """A copy of the autoencoder with the same E and a D of those widths, to be trained: it has some of the old one's channels.

    Of each norm group the first ones stay, and what reads them reads them louder. Float32. Raises ValueError for widths that
    are not the same part of D's own, or that its norm groups do not divide, and for another class, whose config has no place
    for them.
    """
    if type(vae) is not PatchAutoencoderKL:
        raise ValueError(f"A {type(vae).__name__} has a D of E's own widths: a smaller one needs a PatchAutoencoderKL.")
    own, groups = vae.config.decoder_channels or vae.config.block_out_channels, vae.config.norm_num_groups
    check_decoder_channels(channels, len(own), groups)
    part = channels[0] / own[0]
    if part > 1 or any(new != old * part for new, old in zip(channels, own, strict=True)):
        raise ValueError(f"A decoder of widths {tuple(channels)} is not the same part of each of {tuple(own)}, its own.")
    # Not `from_config` of all: diffusers takes what a subclass hands on by position for unset (`_use_default_values`).
    known = inspect.signature(PatchAutoencoderKL).parameters
    sizes = {name: value for name, value in vae.config.items() if name in known}
    with torch.random.fork_rng(devices=[]):  # its random weights are all replaced
        new = PatchAutoencoderKL(**{**sizes, "decoder_channels": tuple(channels)})
    state = new.state_dict()
    for name, value in vae.state_dict().items():
        state[name] = _narrowed(value.float(), state[name].shape, groups)
        if ".to_q." in name and name.startswith("decoder"):  # a sum over fewer channels, divided by the root of their number
            state[name] = state[name] / part**0.5
    new.load_state_dict(state)
    return new


def _narrowed(value: torch.Tensor, shape: torch.Size, groups: int) -> torch.Tensor:
    """A layer's weights for fewer channels in and out: the first of each group, those in (dimension 1) made up for."""
    for dim, size in enumerate(shape):
        if size != value.shape[dim]:
            parts = value.unflatten(dim, (groups, -1)).narrow(dim + 1, 0, size // groups).flatten(dim, dim + 1)
            value = parts * (value.shape[dim] / size if dim == 1 else 1)
    return value
