"""The autoencoder against diffusers' AutoencoderKL, of which it is a thin extension."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from pix2gif_lite.autoencoder import PatchAutoencoderKL, build_autoencoder, with_smaller_decoder
from pix2gif_lite.presets import LITE, PAPER, TINY

SIZES = dict(
    down_block_types=("DownEncoderBlock2D",) * 2,
    up_block_types=("UpDecoderBlock2D",) * 2,
    block_out_channels=(16, 16),
    norm_num_groups=8,
    mid_block_add_attention=False,
)


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_equals_diffusers_class_on_folded_pictures(patch):
    torch.manual_seed(0)
    ours = PatchAutoencoderKL(patch=patch, **SIZES)
    plain = AutoencoderKL(in_channels=3 * patch**2, out_channels=3 * patch**2, **SIZES)
    plain.load_state_dict(ours.state_dict())
    x = pictures(2, 16 * patch, 8 * patch)
    folded = x.unflatten(-1, (-1, patch)).unflatten(-3, (-1, patch))  # (B, 3, h, p, w, p)
    folded = folded.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)  # channel, then row, then column of the patch
    z = ours.encode(x).latent_dist.mode()
    assert z.shape == (2, 4, 8, 4)
    torch.testing.assert_close(z, plain.encode(folded).latent_dist.mode())
    decoded = plain.decode(z).sample
    assert ours.decode(z).sample.shape == x.shape
    torch.testing.assert_close(F.pixel_unshuffle(ours.decode(z).sample, patch), decoded)
    torch.testing.assert_close(ours.decode(z, return_dict=False)[0], ours.decode(z).sample)
    torch.testing.assert_close(ours(x).sample, ours.decode(z).sample)  # the parent's forward goes through both


def test_save_and_load_are_equal_to_the_bit(tmp_path):
    torch.manual_seed(0)
    saved = build_autoencoder(TINY).eval()
    saved.register_to_config(scaling_factor=0.25)
    saved.save_pretrained(tmp_path)
    loaded = PatchAutoencoderKL.from_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    assert loaded.config.patch == TINY.autoencoder.patch
    assert loaded.config.scaling_factor == 0.25
    assert loaded.config.in_channels == loaded.config.out_channels == 3
    x = pictures(1, 64, 32)
    with torch.no_grad():
        assert torch.equal(
            saved.decode(saved.encode(x).latent_dist.mode()).sample,
            loaded.decode(loaded.encode(x).latent_dist.mode()).sample,
        )


@pytest.mark.parametrize("preset", [LITE, TINY])
def test_latents_have_the_presets_size(preset):
    vae = build_autoencoder(preset).eval()
    with torch.no_grad():
        z = vae.encode(pictures(1, preset.image_size, preset.image_size)).latent_dist.mode()
        wide = vae.encode(pictures(1, preset.image_size, 2 * preset.image_size)).latent_dist.mode()
    assert z.shape == (1, preset.autoencoder.latent_channels, preset.latent_size, preset.latent_size)
    assert wide.shape[-2:] == (preset.latent_size, 2 * preset.latent_size)
    assert vae.downsampling == preset.image_size // preset.latent_size
    assert not any(hasattr(module, "to_q") for module in vae.modules())  # no attention


def test_paper_preset_is_stable_diffusions_autoencoder():
    with torch.device("meta"):  # counted, not computed
        vae = build_autoencoder(PAPER)
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863  # the published size of Stable Diffusion's
    assert vae.downsampling == 8
    names = dict(vae.named_parameters())
    assert names["encoder.conv_in.weight"].shape == (128, 3, 3, 3)
    assert names["decoder.mid_block.attentions.0.to_q.weight"].shape == (512, 512)


def test_a_picture_that_does_not_divide_is_refused():
    vae = build_autoencoder(TINY)
    with pytest.raises(ValueError, match=f"30 x 32 px.*multiples of {vae.downsampling}"):
        vae.encode(pictures(1, 32, 30))


@torch.no_grad()
def test_tiles_cover_a_large_picture():
    torch.manual_seed(0)
    vae = build_autoencoder(TINY).eval()
    x = pictures(1, 128, 128)
    whole = vae.decode(vae.encode(x).latent_dist.mode()).sample
    vae.enable_tiling()
    z = vae.encode(x).latent_dist.mode()
    tiled = vae.decode(z).sample
    assert z.shape[-2:] == (32, 32) and tiled.shape == x.shape
    # Norms see a tile instead of the picture, so the two are alike, not equal; tiles in wrong places would not be.
    assert torch.corrcoef(torch.stack([tiled.flatten(), whole.flatten()]))[0, 1] > 0.8


def test_every_parameter_learns():
    torch.manual_seed(0)
    vae = build_autoencoder(TINY)
    x = pictures(2, 32, 32)
    posterior = vae.encode(x).latent_dist
    loss = (vae.decode(posterior.sample()).sample - x).abs().mean() + 1e-3 * posterior.kl().mean()
    loss.backward()
    assert [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@torch.no_grad()
@pytest.mark.parametrize("widths", [(8,), (8, 16)])
def test_a_smaller_decoder_starts_as_the_old_one_where_channels_were_double(tmp_path, widths):
    """A D whose channels come in pairs of the same is one of half the width: without a loss, to rounding."""
    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * len(widths), "up_block_types": ("UpDecoderBlock2D",) * len(widths)}
    sizes = {**kinds, "block_out_channels": tuple(2 * w for w in widths), "norm_num_groups": 8, "patch": 2}
    sizes |= {"mid_block_add_attention": len(widths) > 1, "scaling_factor": 0.25}
    double, half = PatchAutoencoderKL(**sizes).eval(), PatchAutoencoderKL(**sizes, decoder_channels=widths)
    state = double.state_dict()
    for name, value in half.state_dict().items():
        for dim, (old, new) in enumerate(zip(state[name].shape, value.shape, strict=True)):
            if old != new:  # each channel twice, within its group
                twice = value.unflatten(dim, (8, -1))
                value = torch.cat([twice, twice], dim + 1).flatten(dim, dim + 1) / (2 if dim == 1 else 1)
        if ".to_q." in name and name.startswith("decoder"):
            value = value / 2**0.5  # its product with a key is a sum over twice as many, divided by the root of their number
        state[name] = value
    double.load_state_dict(state)
    z, before = torch.randn(2, 4, 8, 12), torch.get_rng_state()
    small = with_smaller_decoder(double, list(widths))
    assert torch.equal(torch.get_rng_state(), before)
    assert small.decoder.conv_in.weight.shape[0] == widths[-1] and 3 * count(small.decoder) < count(double.decoder)
    for name, value in small.state_dict().items():  # the half, taken out again
        torch.testing.assert_close(value, half.state_dict()[name] if name.startswith("decoder") else state[name])
    torch.testing.assert_close(small.decode(z).sample, double.decode(z).sample)

    x = pictures(1, 64, 32)
    assert torch.equal(small.encode(x).latent_dist.mode(), double.encode(x).latent_dist.mode())
    small.save_pretrained(tmp_path)
    loaded = PatchAutoencoderKL.from_pretrained(tmp_path)
    assert loaded.config.scaling_factor == double.config.scaling_factor and loaded.downsampling == double.downsampling
    assert loaded.state_dict().keys() == small.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in small.state_dict().items())


def test_widths_that_a_smaller_decoder_cannot_have_are_refused():
    vae = build_autoencoder(TINY)
    for widths, words in (
        ((8, 8), "give 1, one a resolution"),
        ((12,), "multiple of 8"),
        ((24,), "not the same part"),
        ((0,), "of 8"),
    ):
        with pytest.raises(ValueError, match=words):
            with_smaller_decoder(vae, widths)
    with pytest.raises(ValueError, match="A AutoencoderKL has a D of E's own widths"):
        with_smaller_decoder(AutoencoderKL(**SIZES), (8, 8))
    with pytest.raises(ValueError, match="multiple of 8"):
        PatchAutoencoderKL(**SIZES, decoder_channels=(12, 12))


def count(part: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
