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
# # 12 · One step
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/12_one_step.ipynb)
#
# A frame fast enough to follow a dragged slider. First we count what a frame costs, then make it cost less: fewer predictions, fewer
# steps, and in the end a network that learnt to answer at once.
#
# **You will learn**
# - to count operations and bytes, and to tell from them how fast a frame could be on your machine;
# - why guidance costs three predictions, and what one step of a diffusion model gives: the mean of all answers;
# - how a student learns in a minute to end in one unguided step where its teacher ends in many guided ones.
#
# **In the paper:** section 4.1 (100 steps, three predictions each). Distillation is not in it; ours follows Luhman and Luhman 2021.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $z_T$ | the noise that sampling starts from | `noise` (B, 4, 32, 32) |
# | $\sigma_1 > \dots > \sigma_k$ | the noise levels of a sampler with $k$ steps | `sigmas`; 0 follows |
# | $y_i$ | the state of the student's own sampler at $\sigma_i$ | `y` |
# | $D(y;\sigma)$ | the UNet's estimate of the clean latent | `denoised` |
# | $x_0^*(z_T)$ | where the teacher ends, with its guidance, from this noise | `end` |
# | $s$ | the spread of $x_0$ around $z_W$ (notebook 06) | `preset.residual` |

# %%
# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    # %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/OWNER/pix2gif-lite@v0.1.0" av imagehash peft
    pass

# %% [markdown]
# ## Set-up
# `PIX2GIF_PROFILE` is `cpu` or `gpu` (default: what is there), `PIX2GIF_TURBO_STEPS` how many steps the student trains. The second cell
# draws three held-out scenes, at rest and moved, and works out what the UNet sees of the first.

# %%
import inspect
import os
import statistics
import tempfile
import time
from pathlib import Path
import torch
from pix2gif_lite import Pix2GifPipeline
from pix2gif_lite.pretrained import TURBO_WEIGHTS

pipe = Pix2GifPipeline.from_pretrained("lite")
CPU = os.environ.get("PIX2GIF_PROFILE", "gpu" if torch.cuda.is_available() else "cpu") == "cpu"
STEPS = int(os.environ.get("PIX2GIF_TURBO_STEPS", 40 if CPU else 2000))
work = tempfile.TemporaryDirectory()
OUT = Path(work.name)

# %%
from pix2gif_lite import diffusion
from pix2gif_lite.evaluation import generating
from pix2gif_lite.presets import LITE
from pix2gif_lite.scenes import sample_scenes
from pix2gif_lite.second_look import SecondLook
from pix2gif_lite.sheets import Embedded, contact_sheet
from pix2gif_lite.text import motion_prompt, tokenize

model, AC = pipe.model, diffusion.alphas_cumprod(pipe.config)  # (1000,)
m = 16
part = next(generating.drawn(sample_scenes(3, "val", seed=9), [m], pipe.config.image_size))
scene = part.scenes[0]
noise = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    E = generating.encode(pipe, part.source[:1]) * pipe.image_scale  # (1, 4, 32, 32)
    c_L = model.condition(tokenize(pipe.tokenizer, [motion_prompt(scene.caption, m)]), torch.tensor([m]))  # (1, 77, 256)
    again = SecondLook(pipe.vae, part.source[:1], pipe.image_scale, pipe.config.second_look)  # notebook 04
    F, z_W = model.warp(E, c_L, second_look=again)
print(
    f"{scene.caption}, m = {m}; the student trains {STEPS} steps; lite-turbo is",
    "here" if TURBO_WEIGHTS.is_dir() else "not here",
)

# %% [markdown]
# ## The idea
# A frame cannot take less time than its operations take at the fastest rate of the machine, nor less than its bytes take to be read:
# $$\text{seconds} \;\ge\; \max\left(\frac{\text{operations}}{\text{rate}},\ \frac{\text{bytes}}{\text{bandwidth}}\right)
# \qquad \text{operations} = W + C + k\,p\,U$$
# $W$: flow and warp, with the second look's E, $C$: decoding, $U$: one prediction of the UNet, in $k$ steps of $p$ predictions each. The rate is measured, with the
# one thing that a processor does best: a product of large matrices. Where the measured time is far above this floor, faster code
# helps; where it is near, only fewer operations do.
#
# **Count first.** `operations` counts every matrix product, convolution and attention while it runs; a multiply-add is two.

