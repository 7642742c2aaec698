"""Samplers against closed-form answers for Gaussian data, and the Denoiser's bookkeeping."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.diffusion import alphas_cumprod, sigmas_for, timestep_of
from pix2gif_lite.guidance import guide
from pix2gif_lite.presets import LITE
from pix2gif_lite.sampling import SAMPLERS, Branch, Denoiser, dpmpp_2m, euler_ancestral, get_sampler, sample, start

AC = alphas_cumprod(LITE)
MEAN, STD = 0.7, 0.5  # the data: x_0 ~ N(MEAN, STD^2)
SIGMA_MAX = 14.0


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def gaussian(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[x_0 | x_0 + sigma noise = x]: the best denoiser there is."""
    return MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)


def geometric(n: int, last: float) -> torch.Tensor:
    return torch.logspace(math.log10(SIGMA_MAX), math.log10(last), n + 1, dtype=torch.float64)


def slope(errors: dict[int, float]) -> float:
    (n_a, error_a), (n_b, error_b) = errors.items()
    return math.log(error_a / error_b) / math.log(n_b / n_a)


def test_dpmpp_2m_converges_at_second_order():
    # dx/dsigma = (x - D) / sigma has the solution x - MEAN ~ sqrt(STD^2 + sigma^2).
    x, last = torch.tensor([[[[9.0]]], [[[-20.0]]]], dtype=torch.float64), 0.05
    exact = MEAN + (x - MEAN) * math.sqrt((STD**2 + last**2) / (STD**2 + SIGMA_MAX**2))
    errors = {n: (dpmpp_2m(gaussian, x, geometric(n, last)) - exact).abs().max().item() for n in (80, 320)}
    assert 1.8 < slope(errors) < 2.4 and errors[320] < 1e-3


def test_euler_ancestral_reaches_the_variance_of_the_data_at_first_order():
    # The sampler is affine in its start and noises, so one-hot noises give its exact output variance.
    errors = {}
    for n in (100, 400):
        sigmas = torch.cat([geometric(n - 1, 0.002), torch.zeros(1, dtype=torch.float64)])
        rows = torch.eye(n + 1, dtype=torch.float64)[:, :, None, None, None]  # row 0: the start, row i + 1: step i
        out = euler_ancestral(gaussian, MEAN + SIGMA_MAX * rows[0], sigmas, lambda i, rows=rows: rows[i + 1])
        gains = (out - MEAN).flatten()
        start_gain = gains[0] / SIGMA_MAX
        variance = start_gain**2 * (STD**2 + SIGMA_MAX**2) + (gains[1:] ** 2).sum()
        errors[n] = abs(variance.item() - STD**2)
    assert 0.8 < slope(errors) < 1.3 and errors[400] < 0.03 * STD**2


def test_one_known_latent_is_reached_exactly_and_the_noise_level_is_kept():
    # With data at a single point the ancestral step keeps x ~ N(MEAN, sigma^2): down^2 + up^2 = next^2.
    def point(x, sigma):
        return torch.full_like(x, MEAN)

    sigmas, _ = sigmas_for(7, AC)
    one, seen = torch.ones(1, 4, 2, 2), []
    no_noise = euler_ancestral(point, start(one, sigmas), sigmas, lambda i: 0 * one, seen.append)
    for before, after in zip(seen, seen[1:], strict=False):
        down = (after["x"] - MEAN) / (before["x"] - MEAN) * before["sigma"]
        fresh = euler_ancestral(point, before["x"], sigmas[before["i"] : before["i"] + 2], lambda i: one)
        up = fresh - after["x"]
        assert_close(down**2 + up**2, after["sigma"] ** 2 * one, rtol=1e-4, atol=1e-6)
    assert torch.equal(no_noise, MEAN * one)
    assert torch.equal(dpmpp_2m(point, start(one, sigmas), sigmas), MEAN * one)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_the_denoiser(name):
    x, sigmas = torch.randn(2, 4, 8, 8), torch.tensor([SIGMA_MAX, 0.0])
    assert torch.equal(sample(name, gaussian, x, sigmas, noise=[]), gaussian(x, SIGMA_MAX))


