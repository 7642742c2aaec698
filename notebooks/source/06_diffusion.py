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
# # 06 · Diffusion
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/06_diffusion.ipynb)
#
# A frame's latent is drowned in noise, and a UNet learns to say what was there. This notebook takes that apart: how much noise, what
# exactly the UNet is asked, what it sees, and why not simply ask for the frame.
#
# **You will learn**
# - the noise schedule, `q_sample`, and how $x_0$ follows from a prediction of the noise or of the velocity;
# - the UNet's 12 input channels, the conditions dropped in training, and `residual`: asking only how the frame differs from $z_W$;
# - why a regression answers an open caption with a blur, and what unscaled latents do to the noise levels.
#
# **In the paper:** section 3.2, Eq. 3. `residual` is ours, after Karras et al. 2022, section 5 and Eq. 7.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $x_0$ | the later frame's latent, scaled to variance near 1 | `x0` (B, 4, 32, 32) |
# | $a_t$ | share of the signal's variance left at timestep t, $\prod_{s \le t} (1-\beta_s)$ | `AC[t]` |
# | $z_t$ | noisy latent, $\sqrt{a_t}\,x_0 + \sqrt{1-a_t}\,\epsilon$ | `z_t` |
# | $\epsilon, v$ | noise; velocity $\sqrt{a_t}\,\epsilon - \sqrt{1-a_t}\,x_0$ | `noise`, `v` |
# | $E(c_I), z_W$ | source latent, warped source latent | `E`, `z_W` |
# | $s$ | how far $x_0$ lies from $z_W$, as a standard deviation | `preset.residual` |
# | $D$ | decoder | `decode` |

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
from pix2gif_lite import Pix2GifPipeline, diffusion, guidance
from pix2gif_lite.presets import PRESETS

pipe = Pix2GifPipeline.from_pretrained("lite")

# %% [markdown]
# A held-out scene at rest and moved, their latents, and what the model makes of caption and motion: $c_L$, then $z_W$.

# %%
from pix2gif_lite.metrics import psnr
from pix2gif_lite.scenes import draw as draw_scenes
from pix2gif_lite.scenes import sample_scenes
from pix2gif_lite.sheets import Embedded, contact_sheet
from pix2gif_lite.text import motion_prompt, tokenize

AC, kind = diffusion.alphas_cumprod(pipe.config), pipe.config.prediction_type  # (1000,)
scaling, model = pipe.vae.config.scaling_factor, pipe.model


@torch.no_grad()
def encode(picture):
    return pipe.vae.encode(picture).latent_dist.mode() * scaling  # (B, 4, 32, 32)


@torch.no_grad()
def decode(z):
    return pipe.vae.decode(z / scaling).sample.clamp(-1, 1)  # (B, 3, 128, 128)


@torch.no_grad()
def conditions(source, captions, motions):
    """E(c_I), z_W and c_L of a batch: all the UNet sees besides z_t."""
    E = encode(source) if pipe.config.scale_image_latents else encode(source) / scaling
    prompts = [motion_prompt(caption, m) for caption, m in zip(captions, motions, strict=True)]
    c_L = model.condition(tokenize(pipe.tokenizer, prompts), torch.tensor(motions))  # (B, 77, 256)
    return E, model.warp(E, c_L)[1], c_L


def randn(count=1, seed=0):
    return torch.randn(count, 4, 32, 32, generator=torch.Generator().manual_seed(seed))


scene, m = sample_scenes(1, "val", seed=9)[0], 14
rest, exact = scene.at(0).image, scene.at(m).image  # (1, 3, 128, 128) each
x0, noise = encode(exact), randn()
E, z_W, c_L = conditions(rest, [scene.caption], [m])
print(scene.caption, "| m =", m, "| spread of x_0:", f"{float(x0.std()):.2f}")
Embedded(contact_sheet([[rest, exact, decode(z_W)]], None, ["source", "exact frame", "D(z_W)"], 128), alt="Source, frame, warp")

