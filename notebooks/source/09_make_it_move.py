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
# # 09 · Make it move
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/09_make_it_move.ipynb)
#
# One frame is one edit by one number. A GIF is a list of numbers; this notebook is about the list, the noise and the file.
#
# **You will learn**
# - how a list of motions shapes a GIF: curves and loops;
# - why all frames share their noise, and how much flickers when they do not;
# - what two actions in one caption do, and how to choose a GIF's palette.
#
# **In the paper:** section 4.1 (the list 2, 4, 6, 8, 11, 13, 16, 19) and the action composition shown in its results.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $m_k$ | motion of frame k, px at 256 x 256 | `motions` |
# | $u$ | place in the GIF, 0 to 1 | `u` |
# | $n_k$ | noise of frame k | `noise` (N, 4, h, w) |
# | $\rho$ | share of the noise that frames have in common | `rho` |
# | flicker | mean absolute change between neighbouring frames where nothing should move, grey levels 0-255 | `flicker` |

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

from pix2gif_lite import Pix2GifPipeline, gifs

pipe = Pix2GifPipeline.from_pretrained("lite")

# %% [markdown]
# A held-out scene, the demo's list of motions, and a helper that turns frames into a GIF's bytes.

# %%
import tempfile
from pathlib import Path

from pix2gif_lite.canvas import to_pil, to_tensor
from pix2gif_lite.presets import DEMO_MOTIONS, Slider
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.sheets import contact_sheet, flow_to_rgb
from pix2gif_lite.widgets import Embedded, Explorer

scene = sample_scenes(1, "val", seed=3)[0]
source = to_pil(scene.at(0).image[0])


def gif_bytes(frames, **options):
    with tempfile.TemporaryDirectory() as folder:
        return gifs.save_animation(frames, Path(folder) / "a.gif", **options).read_bytes()


out = pipe(source, scene.caption, motion=DEMO_MOTIONS, seed=0)
print([f"{asked:g} -> {got:.1f}" for asked, got in zip(out.motions, out.measured(), strict=True)])
Embedded(scene.caption, gif_bytes(out.frames), contact_sheet([out.frames], None, None, 110), alt=scene.caption)

# %% [markdown]
# ## The idea
# Frame k is $f(c_I, c_T, m_k, n)$: only $m_k$ changes. A **curve** says how $m$ grows with the place $u$ in the GIF:
# $$m_{linear}(u) = m_{max}\,u \qquad m_{ease}(u) = m_{max}\,\tfrac{1 - \cos \pi u}{2} \qquad m_{pingpong}(u) = m_{max}\,(1 - |2u - 1|)$$
# The paper gives plain lists; the curves are ours. The paper's range begins at 2 px, and below it Alg. 1 hardly measures anything, so a
# curve that leaves 0 (the picture itself) starts at 2. Of $N$ frames $u = k/(N-1)$, but $k/N$ for pingpong, which meets its top only where
# $N$ is even.
#
# A **loop** says what comes after the last frame. "forward" jumps back to the first. "pingpong" plays the same frames back, and shows
# neither end twice. The *curve* of that name does it with motions: every frame of the turn is made, and made anew on the way back.

# %%
from pix2gif_lite.sliders.curves import CURVES, motion_curve
from pix2gif_lite.viz import line_chart

lists = {kind: motion_curve(kind, 16, 9) for kind in CURVES}
chart = line_chart({k: (range(9), v) for k, v in lists.items()}, "frame", "m, px at 256 x 256", "Three curves", marker="o")
Embedded(chart, alt="Motion over nine frames: a line, a half cosine, and up and down")

# %% tags=["nbval-check-output"]
for kind, values in lists.items():
    print(f"{kind:9}", [round(float(m), 1) for m in values])

# %% [markdown]
# ## By hand
# The ping-pong list: there, then back, without the two ends.


# %%
def pingpong_by_hand(items):
    turn = []
    for item in items:
        turn.append(item)
    for k in range(len(items) - 2, 0, -1):  # from the last but one to the second
        turn.append(items[k])
    return turn


# %% [markdown]
# ## Compared with the package

# %% tags=["nbval-check-output"]
for count in range(1, 9):
    items = list(range(count))
    assert pingpong_by_hand(items) == gifs.loop_frames(items, "pingpong")
mine, package = (torch.tensor(x) for x in (pingpong_by_hand(DEMO_MOTIONS), gifs.loop_frames(DEMO_MOTIONS, "pingpong")))
torch.testing.assert_close(mine, package)
print(mine.tolist())

