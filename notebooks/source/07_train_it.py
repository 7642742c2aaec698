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
# # 07 · Train it
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/07_train_it.ipynb)
#
# This notebook trains Pix2Gif. On a CPU it trains a small one for a few minutes, until its GIFs move. With a GPU the same cells
# train lite itself, for twenty minutes or for as long as you like.
#
# **You will learn**
# - what one optimiser step is, number by number: loss, gradient, clipping, AdamW, the moving average;
# - why the data is encoded once, and what a run must save to go on to the bit after Ctrl-C;
# - what a few minutes buy, what the whole preset buys, and what a learning rate 30 times too large costs.
#
# **In the paper:** Eq. 8 (the loss) and section 4.1 (AdamW, rate $10^{-4}$, 25,000 steps on 16 V100).

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $\theta$ | every trained weight: text encoder, M, FNet, UNet | `job.parameters()` that require a gradient |
# | $g$ | gradient of the loss, clipped to a norm of at most 1 | `g` |
# | $\mu, \nu$ | AdamW's running means of $g$ and $g^2$ | `mu`, `nu` |
# | $\eta$ | learning rate: warm-up, then a cosine to 0 | `Run.rate` |
# | $\bar\theta$ | moving average (EMA) of $\theta$; what is saved and sampled from | `EMA` |
# | $d$ | how much of $\bar\theta$ is kept at an update | `decay` |
# | E, D | the autoencoder, frozen while the model trains | `vae` |

# %%
# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    # %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/OWNER/pix2gif-lite@v0.1.0" av imagehash peft
    pass

# %% [markdown]
# ## Set-up
# `PIX2GIF_PROFILE` is `cpu` or `gpu` (default: what is there). On a CPU the big training cell takes `PIX2GIF_STEPS` steps, 200, in two
# to four minutes on two cores. On a GPU it takes at most `PIX2GIF_MINUTES`, 20, and 0 is the whole preset, E and D too, with its own
# number of steps: hours, more than a free Colab session has. To choose, write for example `%env PIX2GIF_MINUTES=60` in a cell above.

# %%
import os
import psutil
import torch
from pix2gif_lite.hardware import choose_precision

_ = torch.manual_seed(0)

# %%
PROFILE = os.environ.get("PIX2GIF_PROFILE", "gpu" if torch.cuda.is_available() else "cpu")
CPU = PROFILE == "cpu"
STEPS = int(os.environ.get("PIX2GIF_STEPS", 200))  # on a CPU
MINUTES = None if CPU else float(os.environ.get("PIX2GIF_MINUTES", 20)) or None
PRECISION = choose_precision("auto", cpu=CPU)
device = "cpu" if CPU or not torch.cuda.is_available() else torch.cuda.get_device_name()
budget = f"{STEPS} steps" if CPU else f"at most {MINUTES:g} minutes" if MINUTES else "the whole preset"
print(f"profile {PROFILE}, {budget}; device {device}, {torch.get_num_threads()} threads")
print(f"dtype: float32 weights, products in {dict(no='float32').get(PRECISION, PRECISION)}")
print(f"memory: {psutil.virtual_memory().available / 2**30:.1f} GiB free of {psutil.virtual_memory().total / 2**30:.1f} GiB")

# %% [markdown]
# **What is trained.** On a CPU: two subjects and two actions, and a model a fraction of lite's size. It keeps FNet wide,
# since motion comes from there, gives the warp's loss more weight, and makes the UNet narrow: three quarters of the time went there.
# The preset's residual helps too: the UNet says how the frame *differs* from the warped picture $z_W$, so an untrained model already
# returns a picture. It stands still.

# %%
import shutil
import tempfile
from pathlib import Path

from pix2gif_lite.presets import LITE, TINY

work = tempfile.TemporaryDirectory()
OUT = Path(work.name)


def fresh(name):  # a folder that holds no run: cells may be run again
    shutil.rmtree(OUT / name, ignore_errors=True)
    return OUT / name