@pytest.mark.parametrize("name", SAMPLERS)
def test_callback_sees_every_step_and_may_stop(name):
    x, (sigmas, _) = torch.randn(2, 4, 8, 8), sigmas_for(5, AC)
    noise, seen = torch.randn(5, 1, 4, 8, 8), []
    out = sample(name, gaussian, x, sigmas, noise, seen.append)
    assert [info["i"] for info in seen] == [0, 1, 2, 3, 4] and {info["n"] for info in seen} == {5}
    assert [info["sigma"] for info in seen] == sigmas[:-1].tolist()
    assert torch.equal(seen[0]["x"], x) and torch.equal(seen[-1]["denoised"], out)
    for info in seen:
        assert torch.equal(info["denoised"], gaussian(info["x"], info["sigma"]))

    def stop(info):
        if info["i"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(name, gaussian, x, sigmas, noise, stop)
    assert torch.equal(sample(name, gaussian, x, sigmas, noise), out)  # without a callback: the same


def test_noise_is_shared_by_all_frames_or_not_as_the_caller_says():
    sigmas, _ = sigmas_for(6, AC)
    x = torch.randn(1, 4, 8, 8).expand(3, -1, -1, -1)
    shared, own = torch.randn(5, 1, 4, 8, 8), torch.randn(5, 3, 4, 8, 8)
    frames = euler_ancestral(gaussian, x, sigmas, list(shared))
    assert torch.equal(frames[0], frames[1]) and torch.equal(frames[0], frames[2])
    assert torch.equal(frames, euler_ancestral(gaussian, x, sigmas, lambda i: shared[i]))
    assert not torch.allclose(*euler_ancestral(gaussian, x, sigmas, own)[:2])


def test_start_is_unit_noise_for_the_unet():
    noise, (sigmas, _) = torch.randn(2, 4, 8, 8), sigmas_for(3, AC)
    assert_close(start(noise, sigmas) / math.sqrt(sigmas[0].item() ** 2 + 1), noise)


def test_unknown_sampler_names_the_known_ones():
    with pytest.raises(ValueError, match="'ddim'.*euler_ancestral, dpmpp_2m"):
        get_sampler("ddim")


# ---------------------------------------------------------------- Denoiser


class Recorder:
    """A model that is a plain formula of its inputs, and remembers them."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, t, image_latents, z_W, c_L):
        self.calls.append((z, t, image_latents, z_W, c_L))
        mixed = z + image_latents - 2 * z_W + (c_L.mean((1, 2)) + t.to(z.dtype) / 1000).view(-1, 1, 1, 1)
        return torch.tanh(mixed)


def branches(dtype: torch.dtype = torch.float32, frames: int = 2) -> dict[str, Branch]:
    g = torch.Generator().manual_seed(3)

    def randn(*shape):
        return torch.randn(*shape, generator=g).to(dtype)

    return {
        name: Branch(randn(frames, 4, 8, 8), randn(frames, 4, 8, 8), randn(frames, 77, 16))
        for name in ("none", "image", "text", "full")
    }


@pytest.mark.parametrize("scales", [(1.0, 1.0, None), (1.8, 7.5, None), (1.8, 7.5, 2.0), (0.0, 0.0, None)])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_denoiser_guides_each_branch_with_its_own_conditions(kind, scales):
    model, parts, x, sigma = Recorder(), branches(), torch.randn(2, 4, 8, 8), 2.5
    denoised = Denoiser(model, AC, kind, parts, *scales)(x, sigma)
    z, t = x / math.sqrt(1 + sigma**2), torch.full((2,), timestep_of(sigma, AC))
    one_by_one = {name: Recorder()(z, t, *branch) for name, branch in parts.items()}
    e = guide(one_by_one, *scales)
    alpha, s = 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)
    expected = (z - s * e) / alpha if kind == "epsilon" else alpha * z - s * e
    assert_close(denoised, expected, rtol=1e-4, atol=1e-4)
    assert len(model.calls) == 1


def test_denoiser_calls_only_the_branches_that_count():
    sizes = {(1, 1, None): 2, (1, 1, 1): 2, (1, 1.5, None): 4, (1.8, 7.5, None): 6, (1.8, 7.5, 2): 8, (1.8, 1.8, 1): 6}
    for scales, size in sizes.items():
        model = Recorder()
        Denoiser(model, AC, "epsilon", branches(), *scales)(torch.randn(2, 4, 8, 8), 1.0)
        assert [len(z) for z, *_ in model.calls] == [size]


def test_guiding_x0_is_guiding_the_prediction():
    parts, x = branches(), torch.randn(2, 4, 8, 8)
    for kind in ("epsilon", "v_prediction"):
        single = {name: Denoiser(Recorder(), AC, kind, {"full": part})(x, 1.3) for name, part in parts.items()}
        guided = Denoiser(Recorder(), AC, kind, parts, 1.8, 7.5)(x, 1.3)
        assert_close(guided, guide(single, 1.8, 7.5), rtol=1e-4, atol=1e-4)


def test_outside_its_interval_guidance_is_off_and_costs_nothing():
    model, parts, x = Recorder(), branches(), torch.randn(2, 4, 8, 8)
    limited = Denoiser(model, AC, "v_prediction", parts, 1.8, 7.5, interval=(0.5, 5.0))
    plain = Denoiser(Recorder(), AC, "v_prediction", {"full": parts["full"]})
    guided = Denoiser(Recorder(), AC, "v_prediction", parts, 1.8, 7.5)
    for sigma, other in [(0.3, plain), (0.5, plain), (2.0, guided), (5.0, guided), (9.0, plain)]:
        assert torch.equal(limited(x, sigma), other(x, sigma))
    assert [len(z) for z, *_ in model.calls] == [2, 2, 6, 6, 2]


def test_half_precision_models_keep_the_sampler_in_float32():
    model, parts, x = Recorder(), branches(torch.bfloat16), torch.randn(2, 4, 8, 8)
    out = Denoiser(model, AC, "v_prediction", parts, 1.8, 7.5)(x, 1.0)
    z, t, *conditions = model.calls[0]
    assert z.dtype == torch.bfloat16 and t.dtype == out.dtype == torch.float32
    # bfloat16 rounds the model's output once, not the guided sum again
    e = dict(zip(("none", "image", "full"), Recorder()(z, t, *conditions).float().chunk(3), strict=True))
    assert_close(out, x / 2 - guide(e, 1.8, 7.5) / math.sqrt(2), rtol=1e-5, atol=1e-5)


def test_variants_without_a_warp_get_none():
    def no_warp(z, t, image_latents, z_W, c_L):
        assert z_W is None
        return z + image_latents

    parts = {name: part._replace(z_W=None) for name, part in branches().items()}
    x, e = torch.randn(2, 4, 8, 8), {name: part.image_latents for name, part in parts.items()}
    out = Denoiser(no_warp, AC, "epsilon", parts, 1.8, 7.5)(x, 1.0)
    assert_close(out, x - (x / math.sqrt(2) + guide(e, 1.8, 7.5)), rtol=1e-5, atol=1e-5)


def test_a_missing_branch_is_named():
    with pytest.raises(ValueError, match="'none'"):
        Denoiser(Recorder(), AC, "epsilon", {"full": branches()["full"]}, 1.8, 1.8)
    with pytest.raises(ValueError, match="'full'"):
        Denoiser(Recorder(), AC, "epsilon", {"image": branches()["image"]}, 1.0, 0.0, interval=(0.1, 1.0))