# %%
from pix2gif_lite.benchmark.bench_timing import operations, seconds_of
from pix2gif_lite.hardware import matrix_rate
from pix2gif_lite.learning.live_bytes import LiveBytes
from pix2gif_lite.viz import bar_chart

t, latent = torch.tensor([999]), z_W / pipe.image_scale
parts = {
    "flow and warp": (lambda: model.warp(E, c_L, second_look=again), [model.flow_net, pipe.vae.encoder]),
    "UNet, once": (lambda: model(noise, t, E, z_W, c_L), [model.unet]),
    "decode": (lambda: pipe.vae.decode(latent), [pipe.vae.decoder, pipe.vae.post_quant_conv]),
}
rate = max(matrix_rate("cpu", seconds=0.1) for _ in range(5))  # operations a second, float32; the best, as for a floor
block = torch.ones(2**23)  # 32 MiB, far more than a cache holds
bandwidth = 2 * block.nbytes / min(seconds_of(block.clone))  # each byte is read and written
floor, measured, counts = {}, {}, {}
print(f"this machine: {rate / 1e9:.0f} G operations/s, {bandwidth / 1e9:.1f} GB/s, {torch.get_num_threads()} threads\n")
print("               G operations   MB weights   MB alive   floor, ms   measured, ms   share of the rate")
with torch.no_grad():
    for name, (run, modules) in parts.items():
        counts[name] = operations(run)
        weights = sum(p.nbytes for module in modules for p in module.parameters())
        with LiveBytes() as alive:
            run()
        floor[name] = 1000 * max(counts[name] / rate, weights / bandwidth)
        measured[name] = 1000 * min(seconds_of(run))
        print(
            f"{name:14} {counts[name] / 1e9:12.2f} {weights / 1e6:12.1f} {alive.peak / 1e6:10.1f} {floor[name]:11.1f}"
            f" {measured[name]:14.1f} {floor[name] / measured[name]:19.0%}"
        )
bars = {f"{name}\n{kind}": values[name] for name in parts for kind, values in (("floor", floor), ("measured", measured))}
Embedded(bar_chart(bars, "ms", "What a frame is made of"), alt="Floor and measured time of warp, UNet and decoding")

# %% [markdown]
# The weights are read in less time than the products take, so the operations decide. The gap between floor and measured is what
# no product is: normalisations, activations, the look-ups of the warp, and layers on $8 \times 8$ or $4 \times 4$ cells that are too
# small to keep a processor busy.
#
# **Cheaper calls.** The same weights and the same sums with fewer detours. Channels last: each cell's numbers lie side by side, as a
# convolution reads them. The short way (`pix2gif_lite/fast/`): plain functions on the modules' weights, which are laid out once as the
# processor wants them, and of FNet only what the motion changes. bfloat16 where the processor multiplies in it. And `torch.compile`,
# which writes one program out of many operations, and takes its time for that (`PIX2GIF_COMPILE=0` leaves it out).

# %%
import copy
import itertools
import shutil

from pix2gif_lite.fast.direct_decoder import DirectDecoder
from pix2gif_lite.fast.direct_unet import DirectUNet
from pix2gif_lite.fast.laid import can_lay
from pix2gif_lite.fast.one_picture import OnePicture

x, unet, one = model.unet_input(noise, E, z_W), pipe.unet, OnePicture(pipe.flow_net)
last = {name: copy.deepcopy(getattr(pipe, name)).to(memory_format=torch.channels_last) for name in ("unet", "vae")}
moves = itertools.cycle([c_L, c_L.clone()])  # the texts of two motions; what FNet makes of the picture alone may be kept


def warped(net):
    text = next(moves)
    return net.look_up(E, net(E, text))


def predicted(net):
    return net(x, t, encoder_hidden_states=c_L, return_dict=False)[0]


