"""Each term against numbers computed by hand; phi against what diffusers' own decoder computes on its way."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from pix2gif_lite import losses
from pix2gif_lite.presets import LITE


def small_vae(attention: bool, post_quant: bool) -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=attention,
        use_post_quant_conv=post_quant,
        scaling_factor=0.5,
    ).eval()


def small_vgg19() -> nn.Sequential:
    """torchvision's VGG19 layout, a sixteenth as wide, ReLUs in place as there."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (4, 4, 0, 8, 8, 0, 16, 16, 16, 16, 0, 32, 32, 32, 32, 0, 32, 32, 32, 32, 0):  # 0: halve
        if outputs:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = outputs
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


# terms


def test_terms_by_hand() -> None:
    a = torch.tensor([[[[1.0, 2], [3, 4]]]])
    b = torch.tensor([[[[0.0, 2], [5, 4]]]])
    assert losses.diffusion_loss(a, b).item() == (1 + 0 + 4 + 0) / 4
    weight = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)  # the second sample counts three times
    assert losses.diffusion_loss(torch.cat([a, a]), torch.cat([b, 0 * a]), weight).item() == (5 + 3 * 30) / 8
    assert losses.warp_loss(a, b).item() == (1 + 0 + 2 + 0) / 4
    assert losses.perceptual_loss([a, a], [b, 0 * a]).item() == 5 / 4 + 30 / 4
    assert losses.smoothness_loss(a).item() == 1 + 2  # every right neighbour is 1 more, every lower one 2
    assert losses.smoothness_loss(torch.full((2, 2, 4, 5), 7.0)).item() == 0
    exact = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4).clone()  # 5 px long everywhere
    long = (25 + losses.EPSILON**2) ** 0.5 - losses.EPSILON
    assert losses.flow_loss(torch.zeros(1, 2, 4, 4), exact).item() == pytest.approx(long)
    assert losses.flow_loss(exact[..., :2, :2] / 2, exact).item() == pytest.approx(0, abs=1e-6)  # in cells of 2 x 2 px
    exact[..., 0, :] = torch.tensor([torch.nan, torch.nan, 0.0, 0.0])  # a quarter is not known or stands still
    unsure = torch.zeros(1, 2, 4, 4, requires_grad=True)
    loss = losses.flow_loss(unsure, exact)
    loss.backward()
    assert loss.item() == pytest.approx(long * 3 / 4)
    slope = torch.tensor([-3.0, -4.0]) / (long + losses.EPSILON) / 16
    assert (unsure.grad[..., 0, :] == 0).all() and torch.allclose(unsure.grad[0, :, 1, 1], slope)
    low = losses.diffusion_loss(a.bfloat16(), b.bfloat16())
    assert low.dtype == torch.float32 and low.item() == 5 / 4


def test_the_flow_is_asked_to_go_on_beyond_what_moves() -> None:
    exact = torch.zeros(1, 2, 32, 32)
    exact[:, 0, 14:18, 14:18] = 3.0  # a square moves by 3 px; the column beside it is hidden in the source
    exact[..., 14:18, 18] = torch.nan
    reach = torch.zeros(32, 32, dtype=torch.bool)
    reach[6:26, 6:26] = True  # 8 px around the square
    flow = torch.zeros(1, 2, 32, 32, requires_grad=True)
    losses.flow_loss(flow, exact, beyond=8).backward()
    assert torch.equal(flow.grad[0, 0] < 0, reach) and not flow.grad[0, 1].any()
    right = torch.zeros(1, 2, 32, 32)
    right[:, 0] = torch.where(reach, 3.0, -50.0)  # by 3 px within reach, and anything else elsewhere
    assert losses.flow_loss(right, exact, beyond=8).item() == pytest.approx(0, abs=1e-6)
    column = 20 * 52.9 * losses.AROUND / 32**2  # 50 px off, the other way: by hand
    assert losses.flow_loss(right, exact.roll(1, 3), beyond=8).item() == pytest.approx(column, rel=1e-3)


def test_what_moves_is_asked_of_the_place_it_comes_from() -> None:
    exact = torch.zeros(1, 2, 1, 8)
    exact[0, 0, 0] = torch.tensor([0.0, -2.0, -2.0, torch.nan, 0.1, 0.0, 0.0, 0.0])
    exact[0, 1, 0, 3] = torch.nan
    moving = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]).view(1, 1, 1, 8)
    # still: columns 0, 5, 6, 7; moving: 1 and 2, from beyond the edge (0.9) and from 0; not known: 3; neither: 4
    told = [1 - 0.9, 0.9, 0.9, 1 - 0.4, 1 - 0.3, 1 - 0.2]
    assert losses.outline_loss(moving, exact).item() == pytest.approx(-sum(math.log(p) for p in told) / 8)
    assert losses.outline_loss(moving[..., ::2], exact.repeat_interleave(2, 2)).isfinite()  # on a coarser grid
    sure = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert losses.outline_loss(1 - sure, torch.zeros(1, 2, 1, 2)).item() == pytest.approx(-math.log(1e-6) / 2, rel=1e-3)


def test_lists_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="Lists of 1 and 2"):
        losses.perceptual_loss([torch.zeros(1)], [torch.zeros(1)] * 2)
    with pytest.raises(ValueError, match="Lists of 0 and 0"):
        losses.perceptual_loss([], [])