if CPU:
    preset = LITE.with_changes(
        unet_channels=(16, 32, 48),
        unet_attention=(False, False, True),
        unet_norm_groups=8,
        flow_skips=False,  # the reference's FNet: what lite adds pays off after longer
        flow_mixing=0,
        flow_widths=None,
        text_layers=1,
        vocab_size=1024,
        loss_weights=LITE.loss_weights | {"warp": 1.0},
        learning_rate=3e-3,
        batch_size=16,
        warmup_steps=20,
        steps=STEPS,
    )
    chosen = {"subjects": ("balloon", "rocket"), "actions": ("rise", "fall")}
    count, every = 192 if STEPS >= 150 else 96, 20
else:
    preset, chosen, count, every = LITE, {}, 4000, 500

# %% [markdown]
# ## The idea
# Training turns one loss into many small moves. Sample a batch of pairs, noise the later frame's latent, predict, and take
# $$\mathcal L = \mathcal L'_{LDM} + \lambda_P \mathcal L_P + \lambda_W \mathcal L_W \qquad \text{(Eq. 8; } \mathcal L_W = |z_W - z_{target}| \text{ is ours)}$$
# AdamW divides the mean gradient by its typical size, so each weight moves by about $\eta$ whatever its scale, and pulls matrices
# towards zero by $\lambda = 0.01$:
# $$\mu \leftarrow \beta_1\mu + (1-\beta_1)g \quad \nu \leftarrow \beta_2\nu + (1-\beta_2)g^2 \quad \theta \leftarrow (1-\eta\lambda)\,\theta - \eta\,\frac{\mu/(1-\beta_1^n)}{\sqrt{\nu/(1-\beta_2^n)}+\epsilon}$$
# The last weights are noisy: they follow the last few batches. So a second copy lags behind and averages:
# $$\bar\theta \leftarrow d\,\bar\theta + (1-d)\,\theta \qquad d = \min\left(0.999, \tfrac{1+n}{10+n}\right)$$
#
# (Lite itself adds $L_F$ and $L_O$, notebook 05, and so does the training on a GPU below; the pocket model of a CPU has the three above.)
#
# **Encode once.** E is frozen. What it says about a picture never changes, so it is computed once and kept: a training step then never
# sees a pixel. `cache_scenes` writes shards of float16 latents and an `index.json` of what made them. Below, one
# entry decoded again: a picture, four later frames of it, their motions, a caption.

# %%
import json
import time

from pix2gif_lite.data.latent_cache import cache_scenes
from pix2gif_lite.origins.loading import load_component
from pix2gif_lite.sheets import Embedded, contact_sheet
from pix2gif_lite.training import train_autoencoder


def show(*parts, alt):  # pictures in 256 colours: a third of the bytes
    return Embedded(*[p if isinstance(p, (str, bytes)) else p.quantize(256) for p in parts], alt=alt)


if CPU or MINUTES:
    vae = load_component("lite", "vae")  # the shipped autoencoder
else:  # the whole preset: E and D too, from random weights
    photos = 0.35 if find_spec("skimage") and find_spec("sklearn") else 0.0
    made = train_autoencoder(LITE, OUT / "ae", photo_share=photos, held_out=4, progress_bar=False)
    print(f"autoencoder: {made['steps']} steps, {made['seconds'] / 60:.1f} minutes")
    vae = load_component(OUT / "ae", "vae")
vae.to("cpu" if CPU or not torch.cuda.is_available() else "cuda")
began = time.perf_counter()
cached = {"size": preset.image_size, "mixed_precision": PRECISION, "progress_bar": False, "flows": not CPU, **chosen}
data = cache_scenes(vae, OUT / "latents", count, 4, split="train", **cached)
val = cache_scenes(vae, OUT / "latents" / "val", 16, 2, split="val", **cached)
vae.to("cpu")
seconds = time.perf_counter() - began
size = sum(file.stat().st_size for file in OUT.glob("latents/*.safetensors"))
print(f"{5 * count + 48} frames drawn and encoded in {seconds:.1f} s; {size / 2**20:.1f} MiB on disk")
print(tuple(data.source.shape), tuple(data.target.shape), data.captions[:3])
print(json.loads((OUT / "latents" / "index.json").read_text()))