calls = {
    "flow and warp": {"module": lambda: warped(pipe.flow_net), "short way": lambda: warped(one)},
    "UNet": {"module": lambda: predicted(unet), "channels last": lambda: predicted(last["unet"])},
    "decode": {"module": lambda: pipe.vae.decode(latent).sample, "channels last": lambda: last["vae"].decode(latent).sample},
}
direct, decoder = DirectUNet(unet, fixed=True), DirectDecoder(pipe.vae)
calls["UNet"]["short way"] = lambda: predicted(direct)
calls["decode"]["short way"] = lambda: decoder.decode(latent).sample
if can_lay(torch.bfloat16):
    rounded, coarse = DirectUNet(unet, fixed=True, inside=torch.bfloat16), DirectDecoder(pipe.vae, torch.bfloat16)
    calls["UNet"]["short way, bfloat16"] = lambda: predicted(rounded)
    calls["decode"]["short way, bfloat16"] = lambda: coarse.decode(latent).sample
if os.environ.get("PIX2GIF_COMPILE", "1") == "1" and shutil.which("g++"):
    compiled = copy.deepcopy(pipe.vae)
    compiled.decoder = torch.compile(compiled.decoder)
    calls["decode"]["torch.compile"] = lambda: compiled.decode(latent).sample
apart = {}
print("                                    ready after, s    ms   largest difference")
with torch.no_grad():
    for name, ways in calls.items():
        exactly = ways["module"]()
        for way, run in ways.items():
            began = time.perf_counter()
            apart[name, way] = float((run() - exactly).abs().max())
            ready = time.perf_counter() - began
            ms = 1000 * statistics.median(seconds_of(run, 7))
            print(f"{name:14} {way:20} {ready:14.2f} {ms:7.1f} {apart[name, way]:12.1e}")

# %% [markdown]
# The short way is what the pipeline and the slider take.
#
# **Fewer predictions.** Guidance (notebook 08) is a sum of three predictions, with nothing, with the picture, with picture and text. So
# it costs three times the UNet at every step. The counter agrees: what one more step adds, in calls of the UNet.

# %% tags=["nbval-check-output"]
from pix2gif_lite.canvas import to_pil

picture, GUIDED = to_pil(part.source[0]), generating.Scales(s_I=1.2, s_T=2.0)


def counted(steps, **how):
    return operations(lambda: pipe(picture, scene.caption, [m], steps=steps, quiet=True, **how))


pipe(picture, scene.caption, [m], steps=1, quiet=True)  # encodes the texts, which are kept: only the UNet shall be counted
for name, how in {"no guidance": {}, "s_I = 1.2, s_T = 2": {"s_I": GUIDED.s_I, "s_T": GUIDED.s_T}}.items():
    print(f"{name:20} {(counted(3, **how) - counted(2, **how)) / counts['UNet, once']:.2f}")

# %% [markdown]
# Guidance also need not act all along. Kynkaanniemi et al. 2024 found that it harms at high noise and is wasted at low noise, and guide
# in between alone. Below the same frame, guided at all twelve steps, in the interval only, and not at all. Lite was trained to need no
# guidance, and any of it costs decibels; what the interval saves is the calls.

# %%
from pix2gif_lite.guidance import guidance_interval
from pix2gif_lite.metrics import psnr

INTERVAL, MANY = (0.25, 2.0), 12
sigmas = diffusion.sigmas_for(MANY, AC, "trailing", "dpmpp_2m")[0][:-1].tolist()
guided_steps = sum(guidance_interval(sigma, *INTERVAL) for sigma in sigmas)
ways = {
    "guided": (3 * MANY, {"scales": GUIDED}),
    "interval": (3 * guided_steps + MANY - guided_steps, {"scales": GUIDED, "interval": INTERVAL}),
    "unguided": (MANY, {}),
}
first = part._replace(scenes=part.scenes[:1], source=part.source[:1])
exact, made = part.exact.image[:1], {}
with torch.no_grad():
    for name, (calls, how) in ways.items():
        made[name] = generating.generate_for(pipe, first, [m], MANY, **how).image
        floor_ms = 1000 * (counts["flow and warp"] + counts["decode"] + calls * counts["UNet, once"]) / rate
        print(f"{name:9} {calls:3} UNet calls, floor {floor_ms:5.0f} ms a frame, {float(psnr(made[name], exact)):.1f} dB")