# %% [markdown]
# ## The idea
# Take the frame's latent, add noise of a random level t, show it to a UNet together with the source picture and the text, and ask which
# noise it was (Eq. 3):
# $$z_t = \sqrt{a_t}\,x_0 + \sqrt{1-a_t}\,\epsilon \qquad L'_{LDM} = \mathbb{E}\,\lVert \epsilon - \epsilon_\theta(z_t, t, E(c_I), c_T, c_M)\rVert^2$$
# (LDM: latent diffusion model; the prime is the paper's, for the motion that is in it; $z_W$ comes below.) Who knows the noise knows the frame: $x_0 = (z_t - \sqrt{1-a_t}\,\epsilon)/\sqrt{a_t}$. At high noise that divides by almost nothing.
# So lite asks for the velocity $v$ instead (Salimans and Ho 2022), from which $x_0 = \sqrt{a_t}\,z_t - \sqrt{1-a_t}\,v$, with no division.
#
# The schedule is Stable Diffusion's: 1000 levels, $\beta$ from 0.00085 to 0.012, linear in its square root.

# %%
from pix2gif_lite.viz import histogram, line_chart

t = torch.arange(1000)
curves = {"sqrt(a_t): the frame's share": (t, AC.sqrt()), "sqrt(1 - a_t): the noise's": (t, (1 - AC).sqrt())}
chart = line_chart(curves, "t", "", "The schedule")
levels = (0, 100, 300, 600, 999)
noisy = [decode(diffusion.q_sample(x0, noise, torch.tensor([k]), AC)) for k in levels]
Embedded(chart, contact_sheet([noisy], None, [f"D, t = {k}" for k in levels], 80), alt="Schedule and noisy latents")

# %% [markdown]
# ## By hand
# The schedule, the noising, the velocity, and the way back from both predictions.


# %%
def schedule_by_hand(start, end, T):
    beta = torch.linspace(start**0.5, end**0.5, T) ** 2
    return torch.cumprod(1 - beta, dim=0)  # (T,)


def q_sample_by_hand(x0, noise, a):
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def velocity_by_hand(x0, noise, a):
    return a.sqrt() * noise - (1 - a).sqrt() * x0


def x0_from_eps(z_t, eps, a):
    return (z_t - (1 - a).sqrt() * eps) / a.sqrt()


def x0_from_v(z_t, v, a):
    return a.sqrt() * z_t - (1 - a).sqrt() * v


# %% [markdown]
# ## Compared with the package
# And a table: what a small error in either prediction does to $x_0$.

# %% tags=["nbval-check-output"]
torch.testing.assert_close(schedule_by_hand(pipe.config.beta_start, pipe.config.beta_end, 1000), AC)
for k in (0, 250, 500, 999):
    tk, a = torch.tensor([k]), AC[k]
    z_t, v = q_sample_by_hand(x0, noise, a), velocity_by_hand(x0, noise, a)
    torch.testing.assert_close(z_t, diffusion.q_sample(x0, noise, tk, AC))
    torch.testing.assert_close(v, diffusion.velocity(x0, noise, tk, AC))
    for mine, name, prediction in ((x0_from_eps(z_t, noise, a), "epsilon", noise), (x0_from_v(z_t, v, a), "v_prediction", v)):
        torch.testing.assert_close(mine, diffusion.predict_x0(z_t, prediction, tk, AC, name))
        torch.testing.assert_close(mine, x0, rtol=1e-3, atol=1e-3)  # both lead back to the frame
print("   t    a_t     1% off in eps -> x_0    1% off in v -> x_0")
for k in (0, 250, 500, 750, 999):
    a = float(AC[k])
    print(f"{k:4d}  {a:.4f}   {0.01 * ((1 - a) / a) ** 0.5:17.4f}   {0.01 * (1 - a) ** 0.5:19.4f}")

# %% [markdown]
# **What the UNet sees.** $z_t$, $E(c_I)$ and $z_W$, side by side: 4 + 4 + 4 = 12 channels; $c_L$ comes in by cross-attention. The order
# is that of the authors' code. Below, by hand, against `unet_input`. Then one of them, or two, are spoilt
# at t = 850, where little of the frame is left in $z_t$, and we decode the $x_0$ that the model then believes in. $E(c_I)$ is hardly
# missed: $z_W$ holds nearly all of the frame. Without $z_W$, or with the source in its place, the frame is lost.