with torch.no_grad():
    row = vae.decode(torch.cat([data.source[:1], data.target[0]]).float()).sample
sheet = contact_sheet([list(row)], [f"{data.captions[0]}; m = {data.motion[0].tolist()}"], None, 96)
show(sheet, alt="A picture of the training data and four later frames of it, decoded from their latents")

# %% [markdown]
# ## By hand
# The optimiser, with no optimiser. `job(batch)` is the loss of Eq. 8; everything after it is here. To be quick it runs on a pocket
# model, the TINY preset on the same latents.

# %%
import copy
import math

from pix2gif_lite.hardware import fast_attention
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.pretrained import build_components


def new_job(preset):
    parts = build_components(preset, data.captions)  # random weights
    job = ModelJob(preset, Pix2GifModel.from_parts(parts, preset), parts["tokenizer"], copy.deepcopy(vae), data, 0, val)
    return parts, job


pocket = TINY.with_changes(latent_size=preset.latent_size, image_size=preset.image_size)
_, untrained = new_job(pocket)

# %%
BATCH, LR, B1, B2, EPS, SHRINK, CLIP, DECAY = 8, 1e-3, 0.9, 0.99, 1e-8, 0.01, 1.0, 0.999


def by_hand(job, steps):
    theta = {k: p for k, p in job.train().named_parameters() if p.requires_grad}
    average = {k: p.detach().clone() for k, p in theta.items()}  # the EMA starts at the weights
    mu, nu = ({k: torch.zeros_like(p) for k, p in theta.items()} for _ in range(2))
    for n in range(1, steps + 1):
        loss = job(job.batch(range((n - 1) * BATCH, n * BATCH)))["loss"]  # Eq. 8; sample i is always the same
        g = dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))
        norm = torch.stack([x.norm() for x in g.values()]).norm()  # of all gradients as one vector
        rate = LR * 0.5 * (1 + math.cos(math.pi * (n - 1) / steps))  # the cosine, without warm-up
        d = min(DECAY, (1 + n) / (10 + n))
        for k, p in theta.items():
            x = g[k] * min(1.0, CLIP / (float(norm) + 1e-6))
            mu[k] = B1 * mu[k] + (1 - B1) * x
            nu[k] = B2 * nu[k] + (1 - B2) * x**2
            p.data *= 1 - rate * SHRINK * (p.ndim > 1)  # biases and norms do not decay
            p.data -= rate * (mu[k] / (1 - B1**n)) / ((nu[k] / (1 - B2**n)).sqrt() + EPS)
            average[k] = d * average[k] + (1 - d) * p.data
    return average


with fast_attention("cpu"):
    mine = by_hand(copy.deepcopy(untrained), 3)

# %% [markdown]
# ## Compared with the package
# The same three steps by `fit`, the loop that trained the shipped weights. It leaves the average in the job.

# %%
from pix2gif_lite.learning.training_loop import Run, fit

plain = {"batch_size": BATCH, "learning_rate": LR, "cpu": True, "mixed_precision": "no", "progress_bar": False}
package = copy.deepcopy(untrained)
summary = fit(package, Run(out=fresh("three"), steps=3, **plain), {})
package = {k: p.detach() for k, p in package.named_parameters() if p.requires_grad}
torch.testing.assert_close(mine, package, rtol=1e-4, atol=1e-5)
moved = max(float((mine[k] - p.detach()).abs().max()) for k, p in untrained.named_parameters() if k in mine)
apart = max(float((mine[k] - p).abs().max()) for k, p in package.items())
print(f"{len(mine)} tensors; weights moved by up to {moved:.1e}, mine and the package's differ by up to {apart:.1e}")

# %% [markdown]
# The loss of one batch is the weighted sum of its terms, and the two schedules depend on the step alone.

