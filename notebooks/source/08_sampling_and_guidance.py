# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     gpuType: T4
#   jupytext:
#     formats: ipynb,source//py:percent
#     notebook_metadata_filter: kernelspec,jupytext,accelerator,colab
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Sampling and guidance
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/08_sampling_and_guidance.ipynb)
#
# A trained UNet only says what noise is in a latent. A sampler turns that into a picture; guidance decides whom it listens to.
#
# **You will learn**
# - which noise levels a sampler visits, and how Euler ancestral and DPM-Solver++(2M) step between them;
# - the three predictions e(0,0), e(I,0), e(I,T), and what the scales s_I and s_T do with them;
# - why the authors' guidance never amplifies $c_M$, and what our third scale s_M changes.
#
# **In the paper:** section 4.1 (Euler ancestral, 100 steps, s_T = 7.5, s_I = 1.8); the formula is InstructPix2Pix, section 3.2.1.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $x = x_0 + \sigma\,n$ | what the samplers see | `x` (B, 4, h, w) |
# | $\sigma_i$ | noise level of step i, falling to 0 | `sigmas` (steps + 1,) |
# | $D(x;\sigma)$ | the denoised latent | `denoised` |
# | $e(0,0), e(I,0), e(I,T)$ | the UNet with nothing, with the picture, with picture and text | `"none"`, `"image"`, `"full"` |
# | $s_I, s_T, s_M$ | guidance scales of picture, text, motion; 1 = no guidance | `s_I`, `s_T`, `s_M` |

# %%
# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    # %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/OWNER/pix2gif-lite@v0.1.0" av imagehash peft
    pass

# %% [markdown]
# ## Set-up

# %%
import inspect

import torch

from pix2gif_lite import Pix2GifPipeline, diffusion, guidance, sampling

pipe = Pix2GifPipeline.from_pretrained("lite")

# %% [markdown]
# One frame is enough here: a held-out scene, its caption, one motion. Text, flow and warp do not depend on the noise, so they are
# computed once for each guidance branch (`branches.py`). Only the UNet runs at every step.

# %%
from pix2gif_lite.branches import make_branches
from pix2gif_lite.metrics import psnr
from pix2gif_lite.scenes import sample_scenes
from pix2gif_lite.text import NULL_PROMPT, encode_text, motion_prompt, tokenize

scene, m = sample_scenes(1, "val", seed=3)[0], 12
rest, exact = scene.at(0).image, scene.at(m).image  # (1, 3, 128, 128) each
scaling = pipe.vae.config.scaling_factor
AC = diffusion.alphas_cumprod(pipe.config)


@torch.no_grad()
def encode(picture):
    return pipe.vae.encode(picture).latent_dist.mode() * scaling  # (1, 4, 32, 32)


@torch.no_grad()
def decode(z):
    return pipe.vae.decode(z / scaling).sample.clamp(-1, 1)  # (B, 3, 128, 128)


@torch.no_grad()
def conditions(s_M=None):
    texts = [motion_prompt(scene.caption, m), NULL_PROMPT, scene.caption]
    c_T = encode_text(pipe.text_encoder, tokenize(pipe.tokenizer, texts))  # (3, 77, 256)
    E = encode(rest) if pipe.config.scale_image_latents else encode(rest) / scaling
    return make_branches(pipe.model, guidance.BRANCHES, E, c_T[:1], c_T[1], torch.tensor([m]), s_M, c_T[2])[0]


PAPER_BRANCHES, OUR_BRANCHES = conditions(), conditions(s_M=1.0)  # c_M everywhere | c_M in the full branch alone
CELLS = tuple(encode(rest).shape[1:])  # (4, 32, 32)
print(scene.caption, "| m =", m, "| latent", CELLS)