print(f"the paper's recipe, 100 steps, three predictions: floor {300 * counts['UNet, once'] / rate:.1f} s a frame")
sheet = contact_sheet([[part.source[0], exact, *made.values()]], None, ["source", "exact frame", *made], 128)
Embedded(sheet, alt="A frame guided at all steps, in an interval, and not at all")

# %% [markdown]
# **Fewer steps.** Why not one? Take a few possible answers $x_1, \dots, x_n$, equally likely. Then the perfect denoiser is known:
# $$D(x;\sigma) = \sum_j w_j\,x_j \qquad w_j \propto \exp\left(-\frac{\lVert x - x_j \rVert^2}{2\sigma^2}\right)$$
# It is their mean, weighted by how well each explains what is seen. In pure noise little is seen, so one step gives about the mean of
# all: a ghost, a little everywhere. The next steps start nearer to one answer, and the weights decide for it. Where there is only *one*
# answer, one step is exact. Move the sliders: the answers are frames of our scene, as if the caption left open how far things go.

# %%
from pix2gif_lite import sampling
from pix2gif_lite.presets import Slider
from pix2gif_lite.widgets import Explorer

OPEN = {"one: m = 20": [20], "two: m = 4, 20": [4, 20], "four: m = 2, 8, 14, 20": [2, 8, 14, 20]}
scaling = pipe.vae.config.scaling_factor