# %% tags=["nbval-check-output"]
with torch.no_grad():
    terms = untrained.eval()(untrained.batch(range(BATCH)))
torch.testing.assert_close(terms["loss"], sum(w * terms[k] for k, w in untrained.weights.items()))
print("loss =", " + ".join(f"{w:g} {k}" for k, w in untrained.weights.items()))
whole = Run(out="nowhere", steps=10_000, batch_size=32, learning_rate=1e-3, warmup_steps=300)
for n in (1, 10, 100, 300, 1000, 5000, 9000, 9999):
    print(f"step {n:5}: rate {whole.rate(n, n / 10_000):.2e}, decay {min(0.999, (1 + n) / (10 + n)):.4f}")

# %% [markdown]
# ## The source

# %%
import inspect

from pix2gif_lite.learning import checkpoints, training_loop

print(inspect.getsource(checkpoints.EMA.update))
print(inspect.getsource(training_loop.Run.rate))
print(inspect.getsource(training_loop._forward_backward))

# %% [markdown]
# **Train it.** Three held-out pictures are watched. The callback gets the averaged weights, measures the held-out loss
# and now and then draws GIFs.

# %%
from pix2gif_lite import Pix2GifPipeline, gifs
from pix2gif_lite.canvas import to_pil
from pix2gif_lite.learning.run_log import read_log
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.viz import line_chart

MOTIONS = [4, 8, 12, 16, 20]
watched = [
    sample_scenes(1, "val", seed, subjects=[who], actions=[what])[0]
    for seed, who, what in ((7, "rocket", "rise"), (7, "balloon", "rise"), (7, "balloon", "fall"))
]
exact = [[to_pil(x) for x in draw([scene] * len(MOTIONS), MOTIONS, preset.image_size).image] for scene in watched]
parts, job = new_job(preset)


def gifs_of(pipe):  # detail off: what the decoder says, nothing pasted from the source
    sources = [to_pil(scene.at(0, preset.image_size).image[0]) for scene in watched]
    return [pipe(x, scene.caption, MOTIONS, seed=0, detail=False) for x, scene in zip(sources, watched, strict=True)]


def pipe_of(parts):
    return Pix2GifPipeline.from_components(preset, {**parts, "vae": job.vae})


history, seen = [(0, job.eval().measure()["val_loss"])], {"before": gifs_of(pipe_of(parts))}


def look(state):
    history.append((state["step"], state["val_loss"]))
    if "during" not in seen and state["progress"] > 0.3:
        seen["during"] = gifs_of(pipe_of(parts))


run = Run(
    out=fresh("model"),
    steps=preset.steps,  # or
    minutes=MINUTES,  # whichever comes first
    batch_size=preset.batch_size,
    learning_rate=preset.learning_rate,
    warmup_steps=preset.warmup_steps,
    callback=look,
    callback_every=every,
    checkpoint_every=every,
    cpu=CPU,
    progress_bar=False,
)
summary = fit(job, run, {"data": chosen})
history.append((summary["steps"], summary["val_loss"]))
seen.setdefault("during", seen["before"])  # a budget too short for a callback
seen["after"] = gifs_of(pipe_of(parts))
fall = history[0][1] / history[-1][1]
print(f"{summary['steps']} steps, {summary['samples']} samples in {summary['seconds'] / 60:.1f} minutes on {summary['device']}")
print(f"{summary['samples_per_second']:.0f} samples/s, {summary['parameters'] / 1e6:.1f} million weights")
print(f"held-out loss {history[0][1]:.4f} -> {history[-1][1]:.4f}: it fell by a factor of {fall:.2f}")
print(f"the warp's error: {summary['val_warp'] / summary['val_copy']:.2f} of what standing still would cost")
lines = [line for line in read_log(OUT / "model" / "log.jsonl") if "loss" in line]
series = {
    "training, one batch": ([x["step"] for x in lines], [x["loss"] for x in lines]),
    "held out": tuple(zip(*history, strict=True)),
}
chart = line_chart(series, "step", "loss of Eq. 8", "The budget, spent", log="y")
show(chart, alt="The loss of each logged batch and the held-out loss over the steps")

