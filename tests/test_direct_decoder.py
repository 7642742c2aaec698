"""D by its shorter way: diffusers' own answer to rounding, and diffusers' own way for whatever it does not know."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from pix2gif_lite.autoencoder import build_autoencoder
from pix2gif_lite.fast import direct_decoder as module
from pix2gif_lite.fast.direct_decoder import DirectDecoder
from pix2gif_lite.fast.laid import can_lay
from pix2gif_lite.presets import PRESETS, TINY

LARGER = dict(block_out_channels=(8, 16), up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, sample_size=32)
LARGER |= dict(down_block_types=("DownEncoderBlock2D",) * 2)


def stable_diffusions(attention: bool) -> AutoencoderKL:
    """Its class, small: two sizes, so that a block enlarges and one changes its width."""
    return AutoencoderKL(**LARGER, mid_block_add_attention=attention)


VAES = {
    "tiny": lambda: build_autoencoder(TINY),
    "lite": lambda: build_autoencoder(PRESETS["lite"]),
    "two-sizes": lambda: stable_diffusions(False),
}


@pytest.fixture
def ways(monkeypatch):
    """How often the shorter way was gone."""
    gone = []
    monkeypatch.setattr(module, "decode", lambda *given, kept=module.decode: gone.append(1) or kept(*given))
    return gone


def both(vae: AutoencoderKL, z: torch.Tensor, inside: torch.dtype | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return DirectDecoder(vae, inside).decode(z).sample, vae.decode(z).sample


@pytest.mark.parametrize("kind", VAES)
@pytest.mark.parametrize(("batch", "size"), [(1, (32, 32)), (3, (16, 24))])
def test_it_is_diffusers_picture(ways, kind, batch, size):
    torch.manual_seed(0)
    vae = VAES[kind]().eval()
    z = torch.randn(batch, 4, *size)
    direct, expected = both(vae, z)
    assert len(ways) == can_lay() and expected.std() > 0.01
    torch.testing.assert_close(direct, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_it_rounds_convolutions_alone():
    torch.manual_seed(0)
    vae = build_autoencoder(PRESETS["lite"]).eval()
    rounded, expected = both(vae, torch.randn(1, 4, 32, 32), torch.bfloat16)
    assert rounded.dtype == torch.float32
    apart = float((rounded - expected).abs().max() / expected.std())
    assert (1e-4 < apart < 0.1) if can_lay(torch.bfloat16) else apart == 0


def test_what_it_does_not_know_goes_diffusers_way(ways):
    torch.manual_seed(0)
    z = torch.randn(1, 4, 16, 16)
    direct, expected = both(stable_diffusions(True).eval(), z)  # attention in the middle
    assert torch.equal(direct, expected) and not ways
    tiled = stable_diffusions(False).eval()
    tiled.enable_tiling()
    tiled.tile_latent_min_size = 8
    direct, expected = both(tiled, z)
    assert torch.equal(direct, expected) and not ways
    watched, seen = build_autoencoder(TINY).eval(), []
    watched.decoder.conv_in.register_forward_hook(lambda *given: seen.append(1))
    direct, expected = both(watched, z)
    assert torch.equal(direct, expected) and not ways and len(seen) == 2


def test_gradients_go_diffusers_way(ways):
    vae, z = build_autoencoder(TINY), torch.randn(1, 4, 8, 8, requires_grad=True)
    DirectDecoder(vae).decode(z).sample.sum().backward()
    assert z.grad is not None and not ways