# %%
tk = torch.tensor([850])
z_t = diffusion.q_sample(x0, noise, tk, AC)
torch.testing.assert_close(torch.cat([z_t, E, z_W], dim=1), model.unet_input(z_t, E, z_W), rtol=0, atol=0)
print(
    "into the UNet:", tuple(model.unet_input(z_t, E, z_W).shape), "| first convolution:", tuple(model.unet.conv_in.weight.shape)
)


@torch.no_grad()
def believed(z_t, tk, E, z_W, c_L):
    return diffusion.predict_x0(z_t, model(z_t, tk, E, z_W, c_L), tk, AC, kind)


cases = {
    "all three": (E, z_W),
    "E(c_I) = 0": (torch.zeros_like(E), z_W),
    "z_W = E(c_I)": (E, E),
    "both 0": (torch.zeros_like(E), torch.zeros_like(E)),
}
seen = {name: decode(believed(z_t, tk, *case, c_L)) for name, case in cases.items()}
quality = {name: float(psnr(picture, exact)) for name, picture in seen.items()}
print({name: f"{value:.1f} dB" for name, value in quality.items()})
row = [exact, decode(z_t), *seen.values()]
Embedded(contact_sheet([row], None, ["exact", "D(z_t)", *seen], 96), alt="x0 estimates with a part of the input spoilt")

# %% [markdown]
# **Conditions dropped in training.** Guidance (notebook 08) needs a model that can also do without the text, or the picture. So 5% of the
# samples lose the text, 5% the picture ($E(c_I) = 0$, hence $z_W = 0$), 5% both. As InstructPix2Pix and the authors' code do. Ours:
# half of the text drops lose the motion too, and 3% of the others the motion alone. A sample's fate hangs on its number alone, so batches and restarts change nothing.

# %% tags=["nbval-check-output"]
lite = PRESETS["lite"]
masks = guidance.drop_masks(range(4000), seed=0, preset=lite)
for name, rows in (
    ("text only", masks.text & ~masks.image),
    ("picture only", masks.image & ~masks.text),
    ("both", masks.text & masks.image),
    ("motion, with the text", masks.motion & masks.text),
    ("motion alone", masks.motion & ~masks.text),
):
    print(f"{name:22} {float(rows.float().mean()):.3f}")
later = guidance.drop_masks(range(3000, 4000), seed=0, preset=lite)
print("same fate in another batch:", all(torch.equal(a[3000:], b) for a, b in zip(masks, later, strict=True)))

# %% [markdown]
# **Ours: only say what differs (`residual`).** The paper's UNet must carry the whole picture through its layers, though $z_W$ already holds
# nearly all of it. Karras et al. 2022 let a network predict around the mean of the data; we let it predict around $z_W$. Suppose $x_0$
# were normal around $z_W$ with spread $s$. Then what $z_t$ says and what $z_W$ says combine to a best guess at every noise level,
# and the UNet's output $f$ only adds to it, in units in which it never needs a variance above 1:
# $$V = a_t s^2 + 1 - a_t \qquad \mu = z_W + \frac{a_t s^2}{V}\Big(\frac{z_t}{\sqrt{a_t}} - z_W\Big) \qquad
# x_0 = \mu - \frac{s\sqrt{1-a_t}}{\sqrt V}\, f$$
# At pure noise, $a_t = 0$: $x_0 = z_W - s f$. A UNet that says nothing gives $z_W$. By hand, against `from_residual`. Then the claim "best
# guess", on numbers: $x_0$ drawn around $z_W$ with spread $s$. Trusting $z_W$ alone errs by $s$, trusting $z_t$ alone errs by the noise;
# $\mu$ (that is, $f = 0$) does as well as the better of the two at every level, and better than both where they are equally good.