# %% [markdown]
# Before, during, after, and the exact frames. The captions are those of scenes that training never drew.
# In the data most things rise: rockets never fall, balloons do half of the time. So falling is what the budget teaches last.

# %%
from pix2gif_lite.widgets import Explorer


def gif_bytes(frames, **options):
    return gifs.save_animation(frames, OUT / "a.gif", **options).read_bytes()


columns = {name: [out.frames for out in outs] for name, outs in seen.items()} | {"exact": exact}
tiles = [
    contact_sheet([[frames[s][k] for frames in columns.values()] for s in range(3)], None, list(columns), 72)
    for k in range(len(MOTIONS))
]
rows = [[frames[s][3] for frames in columns.values()] for s in range(3)]
names = [f"{scene.caption}, m = {MOTIONS[3]}" for scene in watched]
sheet = contact_sheet(rows, names, list(columns), 88)
show(gif_bytes(tiles, loop="pingpong"), sheet, alt="GIFs before, during and after training, and the exact frames")

# %% [markdown]
# And the whole preset: the shipped weights on the same pictures (they learnt from moved photographs besides). The chart reads the
# motion of every GIF with the paper's own ruler (Algorithm 1, notebook 01). Look at the slope, not the height: early in training the
# ruler also reads smears as motion. A curve that rises with what was asked is motion that obeys.

# %%
shipped = gifs_of(Pix2GifPipeline.from_pretrained("lite"))
measured = {
    name: torch.tensor([out.measured() for out in outs[:2]]).mean(0) for name, outs in (seen | {"shipped": shipped}).items()
}
rows = [[seen["after"][s].frames[3], shipped[s].frames[3], exact[s][3]] for s in range(3)]
sheet = contact_sheet(rows, [scene.caption for scene in watched], ["after", "shipped", "exact"], 88)
chart = line_chart(
    {name: (MOTIONS, values.tolist()) for name, values in measured.items()},
    "motion asked for, px at 256 x 256",
    "measured, mean of the two that rise",
    "What the budget bought, and the whole preset",
    diagonal=True,
    marker="o",
)
show(chart, sheet, alt="Motion asked for and measured, and the shipped weights on the same pictures")

# %% [markdown]
# **The average, and who is in it.** The paper does not mention it. The authors' code averages the UNet and leaves FNet and M out; we
# average everything that is trained. A checkpoint holds both copies, so the difference can be looked at: the same run, at its
# last checkpoint but one, read in three ways. After so few steps the average need not be ahead: it still remembers weights of early in
# the run, and the learning rate has calmed the last ones already. It pays in long runs.

# %%
saved = torch.load(checkpoints.checkpoints(OUT / "model" / "checkpoints")[0] / "state.pt", weights_only=True)
raw, average = saved["job"], saved["ema"]["parameters"]
theirs = {k: raw[k] if "flow_net" in k or "motion_embedding" in k else v for k, v in average.items()}
tensors, trained = dict(job.named_parameters()), {k: p.detach().clone() for k, p in job.named_parameters()}
frames, errors = {}, {}
for name, weights in {"no average": raw, "the authors'": theirs, "all averaged": average}.items():
    with torch.no_grad():
        for k in average:
            tensors[k].copy_(weights[k])
    errors[name] = job.eval().measure()["val_loss"]
    frames[name] = [out.frames[3] for out in gifs_of(pipe_of(parts))]
with torch.no_grad():
    for k, value in trained.items():
        tensors[k].copy_(value)
print(f"step {saved['step']}:", {k: f"held-out loss {v:.4f}" for k, v in errors.items()})
sheet = contact_sheet([[frames[name][s] for name in frames] for s in range(2)], None, list(frames), 96)
show(sheet, alt="The same frames from the raw weights, from the authors' mixture, and from the average of all")

# %% [markdown]
# **Resume.** Ctrl-C finishes its step, writes a checkpoint and stops. Sample i depends on i alone, so weights, average, AdamW's means
# and the step are all there is to save. Here the callback presses Ctrl-C after step 4 of 8. An unbroken run is beside it.

