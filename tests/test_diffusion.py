"""The schedule, the noising and its inverse, and the choice of timesteps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.diffusion import (
    SPACINGS,
    alphas_cumprod,
    from_residual,
    predict_x0,
    q_sample,
    residual_variance,
    sigmas_for,
    timestep_of,
    timesteps_for,
    velocity,
)
from pix2gif_lite.presets import LITE

AC = alphas_cumprod(LITE)
SAMPLERS = ("euler_ancestral", "dpmpp_2m")


def latents(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 5, 4, 8, 8, generator=g, dtype=torch.float64)
    return x0, noise, torch.tensor([0, 1, 500, 998, 999])


def test_the_schedule_is_the_product_of_scaled_linear_betas():
    product, roots = 1.0, np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000)
    for t, root in enumerate(roots):
        product *= 1 - root**2
        if t in (0, 1, 499, 999):
            assert AC[t].item() == pytest.approx(product, rel=1e-5)
    assert AC.shape == (1000,) and AC.dtype == torch.float32 and (AC.diff() < 0).all()


def test_q_sample_keeps_unit_variance_and_mixes_by_the_schedule():
    x0, noise, t = latents()
    for i, step in enumerate(t.tolist()):
        a = AC[step].item()
        expected = math.sqrt(a) * x0[i] + math.sqrt(1 - a) * noise[i]
        assert_close(q_sample(x0, noise, t, AC)[i], expected, rtol=1e-6, atol=1e-6)
    assert_close(AC + (1 - AC), torch.ones(1000))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_predict_x0_undoes_q_sample(kind):
    x0, noise, t = latents(1)
    prediction = noise if kind == "epsilon" else velocity(x0, noise, t, AC)
    assert_close(predict_x0(q_sample(x0, noise, t, AC), prediction, t, AC, kind), x0, rtol=1e-4, atol=1e-5)


def test_velocity_is_the_derivative_along_the_noising_angle():
    # z(phi) = cos(phi) x_0 + sin(phi) noise, so v = dz/dphi (Salimans and Ho 2022, appendix D).
    x0, noise, t = latents(2)
    phi, h = torch.atan2((1 - AC[t]).sqrt(), AC[t].sqrt()).double().view(-1, 1, 1, 1), 1e-5
    z_above, z_below = ((phi + s).cos() * x0 + (phi + s).sin() * noise for s in (h, -h))
    assert_close(velocity(x0, noise, t, AC), (z_above - z_below) / (2 * h), rtol=1e-5, atol=1e-5)


def test_half_precision_stays_half():
    x0, noise, t = (a.half() if a.is_floating_point() else a for a in latents())
    assert q_sample(x0, noise, t, AC).dtype == velocity(x0, noise, t, AC).dtype == torch.float16


def test_the_table_of_timesteps_in_the_docs():
    table = {
        ("trailing", "euler_ancestral"): [999, 749, 499, 249],
        ("trailing", "dpmpp_2m"): [999, 749, 499, 249],
        ("linspace", "euler_ancestral"): [999, 666, 333, 0],
        ("linspace", "dpmpp_2m"): [999, 749, 500, 250],
        ("leading", "euler_ancestral"): [750, 500, 250, 0],
        ("leading", "dpmpp_2m"): [800, 600, 400, 200],
    }
    for (spacing, sampler), expected in table.items():
        assert timesteps_for(4, 1000, spacing, sampler).tolist() == expected


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_step_count_falls_to_zero_and_never_below(spacing, sampler):
    for steps in [*range(1, 130), 457, 500, 997, 998, 999]:
        sigmas, timesteps = sigmas_for(steps, AC, spacing, sampler)
        assert sigmas.shape == (steps + 1,) and timesteps.shape == (steps,), steps
        assert sigmas[-1] == 0 and (sigmas.diff() < 0).all() and timesteps.min() >= 0, steps


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_timestep_of_inverts_sigmas_for(spacing, sampler):
    sigmas, timesteps = sigmas_for(23, AC, spacing, sampler)
    back = [timestep_of(sigma, AC) for sigma in sigmas[:-1].tolist()]
    whole = timesteps == timesteps.round()
    assert_close(torch.tensor(back), timesteps, rtol=0, atol=2e-4)
    assert torch.equal(torch.tensor(back)[whole], timesteps[whole])


@pytest.mark.parametrize("steps", [0, -1, 1000, 2.5, float("nan"), "12", None])
def test_bad_step_counts_are_refused_by_name(steps):
    with pytest.raises(ValueError, match=f"steps is {steps}: give a whole number from 1 to 999"):
        sigmas_for(steps, AC)


def test_unknown_names_are_refused_with_the_known_ones():
    x0, noise, t = latents()
    with pytest.raises(ValueError, match="'karras'.*trailing, linspace, leading"):
        sigmas_for(5, AC, "karras")
    with pytest.raises(ValueError, match="'heun'.*euler_ancestral, dpmpp_2m"):
        sigmas_for(5, AC, "trailing", "heun")
    with pytest.raises(ValueError, match="'sample'.*epsilon, v_prediction"):
        predict_x0(x0, noise, t, AC, "sample")


@pytest.mark.parametrize("t", [0, 60, 499, 999])
def test_a_silent_residual_is_the_best_guess_of_a_normal_distribution(t):
    spread = 0.15
    g = torch.Generator().manual_seed(1)
    guess, change, noise = torch.randn(3, 64, 4, 16, 16, generator=g)
    x0, times = guess + spread * change, torch.full((64,), t)
    z_t = q_sample(x0, noise, times, AC)
    v = from_residual(torch.zeros_like(guess), z_t, guess, times, AC, spread)
    # E[x_0 | z_t], from the precisions of prior and observation, not from the formula in the code
    a_t = AC[t].double()
    prior, seen = 1 / spread**2, a_t / (1 - a_t)
    mean = (prior * guess.double() + seen * z_t.double() / a_t.sqrt()) / (prior + seen)
    assert_close(predict_x0(z_t, v, times, AC, "v_prediction").double(), mean, atol=2e-4, rtol=1e-3)
    # what the output has to say has variance 1 at every noise level, and the weight makes its squared error equal there
    _, D = residual_variance(times, AC, spread)
    wanted = (velocity(x0, noise, times, AC) - v) * D.sqrt() / spread
    assert wanted.var().item() == pytest.approx(1, abs=0.03)
    right = from_residual(wanted, z_t, guess, times, AC, spread)
    assert_close(right, velocity(x0, noise, times, AC), atol=1e-4, rtol=1e-3)


def test_a_residual_at_pure_noise_is_the_guess_and_reads_fractional_times():
    guess, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    t = torch.full((3,), 999)
    v = from_residual(torch.zeros_like(guess), noise, guess, t, AC, 0.15)
    assert_close(predict_x0(noise, v, t, AC, "v_prediction"), guess, atol=0.01, rtol=0)
    a_t, _ = residual_variance(torch.tensor([998.5, 999.0]), AC, 0.15)
    assert_close(a_t.flatten(), torch.stack([(AC[998] + AC[999]) / 2, AC[999]]))
    whole = from_residual(noise, noise, guess, t, AC, 1.0)  # a spread of 1: v less its own -sqrt(1 - a_t) x_0
    assert_close(whole, noise - (1 - AC[999]).sqrt() * guess)