# %%
def x0_by_hand(f, z_t, z_W, a, s):
    V = a * s**2 + 1 - a
    mean = z_W + a * s**2 / V * (z_t / a.sqrt() - z_W)
    return mean - s * (1 - a).sqrt() / V.sqrt() * f


s, f = lite.residual, randn(seed=5)
for k in (0, 250, 500, 999):
    tk = torch.tensor([k])
    z_t = diffusion.q_sample(x0, noise, tk, AC)
    v = diffusion.from_residual(f, z_t, z_W, tk, AC, s)
    torch.testing.assert_close(x0_by_hand(f, z_t, z_W, AC[k], s), x0_from_v(z_t, v, AC[k]), rtol=1e-3, atol=1e-3)

pure = torch.zeros(1)  # a schedule whose only level is a_t = 0: nothing but noise
silent = diffusion.from_residual(torch.zeros_like(noise), noise, z_W, torch.tensor([0]), pure, s)
from_silence = diffusion.predict_x0(noise, silent, torch.tensor([0]), pure, "v_prediction")
torch.testing.assert_close(from_silence, z_W, rtol=0, atol=0)
print("f = 0 at pure noise gives z_W, to the bit")

times = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 999]  # x_0 = z_W + s n, drawn at random: who knows it best?
centre, spread, fresh = randn(16, seed=1), randn(16, seed=2), randn(16, seed=3)
truth = centre + s * spread
errors = {"z_W alone": [], "z_t alone": [], "both: f = 0": []}
for k in times:
    z_t = diffusion.q_sample(truth, fresh, torch.tensor([k]), AC)
    guesses = (centre, z_t / AC[k].sqrt(), x0_by_hand(torch.zeros_like(z_t), z_t, centre, AC[k], s))
    for name, guess in zip(errors, guesses, strict=True):
        errors[name].append(float((guess - truth).square().mean().sqrt()))
chart = line_chart({k: (times, v) for k, v in errors.items()}, "t", "RMS error of x_0", "Before the UNet says a word", log="xy")
Embedded(chart, alt="Error of three guesses over t")

# %% [markdown]
# In pictures: the same UNet with its last layer set to zero. Asked for $v$ itself, silence means $x_0 = \sqrt{a_t}\,z_t$: a faint
# noisy picture. Asked for the difference, silence means the warped source; what $z_t$ shows corrects it visibly only at small t, where
# the noise is no larger than $s$.

# %%
import copy

from pix2gif_lite.model import Pix2GifModel

mute = copy.deepcopy(pipe.unet)
torch.nn.init.zeros_(mute.conv_out.weight), torch.nn.init.zeros_(mute.conv_out.bias)
columns, rows = (999, 400, 100), []
for residual in (None, s):
    settings = lite.with_changes(residual=residual, prediction_type="v_prediction")
    speechless = Pix2GifModel.from_parts({**pipe.components, "unet": mute}, settings).eval()
    row = []
    for k in columns:
        tk = torch.tensor([k])
        z_t = diffusion.q_sample(x0, noise, tk, AC)
        with torch.no_grad():
            row.append(diffusion.predict_x0(z_t, speechless(z_t, tk, E, z_W, c_L), tk, AC, "v_prediction"))
    rows.append(row)
labels = ["a silent UNet asked for v (residual=None)", f"asked for the difference from z_W (residual={s})"]
sheet = contact_sheet([[decode(z) for z in row] for row in rows], labels, [f"t = {k}" for k in columns], 88)
Embedded(sheet, alt="What a silent UNet implies, with and without residual")

# %% [markdown]
# ## The source

# %%
print(inspect.getsource(diffusion.q_sample))
print(inspect.getsource(diffusion.to_x0))
print(inspect.getsource(diffusion.from_residual))

# %% [markdown]
# ## Slide
# The noise level. Left the exact frame, then the noisy latent decoded, then the $x_0$ the model believes in. At small t it only has to
# polish; at t = 999 it works from caption, motion and source alone, and all it knows about the motion is in $c_L$ and $z_W$. Lite knows
# so much from them that its answer hardly changes with t; what changes is how much of it the noise still shows.