# %% tags=["nbval-check-output"]
import signal


def press_ctrl_c(state):
    if state["step"] == 4:
        signal.raise_signal(signal.SIGINT)


small = plain | {"steps": 8, "batch_size": 4, "log_every": 1, "callback_every": 4}
fit(copy.deepcopy(untrained), Run(out=fresh("unbroken"), **small), {})
try:
    fit(copy.deepcopy(untrained), Run(out=fresh("broken"), **small, callback=press_ctrl_c), {})
except KeyboardInterrupt as stop:
    print(str(stop).replace(str(OUT), "OUT"))
fit(copy.deepcopy(untrained), Run(out=OUT / "broken", **small, resume=True), {})
logs = {name: [x for x in read_log(OUT / name / "log.jsonl") if "loss" in x] for name in ("unbroken", "broken")}
print("steps in the resumed log:", [x["step"] for x in logs["broken"]])
print("same losses, bit for bit:", [x["loss"] for x in logs["broken"]] == [x["loss"] for x in logs["unbroken"]])

# %% [markdown]
# ## Slide
# A budget and a switch. Moving the slider only says what the budget would cost. Tick `train` and the pocket model is trained
# from random weights. A budget that was trained before comes from memory. Look at the first points of the
# curve: the first moves of a random flow cost more than they bring.

# %%
import functools

from pix2gif_lite.presets import Slider


@functools.cache
def train_pocket(steps, factor=1):  # compute
    mine, out = copy.deepcopy(untrained), fresh(f"pocket-{steps}-{factor}")
    start, curve, began = mine.eval().measure()["val_loss"], [], time.perf_counter()
    budget = plain | {"steps": steps, "learning_rate": 2e-3 * factor, "mixed_precision": "auto"}
    often = 10 if steps < 40 else 20
    looking = {
        "callback": lambda state: curve.append((state["step"], state["val_loss"])),
        "callback_every": often,
        "log_every": 1,
    }
    try:
        fit(mine, Run(out=out, **budget, **looking), {})
    except FloatingPointError as error:
        print(error)
    logged = [(x["step"], x["loss"]) for x in read_log(out / "log.jsonl") if "loss" in x]
    return mine.eval(), [(0, start), *curve], logged, time.perf_counter() - began


def show_budget(steps, train):  # draw
    if not train:
        _, _, _, seconds = train_pocket(10)
        return f"{steps} steps of {BATCH}: about {seconds / 10 * steps:.0f} s. Tick train."
    _, curve, _, seconds = train_pocket(steps)
    words = f"{steps} steps took {seconds:.1f} s: held-out loss {curve[0][1]:.4f} -> {curve[-1][1]:.4f}"
    return [words, line_chart({"held out": tuple(zip(*curve, strict=True))}, "step", "loss of Eq. 8", marker="o")]


budget = Slider(10, 200, 10, 10, "steps", "how long to train the pocket model")
explorer = Explorer(show_budget, live=False, alt="Held-out loss of a pocket model", steps=budget, train=False)  # slide
explorer

# %%
assert isinstance(explorer.shown, str), "nothing is trained before the box is ticked"
little, more = explorer.set(steps=10, train=True), explorer.set(steps=80)
print(little[0], more[0], sep="\n")
assert train_pocket(80)[1][-1][1] < train_pocket(10)[1][-1][1], "eight times the budget, a lower held-out loss"
show(more[1], alt="The held-out loss of the pocket model over 80 steps")

# %% [markdown]
# ## Where it fails
# A learning rate 30 times larger. AdamW moves every weight by about $\eta$, whatever the gradient's size. With $\eta$ near the weights'
# own size a few steps erase what the layers did, and clipping does not help: it scales $g$, and AdamW divides the scale out again.