# %% [markdown]
# The seam is what a loop is judged by: how far the picture changes from the last frame to the first, against the other changes.


# %%
def changes(frames):  # mean absolute change from each frame to the next, the last to the first; grey levels
    x = torch.cat([to_tensor(frame) for frame in frames]) * 127.5  # (N, 3, H, W)
    return (x.roll(-1, 0) - x).abs().mean((1, 2, 3)).tolist()


forward, pingpong = (changes(gifs.loop_frames(out.frames, loop)) for loop in ("forward", "pingpong"))
print(f"seam: forward {forward[-1]:.2f}, pingpong {pingpong[-1]:.2f} grey levels")
series = {"forward": (range(len(forward)), forward), "pingpong": (range(len(pingpong)), pingpong)}
chart = line_chart(series, "from frame", "change to the next, grey levels", "The seam of a loop", marker="o")
Embedded(chart, alt="Change from each frame to the next: the last of forward is a jump, pingpong has none")

# %% [markdown]
# ## The source

# %%
from pix2gif_lite import noise as noise_file

print(inspect.getsource(gifs.loop_frames))
print(inspect.getsource(motion_curve))
print(inspect.getsource(noise_file.FrameNoise))

# %% [markdown]
# **Noise.** The authors' demo gives all frames the same noise, their parallel demo gives each its own; the paper does not say. We share
# by default, and the pipeline has an argument for it. Lite's default sampler adds no fresh noise: there only the start differs. The
# lesson uses Euler ancestral with 10 steps, the paper's kind of sampler, which adds fresh noise at nine of them. Both are printed.
#
# Where should nothing move? The drawn scene knows: everywhere outside `moving`, at any of the motions, with a margin of 4 px.

# %%
from torch.nn import functional as F

noisy = {"sampler": "euler_ancestral", "steps": 10, "detail": False}  # detail off: what the decoder says, nothing pasted
motions = [4, 8, 12, 16]


def still_region(scene, motions):
    moving = draw([scene] * len(motions), motions).moving.any(0, keepdim=True)  # (1, 1, 128, 128)
    return F.max_pool2d(moving.float(), 9, 1, 4) == 0


def flicker(frames, still):
    x = torch.cat([to_tensor(frame) for frame in frames]) * 127.5  # (N, 3, H, W), grey levels
    return float(x.diff(dim=0).abs().mean(1)[still[:, 0].expand(len(x) - 1, -1, -1)].mean())


still = still_region(scene, motions)
made, measured = {}, {}
for kind in ("shared", "independent"):
    made[kind] = pipe(source, scene.caption, motion=motions, noise=kind, seed=0, **noisy).frames
    measured[kind] = flicker(made[kind], still)
    default = pipe(source, scene.caption, motion=motions, noise=kind, seed=0, detail=False).frames
    print(f"{kind:12} flicker {measured[kind]:.2f} grey levels; at lite's default settings {flicker(default, still):.2f}")
shared, alone = made.values()
sheet = contact_sheet([shared, alone], ["shared noise", "independent noise"], [f"m = {m}" for m in motions], 128)
Embedded(sheet, alt="Four frames with shared noise, four with independent noise")

# %% [markdown]
# ## Slide
# Between the two kinds lies a mixture that stays normal with variance 1: $n_k = \sqrt{\rho}\,n + \sqrt{1-\rho}\,n'_k$. The slider moves
# $\rho$; the menu chooses the curve. Noise enters the sampler as an argument, so the mixture needs no change in the package.

# %%
from pix2gif_lite import diffusion, sampling
from pix2gif_lite.branches import make_branches
from pix2gif_lite.text import NULL_PROMPT, encode_text, motion_prompt, tokenize