# %%
from pix2gif_lite.presets import Slider
from pix2gif_lite.widgets import Explorer


def draw(t):
    tk = torch.tensor([t])
    z_t = diffusion.q_sample(x0, noise, tk, AC)
    picture = decode(believed(z_t, tk, E, z_W, c_L))
    sheet = contact_sheet([[exact, decode(z_t), picture]], None, ["exact frame", f"D(z_t), t = {t}", "x_0 believed"], 112)
    return [sheet, f"noisy {float(psnr(decode(z_t), exact)):.1f} dB, believed {float(psnr(picture, exact)):.1f} dB"]


knob = Slider(0, 999, 1, 600, "timestep", "noise level: 0 is almost none, 999 almost nothing else")
explorer = Explorer(draw, live=False, alt="Exact frame, noisy latent and the model's x_0", t=knob)
explorer

# %%
shown = {k: explorer.set(t=k) for k in (50, 600, 999)}
numbers = {k: [float(part.split()[1]) for part in words.split(", ")] for k, (_, words) in shown.items()}
print({k: f"noisy {a:.1f} dB, believed {b:.1f} dB" for k, (a, b) in numbers.items()})
assert numbers[50][0] > numbers[600][0] > numbers[999][0], "more noise, less picture"
assert numbers[999][1] > numbers[999][0] + 3, "the model sees what the noise hides"
Embedded(shown[999][0], alt="Exact frame, pure noise, and what the model believes in")

# %% [markdown]
# ### Why not regression
# Why not one network, source and text in, frame out, squared error? Because its best answer is the mean of all right answers,
# $\mathbb{E}[x_0 \mid c]$. Where the caption leaves the direction open, there are many. The split `test_open` has such scenes. Here are
# eight exact answers to one caption, and their mean: the lowest squared error any single picture can have.

# %%
import math
from dataclasses import replace

open_scene = sample_scenes(2, "test_open")[1]
actor = open_scene.actors[0]
answers = [
    replace(open_scene, actors=(replace(actor, angle=actor.angle + k * math.pi / 4),), gains={}) for k in range(8)
]  # `gains` is the old direction's calibration
frames = draw_scenes(answers, [m] * 8).image  # (8, 3, 128, 128)
Z = encode(frames)  # (8, 4, 32, 32)
mean = frames.mean(0, keepdim=True)


def sharpness(picture):  # mean difference of neighbouring pixels: edges make it, blur loses it
    return float(picture.diff(dim=-1).abs().mean() + picture.diff(dim=-2).abs().mean())


print(f"{open_scene.caption!r}: sharpness of an answer {sharpness(frames[:1]):.4f}, of the mean {sharpness(mean):.4f}")
row = [open_scene.at(0).image, frames[:1], frames[2:3], frames[5:6], mean, decode(Z.mean(0, keepdim=True))]
names = ["source", "an answer", "another", "another", "mean of 8", "D(mean latent)"]
Embedded(contact_sheet([row], [open_scene.caption], names, 112), alt="Several right frames and their mean")

# %% [markdown]
# Diffusion regresses too, but at every noise level anew: $\hat x_0(z_t) = \mathbb{E}[x_0 \mid z_t, c]$. At the top that is still a
# mixture. But the noise happens to lie closer to some of the answers, the next estimate leans towards them, and the end is *one*
# answer. For these eight latents the perfect denoiser can be written down, a softmax over distances, so no weights are needed:


# %%
from pix2gif_lite import sampling


def perfect(x, sigma):  # E[x_0 | x] where x_0 is one of the rows of Z, each as likely
    distance = (x[:, None] - Z[None]).square().flatten(2).sum(2)  # (B, 8)
    share = torch.softmax(-distance / (2 * float(sigma) ** 2), dim=1)
    return torch.einsum("bk,kchw->bchw", share, Z)