# %%
good, bad = train_pocket(20), train_pocket(20, 30)
series = {}
for name, (_, held_out, logged, _) in {"rate x 1": good, "rate x 30": bad}.items():
    series[f"{name}, training"] = tuple(zip(*logged, strict=True))
    series[f"{name}, held out"] = tuple(zip(*held_out, strict=True))
chart = line_chart(series, "step", "loss of Eq. 8", "The same 20 steps at two learning rates", log="y")
pictures = {}
for name, (trained_job, *_) in {"rate x 1": good, "rate x 30": bad}.items():
    named = {k: getattr(trained_job.model, k) for k in ("text_encoder", "motion_embedding", "flow_net", "unet")}
    named |= {"vae": trained_job.vae, "tokenizer": trained_job.tokenizer}
    pictures[name] = [out.frames[3] for out in gifs_of(Pix2GifPipeline.from_components(pocket, named))]
pictures["exact"] = [frames[3] for frames in exact]
sheet = contact_sheet([[column[s] for column in pictures.values()] for s in range(2)], None, list(pictures), 96)
show(chart, sheet, alt="Loss curves at two learning rates, and a frame of each model")

# %% [markdown]
# ## Exercises
# **1.** At the very first step $\mu = (1-\beta_1)g$ and $\nu = (1-\beta_2)g^2$. How far does a weight with gradient $g$ move, without decay
# and with $\epsilon$ ignored? Write it as a function of `g` and `rate`.


# %%
def first_move(g, rate):
    return rate * g  # edit: this is plain gradient descent


g = torch.tensor([-3.0, -0.01, 0.2, 50.0])
weight = torch.nn.Parameter(torch.zeros(4))
weight.grad = g.clone()
torch.optim.AdamW([weight], lr=0.1, betas=(B1, B2), weight_decay=0).step()
close = torch.allclose(first_move(g, 0.1), -weight.detach(), atol=1e-5)
print("Right." if close else f"Not yet: AdamW moved the weights by {(-weight.detach()).tolist()}.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `rate * g.sign()`. The bias corrections cancel both factors, and $g/\sqrt{g^2}$ is the sign. That is why the learning rate is a length,
# and why 30 times as much of it is 30 times as far.
# </details>
#
# **2.** The average warms up: $d = \min(0.999, \frac{1+n}{10+n})$. From which update $n$ on is it 0.999?

# %%
answer = 1000  # edit
right = next(n for n in range(1, 20_000) if (1 + n) / (10 + n) >= 0.999)
print("Right." if answer == right else f"Not yet: at n = {answer} it is {min(0.999, (1 + answer) / (10 + answer)):.4f}.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 8990. Solve $1 + n = 0.999\,(10 + n)$. A run of minutes never gets there: its average looks back over about a tenth of its steps.
# </details>
#
# ## Recap
# - A step: loss of Eq. 8, gradient, clipping, AdamW, the average. Twenty lines reproduce the package's loop.
# - E is frozen, so it runs once; the steps see latents only. Samples are keyed by number, so a resumed run is the same run.
# - A few minutes teach two subjects to rise, farther where more is asked; falling, rarer in the data, comes later. The whole preset took hours
#   on the same cores, and is what you load by default.
#
# Next: `08_sampling_and_guidance`.

# %%
# What this notebook taught, checked
steps = summary["steps"]
FACTOR = 1.25 if steps >= 150 else 1.02
print(f"{steps} steps: the held-out loss fell by {fall:.2f}, promised is {FACTOR} (1.25 from 150 steps on)")
assert fall > FACTOR
assert float(measured["before"].max()) < 1.5  # untrained: it stands still
if steps >= 150:  # trained: it moves, and further where more was asked for
    assert float(measured["after"][-1] - measured["after"][0]) > 3
assert [x["loss"] for x in logs["broken"]] == [x["loss"] for x in logs["unbroken"]]
worst = {name: max(loss for _, loss in run[1]) for name, run in (("good", good), ("bad", bad))}
assert worst["bad"] > 2 * worst["good"] and bad[1][-1][1] > good[1][-1][1]  # rate x 30 goes astray, and ends worse
work.cleanup()
