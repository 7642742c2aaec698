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
# # 02 · Latents
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/02_latents.ipynb)
#
# Pix2Gif never moves pixels. It moves a small picture of four channels, the latent, and a decoder makes pixels of it. What is lost on the way?
#
# **You will learn**
# - what E and D do, and what 4 x 32 x 32 numbers keep of 3 x 128 x 128;
# - the scaling factor, and why the source picture goes without it in InstructPix2Pix and in the authors' code;
# - PSNR, and how the pipeline brings back the detail that D loses.
#
# **In the paper:** section 3.2, the latents of Eq. 3; $E(c_I)$ in Eqs. 3, 5 and 6.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $x$ | picture in [-1, 1] | (B, 3, 128, 128) |
# | $E, D$ | encoder, decoder | `vae.encode`, `vae.decode` |
# | $z = E(x)$ | latent. E gives a normal distribution a number (the posterior); $z$ is its mode, the mean | (B, 4, 32, 32) |
# | $s$ | scaling factor, 1 / std of z | `vae.config.scaling_factor` |
# | PSNR | peak signal to noise ratio, dB | `metrics.psnr` (B,) |

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

from pix2gif_lite import Pix2GifPipeline, autoencoder, canvas, metrics

pipe = Pix2GifPipeline.from_pretrained("lite")

# %% [markdown]
# E and D are one object, the pipeline's `vae`. Pictures are 16 held-out drawn scenes.

# %%
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.sheets import contact_sheet
from pix2gif_lite.widgets import Embedded, Explorer

vae = pipe.vae
scenes = sample_scenes(16, "val", seed=1)
x = draw(scenes, [0] * 16, pipe.config.image_size).image  # (16, 3, 128, 128)


@torch.no_grad()
def E(pictures):
    return vae.encode(pictures).latent_dist.mode()  # (B, 4, 32, 32), not scaled


@torch.no_grad()
def D(z):
    return vae.decode(z).sample.clamp(-1, 1)  # (B, 3, 128, 128)


z, names = E(x), ["x", "channel 0", "channel 1", "channel 2", "channel 3", "D(E(x))"]
y = D(z)  # the pictures, there and back


def as_grey(channel):  # (32, 32) of any range -> (3, 32, 32) in [-1, 1]
    low, high = channel.aminmax()
    return (2 * (channel - low) / (high - low) - 1).expand(3, -1, -1)


rows = [[x[k], *map(as_grey, z[k]), y[k]] for k in (0, 3, 5)]
Embedded(
    contact_sheet(rows, None, names, 128),
    alt="Three scenes, the four channels of their latents as grey pictures, and what D makes of them",
)

# %% [markdown]
# ## The idea
# A diffusion model at 128 x 128 px would work on 49,152 numbers a picture. Most of them say "the same as my neighbour". So an autoencoder is trained
# first: E folds a picture into a smaller one, D unfolds it. The diffusion model then lives between the two:
# $$z = E(x), \qquad D(E(x)) \approx x, \qquad \tilde z = s\,z, \quad s = \frac{1}{\mathrm{std}(z)}$$
# Noise is added to $\tilde z$ (Eq. 3), and the noise schedule assumes that what it is added to has unit variance. Hence the factor $s$.
#
# How good is $D(E(x))$? The usual number is the peak signal to noise ratio, in decibels. Our pictures span 2, from -1 to 1:
# $$\mathrm{PSNR} = 10 \log_{10} \frac{2^2}{\mathrm{mean}\,(y - x)^2}$$
# Ten dB more is a tenth of the squared error. At 40 dB every value is wrong by a hundredth of the span (computed below).
#
# The latent is itself a small picture: each cell belongs to a place. Stable Diffusion's E spans 8 px a cell and starts with convolutions at full
# resolution. Ours folds 4 x 4 pixels into 48 channels first (`patch`), and no convolution ever sees more than 32 x 32.

# %% tags=["nbval-check-output"]
sizes = {"lite": (x.shape[-1], z.shape[-1], vae.downsampling), "Stable Diffusion, the paper": (256, 32, 8)}
for name, (side, cells, px) in sizes.items():
    print(
        f"{name}: 3 x {side} x {side} -> 4 x {cells} x {cells}, {px} px a cell, {3 * side**2 / (4 * cells**2):.0f} times fewer numbers"
    )

# %% [markdown]
# ## By hand
# Three short ones: folding, PSNR, and the scaling factor.