sigmas, _ = diffusion.sigmas_for(30, AC, "trailing", "euler_ancestral")
paths = []
ends = sampling.sample(
    "euler_ancestral",
    perfect,
    sampling.start(randn(3, seed=8), sigmas),
    sigmas,
    lambda i: randn(3, seed=100 + i),
    lambda state: paths.append(state["denoised"]),
)
nearest = [(end - Z).square().flatten(1).sum(1).min() / end.square().sum() for end in ends]
steps = (0, 2, 4)
rows = [[decode(paths[k][b : b + 1]) for k in steps] + [decode(ends[b : b + 1])] for b in range(3)]
names = [*[f"x_0, sigma {float(sigmas[k]):.1f}" for k in steps], "sample"]
Embedded(contact_sheet(rows, [f"noise {b}" for b in range(3)], names, 96), alt="A perfect denoiser decides for one answer")

# %% [markdown]
# A trained UNet has to learn this from single examples. Lite is small, and FNet is itself a regression: it gives one flow, not a choice.
# In one step both seeds give nearly the same picture: FNet has chosen one flow, and the UNet hardly changes $z_W$. That is one answer,
# but not one that the noise chose. In 20 steps the seeds differ, and parts of the picture may follow different answers, a patchwork.
# Deciding as one takes more training than drawing sharp edges does.

# %%
count = pipe.config.sampling_steps
made = {f"{n} step{'s' * (n > 1)}, seed {k}": pipe(open_scene.at(0).image[0], open_scene.caption, motion=[m], seed=k, steps=n, detail=False).frames[0]
        for n, k in ((count, 0), (count, 1), (20, 0), (20, 1))}  # fmt: skip
Embedded(contact_sheet([[mean, *made.values()]], None, ["mean of 8", *made], 112), alt="The mean against the model's samples")

# %% [markdown]
# ## Where it fails
# Latents not scaled. The schedule counts on $x_0$ of variance near 1; what an encoder puts out has any variance it likes. Stable
# Diffusion multiplies by 0.18215, lite by its own `scaling_factor`. Forget it, and every level has a signal-to-noise ratio
# $$\mathrm{SNR}(t) = \frac{a_t \,\mathrm{Var}[x_0]}{1-a_t}$$
# that is too high by one over the square of the factor: 11 times for lite, 30 times for Stable Diffusion. The histogram of $z_t$ is too wide, and the noise hides less than its level says.
#
# Two things break. Training spends its levels on latents in which the frame is plain to see, so the UNet learns little about deciding. And
# sampling starts from pure noise of variance 1, which a UNet trained on "t = 999" with that much picture left has never met.
#
# There is a second scale: $E(c_I)$. In InstructPix2Pix and the authors' code $z_t$ is scaled and the picture channels are **not**, so the
# 12 channels arrive with different spreads. The preset field `scale_image_latents` says which: `paper` False, to fit those weights;
# `lite` True. Weights trained one way cannot be run the other way: the last row.

# %%
k = 500
tk = torch.tensor([k])
batch = encode(draw_scenes(sample_scenes(32, "train", seed=5), [m] * 32).image)  # (32, 4, 32, 32)
both = {"scaled": batch, "not scaled": batch / scaling}
z = {name: diffusion.q_sample(x, randn(32, seed=4), tk, AC) for name, x in both.items()}
snr = {name: AC / (1 - AC) * x.var() for name, x in both.items()}  # (1000,)
even = {name: int((ratio < 1).int().argmax()) for name, ratio in snr.items()}  # the first t at which noise outweighs the frame
print(f"z_t at t = {k}:", {name: f"std {float(v.std()):.2f}, SNR {float(snr[name][k]):.2f}" for name, v in z.items()})
print("noise outweighs the frame from t =", even, "| SNR at t = 999:", {n: f"{float(r[-1]):.4f}" for n, r in snr.items()})
bars = histogram({n: v.flatten() for n, v in reversed(z.items())}, torch.linspace(-8, 8, 81), "value", f"z_t at t = {k}")
chart = line_chart({n: (t, r) for n, r in snr.items()}, "t", "SNR", "Signal-to-noise ratio", log="y")
pictures = [decode(z["scaled"][:1] / AC[k].sqrt()), decode(z["not scaled"][:1] / AC[k].sqrt() * scaling)]  # x_0 plus its noise

