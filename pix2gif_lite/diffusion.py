"""The diffusion process (paper section 3.2): adding noise, what a prediction means, the noise levels sampling visits.

Two ways to write one noisy latent:

    z_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise       a_t = alphas_cumprod[t]; what the UNet sees, of variance near 1
    x   = x_0 + sigma noise                         what the samplers see (Karras et al. 2022, section 2)
    x   = z_t sqrt(1 + sigma^2),   sigma = sqrt((1 - a_t) / a_t)

(sampling.py goes from the one to the other at each step; here `sigma` beside `alpha` is sqrt(1 - a_t), else that of x.)
Plain functions of tensors: this file knows no network, no guidance and no sampler's update rule.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from .presets import Preset

PREDICTION_TYPES = ("epsilon", "v_prediction")
SPACINGS = ("trailing", "linspace", "leading")  # Lin et al. 2023, Table 2
# How many points at the low end of diffusers' grid are no steps: of DPM-Solver++ one (sigma = 0 stands there), of Euler none.
GRID_ENDS = {"euler_ancestral": 0, "dpmpp_2m": 1}


def alphas_cumprod(preset: Preset) -> Tensor:
    """a_t = prod_{s <= t} (1 - beta_s), float32 (T,), falling from almost 1; "scaled-linear" betas (section 4.1).

    In float32 from the first line on, as in every Stable Diffusion checkpoint: 1 - a_0 is 8.5e-4, so that a product
    taken in float64 and rounded at the end would differ from theirs in the fifth digit of sigma_0.
    """
    # roots -> sqrt(beta_t), the part that is linear in t
    roots = torch.linspace(preset.beta_start**0.5, preset.beta_end**0.5, preset.train_timesteps, dtype=torch.float32)
    return torch.cumprod(1 - roots**2, dim=0)


def _alpha_sigma(alphas_cumprod: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(a_t) and sqrt(1 - a_t) of each sample, (B, 1, 1, 1), on the device and in the dtype of `like`."""
    a_t = alphas_cumprod.to(like.device)[t.to(like.device)].view(-1, *[1] * (like.ndim - 1))
    return a_t.sqrt().to(like), (1 - a_t).sqrt().to(like)


