"""Samplers: from noise to a latent, by one contract, `denoised = denoise(x, sigma)`, with x = x_0 + sigma noise.

`Denoiser` makes a guided UNet fit the contract; the samplers know nothing else of it. They neither print nor plot: a
`callback(dict)` is told about every step, and may raise to stop. Given the same x and noise they equal diffusers'
schedulers (tests/test_reference.py). The spacing of `sigmas` is chosen in diffusion.py, their last value being 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .diffusion import timestep_of, to_x0
from .guidance import guidance_interval, guide, needed_predictions

Denoise = Callable[[Tensor, float], Tensor]  # (x, sigma) -> denoised, all (B, 4, h, w)
Noise = Callable[[int], Tensor] | Sequence[Tensor]  # step i -> (B, 4, h, w), or (1, 4, h, w) shared by all frames
Callback = Callable[[dict], None]  # gets i (from 0), n, sigma, x (before the step), denoised


class Branch(NamedTuple):
    """What one guidance branch gives the UNet, B frames at once; its z_W comes from its own c_L (guidance.py)."""

    image_latents: Tensor  # E(c_I), (B, 4, h, w); zeros when dropped
    z_W: Tensor | None  # the warped source, (B, 4, h, w); None for the variants without a warp
    c_L: Tensor  # text plus motion, (B, 77, w)


class Denoiser:
    """A UNet and its conditions as `denoised = denoiser(x, sigma)`.

    `model(z_t, t, image_latents, z_W, c_L)` predicts eps or v, (n B, 4, h, w): the n branches that the scales need go
    through it as one batch. `branches` maps the names of guidance.py to `Branch`; more than needed is harmless.
    `interval` (low, high): guide only at low < sigma <= high, elsewhere call the full branch alone; None: always.
    ValueError when a needed branch is missing.
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        alphas_cumprod: Tensor,
        prediction_type: str,
        branches: Mapping[str, Branch],
        s_I: float = 1.0,
        s_T: float = 1.0,
        s_M: float | None = None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        self.model, self.alphas_cumprod, self.prediction_type = model, alphas_cumprod.cpu(), prediction_type
        self.scales, self.interval = (s_I, s_T, s_M), interval
        self.names = needed_predictions(s_I, s_T, s_M)
        needed = self.names if interval is None else (*self.names, "full")
        if missing := [name for name in needed if name not in branches]:
            raise ValueError(f"These guidance scales need the branch {missing[0]!r}: add it to branches.")
        # Stacked once, not at every step.
        parts = zip(*(branches[name] for name in self.names), strict=True)
        self.guided = Branch(*(None if part[0] is None else torch.cat(part) for part in parts))
        self.full = branches.get("full")

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """x (B, 4, h, w) at noise level sigma -> denoised, same shape and dtype."""
        # z        -> z_t, the same latent at variance 1
        # alpha    -> sqrt(a_t),  alpha * sigma -> sqrt(1 - a_t)
        # e        -> e(0,0), e(I,0), ..., eps_theta (Eq. 3) of each branch
        sigma = float(sigma)
        is_guided = self.interval is None or guidance_interval(sigma, *self.interval)
        names, conditions = (self.names, self.guided) if is_guided else (("full",), self.full)
        # 1. from the sampler's x to the UNet's z_t, and the timestep of this noise level
        alpha = 1 / math.sqrt(sigma**2 + 1)
        z = alpha * x
        inputs = z.to(conditions.c_L.dtype).repeat(len(names), 1, 1, 1)
        t = torch.full((len(inputs),), timestep_of(sigma, self.alphas_cumprod), device=x.device)
        # 2. one call for all branches
        e = dict(zip(names, self.model(inputs, t, *conditions).to(x.dtype).chunk(len(names)), strict=True))
        # 3. guide, then solve for x_0
        prediction = guide(e, *self.scales) if is_guided else e["full"]
        return to_x0(z, prediction, alpha, alpha * sigma, self.prediction_type)


def start(noise: Tensor, sigmas: Tensor) -> Tensor:
    """The x that sampling starts from: z_T = noise, of variance 1, in the samplers' units.

    As diffusers' DPM-Solver++. Its Euler leaves out the 1 (x = sigma noise) for "linspace" and "trailing": 0.2% less.
    """
    return noise * (1 + float(sigmas[0]) ** 2) ** 0.5