AC, STEPS = diffusion.alphas_cumprod(pipe.config), 10
sigmas, _ = diffusion.sigmas_for(STEPS, AC, "trailing", "euler_ancestral")
scaling = pipe.vae.config.scaling_factor
CELLS = (pipe.vae.config.latent_channels, *2 * [pipe.config.image_size // pipe.vae.downsampling])  # (4, 32, 32)


@torch.no_grad()
def prepare(motions):  # all that rho does not change: the denoiser of these frames
    E = pipe.vae.encode(to_tensor(source)).latent_dist.mode() * (scaling if pipe.config.scale_image_latents else 1)
    prompts = [NULL_PROMPT, *[motion_prompt(scene.caption, m) for m in motions]]
    null, *c_T = encode_text(pipe.text_encoder, tokenize(pipe.tokenizer, prompts))  # (77, 256) each
    rows = E.expand(len(motions), -1, -1, -1)
    branches, _ = make_branches(pipe.model, ("full",), rows, torch.stack(c_T), null, torch.tensor(motions))
    return sampling.Denoiser(pipe.model, AC, pipe.config.prediction_type, branches)


@torch.no_grad()
def compute(denoiser, count, rho, seed=0):
    g = torch.Generator().manual_seed(seed)
    one, each = (torch.randn(STEPS + 1, n, *CELLS, generator=g) for n in (1, count))
    noise = rho**0.5 * one + (1 - rho) ** 0.5 * each  # (11, N, 4, 32, 32)
    z = sampling.euler_ancestral(denoiser, sampling.start(noise[0], sigmas), sigmas, noise[1:])
    return [to_pil(x) for x in pipe.vae.decode(z / scaling).sample]


prepared = {}
for kind in lists:
    asked = [m for m in motion_curve(kind, 16, 5) if m > 0]  # m = 0 is the picture itself
    prepared[kind] = asked, prepare(asked), still_region(scene, asked)


def show(kind, rho):
    asked, denoiser, region = prepared[kind]
    frames = compute(denoiser, len(asked), rho)
    words = f"flicker {flicker(frames, region):.3f} grey levels"
    return [gif_bytes([source, *frames]), contact_sheet([frames], None, [f"m = {m:g}" for m in asked], 130), words]


rho = Slider(0, 1, 0.1, 1.0, "", "share of the noise that all frames have in common")
explorer = Explorer(show, live=False, alt="Four frames for a curve and a share of common noise", kind=list(lists), rho=rho)
explorer

# %%
by_share = {}
for share in (0.0, 0.5, 1.0):
    by_share[share] = float(explorer.set(kind="linear", rho=share)[2].split()[1])
assert by_share[0.0] > by_share[1.0], "independent noise flickers more"
other = explorer.set(kind="pingpong")[1]
assert other.tobytes() != explorer.set(kind="linear")[1].tobytes(), "another curve, other frames"
chart = line_chart(
    {"flicker": (list(by_share), list(by_share.values()))}, "rho", "grey levels", "Common noise, flicker", marker="o"
)
Embedded(chart, alt="Flicker falls as the frames share more of their noise")

# %% [markdown]
# ## Where it fails
# Independent noise. Each frame alone is as good as with shared noise. One after another they are restless: every frame has its own
# small errors in its own places. With lite that is faint, since $z_W$ has settled most of the picture and leaves the noise little to
# decide. So below, the change from one frame to the next, 40 times brighter: with independent noise more of what should stand still
# lights up, edges first.


# %%
def change_pictures(frames, gain=40):
    x = torch.cat([to_tensor(frame) for frame in frames])
    return [(gain * d.abs() - 1).clamp(-1, 1) for d in x.diff(dim=0)]


sheet = contact_sheet([change_pictures(shared), change_pictures(alone)], ["shared noise", "independent noise"], None, 128)
Embedded(gif_bytes(alone), sheet, alt="GIF with independent noise, and where neighbouring frames differ")

# %% [markdown]
# **Two actions in one caption.** The paper reports that actions compose: "the cat dances while playing with wool". Our drawn captions
# can hold two clauses. The flow shows who moves where: hue is direction, white is still. It points back to where a colour came from,
# so what rises has the hue of down.

# %%
pair = next(s for s in sample_scenes(60, "train", seed=7) if sum(a.action is not None for a in s.actors) == 2)
first = to_pil(pair.at(0).image[0])
both = pipe(first, pair.caption, motion=[6, 14], seed=0)
truth = draw([pair] * 2, [6, 14])
cells = truth.flow * both.flow.shape[-1] / truth.flow.shape[-1]  # px of the picture to cells of the flow's own grid
top = float(cells.norm(dim=1).max())
upper = [first, *both.frames, *flow_to_rgb(both.flow, top)]
lower = [None, *truth.image, *flow_to_rgb(cells, top)]
names = ["source", "m = 6", "m = 14", "flow, m = 6", "flow, m = 14"]
Embedded(pair.caption, contact_sheet([upper, lower], ["generated", "exact"], names, 140), alt=pair.caption)

# %% [markdown]
# What if the caption has an action for only one of the two? In the drawn training data the one that rests is always named: "beside a ...".
# A subject that is in the picture but not in the caption is outside of what was trained: compare the last two columns.

# %%
import re

from pix2gif_lite.scenery.captions import article

clause = re.split(" and | while ", pair.caption)[0]
other = next(a for a in pair.actors if f"{a.colour} {a.subject}" not in clause)
captions = [pair.caption, f"{clause} beside {article(f'{other.colour} {other.subject}')}", clause]
tries = [both, *[pipe(first, words, motion=[14], seed=0) for words in captions[1:]]]
for words in captions:
    print(words)
rows = [[t.frames[-1] for t in tries], [flow_to_rgb(t.flow[-1:], top)[0] for t in tries]]
sheet = contact_sheet(rows, ["frames", "flow"], ["both act", "one rests", "one not named"], 140)
Embedded(sheet, alt="Frames and flow for three captions of the same picture")

# %% [markdown]
# **Palettes.** A GIF has at most 256 colours a frame. One palette for all frames ("global") keeps what stands still at the same colour.
# One for each frame ("frame") is closer to each picture, but the still parts change colour, and the file grows.

# %%
from pix2gif_lite.metrics import psnr


def palette_table(frames, region):
    exact = torch.cat([to_tensor(frame) for frame in frames])
    table = {}
    for palette in ("global", "frame"):
        quantised = {"global": gifs._with_global_palette, "frame": gifs._with_own_palettes}[palette](frames)
        back = [picture.convert("RGB") for picture in quantised]  # what a viewer shows
        dB = float(psnr(torch.cat([to_tensor(p) for p in back]), exact).mean())
        table[palette] = len(gif_bytes(frames, palette=palette)), dB, flicker(back, region)
    return table


drawn = [to_pil(image) for image in draw([scene] * len(DEMO_MOTIONS), DEMO_MOTIONS).image]
region = still_region(scene, DEMO_MOTIONS)
tables = {"drawn": palette_table(drawn, region), "generated": palette_table(out.frames, region)}
for name, table in tables.items():
    for palette, (size, dB, change) in table.items():
        print(f"{name:9} {palette:6} {size / 1024:6.1f} KiB  {dB:.1f} dB  flicker {change:.2f}")
print("auto chooses:", {"drawn": gifs.choose_palette(drawn), "generated": gifs.choose_palette(out.frames)})

# %% [markdown]
# ## Exercises
# **1.** Eight frames play as "pingpong" at 4 frames/s. How long is one turn, in seconds?

# %%
answer = 8 / 4  # edit
right = len(pingpong_by_hand(range(8))) / 4
print("Right." if answer == right else "Not yet: count the frames of the way back, without the two ends.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 8 + 6 = 14 frames, 3.5 s.
# </details>
#
# **2.** Write a list of eight motions from 0 to 16 that starts fast and ends slowly: no step may be longer than the one before it.

# %%
answer = motion_curve("linear", 16, 8)  # edit
steps = [b - a for a, b in zip(answer, answer[1:], strict=False)]
slows = all(b <= a + 1e-6 for a, b in zip(steps, steps[1:], strict=False)) and steps[-1] < steps[0] - 1e-6
slows = slows and len(answer) == 8 and abs(answer[0]) < 1e-6 and abs(answer[-1] - 16) < 1e-6
print("Right." if slows else f"Not yet: {len(answer)} motions, the steps between them {[round(s, 1) for s in steps]}.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `[16 * math.sin(math.pi / 2 * k / 7) for k in range(8)]` (after `import math`): the first quarter of a sine.
# </details>
#
# ## Recap
# - A GIF is a list of motions. The curve is the timing, the loop is what happens at the seam.
# - Shared noise makes two frames differ by their motion alone; independent noise flickers more.
# - One global palette keeps still parts still and the file small.
#
# Next: `10_does_it_work`.

# %%
# What this notebook taught, checked
assert pingpong_by_hand([1, 2, 3, 4]) == [1, 2, 3, 4, 3, 2]
assert measured["independent"] > measured["shared"]
assert pingpong[-1] < forward[-1]  # no jump at the seam
assert tables["drawn"]["global"][0] < tables["drawn"]["frame"][0]  # smaller
assert tables["drawn"]["global"][2] <= tables["drawn"]["frame"][2]  # and steadier
