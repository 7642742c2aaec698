"""Equal to diffusers' schedulers: schedule, noising, timesteps, and every step of both samplers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler
from torch.testing import assert_close

from pix2gif_lite.diffusion import alphas_cumprod, predict_x0, q_sample, sigmas_for, timesteps_for, velocity
from pix2gif_lite.presets import LITE
from pix2gif_lite.sampling import Branch, Denoiser, dpmpp_2m, euler_ancestral, start

AC = alphas_cumprod(LITE)
SCHEDULE = {
    "num_train_timesteps": LITE.train_timesteps,
    "beta_start": LITE.beta_start,
    "beta_end": LITE.beta_end,
    "beta_schedule": "scaled_linear",
}
KINDS = ("epsilon", "v_prediction")
SPACINGS = ("trailing", "linspace", "leading")
STEPS = (1, 2, 3, 5, 12, 20, 50)


def euler_reference(steps: int, spacing: str, kind: str = "epsilon") -> EulerAncestralDiscreteScheduler:
    scheduler = EulerAncestralDiscreteScheduler(**SCHEDULE, timestep_spacing=spacing, prediction_type=kind)
    scheduler.set_timesteps(steps)
    return scheduler


def dpm_reference(steps: int, spacing: str, kind: str = "epsilon") -> DPMSolverMultistepScheduler:
    scheduler = DPMSolverMultistepScheduler(
        **SCHEDULE,
        timestep_spacing=spacing,
        prediction_type=kind,
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
        lower_order_final=True,
    )
    scheduler.set_timesteps(steps)
    return scheduler


def unet(z, t, image_latents, z_W, c_L):
    """A smooth, non-linear stand-in that mixes pixels and channels and depends on the timestep."""
    mixed = z + 0.5 * z.roll(1, 1) - 0.3 * z.roll(1, 3) + image_latents - z_W + c_L.mean((1, 2)).view(-1, 1, 1, 1)
    return torch.sin(mixed + t.view(-1, 1, 1, 1) / 300) + 0.5 * z


def conditions() -> Branch:
    g = torch.Generator().manual_seed(5)
    return Branch(*(torch.randn(shape, generator=g) for shape in ((2, 4, 16, 16), (2, 4, 16, 16), (2, 77, 8))))


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def latents(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 2, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_schedule_noising_velocity_and_x0(kind):
    reference = DDPMScheduler(**SCHEDULE, prediction_type=kind, clip_sample=False)
    assert torch.equal(AC, reference.alphas_cumprod)
    x0, noise = latents(2)
    for t in (0, 1, 400, 999):
        ts = torch.tensor([t, 999 - t])
        z = q_sample(x0, noise, ts, AC)
        assert_close(z, reference.add_noise(x0, noise, ts), rtol=1e-5, atol=1e-6)
        assert_close(velocity(x0, noise, ts, AC), reference.get_velocity(x0, noise, ts), rtol=1e-5, atol=1e-6)
        theirs = reference.step(noise, t, z[:1].expand(2, -1, -1, -1)).pred_original_sample[0]
        assert relative_error(predict_x0(z, noise, ts, AC, kind)[0], theirs) < 1e-5


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    ("sampler", "reference"), [("euler_ancestral", euler_reference), ("dpmpp_2m", dpm_reference)], ids=["euler", "dpm"]
)
def test_timesteps_and_sigmas(sampler, reference, spacing):
    for steps in [*range(1, 61), 75, 100, 112, 250, 500]:
        scheduler = reference(steps, spacing)
        sigmas, timesteps = sigmas_for(steps, AC, spacing, sampler)
        assert torch.equal(timesteps, scheduler.timesteps.float()), steps
        assert_close(sigmas, scheduler.sigmas, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("sampler", "reference"), [("euler_ancestral", euler_reference), ("dpmpp_2m", dpm_reference)], ids=["euler", "dpm"]
)
def test_the_stated_difference_trailing_has_no_timestep_below_zero(sampler, reference):
    theirs = reference(61, "trailing").timesteps.float().numpy()
    assert len(theirs) == 62 and theirs[-1] == -1
    np.testing.assert_array_equal(timesteps_for(61, 1000, "trailing", sampler), theirs[:-1])


def fed(denoise, xs: list[torch.Tensor]):
    """`denoise`, but each step starts from diffusers' x (put in place of ours, after comparing the two)."""
    left = iter(xs)

    def compare_and_replace(x, sigma):
        theirs = next(left)
        assert relative_error(x, theirs) < 1e-5, sigma
        return denoise(x.copy_(theirs), sigma)

    return compare_and_replace


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_euler_ancestral_step_by_step(kind, spacing, steps):
    scheduler, branch = euler_reference(steps, spacing, kind), conditions()
    sigmas, _ = sigmas_for(steps, AC, spacing, "euler_ancestral")
    # The same noise for both: diffusers draws its own, one tensor a step, from this generator.
    noise = [torch.randn(2, 4, 16, 16, generator=g) for g in [torch.Generator().manual_seed(11)] for _ in range(steps)]
    g = torch.Generator().manual_seed(11)
    xs = [start(latents(1)[0], sigmas)]
    for t in scheduler.timesteps:
        prediction = unet(scheduler.scale_model_input(xs[-1], t), t.repeat(2), *branch)
        xs.append(scheduler.step(prediction, t, xs[-1], generator=g).prev_sample)

    denoise = Denoiser(unet, AC, kind, {"full": branch})
    assert relative_error(euler_ancestral(fed(denoise, xs), xs[0].clone(), sigmas, noise), xs[-1]) < 1e-5
    # Left alone from start to end, rounding has had `steps` steps to grow.
    assert relative_error(euler_ancestral(denoise, xs[0], sigmas, noise), xs[-1]) < 1e-4


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_dpmpp_2m_step_by_step(kind, spacing, steps):
    scheduler, branch = dpm_reference(steps, spacing, kind), conditions()
    sigmas, _ = sigmas_for(steps, AC, spacing, "dpmpp_2m")
    zs = [latents(1)[0]]
    for t in scheduler.timesteps:
        zs.append(scheduler.step(unet(zs[-1], t.repeat(2), *branch), t, zs[-1]).prev_sample)
    xs = [z * (1 + sigma**2).sqrt() for z, sigma in zip(zs, sigmas, strict=True)]  # z_t = x / sqrt(1 + sigma^2)

    denoise = Denoiser(unet, AC, kind, {"full": branch})
    assert relative_error(dpmpp_2m(fed(denoise, xs), xs[0].clone(), sigmas), xs[-1]) < 1e-5
    assert relative_error(dpmpp_2m(denoise, start(zs[0], sigmas), sigmas), xs[-1]) < 1e-4