def euler_ancestral(denoise: Denoise, x: Tensor, sigmas: Tensor, noise: Noise, callback: Callback | None = None) -> Tensor:
    """Ancestral sampling with Euler steps, x (B, 4, h, w), sigmas (n + 1,) falling.

    DDPM's posterior as k-diffusion writes it; Song et al. 2021, appendix F.
    `noise` gives step i its fresh noise, once a step but not on one to sigma = 0: an argument, so that the caller
    decides whether frames share it. First order.
    """
    # x, denoised         -> x_i, D(x_i; sigma_i)
    # sigma, sigma_next   -> sigma_i, sigma_{i+1}
    # sigma_down, sigma_up: go down further than asked, come up by noise; sigma_down^2 + sigma_up^2 = sigma_next^2
    sigmas = sigmas.tolist()
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        # 1. where the noise-free latent seems to lie
        denoised = denoise(x, sigma)
        if callback is not None:
            callback({"i": i, "n": len(sigmas) - 1, "sigma": sigma, "x": x, "denoised": denoised})
        # 2. split the way down: DDPM's posterior variance, sigma_up^2 = sigma_next^2 (1 - sigma_next^2 / sigma^2)
        sigma_down = sigma_next**2 / sigma
        sigma_up = math.sqrt(sigma_next**2 - sigma_down**2)
        # 3. Euler step of dx/dsigma = (x - denoised) / sigma, from sigma to sigma_down
        x = denoised + sigma_down / sigma * (x - denoised)
        # 4. fresh noise
        if sigma_up > 0:
            x = x + sigma_up * (noise(i) if callable(noise) else noise[i])
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2), x (B, 4, h, w), sigmas (n + 1,) falling. Second order.

    Needs no noise. Its step to sigma = 0 is of first order, the answer there being `denoised` itself (diffusers:
    `final_sigmas_type="zero"` with `lower_order_final`); so is the first step, which has no predecessor.
    """
    # x, denoised -> x_i, x_theta(x_i, t_i), in the paper both divided by alpha_i
    # log-SNR / 2 -> lambda_i = -log sigma_i
    # h           -> h_{i+1} = lambda_{i+1} - lambda_i,   r -> r_i = h_i / h_{i+1}
    # D           -> D_i, the denoised latent at the middle of the step, extrapolated from the last two
    sigmas = sigmas.tolist()
    previous, h_previous = None, None
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        # 1. where the noise-free latent seems to lie
        denoised = D = denoise(x, sigma)
        if callback is not None:
            callback({"i": i, "n": len(sigmas) - 1, "sigma": sigma, "x": x, "denoised": denoised})
        # 2. extrapolate it to the middle of the step
        h = math.log(sigma / sigma_next) if sigma_next > 0 else math.inf
        if previous is not None and sigma_next > 0:
            r = h_previous / h
            D = denoised + (denoised - previous) / (2 * r)
        # 3. the exact solution for a constant D; exp(-h) = sigma_next / sigma
        x = D + sigma_next / sigma * (x - D)
        previous, h_previous = denoised, h
    return x


def part_of(callback: Callback, rows: list[int], number: int, parts: int) -> Callback:
    """A callback for part `number` of `parts` of the work, frames `rows`: it adds `frames` and `progress`, the share done."""

    def report(state: dict) -> None:
        callback({**state, "frames": rows, "progress": (number + (state["i"] + 1) / state["n"]) / parts})

    return report


SAMPLERS: dict[str, Callable[..., Tensor]] = {"euler_ancestral": euler_ancestral, "dpmpp_2m": dpmpp_2m}


def get_sampler(name: str) -> Callable[..., Tensor]:
    """The sampler of that name. Raises ValueError naming the known ones."""
    if name not in SAMPLERS:
        raise ValueError(f"Unknown sampler {name!r}: choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def sample(name: str, denoise: Denoise, x: Tensor, sigmas: Tensor, noise: Noise, callback: Callback | None = None) -> Tensor:
    """Run the sampler of that name; `noise` goes unused by one that needs none (dpmpp_2m)."""
    sampler = get_sampler(name)
    extra = {"noise": noise} if sampler is euler_ancestral else {}
    return sampler(denoise, x, sigmas, callback=callback, **extra)