other = 1 / scaling if pipe.config.scale_image_latents else scaling
wrong_E = E * other
with torch.no_grad():
    wrong_W = model.warp(wrong_E, c_L)[1]
spreads = {
    name: [float(part.std()) for part in parts]
    for name, parts in (("as trained", (x0, E, z_W)), ("other", (x0, wrong_E, wrong_W)))
}
print("std of x_0, E(c_I), z_W:", {name: [f"{v:.2f}" for v in values] for name, values in spreads.items()})
tk = torch.tensor([850])
z_t = diffusion.q_sample(x0, noise, tk, AC)
good, bad = decode(believed(z_t, tk, E, z_W, c_L)), decode(believed(z_t, tk, wrong_E, wrong_W, c_L))
noisy_sheet = contact_sheet([pictures], None, ["scaled", "not scaled"], 112)
model_sheet = contact_sheet([[exact, good, bad]], None, ["exact", "as trained", "other scale"], 112)
words = ["One frame and the same noise at the same t, latent scaled or not:", "E(c_I) as trained, or of the other scale:"]
Embedded(bars, chart, words[0], noisy_sheet, words[1], model_sheet, alt="Scaled or not")

# %% [markdown]
# ## Exercises
# **1.** For $x_0$ of variance 1: at which timestep do signal and noise weigh the same? Put it in `answer`.

# %%
answer = 500  # edit
gap = float(AC[answer] / (1 - AC[answer]))
print("Right." if 0.97 < gap < 1.03 else f"Not yet: at t = {answer} the SNR is {gap:.2f}. It falls with t.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Where $a_t = 1/2$: `int((AC < 0.5).int().argmax())` gives 354. Almost two thirds of the levels have more noise than picture.
# </details>
#
# **2.** A UNet with `residual` says nothing, $f = 0$. At t = 0, almost without noise, which $x_0$ does that give: $z_W$, or what $z_t$ shows?

# %%
answer = "z_W"  # edit: "z_W" or "z_t"
z_t = diffusion.q_sample(x0, noise, torch.tensor([0]), AC)
got = x0_by_hand(torch.zeros_like(z_t), z_t, z_W, AC[0], s)
nearer = min({"z_W": z_W, "z_t": z_t}.items(), key=lambda pair: float((pair[1] - got).abs().mean()))[0]
print("Right." if answer == nearer else "Not yet: look at the weight a_t s^2 / V as 1 - a_t goes to 0.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `"z_t"`. With little noise the weight of $z_t/\sqrt{a_t}$ goes to 1: what can be seen beats what was expected. With much noise it goes
# to 0 and $z_W$ is all there is. $s$ says where the two change places: where the noise is as large as $z_W$'s usual error.
# </details>
#
# ## Recap
# - $z_t$ mixes frame and noise by $a_t$; $\epsilon$ and $v$ are two names for the same $x_0$, and $v$ survives high noise.
# - The UNet sees 12 channels; with `residual` it says only how the frame differs from $z_W$, and silence gives $z_W$.
# - A regression averages right answers into a blur; noise lets a sampler end at one of them. The levels mean what they say only if
#   $x_0$ has variance near 1.
#
# Next: `07_train_it`.

# %%
# What this notebook taught, checked
assert all(both <= min(one, two) * 1.02 for one, two, both in zip(*errors.values(), strict=True))  # f = 0 beats either alone
assert torch.equal(from_silence, z_W)  # a UNet that says nothing gives the warped source
assert quality["all three"] > quality["both 0"]  # the picture channels carry the picture
assert sharpness(mean) < 0.9 * min(sharpness(frames[k : k + 1]) for k in range(8))  # a mean of right answers is blurred
assert max(float(d) for d in nearest) < 0.01  # the perfect denoiser ends at one of the eight
assert even["not scaled"] > even["scaled"] + 100 and float(z["not scaled"].std()) > 1.3 * float(z["scaled"].std())
assert float(psnr(bad, exact)) < float(psnr(good, exact))