def test_total_is_the_weighted_sum_and_checks_names() -> None:
    values = {"diffusion": 2.0, "perceptual": 30.0, "warp": 0.5, "flow": 4.0, "outline": 3.0}
    terms = {name: torch.tensor(value) for name, value in values.items()}
    total = 1 * 2 + 0.01 * 30 + 0.3 * 0.5 + 0.04 * 4 + 0.02 * 3
    assert losses.total_loss(terms, LITE.loss_weights).item() == pytest.approx(total)
    with pytest.raises(ValueError, match=r"no weight for \['colour'\]"):
        losses.total_loss({**terms, "colour": torch.tensor(1.0)}, LITE.loss_weights)
    with pytest.raises(ValueError, match=r"no term for \['perceptual', 'warp', 'flow', 'outline'\]"):
        losses.total_loss({"diffusion": torch.tensor(2.0)}, LITE.loss_weights)
    with pytest.raises(ValueError, match="All loss weights are 0"):
        losses.total_loss(terms, dict.fromkeys(terms, 0.0))


def test_a_term_of_weight_zero_cannot_spoil_the_sum() -> None:
    terms = {"diffusion": torch.tensor(2.0), "smooth": torch.tensor(float("nan"))}
    assert losses.total_loss(terms, {"diffusion": 1.0, "smooth": 0.0}).item() == 2


# phi from the decoder


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("post_quant", [False, True])
def test_decoder_features_are_the_decoders_own(attention: bool, post_quant: bool) -> None:
    vae = small_vae(attention, post_quant)
    seen = {}

    def keep(name: str):
        return lambda module, inputs, output: seen.__setitem__(name, output)

    block = vae.decoder.up_blocks[0]
    stages = {
        "conv_in": vae.decoder.conv_in,
        "middle 0": vae.decoder.mid_block.resnets[0],
        "middle": vae.decoder.mid_block,
        "up 0": block.resnets[0],
        "up 1": block.resnets[1],
    }
    hooks = [module.register_forward_hook(keep(name)) for name, module in stages.items()]
    z = torch.randn(2, 4, 8, 8)
    vae.decode(z)
    for hook in hooks:
        hook.remove()
    features = losses.DecoderFeatures(vae, depth=None)(z)
    assert len(features) == 2 + 1 + 2
    for feature, name in zip(features, stages, strict=True):
        torch.testing.assert_close(feature, seen[name])
    for feature, scaled in zip(features, losses.DecoderFeatures(vae, scaled=True)(0.5 * z), strict=False):
        torch.testing.assert_close(feature, scaled)  # scaling factor 0.5: the latents divided by it again


def test_decoder_features_are_frozen_and_leave_the_autoencoder_alone() -> None:
    vae = small_vae(attention=False, post_quant=True)
    phi = losses.DecoderFeatures(vae, depth=3).train()
    assert not phi.training and not any(p.requires_grad for p in phi.parameters())
    assert all(p.requires_grad for p in vae.parameters())
    z = torch.randn(1, 4, 8, 8, requires_grad=True)
    features = phi(z)
    assert len(features) == 3
    losses.perceptual_loss(features, phi(torch.zeros(1, 4, 8, 8))).backward()
    assert z.grad.abs().min() > 0
    assert losses.perceptual_loss(phi(z), phi(z)).item() == 0
    with pytest.raises(ValueError, match=r"depth 9 is outside 1 \.\. 5"):
        losses.DecoderFeatures(vae, depth=9)


# phi from VGG19


def test_widened_convolution() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, padding=1)
    wide = losses.widen_first_conv(conv)
    x = torch.randn(2, 4, 6, 6)
    grey = x[:, 3:].expand(-1, 3, -1, -1) / 3  # the mean of three kernels is one third of each
    torch.testing.assert_close(wide(x), conv(x[:, :3]) + conv(grey) - conv.bias[:, None, None])
    assert torch.equal(wide.bias, conv.bias)


def test_vgg_features_are_layers_0_5_10_19_28() -> None:
    vgg = small_vgg19()
    phi = losses.VGG19Features(vgg)
    x = torch.randn(2, 4, 32, 32, requires_grad=True)
    features = phi(x)
    y, expected = losses.widen_first_conv(vgg[0])(x), []
    for k, layer in enumerate(vgg):
        y = y if k == 0 else layer(y.clone())
        if k in (0, 5, 10, 19, 28):
            expected.append(y.clone())
    assert [tuple(f.shape[1:]) for f in features] == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4), (32, 2, 2)]
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    sum(f.sum() for f in features).backward()
    assert x.grad.abs().max() > 0 and not any(p.requires_grad for p in phi.parameters())
    assert vgg[0].in_channels == 3 and vgg[1].inplace  # the given network is left as it was


def test_vgg_features_are_float32_under_autocast() -> None:
    phi = losses.VGG19Features(small_vgg19())
    x = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = phi(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.bfloat16
        features = phi(x)
    for ours, theirs in zip(features, plain, strict=True):
        assert ours.dtype == torch.float32 and torch.equal(ours, theirs)


def test_without_torchvision_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match="needs torchvision: run `pip install torchvision`"):
        losses.VGG19Features()