# %% [markdown]
# ## The idea
# **Noise levels.** Sampling starts at the largest $\sigma$ and visits a few levels down to 0. Each step asks the UNet where the clean
# latent seems to lie, $D(x;\sigma)$, and moves towards it along $dx/d\sigma = (x - D)/\sigma$.
#
# **Euler ancestral** goes down too far, to $\sigma_\downarrow$, and comes up by fresh noise:
# $$\sigma_\uparrow^2 = \sigma_{i+1}^2\,(1 - \sigma_{i+1}^2/\sigma_i^2), \qquad \sigma_\downarrow^2 + \sigma_\uparrow^2 = \sigma_{i+1}^2$$
# $$x_{i+1} = D + \tfrac{\sigma_\downarrow}{\sigma_i}(x_i - D) + \sigma_\uparrow n_i$$
# **DPM-Solver++(2M)** adds no noise and extrapolates $D$ from the last two steps: second order for the same number of UNet calls.
#
# **Guidance** walks from "knows nothing" to "knows all", one scale a link:
# $$\epsilon = e(0,0) + s_I\,[e(I,0) - e(0,0)] + s_T\,[e(I,T) - e(I,0)]$$
# At $s_I = s_T = 1$ everything but $e(I,T)$ cancels: one prediction, no guidance. That is lite's default.

# %% [markdown]
# The spacing decides where the steps lie. Below for Euler: "trailing" starts at pure noise and leaves the last stretch to $D$ itself;
# "linspace" spends a step on $t = 0$; "leading" starts below the top, where the latent is not yet pure noise.

# %%
from pix2gif_lite.viz import line_chart
from pix2gif_lite.widgets import Embedded

curves = {}
for spacing in diffusion.SPACINGS:
    sigmas, timesteps = diffusion.sigmas_for(10, AC, spacing, "euler_ancestral")  # (11,), (10,)
    curves[spacing] = (range(10), sigmas[:10])
chart = line_chart(curves, "step", "sigma", "Ten noise levels, three spacings (sigma = 0 follows)", log="y", marker="o")
Embedded(chart, alt="Noise levels of ten steps, falling, for three spacings")

# %% tags=["nbval-check-output"]
for name in sampling.SAMPLERS:
    print(f"{name:16}", diffusion.sigmas_for(4, AC, "trailing", name)[1].int().tolist(), "trailing")
    print(f"{'':16}", diffusion.sigmas_for(4, AC, "linspace", name)[1].int().tolist(), "linspace")

# %% [markdown]
# Which sampler is more exact? Take data whose perfect denoiser is known: a normal distribution of standard deviation $s$. Then
# $D(x;\sigma) = x\,s^2/(s^2+\sigma^2)$, and following the ODE without error from $x$ at $\sigma$ ends at $x\,s/\sqrt{s^2+\sigma^2}$.
# No weights are involved, only the samplers.
#
# With two steps both are the same sampler: DPM-Solver++(2M) takes its first step without a predecessor, and its last one, to 0, is
# $D$ itself. Every step between is of second order, so it pulls away as the steps grow; the first-order last step stays.

# %%
s = 0.8


def perfect(x, sigma):
    return x * s**2 / (s**2 + sigma**2)