@torch.no_grad()
def perfect_sampling(answers, steps, seeds=4):  # compute: (n, 4, 32, 32) -> (seeds, 4, 32, 32)
    def denoise(x, sigma):
        apart = (x[:, None] - answers).square().sum((2, 3, 4))  # (seeds, n)
        return torch.einsum("sn,nchw->schw", (-apart / (2 * sigma**2)).softmax(1), answers)

    x = torch.randn(seeds, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    levels = diffusion.sigmas_for(steps, AC, "trailing", "dpmpp_2m")[0]
    return sampling.dpmpp_2m(denoise, sampling.start(x, levels), levels)


@torch.no_grad()
def draw(answers, steps):
    z = generating.encode(pipe, torch.cat([scene.at(k).image for k in OPEN[answers]])) * scaling  # (n, 4, 32, 32)
    ends = perfect_sampling(z, steps)
    away = (ends[:, None] - z).square().mean((2, 3, 4)).min(1).values.mean()
    tiles = [list(generating.decode(pipe, z / scaling)), list(generating.decode(pipe, ends / scaling))]
    said = f"from four noises, by the perfect denoiser in {steps} step{'s' * (steps > 1)}"
    sheet = contact_sheet(tiles, ["the answers", said], None, 112)
    return [sheet, f"mean squared distance to the nearest answer: {float(away):.4f}"]


few = Slider(1, 12, 1, 1, "steps", "of DPM-Solver++(2M)")
explorer = Explorer(draw, alt="Possible answers, and where sampling ends", answers=list(OPEN), steps=few)
explorer

# %%
one, ghost = explorer.set(answers="one: m = 20", steps=1), explorer.set(answers="four: m = 2, 8, 14, 20")
clear = explorer.set(steps=12)
distance = {name: float(shown[1].split()[-1]) for name, shown in (("one", one), ("ghost", ghost), ("clear", clear))}
print(distance)
Embedded(*ghost, *clear, alt="One step gives a mean of the answers, twelve steps one of them")

# %% [markdown]
# **Learn where the long way ends.** DPM-Solver++ draws no noise on its way. So the start noise alone decides which answer it ends in, and
# "many guided steps from $z_T$" is a function $x_0^*(z_T)$, with one value for each noise. A function can be learnt. The student is a
# copy of the UNet. From the same noise it walks its own way in $k = 1, 2, 4$ steps, and at each of its states $y_i$ is told where to end:
# $$L = \operatorname{mean}_{k,\,i}\; w(\sigma_i)\,\lVert D(y_i;\sigma_i) - x_0^*(z_T) \rVert^2, \qquad w = 1 + s^2/\sigma_i^2$$
# The states are the student's own, mistakes and all, and no gradient goes through them: they are what it meets when it is used. The
# teacher's guidance is in $x_0^*$, so the student needs none: one prediction a step where the teacher took three.
#
# ## By hand
# The loss of one way of $k$ steps, for $k = 1, 2$, where DPM-Solver++(2M) is a plain Euler step (notebook 08). lite predicts $v$.


# %%
def estimate(unet_and_warp, y, sigma, branch):  # D(y; sigma), from v
    a = 1 / (1 + sigma**2)
    z = a**0.5 * y
    times = torch.full((len(y),), diffusion.timestep_of(sigma, AC))
    return a**0.5 * z - (1 - a) ** 0.5 * unet_and_warp(z, times, *branch)


def loss_by_hand(student, k, noise, end, branch, s):
    levels = diffusion.sigmas_for(k, AC, "trailing", "dpmpp_2m")[0].tolist()  # k of them, and 0
    y, losses = noise * (1 + levels[0] ** 2) ** 0.5, []
    for sigma, after in zip(levels, levels[1:], strict=False):
        denoised = estimate(student, y, sigma, branch)
        losses.append((1 + s**2 / sigma**2) * (denoised - end).square().mean())
        still = denoised.detach()  # no gradient through the states
        y = still + after / sigma * (y - still)
    return sum(losses) / k


# %% [markdown]
# ## Compared with the package
# On two samples of the training data, with the teacher's end as `teacher_end` makes it, in six steps (twelve on a GPU), each of three
# predictions.

# %%
import copy

from pix2gif_lite.learning.distillation_job import DistillationJob
from pix2gif_lite.hardware import choose_precision
from pix2gif_lite.data.latent_cache import cache_scenes

PRECISION = choose_precision("auto", cpu=CPU)
TEACHER, SCENES, HELD_OUT = (6, 32, 2) if CPU else (MANY, 4000, 16)
teacher = LITE.with_changes(s_I=GUIDED.s_I, s_T=GUIDED.s_T)
how = {"size": LITE.image_size, "mixed_precision": PRECISION, "progress_bar": False}
pipe.vae.to("cpu" if CPU else "cuda")
data = cache_scenes(pipe.vae, OUT / "latents", SCENES, 2, split="train", **how)  # encoded once, as in notebook 07
val = cache_scenes(pipe.vae, OUT / "latents" / "val", HELD_OUT, 2, split="val", **how)
pipe.vae.to("cpu")
own = copy.deepcopy(pipe.model)
job = DistillationJob(teacher, own, pipe.tokenizer, pipe.vae, data, 0, val, teacher_steps=TEACHER).eval()
batch = job.batch(range(2))
with torch.no_grad():
    branches = job.conditions(batch)
    end = job.teacher_end(batch.noise, branches)  # x_0*(z_T), (2, 4, 32, 32)
    package = job(batch)
    for k in (1, 2):
        mine = loss_by_hand(job.model, k, batch.noise, end, branches["full"], LITE.residual)
        torch.testing.assert_close(mine, package[f"end_{k}"], rtol=1e-3, atol=1e-6)
        print(f"k = {k}: mine {float(mine):.5f}, package {float(package[f'end_{k}']):.5f}")

# %% [markdown]
# ## The source

# %%
print(inspect.getsource(DistillationJob.teacher_end))
print(inspect.getsource(DistillationJob.student_way))
print(inspect.getsource(DistillationJob.forward))

# %% [markdown]
# **Distil it.** `train_turbo` starts the student where its teacher is, and saves weights that take 1, 2 or 4 steps and no guidance.
# Watched: the mean squared distance to the teacher's end, on held-out scenes at fixed noises. Lite by itself is better off without
# guidance (the decibels above), and without it one step is near many from the start. So guidance is here a lesson rather than a gain:
# it can be learnt in a minute, and a model of the paper's size cannot do without it. `lite-turbo`, where it is shipped, comes from the
# same call with more steps, an unguided teacher and a smaller student (`student_channels`): a new UNet, silent at first, so that it
# starts at $z_W$, which is near enough for a 260th of the weights to say the rest. And it has a D of half the width (`train_decoder`),
# for of what is left D takes most: 0.6 dB of the frames as the pipeline returns them, for a quarter of a move's time.

# %%
from pix2gif_lite.distillation import train_turbo
from pix2gif_lite.viz import line_chart

before = job.measure()
history = {k: [(0, before[f"val_end_{k}"])] for k in (1, 2, 4)}


def look(state):
    for k, curve in history.items():
        curve.append((state["step"], state[f"val_end_{k}"]))


shutil.rmtree(OUT / "turbo", ignore_errors=True)  # of this cell's last run
summary = train_turbo(
    teacher,
    OUT / "turbo",
    "lite",
    teacher_steps=TEACHER,
    steps=STEPS,
    scenes=SCENES,
    targets=2,
    held_out=HELD_OUT,
    latents=OUT / "latents",
    batch_size=4 if CPU else 32,
    learning_rate=1e-3 if CPU else 3e-4,
    warmup_steps=min(20, STEPS // 4),
    callback=look,
    callback_every=max(5, STEPS // 4),
    checkpoint_every=STEPS,
    cpu=CPU,
    progress_bar=False,
)
print(f"{summary['steps']} steps, {summary['samples']} samples in {summary['seconds']:.0f} s on {summary['device']}")
for k, curve in history.items():
    if curve[-1][0] < STEPS:
        curve.append((STEPS, summary[f"val_end_{k}"]))
    print(f"{k} step{'s' * (k > 1)}: distance to the teacher's end {curve[0][1]:.5f} -> {curve[-1][1]:.5f}")
curves = {f"in {k} step{'s' * (k > 1)}": tuple(zip(*curve, strict=True)) for k, curve in history.items()}
chart = line_chart(curves, "training step", "distance to the teacher's end", "Held out", log="y", marker="o")
Embedded(chart, alt="The student's distance to its teacher's end falls while it trains")

# %% [markdown]
# **Teacher and student.** The same scenes and noises. PSNR twice: against the exact frame, and against the frame of this teacher in 12
# guided steps (on a CPU the student was taught by fewer). After 40 steps a decibel hardly sees the lesson; the distance in latents, above,
# does. Against the exact frame the student loses a little: it imitates a guided teacher, and guidance costs lite decibels. `one step before` is the teacher asked for a single step without guidance,
# where the student began. If the shipped `lite-turbo` is there, it is in the table too; its teacher was another, unguided,
# and its D has half the width, which is most of what it is behind.

# %%
student = Pix2GifPipeline.from_pretrained(OUT / "turbo")
ways = {
    f"teacher, {MANY} steps": (pipe, MANY, GUIDED),
    "one step before": (pipe, 1, generating.Scales()),
    **{f"student, {k} step{'s' * (k > 1)}": (student, k, None) for k in student.config.distilled_steps},
}
if TURBO_WEIGHTS.is_dir():
    fast, named = Pix2GifPipeline.from_pretrained("lite-turbo"), "lite-turbo"
    ways |= {f"lite-turbo, {k} step{'s' * (k > 1)}": (fast, k, None) for k in fast.config.distilled_steps}
else:
    fast, named = student, "your student"
frames, quality = {}, {}
print("                            UNet calls   against exact, dB   against the teacher, dB")
with torch.no_grad():
    for name, (who, steps, scales) in ways.items():
        frames[name] = generating.generate_for(who, part, [m], steps, scales=scales).image  # (3, 3, 128, 128)
        quality[name] = float(psnr(frames[name], part.exact.image).mean())
        reference = next(iter(frames.values()))
        alike = "-" if frames[name] is reference else f"{float(psnr(frames[name], reference).mean()):.1f}"
        print(f"{name:27} {steps * (3 if scales == GUIDED else 1):10} {quality[name]:19.1f} {alike:>25}")
rows = [[part.source[k], part.exact.image[k], *(made[k] for made in frames.values())] for k in range(3)]
sheet = contact_sheet(rows, [s.caption for s in part.scenes], ["source", f"exact, m = {m}", *frames], 112)
Embedded(sheet.quantize(256), alt="The same frames by the teacher in many steps and by the student in one, two and four")

# %% [markdown]
# ## Slide
# `Live` is what the studio of notebook 00 asks while a slider is dragged: it keeps what two moves have in common (the encoded picture,
# the encoded texts), so a move costs one flow, one warp, the UNet's steps, one decoding and a PNG. Drag **motion**: what you see is the
# model's own frame, made in the milliseconds that stand below it; the other frames follow when you let go. A slider may move faster
# than frames come. Then the newest place waits, and those between are never made. Below the slider a program moves it; then come the
# milliseconds of each move without widgets, arguments to PNG, for each number of steps. (They are those of the machine that ran this
# notebook last; the README has the benchmark, and the processor it ran on.)

# %%
from pix2gif_lite.sliders.studio import Studio
from pix2gif_lite.widgets import GifStudio

print("the weights behind the slider:", named, "in", fast.config.sampling_steps, "step")
studio = GifStudio(Studio(fast))
studio

# %%
from pix2gif_lite.live import Live

asked, glimpses = [4, 6, 9, 12, 15, 16], []
look_at = studio.compute.glimpse
studio.compute.glimpse = lambda request: glimpses.append(max(request.motions)) or look_at(request)
studio.wait()
for value in asked:  # as fast as a program can, faster than any hand
    studio.motion.value = value
gif = studio.wait().made
print(f"the slider stood at {asked}, frames were made at {[f'{g:g}' for g in glimpses]}")
print(f"the GIF is of m = {gif.top[0]:g}, measured {gif.top[1]:.1f} px; threads left to do something: {studio.worker.busy}")

name = studio.picture.value
image, caption, moves, shots = studio.compute.pictures[name], studio.compute.captions[name], (4, 8, 12, 16), {}
for weights, steps in ((fast, fast.config.distilled_steps[0]), (fast, fast.config.distilled_steps[-1]), (pipe, MANY)):
    live, spent = Live(weights), []
    for value in (1, *moves):  # the first encodes picture and texts
        began = time.perf_counter()
        shot = live.png(image, caption, value, steps=steps)
        spent.append(1000 * (time.perf_counter() - began))
    shots[f"{steps} step{'s' * (steps > 1)}"] = statistics.median(spent[1:])
    print(f"{steps:2} steps: first {spent[0]:5.0f} ms, then {shots[f'{steps} step' + 's' * (steps > 1)]:5.0f} ms a move")
live = Live(fast)
seen = [live.frame(image, caption, value) for value in moves]
chart = bar_chart(shots, "ms a move", "The slider, arguments to PNG")
sheet = contact_sheet([seen], None, [f"m = {v}" for v in moves], 112).quantize(256)
Embedded(gif.gif, gif.sheet, chart, sheet, alt="The GIF after the slider came to rest; milliseconds a move; frames")

# %% [markdown]
# ## Where it fails
# Why learn from the teacher's end and not from the data, which is right there? Because for one noise the data hold *every* answer, and a
# regression returns their mean. Two answers, -1 and 1, in one dimension, and a small network that sees the noise $z_T$ alone. The data
# teach it nothing but 0; the ends of the perfect denoiser's way teach it to decide.

# %%
torch.manual_seed(0)
z = torch.randn(4096, 1)
answers = torch.randint(0, 2, z.shape).float() * 2 - 1  # what the data say: either, whatever the noise
levels = diffusion.sigmas_for(MANY, AC, "trailing", "dpmpp_2m")[0]


def ends_of(z):  # tanh(x / sigma^2) is the mean of -1 and 1 with the weights w
    return sampling.dpmpp_2m(lambda x, sigma: torch.tanh(x / sigma**2), sampling.start(z, levels), levels)


where, lessons = torch.linspace(-2, 2, 81)[:, None], {}
for name, target in {"taught by the data": answers, "taught by the teacher's ends": ends_of(z)}.items():
    net = torch.nn.Sequential(
        torch.nn.Linear(1, 32), torch.nn.SiLU(), torch.nn.Linear(32, 32), torch.nn.SiLU(), torch.nn.Linear(32, 1)
    )
    learner = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(300):
        learner.zero_grad()
        torch.nn.functional.mse_loss(net(z), target).backward()
        learner.step()
    lessons[name] = net(where).detach().flatten()
series = {
    name: (where.flatten(), value) for name, value in (lessons | {"the teacher's ends": ends_of(where).flatten()}).items()
}
Embedded(line_chart(series, "noise", "answer", "One step, two answers"), alt="Taught by the data a student stays at the mean")

# %% [markdown]
# And a student answers only what it was taught. Other step counts would still give a picture, of states it never saw; guidance it has
# swallowed already. Both are refused.

# %% tags=["nbval-check-output"]
for wrong in ({"steps": 12}, {"steps": 1, "s_T": 3.0}):
    try:
        student(picture, scene.caption, [m], **wrong)
    except ValueError as error:
        print(error)

# %% [markdown]
# **Limits.** The student inherits its teacher's mistakes, and one guidance scale for good. One step leaves the noise nearly no say where
# the model knows the answer, as lite does: the caption and the number say almost everything. At the paper's scale, with captions that
# leave much open, one step is a harder lesson; there Song et al. 2023 (consistency) or adversarial distillation are used. The paper
# itself samples 100 steps with three predictions on a GPU, and runs its FlowNet anew at every one.
#
# ## Exercises
# **1.** How many calls of the UNet does a frame take when guidance (three predictions) acts at $low < \sigma \le high$ only?


# %%
def calls_of(sigmas, low, high):
    return 3 * len(sigmas)  # edit


wanted = [3 * sum(guidance_interval(x, low, high) for x in sigmas) + sum(not guidance_interval(x, low, high) for x in sigmas)
          for low, high in ((0.25, 2.0), (0.0, 1e9), (1e9, 2e9))]  # fmt: skip
found = [calls_of(sigmas, *interval) for interval in ((0.25, 2.0), (0.0, 1e9), (1e9, 2e9))]
print("Right." if found == wanted else f"Not yet: yours say {found} calls.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `sum(3 if low < sigma <= high else 1 for sigma in sigmas)`. All levels: 36 calls. None: 12.
# </details>
#
# **2.** From how many unguided steps on does the UNet compute more than flow, warp and decoding together? Take `counts`.

# %%
answer = 1  # edit
rest = counts["flow and warp"] + counts["decode"]
right = next(k for k in range(1, 100) if k * counts["UNet, once"] > rest)
print(
    "Right."
    if answer == right
    else f"Not yet: {answer} x {counts['UNet, once'] / 1e9:.2f} against {rest / 1e9:.2f} G operations."
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The first whole number above `rest / counts["UNet, once"]`. Below it, making the UNet faster hardly helps: what is left to
# shorten is the warp and the decoder.
# </details>
#
# ## Recap
# - Operations over the measured rate are a floor; the gap above it is what faster code can win.
# - One step gives the mean of the answers. It is right where there is one, and lite's captions with a number leave about one.
# - A deterministic sampler makes "many guided steps" a function of the noise. A student learns it in regression, guidance included.
# - A frame then costs one flow, one warp, one UNet call and one decoding, and a slider can show it while it moves.
#
# Next: `pix2gif-lite bench --out DIR --quick` measures all of this on your machine, beside the paper's recipe and diffusers.

# %%
# What this notebook taught, checked
many, one_step = quality[f"teacher, {MANY} steps"], quality["student, 1 step"]
assert all(curve[-1][1] < curve[0][1] for curve in history.values()), "the loss fell"
assert one_step > many - 1, "one step is within 1 dB of many"
assert quality[f"{'lite-turbo' if named == 'lite-turbo' else 'student'}, 1 step"] > many - 1
rising = fast(picture, scene.caption, [4, 10, 16], quiet=True).measured()
assert rising[0] < rising[1] < rising[2], f"motion rises with m: {rising}"
assert all(error < 1e-3 for (_, way), error in apart.items() if "bfloat16" not in way), "cheaper calls compute the same"
assert distance["ghost"] > 5 * distance["clear"] and distance["one"] < 1e-3, "one step: a mean, right where there is one answer"
assert float(lessons["taught by the data"].abs().max()) < 0.6 < float(lessons["taught by the teacher's ends"].abs().mean())
assert len(glimpses) <= len(asked) + 1 and gif.top[0] == asked[-1] and not studio.worker.busy, "the newest wins"
work.cleanup()