def q_sample(x0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """z_t ~ q(z_t | x_0), (B, C, h, w): the clean latent x0 with noise of level t, int64 (B,) in 0 .. T - 1."""
    alpha, sigma = _alpha_sigma(alphas_cumprod, t, x0)
    return alpha * x0 + sigma * noise


def velocity(x0: Tensor, noise: Tensor, t: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """v = sqrt(a_t) noise - sqrt(1 - a_t) x_0, (B, C, h, w) (Salimans and Ho 2022): the target of `v_prediction`."""
    alpha, sigma = _alpha_sigma(alphas_cumprod, t, x0)
    return alpha * noise - sigma * x0


def residual_variance(t: Tensor, alphas_cumprod: Tensor, spread: float) -> tuple[Tensor, Tensor]:
    """a_t and D = a_t s^2 + (1 - a_t), the variance of z_t where x_0 has spread s; both (B, 1, 1, 1), t (B,) or fractional.

    D is also the weight of a timestep in the loss on v: lambda = 1 / c_out^2 of Karras et al. 2022, Table 1, times s^2.
    """
    a, low = alphas_cumprod.to(t.device), t.long()
    a_t = torch.lerp(a[low], a[(low + 1).clamp(max=len(a) - 1)], (t - low).float()).view(-1, 1, 1, 1)
    return a_t, a_t * spread**2 + (1 - a_t)


def from_residual(output: Tensor, z_t: Tensor, guess: Tensor, t: Tensor, alphas_cumprod: Tensor, spread: float) -> Tensor:
    """v of a UNet whose output says how x_0 differs from a guess: all (B, C, h, w), t (B,), perhaps fractional.

    The preconditioning of Karras et al. 2022 (Eq. 7), with the guess where theirs has the mean 0: were x_0 normal around
    `guess` with standard deviation `spread`, output = 0 would be the best prediction at every noise level, and the output
    that is asked for would have variance 1 at each. At pure noise it is x_0 = guess - spread * output.
    A dropped picture has the guess 0, from which x_0 is much further than `spread`: there the output is larger, and so is the
    loss (docs/history.md says what came of a spread of 1).
    """
    # s -> spread,   mean -> E[x_0 | z_t] of that normal = guess + a_t s^2 / D (z_t / sqrt(a_t) - guess)
    a_t, D = residual_variance(t, alphas_cumprod, spread)
    alpha, sigma = a_t.sqrt(), (1 - a_t).sqrt()
    # 1. the v of that mean, (sqrt(a_t) z_t - mean) / sqrt(1 - a_t); float32, or half precision would blur the guess
    known = sigma / D * (alpha * (1 - spread**2) * z_t.float() - guess.float())
    # 2. what the UNet adds, times c_out
    return known + spread / D.sqrt() * output.float()


def to_x0(z: Tensor, prediction: Tensor, alpha: Tensor | float, sigma: Tensor | float, prediction_type: str) -> Tensor:
    """The x_0 that a prediction implies for z = alpha x_0 + sigma noise, alpha^2 + sigma^2 = 1.

    Affine in the prediction: guiding predictions whose weights sum to 1 is guiding x_0. ValueError on an unknown type.
    """
    if prediction_type == "epsilon":
        return (z - sigma * prediction) / alpha
    if prediction_type == "v_prediction":
        return alpha * z - sigma * prediction
    raise ValueError(f"Unknown prediction_type {prediction_type!r}: choose one of {', '.join(PREDICTION_TYPES)}.")


def predict_x0(z_t: Tensor, prediction: Tensor, t: Tensor, alphas_cumprod: Tensor, prediction_type: str) -> Tensor:
    """The x_0 that the UNet's prediction at z_t implies, (B, C, h, w); t int64 (B,). Inverse of `q_sample`."""
    return to_x0(z_t, prediction, *_alpha_sigma(alphas_cumprod, t, z_t), prediction_type)


def noise_levels(alphas_cumprod: Tensor) -> np.ndarray:
    """sigma of each training timestep, (T,) ascending; float32 values held in float64 (see `timestep_of`)."""
    a = alphas_cumprod.detach().float().cpu()
    return (((1 - a) / a) ** 0.5).double().numpy()


def timesteps_for(steps: int, train_timesteps: int, spacing: str = "trailing", sampler: str = "dpmpp_2m") -> np.ndarray:
    """The timesteps that sampling visits, float64 (steps,), falling: those of diffusers' scheduler of that sampler.

    For T = 1000 and 4 steps (steps_offset 0, diffusers' default):

        spacing    euler_ancestral    dpmpp_2m
        trailing   999 749 499 249    999 749 499 249    starts at pure noise at any step count: best for few steps
        linspace   999 666 333 0      999 749 500 250    Euler's may be fractions, DPM-Solver++'s are rounded
        leading    750 500 250 0      800 600 400 200    starts below the top

    So the samplers differ in whether t = 0 is a step. It makes Euler at 1 step with "linspace" or "leading" start at
    t = 0, where nothing is left to denoise: use "trailing" there. For some counts (61 is the first) diffusers'
    "trailing" rounds itself into one timestep too many, t = -1; here there are always `steps`.
    ValueError for steps outside 1 .. T - 1, an unknown spacing or sampler.
    """
    if sampler not in GRID_ENDS:
        raise ValueError(f"Unknown sampler {sampler!r}: choose one of {', '.join(GRID_ENDS)}.")
    if spacing not in SPACINGS:
        raise ValueError(f"Unknown spacing {spacing!r}: choose one of {', '.join(SPACINGS)}.")
    if not isinstance(steps, Integral) or not 1 <= steps < train_timesteps:
        raise ValueError(f"steps is {steps}: give a whole number from 1 to {train_timesteps - 1}.")
    points = steps + GRID_ENDS[sampler]
    if spacing == "trailing":
        return np.arange(train_timesteps, 0, -train_timesteps / steps)[:steps].round() - 1
    if spacing == "leading":
        return (np.arange(points) * (train_timesteps // points))[::-1][:steps].astype(float)
    grid = np.linspace(0, train_timesteps - 1, points)[::-1][:steps]
    return grid.round() if sampler == "dpmpp_2m" else grid.copy()


def sigmas_for(
    steps: int, alphas_cumprod: Tensor, spacing: str = "trailing", sampler: str = "dpmpp_2m"
) -> tuple[Tensor, Tensor]:
    """The noise levels that sampling visits: sigmas (steps + 1,), falling and ending in 0, and timesteps (steps,).

    Both float32 on the CPU, where the samplers read them as Python numbers. The last step goes to sigma = 0 exactly
    (diffusers' `final_sigmas_type="zero"`), that is, to the denoised latent. Errors as `timesteps_for`.
    """
    # t     -> timesteps, perhaps fractional
    # sigma -> levels, linear in t between two training timesteps
    levels = noise_levels(alphas_cumprod)
    # 1. choose the timesteps
    timesteps = timesteps_for(steps, len(levels), spacing, sampler)
    # 2. read their noise levels, and end without noise
    sigmas = np.append(np.interp(timesteps, np.arange(len(levels)), levels), 0.0)
    return torch.from_numpy(sigmas).float(), torch.from_numpy(timesteps).float()


def timestep_of(sigma: float, alphas_cumprod: Tensor) -> float:
    """The (fractional) timestep whose noise level is sigma: the inverse of `sigmas_for`, clamped to 0 .. T - 1.

    Exact on whole timesteps, since both directions read the same float32 values of sigma.
    """
    levels = noise_levels(alphas_cumprod)
    return float(np.interp(sigma, levels, np.arange(len(levels))))