noise = torch.randn(1, *CELLS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
counts, errors = [2, 4, 8, 16, 32, 64], {"Euler, no fresh noise": [], "DPM-Solver++(2M)": []}
for n in counts:
    sigmas, _ = diffusion.sigmas_for(n, AC, "linspace", "dpmpp_2m")
    x = sampling.start(noise, sigmas)
    truth = x * s / (s**2 + float(sigmas[0]) ** 2) ** 0.5
    errors["DPM-Solver++(2M)"].append(float((sampling.dpmpp_2m(perfect, x, sigmas) - truth).abs().mean()))
    for now, after in zip(sigmas.tolist(), sigmas.tolist()[1:], strict=False):
        x = perfect(x, now) + after / now * (x - perfect(x, now))
    errors["Euler, no fresh noise"].append(float((x - truth).abs().mean()))
curves = {k: (counts, v) for k, v in errors.items()}
chart = line_chart(curves, "steps", "mean error", "Error on normal data", log="y", marker="o")
Embedded(chart, alt="Error over the number of steps: DPM-Solver++(2M) lies below Euler from four steps on")

# %% [markdown]
# **The three predictions.** The exact frame's latent gets noise, and each branch says which $x_0$ it sees in it. Dropped picture means
# $E(c_I) = 0$ and so $z_W = 0$; dropped text means the empty prompt.

# %%
from pix2gif_lite.sheets import contact_sheet

sigma = 6.0
n = torch.randn(1, *CELLS, generator=torch.Generator().manual_seed(1))
noisy = encode(exact) + sigma * n  # x at this level
alpha = 1 / (1 + sigma**2) ** 0.5
t = torch.tensor([diffusion.timestep_of(sigma, AC)])
with torch.no_grad():
    e = {name: pipe.model(alpha * noisy, t, *PAPER_BRANCHES[name]) for name in ("none", "image", "full")}  # (1, 4, 32, 32) each
x0 = {k: diffusion.to_x0(alpha * noisy, v, alpha, alpha * sigma, pipe.config.prediction_type) for k, v in e.items()}
print({k: f"{float(psnr(decode(v), exact)):.1f} dB" for k, v in x0.items()})
names = ["source", "exact frame", "e(0,0)", "e(I,0)", "e(I,T)"]
sheet = contact_sheet([[rest, exact, *[decode(v) for v in x0.values()]]], None, names, 128)
Embedded(sheet, alt="Source, exact frame, and what each of three predictions takes for the clean picture")

# %% [markdown]
# ## By hand
# The guidance formula, and one Euler ancestral step from the first noise level to the second.


# %%
def guide_by_hand(e, s_I, s_T):
    return e["none"] + s_I * (e["image"] - e["none"]) + s_T * (e["full"] - e["image"])


def euler_ancestral_step(x, denoised, sigma, sigma_next, noise):
    sigma_up = (sigma_next**2 * (1 - sigma_next**2 / sigma**2)) ** 0.5
    sigma_down = (sigma_next**2 - sigma_up**2) ** 0.5
    slope = (x - denoised) / sigma  # dx / dsigma
    return x + slope * (sigma_down - sigma) + sigma_up * noise


# %% [markdown]
# ## Compared with the package
# The same start, prediction and fresh noise go to our step, to `sampling.euler_ancestral` and to diffusers' scheduler.

# %%
from diffusers import EulerAncestralDiscreteScheduler

for scales in ((1.8, 7.5), (1.0, 1.0), (0.0, 0.0), (5.0, 20.0)):
    torch.testing.assert_close(guide_by_hand(e, *scales), guidance.guide(e, *scales), rtol=1e-4, atol=1e-4)

kind = pipe.config.prediction_type
sigmas, _ = diffusion.sigmas_for(10, AC, "trailing", "euler_ancestral")
denoise = torch.no_grad()(sampling.Denoiser(pipe.model, AC, kind, PAPER_BRANCHES, s_I=1.8, s_T=7.5))
first, fresh = (torch.randn(1, *CELLS, generator=torch.Generator().manual_seed(k)) for k in (0, 11))
x = sampling.start(first, sigmas)
mine = euler_ancestral_step(x, denoise(x, sigmas[0]), float(sigmas[0]), float(sigmas[1]), fresh)

seen = []  # x before each step, told by the sampler's callback
sampling.euler_ancestral(denoise, x, sigmas, lambda i: fresh, lambda state: seen.append(state["x"]))

betas = {"beta_start": pipe.config.beta_start, "beta_end": pipe.config.beta_end, "beta_schedule": "scaled_linear"}
theirs = EulerAncestralDiscreteScheduler(**betas, timestep_spacing="trailing", prediction_type=kind)
theirs.set_timesteps(10)
t = theirs.timesteps[0]
z = theirs.scale_model_input(x, t)  # x / sqrt(1 + sigma^2): what the UNet sees
with torch.no_grad():
    e_now = {name: pipe.model(z, t[None], *PAPER_BRANCHES[name]) for name in ("none", "image", "full")}
step = theirs.step(guide_by_hand(e_now, 1.8, 7.5), t, x, generator=torch.Generator().manual_seed(11)).prev_sample

torch.testing.assert_close(mine, seen[1], rtol=1e-4, atol=1e-4)
torch.testing.assert_close(mine, step, rtol=1e-3, atol=2e-3)  # x is large here, and s_T multiplies float32's rounding

# %% tags=["nbval-check-output"]
print("weights of the branches at s_I = 1.8, s_T = 7.5:")
print({name: round(w, 2) for name, w in guidance.branch_weights(1.8, 7.5).items()})
print("needed at (1, 1):", guidance.needed_predictions(1, 1), " at (1.8, 7.5):", guidance.needed_predictions(1.8, 7.5))

# %% [markdown]
# ## The source
# The package collects the formula by prediction, so that a branch of weight 0 is never computed.

# %%
print(inspect.getsource(guidance.guide))
print(inspect.getsource(sampling.euler_ancestral))

# %% [markdown]
# ## Slide
# First the plane as a sheet: one frame, one seed, five steps of DPM-Solver++(2M). s_I grows downwards, s_T to the right.


# %%
@torch.no_grad()
def sample_latent(sampler="dpmpp_2m", steps=5, s_I=1.0, s_T=1.0, s_M=None, seed=0):  # compute
    sigmas, _ = diffusion.sigmas_for(int(steps), AC, "trailing", sampler)
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(int(steps) + 1, 1, *CELLS, generator=g)
    branches = PAPER_BRANCHES if s_M is None else OUR_BRANCHES
    denoise = sampling.Denoiser(pipe.model, AC, kind, branches, s_I, s_T, s_M)
    return sampling.sample(sampler, denoise, sampling.start(noise[0], sigmas), sigmas, noise[1:])  # (1, 4, 32, 32)


def sample_frame(*args, **kwargs):
    return decode(sample_latent(*args, **kwargs))


s_Is, s_Ts = (0.0, 1.0, 1.8, 4.0), (0.0, 1.0, 3.0, 7.5, 20.0)
plane = [[sample_frame(s_I=a, s_T=b) for b in s_Ts] for a in s_Is]
sheet = contact_sheet(plane, [f"s_I = {a:g}" for a in s_Is], [f"s_T = {b:g}" for b in s_Ts], 96)
Embedded(sheet, alt="The same frame at four image scales and five text scales")

# %%
from pix2gif_lite.viz import heatmap

quality = [[float(psnr(frame, exact)) for frame in row] for row in plane]
chart = heatmap(quality, s_Is, s_Ts, "s_I", "s_T", "PSNR against the exact frame, dB", numbers=True)
Embedded(chart, alt="PSNR of every picture of the sheet")

# %% [markdown]
# Scales belong to a model. The paper's 1.8 and 7.5 were found for a UNet that grew out of Stable Diffusion's, trained in the manner of InstructPix2Pix; lite's defaults were measured
# on its own. With s_I = 0 the picture is heard only in $e(I,T) - e(I,0)$, in what the text changes about it, and the background is
# lost; s_I above 1 exaggerates what the picture adds.

# %%
from pix2gif_lite.presets import SLIDERS, Slider
from pix2gif_lite.widgets import Explorer


def draw(sampler, steps, s_I, s_T):
    frame = sample_frame(sampler, steps, s_I, s_T)
    return [
        contact_sheet([[rest, exact, frame]], None, ["source", "exact", "sampled"], 160),
        f"{float(psnr(frame, exact)):.1f} dB",
    ]


few = Slider(1, 30, 1, 5, "steps", SLIDERS["steps"].help)
explorer = Explorer(
    draw,
    live=False,
    alt="Source, exact frame and sampled frame",
    sampler=list(sampling.SAMPLERS),
    steps=few,
    s_I=SLIDERS["s_I"],
    s_T=SLIDERS["s_T"],
)
explorer

# %%
calm = float(explorer.set(sampler="dpmpp_2m", steps=5, s_I=1.0, s_T=1.0)[1].split()[0])
wild = float(explorer.set(s_T=20.0)[1].split()[0])
print(f"s_T = 1: {calm:.1f} dB    s_T = 20: {wild:.1f} dB")
assert wild < calm, "a large s_T leaves the exact frame"
Embedded(explorer.set(s_T=1.0)[0], alt="Source, exact frame and the frame at s_T = 1")

# %% [markdown]
# **Motion in the null prompt, and s_M.** The paper does not say what the null branches know of the motion. The authors' code adds $c_M$
# to the empty prompt too, and every branch warps with its own $c_L$. So $c_M$ stands on both sides of $e(I,T) - e(I,0)$: however large
# $s_T$, guidance strengthens the words (the number as a word among them), not $c_M$. Our option drops $c_M$ with the text and gives it a link of its own:
# $$\epsilon = e(0,0,0) + s_I[e(I,0,0) - e(0,0,0)] + s_T[e(I,T,0) - e(I,0,0)] + s_M[e(I,T,M) - e(I,T,0)]$$
# Below, `image` is c_L without words. How far is it from the empty prompt's c_T?

# %%
with torch.no_grad():
    null = encode_text(pipe.text_encoder, tokenize(pipe.tokenizer, [NULL_PROMPT]))
gap = {"authors' code": PAPER_BRANCHES["image"].c_L - null, "with s_M": OUR_BRANCHES["image"].c_L - null}
print({k: f"{float(v.norm()):.3f}" for k, v in gap.items()})

rows = [[sample_frame(s_T=k) for k in (1, 2, 4)], [sample_frame(s_M=k) for k in (1, 2, 4)]]
labels = ["authors' branches: s_T = 1, 2, 4", "motion dropped with the text: s_M = 1, 2, 4 (s_I = s_T = 1)"]
Embedded(contact_sheet(rows, labels, None, 128), alt="Frames for growing s_T, and for growing s_M")

# %%
from pix2gif_lite.canvas import to_pil
from pix2gif_lite.motion import motion_magnitudes

for label, row in zip(labels, rows, strict=True):
    measured = motion_magnitudes(to_pil(rest[0]), [to_pil(frame[0]) for frame in row])
    print(label, "-> measured", [f"{v:.1f}" for v in measured], "px, asked", m)

# %% [markdown]
# Where a frame breaks up, as in the first row at s_T = 4, its measured motion says little. And s_M cannot move things as far as you
# like: four times the scale is not four times the way. The flow that makes $z_W$ is not guided, each branch has its own. s_M pushes the
# frame away from what the branch without a motion number draws. That is an exaggeration of a difference of pictures, not of a distance.
#
# ## Where it fails
# s_T = 20: the sum of weights is 1, but the weights themselves are 20 and -19. Whatever the two predictions disagree on by accident is
# multiplied too. The latent leaves the range the autoencoder knows (compare its largest value with the exact frame's), colours saturate
# and edges ring.

# %%
scales = (1.0, 3.0, 7.5, 20.0)
latents = [sample_latent(s_T=k) for k in scales]
frames = [decode(z) for z in latents]
print("largest |value|: exact", f"{float(encode(exact).abs().max()):.1f}", [f"{float(z.abs().max()):.1f}" for z in latents])
broken = [float(psnr(frame, exact)) for frame in frames]
print({f"s_T = {k:g}": f"{v:.1f} dB" for k, v in zip(scales, broken, strict=True)})
sheet = contact_sheet([[exact, *frames]], None, ["exact", *[f"s_T = {k:g}" for k in scales]], 128)
Embedded(sheet, alt="The frame breaks as s_T grows to 20")

# %% [markdown]
# ## Exercises
# **1.** At s_I = 1, s_T = 0, which prediction is left? Put its name in `answer`.

# %%
answer = "full"  # edit: "none", "image" or "full"
left = guidance.needed_predictions(1.0, 0.0)
print("Right." if (answer,) == left else "Not yet: write down the three weights at s_I = 1, s_T = 0.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `"image"`: the weights are 1 - s_I = 0, s_I - s_T = 1 and s_T = 0. The caption is not heard at all.
# </details>
#
# **2.** How many times does the UNet see one frame in the paper's setting: 100 steps at s_I = 1.8, s_T = 7.5?

# %%
answer = 100  # edit
right = 100 * len(guidance.needed_predictions(1.8, 7.5))
print("Right." if answer == right else "Not yet: each step needs every branch whose weight is not 0.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 300: three branches at each of 100 steps. Lite's default is one branch in one step: a single call.
# </details>
#
# ## Recap
# - A sampler is a walk down a list of sigmas. Ancestral steps add noise back; DPM-Solver++(2M) does not and is of second order.
# - Guidance is a weighted sum of predictions whose weights sum to 1. At scales of 1 it costs nothing.
# - Motion in the null prompt cancels out of the guidance; s_M gives it a scale of its own. Too large a scale breaks the picture.
#
# Next: `09_make_it_move`.

# %%
# What this notebook taught, checked
assert errors["DPM-Solver++(2M)"][2] < errors["Euler, no fresh noise"][2]  # second order pays
assert abs(sum(guidance.branch_weights(1.8, 7.5).values()) - 1) < 1e-9
assert float(gap["authors' code"].norm()) > 0 and float(gap["with s_M"].norm()) == 0
torch.testing.assert_close(sample_frame(s_M=1.0), sample_frame(), rtol=0, atol=0)  # all scales 1: the full branch alone
assert broken[-1] < broken[0]