# %%
def fold_by_hand(x, p):
    B, C, H, W = x.shape
    x = x.reshape(B, C, H // p, p, W // p, p)  # each side: which block, where in it
    return x.permute(0, 1, 3, 5, 2, 4).reshape(B, C * p * p, H // p, W // p)


def psnr_by_hand(y, x):
    error = (y.clamp(-1, 1) - x).square().mean((1, 2, 3))  # (B,)
    return 10 * torch.log10(4 / error)


def scaling_by_hand(z):
    return 1 / (z - z.mean()).square().mean().sqrt()  # one number for all channels


# %% [markdown]
# ## Compared with the package
# Folding and PSNR have to agree to the digit. The package's scaling factor was measured on other pictures (drawn frames and
# photographs), and kept when E learnt on with the model; ours is measured on 64 drawn scenes. They have to agree roughly.

# %%
torch.testing.assert_close(fold_by_hand(x, 4), torch.nn.functional.pixel_unshuffle(x, 4), rtol=0, atol=0)
torch.testing.assert_close(psnr_by_hand(y, x), metrics.psnr(y, x))
s = vae.config.scaling_factor
many = torch.cat(
    [E(part) for part in draw(sample_scenes(64, "train"), [0] * 64, x.shape[-1]).image.split(16)]
)  # (64, 4, 32, 32)
mine = scaling_by_hand(many)
torch.testing.assert_close(mine, torch.tensor(s), rtol=0.15, atol=0)
print(f"scaling factor: package {s:.3f}, here {mine:.3f}    PSNR of D(E(x)): {metrics.psnr(y, x).mean():.1f} dB")
print("std of each channel", [round(v, 2) for v in many.std((0, 2, 3)).tolist()])
print("mean of each channel", [round(v, 2) for v in many.mean((0, 2, 3)).tolist()])

# %% tags=["nbval-check-output"]
grey = torch.zeros(1, 3, 8, 8)
for error in (0.02, 0.2, 2.0):
    print(f"every value wrong by {error}: {psnr_by_hand(grey - 1 + error, grey - 1).item():.0f} dB")

# %% [markdown]
# One factor for four channels: their own means and spreads differ. Stable Diffusion has the same, with s = 0.18215.
#
# ## The source

# %%
print(inspect.getsource(autoencoder.PatchAutoencoderKL.encode))
print(inspect.getsource(metrics.psnr))

# %% [markdown]
# **The factor that InstructPix2Pix leaves out.** In InstructPix2Pix's code $z_t$ is built from $s\,E(x)$, but the source picture enters the UNet as
# $E(c_I)$: the mode of the posterior, **not** multiplied by $s$. The authors' code inherits this. The paper's equations write $E$ everywhere and do not say. So the
# UNet's 12 channels carry two scales, and FlowNet's input and $z_W$ are unscaled as well. Neither is wrong, since weights learn their own input's
# scale. But one has to know which: the field `scale_image_latents` is False in the `paper` preset, True in `lite`.
#
# First a slip that is easy to make, forgetting $s$ before D, or dividing twice. Then the model itself, run with the flag that its weights were not trained with.

# %%
from pix2gif_lite.canvas import to_pil, to_tensor

scene, m = scenes[5], 8
source, exact = to_pil(x[5]), scene.at(m).image
kind = pipe.config.scale_image_latents
right = pipe(source, scene.caption, motion=[m], detail=False).frames[0]
pipe.register_to_config(scale_image_latents=not kind)
wrong = pipe(source, scene.caption, motion=[m], detail=False).frames[0]
pipe.register_to_config(scale_image_latents=kind)

slips = {"D(z)": D(z[5:6]), "D(s z)": D(s * z[5:6]), "D(z / s)": D(z[5:6] / s)}
told = {name: float(metrics.psnr(picture, x[5:6])) for name, picture in slips.items()}
told |= {f"flag {flag}": float(metrics.psnr(to_tensor(f), exact)) for flag, f in ((kind, right), (not kind, wrong))}
print(
    f"std that the UNet sees: z_t {(s * many).std():.2f}, E(c_I) {(s * many).std():.2f} with the flag, {many.std():.2f} without"
)
sheet = contact_sheet([[*slips.values(), right, wrong]], None, [f"{name}: {v:.0f} dB" for name, v in told.items()], 150)
Embedded(
    scene.caption,
    sheet,
    alt="The scene decoded rightly, washed out, and overdriven; a generated frame with the right flag and with the wrong one",
)

# %% [markdown]
# ## Slide
# Two latents, and two questions. What does one channel carry? (`blank` sets it to its mean.) And what lies between two latents? For the blend,
# the mean of the two pictures' pixels is drawn beside it: D of a mean is close to a mean of D. That is why latents can be looked up between
# cells at all, which is what a warp does (notebook 04).

# %%
from pix2gif_lite.presets import Slider

BLANKS = ["none", "0", "1", "2", "3"]
means = z.mean((0, 2, 3))  # (4,)


def compute(blank, blend):
    mixed = torch.lerp(z[3], z[5], blend)  # (4, 32, 32)
    if blank != "none":
        mixed[int(blank)] = means[int(blank)]
    return mixed, D(mixed[None])


def show(blank, blend):
    mixed, decoded = compute(blank, blend)
    pixels = torch.lerp(x[3], x[5], blend)[None]  # (1, 3, 128, 128)
    shown = [decoded, pixels, *map(as_grey, mixed + 1e-6 * torch.randn(mixed.shape))]
    labels = ["decoded", "pixels blended", *[f"channel {k}" for k in range(4)]]
    return [contact_sheet([shown], None, labels, 128), f"{float(metrics.psnr(decoded, pixels)):.1f} dB to the blended pixels"]


explorer = Explorer(
    show,
    alt="A decoded latent, the blend of the pixels, and the latent's four channels",
    blank=BLANKS,
    blend=Slider(0, 1, 0.05, 0.0, "", "share of the second latent"),
)
explorer

# %%
at = {blank: float(explorer.set(blank=blank, blend=0.0)[1].split()[0]) for blank in BLANKS}
between = {blend: float(explorer.set(blank="none", blend=blend)[1].split()[0]) for blend in (0.0, 0.25, 0.5, 0.75, 1.0)}
print("channel blanked:", {k: f"{v:.1f} dB" for k, v in at.items()})
print("blend:", {k: f"{v:.1f} dB" for k, v in between.items()})
assert max(at[k] for k in "0123") < at["none"] - 3, "every channel carries something"
assert between[0.5] > 20, "half-way between two latents lies the half-way picture, nearly"
rows = [[compute(k, 0.0)[1] for k in BLANKS], [compute("none", k)[1] for k in between]]
sheet = contact_sheet(rows, ["blanked: none, 0, 1, 2, 3", "blend: 0, 0.25, 0.5, 0.75, 1"], None, 120)
Embedded(sheet, alt="Above: one channel blanked after the other, colours change; below: one scene fades into another")

# %% [markdown]
# **What D loses, the pipeline carries along.** A frame is the source moved by a flow F. So is the detail that the autoencoder lost (`canvas.py`, ours; the paper
# has nothing like it):
# $$\text{frame} = \mathrm{up}(D(z)) + \mathcal{W}\big(c_I - \mathrm{up}(D(E(c_I))),\, F\big)$$
# $\mathrm{up}$ enlarges to the picture's size; $\mathcal W(\cdot, F)$ looks a picture up where $F$ points (notebook 04).
# The detail is added only where the flow explains the frame, not behind what moved away. Here at 512 px, with the exact flow of a drawn scene, so that
# nothing but E and D is to blame.

# %%
large, m = 512, 11
frame, small = scene.at(m, large).image, scene.at(m)  # what is right; (1, 3, 128, 128) with flow (1, 2, 128, 128)
big_source = to_pil(scene.at(0, large).image[0])
decoded = D(E(canvas.resize(scene.at(0, large).image, (128, 128))))  # of the source
blurred = D(E(small.image))  # of the frame
lost = canvas.lost_detail(big_source, decoded)  # (1, 3, 512, 512)
up = canvas.resize(blurred, (large, large))
share = canvas.explained(blurred, decoded, small.flow)  # (1, 1, 128, 128)
sharp = canvas.add_detail(up, lost, small.flow, share)

moving = scene.at(m, large).moving[0, 0].nonzero().float()  # (N, 2), y then x: show a square round the part that moves
low, high = moving.amin(0), moving.amax(0)
side = min(large, int((high - low).max()) + 16)
top, left = ((low + high) / 2 - side / 2).int().clamp(0, large - side).tolist()
cut = (..., slice(top, top + side), slice(left, left + side))
gains = {"up(D(z))": up, "with detail": sharp, "exact": frame}
labels = [f"{k}: {float(metrics.psnr(v, frame)):.1f} dB" if k != "exact" else k for k, v in gains.items()]
sheet = contact_sheet([[v[cut] for v in gains.values()]], None, labels, 240)
Embedded(sheet, alt="The moving part of a 512 px frame: blurred by the latent, with the lost detail added, and exact")

# %% [markdown]
# ## Where it fails
# **A photograph of text.** Below some size a stroke of a letter is thinner than a cell. A cell is 4 x 4 px of 3 colours, 48 numbers, and it has 4 to say it
# with. Lite was trained on drawn scenes and some photographs, not on text. Small lines smear; large ones lose
# their edges and take on colour.

# %%
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZES = (8, 10, 12, 16, 22)  # px


def photograph_of_text(seed=0):
    """A sheet of paper in uneven light, a little turned, a little out of focus, with sensor noise: PIL, 128 x 128."""
    page, top = Image.new("RGB", (512, 512), (238, 232, 218)), 24
    pen = ImageDraw.Draw(page)
    for size in SIZES:
        words = "The cat sat on the mat" if size <= 12 else "The cat sat"
        pen.text((28, top), words, (40, 36, 44), ImageFont.load_default(4 * size))
        top += 4 * size + 18
    page = page.rotate(2, Image.Resampling.BICUBIC, fillcolor=(238, 232, 218)).filter(ImageFilter.GaussianBlur(1.5))
    light = np.linspace(1.0, 0.75, 512)[None, :, None]
    noise = np.random.default_rng(seed).normal(0, 6, (512, 512, 3))
    page = Image.fromarray(np.clip(np.asarray(page) * light + noise, 0, 255).astype(np.uint8))
    return page.resize((128, 128), Image.Resampling.LANCZOS)


text = to_tensor(photograph_of_text())  # (1, 3, 128, 128)
there_and_back = D(E(text))
difference = (4 * (there_and_back - text).abs() - 1).clamp(-1, 1)
quality = {"a scene": float(metrics.psnr(y, x).mean()), "text": float(metrics.psnr(there_and_back, text))}
print({k: f"{v:.1f} dB" for k, v in quality.items()})
sheet = contact_sheet([[text, there_and_back, difference]], None, ["text", "D(E(text))", "difference, 4 times"], 320)
Embedded(
    sheet, alt="Lines of text; the smaller ones become unreadable after the autoencoder; the difference lies on the letters"
)

# %% [markdown]
# A still picture does not suffer: where the flow is 0, the lost detail is added in full and the source comes back. Text on something that moves is
# carried along. What no detail can repair is text that the model would have to draw itself.

# %%
zero = torch.zeros(1, 2, 32, 32)
carried = canvas.add_detail(there_and_back, text - there_and_back, zero, canvas.explained(there_and_back, there_and_back, zero))
print(f"text with its detail, flow 0: {float(metrics.psnr(carried, text)):.0f} dB")

# %% [markdown]
# ## Exercises
# **1.** The latent is shifted by one cell to the right, and decoded. By how many pixels does the picture move? The check tries your answer.

# %%
answer = 1  # edit, px
moved = D(z.roll(1, -1))[..., 8:-8]  # without the border, where roll wraps round
fits = {px: float(metrics.psnr(moved, y.roll(px, -1)[..., 8:-8]).mean()) for px in range(9)}
print(f"a picture moved by {answer} px: {fits[answer]:.1f} dB.", "Right." if max(fits, key=fits.get) == answer else "Not yet.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 4, `vae.downsampling`: a cell spans 4 px. The autoencoder was trained so: most of its samples had their latent moved, and D had to give the
# picture moved as far (`learning/autoencoder_job.py`).
# </details>
#
# **2.** A picture's squared error is cut to a quarter. How many dB does it gain?

# %% tags=["nbval-check-output"]
answer = 4.0  # edit, dB
gain = float(psnr_by_hand(grey - 0.9, grey - 1) - psnr_by_hand(grey - 0.8, grey - 1))  # half the error: a quarter of its square
print("Right." if abs(answer - gain) < 0.1 else "Not yet: it is a logarithm.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `6.02`: 10 log10(4).
# </details>
#
# ## Recap
# - E turns 3 x 128 x 128 numbers into 4 x 32 x 32. Shapes and colours stay, strokes thinner than a cell go.
# - $z_t$ is scaled to unit variance. $E(c_I)$ is left unscaled by InstructPix2Pix and the authors' code, and scaled in lite. Weights and flag belong together.
# - Latents blend and move like pictures. What D loses of the source is carried along by the flow.
#
# Next: `03_motion_embedding`.

# %%
# What this notebook taught, checked
assert z.shape == (16, 4, 32, 32) and y.shape == x.shape
assert abs(float((s * many).std()) - 1) < 0.15  # unit variance
assert told["D(z)"] > max(told["D(s z)"], told["D(z / s)"]) + 5  # D wants the unscaled latent
assert told[f"flag {kind}"] > told[f"flag {not kind}"] + 3  # a model wants the scale it was trained with
assert metrics.psnr(sharp, frame) > metrics.psnr(up, frame) + 1  # detail carried along
assert quality["text"] < quality["a scene"] - 3  # text is hard
assert max(fits, key=fits.get) == vae.downsampling  # a cell is 4 px
