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
# # 11 · Your own GIFs
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/11_your_own_gifs.ipynb)
#
# A folder of GIFs with captions becomes pairs of frames, and the pairs become training. The shipped model learns something it has never
# seen, a picture that swirls, in 80 steps. At the end a photograph moves: as the shipped model can, and as it was just taught.
#
# **You will learn**
# - how section 3.1 of the paper turns GIFs into pairs, and what that keeps and drops;
# - how to train on those pairs, from the shipped weights, mixed with what the model knows already;
# - why data are split by GIF and never by pair.
#
# **In the paper:** section 3.1 (data), Eq. 3 and 8 (what is trained), section 4.1 (the size of the real thing).

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $I_i, I_j$ | two frames of one GIF, $i < j$ | `frames[i]`, `frames[j]` |
# | $m_{ij}$ | motion from $I_i$ to $I_j$ (Alg. 1), px at 256 x 256 | `m`, `motion_px` |
# | pair | $(I_i, I_j, m_{ij}, \text{caption})$: one training sample | an item of `PairDataset` |
# | $E(I)$ | latent of a frame, 4 x 32 x 32 at lite's size | `Latents` |
# | $L_W$ | warp loss, mean of abs($z_W - E(I_j)$) (ours) | `val_warp` |

# %%
# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    # %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/OWNER/pix2gif-lite@v0.1.0" av imagehash peft
    pass

# %% [markdown]
# ## Set-up

# %%
import tempfile
from pathlib import Path

import torch

from pix2gif_lite import Pix2GifPipeline

torch.manual_seed(0)
pipe = Pix2GifPipeline.from_pretrained("lite")
SIZE = pipe.config.image_size  # 128 px
kept_until_the_end = tempfile.TemporaryDirectory()
WORK = Path(kept_until_the_end.name)  # GIFs, pairs and weights of this notebook

# %% [markdown]
# Put the path of your own folder into `FOLDER`: animations (.gif, .webp, .mp4, sub-folders of numbered pictures) and a `captions.csv` with
# the columns `file,caption`, or a `walk.txt` beside each `walk.gif`. With `None` the cell makes one: twelve GIFs in which a drawn **picture
# swirls**, as if stirred in its middle. The shipped model has seen pictures turn as a whole; a swirl turns the middle and leaves the
# edge where it is. Beside them four that a careful curation has to do something about: one stands still, one has a cut, one is damaged,
# and one has no caption. `read_captioned` finds the clips and their captions, `read_frames` opens one, as a viewer would show it.

# %%
import csv
import shutil

import cv2
import numpy as np
from PIL import Image

from pix2gif_lite import gifs
from pix2gif_lite.canvas import to_pil
from pix2gif_lite.curating.captioned import read_captioned
from pix2gif_lite.media.clips import read_frames
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.sheets import Embedded, contact_sheet

FOLDER = None  # or Path("...") of your own GIFs
MADE, FRAMES, WAYS = FOLDER is None, 8, {1: "clockwise", -1: "counterclockwise"}


def swirl(picture, angle):
    """A square picture (S, S, 3) whose middle is turned clockwise by `angle` (radians), its edge by nothing."""
    y, x = np.mgrid[: len(picture), : len(picture)] - (len(picture) - 1) / 2
    turned = angle * np.clip(1 - (x**2 + y**2) / (len(picture) / 2) ** 2, 0, None) ** 2
    there = [np.cos(turned) * x + np.sin(turned) * y, np.cos(turned) * y - np.sin(turned) * x]  # frame(p) = picture(there)
    return cv2.remap(picture, *[(t + (len(picture) - 1) / 2).astype(np.float32) for t in there], cv2.INTER_CUBIC)


def make_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)  # cells may be run again
    folder.mkdir()
    pictures = [np.asarray(to_pil(image)) for image in draw(sample_scenes(12, "train", seed=23), [0] * 12, 192).image]
    signs = [1 if k % 2 == 0 else -1 for k in range(12)]
    swirls = [[Image.fromarray(swirl(p, s * 0.12 * k)) for k in range(FRAMES)] for p, s in zip(pictures, signs, strict=True)]
    clips = {f"{k:02d}.gif": (swirls[k], f"the picture swirls {WAYS[s]}") for k, s in enumerate(signs)}
    clips["cut.gif"] = (swirls[0][:4] + swirls[2][4:], "the picture swirls clockwise")
    clips["still.gif"] = ([swirls[4][0]] * FRAMES, "nothing moves")
    clips["damaged.gif"] = (swirls[6], "the picture swirls clockwise")
    clips["nameless.gif"] = (swirls[8], None)
    for name, (frames, _) in clips.items():
        gifs.save_animation(frames, folder / name, fps=8)
    (folder / "damaged.gif").write_bytes((folder / "damaged.gif").read_bytes()[:200])  # a download that broke off
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        rows = [(name, caption) for name, (_, caption) in clips.items() if caption]
        csv.writer(file).writerows([("file", "caption"), *rows])
    return folder


FOLDER = make_folder(WORK / "gifs") if MADE else Path(FOLDER)

items, without = read_captioned(FOLDER)  # (path, caption, name) each, sorted; {name: why it is left out}
print(f"{len(items)} clips with a caption;", *(f"{name}: {why}" for name, why in without.items()))
first = [read_frames(path)[0] for path, _, _ in items[:2]]
labels = [f"{name}: {caption}" for _, caption, name in items[:2]]
sheet = contact_sheet([frames[:: -(-len(frames) // 4)] for frames in first], labels, size=110)
small = [frame.resize((160, 160)) for frame in first[0][:30]]
moving = gifs.save_animation(small, WORK / "first.gif", fps=8).read_bytes()
Embedded(moving, sheet.quantize(256), alt="A drawn picture swirls; four frames of two GIFs")

# %% [markdown]
# ## The idea
# One training sample is two frames of one GIF and the motion between them. Section 3.1 makes them so:
# $$m_{ij} = \mathrm{Alg.\,1}(I_i, I_j)\ \text{for all}\ i < j, \qquad \text{keep}\ 2 \le m_{ij} \le 20, \qquad \text{draw}\ \min(\#\text{pairs}, 10)\ \text{a GIF}$$
# The paper does not say why; our reading: below 2 px there is little to learn, above 20 px the ruler gives way, and cuts begin (notebook
# 01). The cap keeps long GIFs from
# drowning short ones: a GIF of 41 frames, TGIF's mean, has 820 pairs. Of 78,692 GIFs (train) the paper keeps 783,184 pairs,
# 9.95 a GIF: nearly every GIF fills its ten.
#
# ## By hand
# All of it in a few lines. `pair_magnitudes` finds the corners of a frame once for all its pairs (notebook 01).

# %%
import random

from pix2gif_lite import motion


def in_range(pairs, low=2, high=20):
    return {pair: m for pair, m in pairs.items() if low <= m <= high}


measured = {}  # name: {(i, j): m}
for path, _, name in items[:20]:  # of a folder of yours the first twenty will do here
    try:
        i, j, m = motion.pair_magnitudes(read_frames(path)[0])
    except ValueError:
        print(f"{name} cannot be read")
        continue
    measured[name] = dict(zip(zip(i.tolist(), j.tolist(), strict=True), m.tolist(), strict=True))
rng = random.Random(0)
drawn = {name: rng.sample(sorted(in_range(pairs)), min(10, len(in_range(pairs)))) for name, pairs in measured.items()}
print(f"{sum(map(len, measured.values()))} pairs measured, {sum(map(len, drawn.values()))} drawn")

# %% [markdown]
# ## Compared with the package
# `curate` does the same for a folder, on all cores, and writes what training reads. In a terminal:
#
# ```bash
# pix2gif-lite curate my_gifs --out my_data --flip
# ```
#
# Instead of a folder it takes a `.tsv` as TGIF's, an address, a tab and a caption a line, and downloads it first. It goes on where it was
# stopped. The numbers are the same as by hand, and so are the pairs in range, with one difference: it asks whether there is a **cut** between
# two frames (`cuts.same_scene`).

# %%
import json

from pix2gif_lite.curating.curation import curate
from pix2gif_lite.data.pair_data import PairDataset
from pix2gif_lite.pairs import CurationSettings

DATA = WORK / "data"
counts = curate(FOLDER, DATA, CurationSettings(flip=True, val_share=0.25), progress_bar=False)
report = json.loads((DATA / "report.json").read_text(encoding="utf-8"))
pairs = {split: PairDataset(DATA, split, SIZE) for split in ("train", "val")}
rows = [row for side in pairs.values() for row in side.rows if "-flip" not in row["source"]]  # the mirrored ones later

name_of = {line["gif"]: line["file"] for line in report["files"] if line["kept"]}  # by the clip's content
numbers = [(name_of[row["gif"]], *(int(row[end][-9:-5]) for end in ("source", "target"))) for row in rows]  # ...-0003.webp
known = [(row["motion_px"], measured[n][i, j]) for row, (n, i, j) in zip(rows, numbers, strict=True) if n in measured]
mine, package = torch.tensor(known, dtype=torch.float64).T
torch.testing.assert_close(mine, package)  # each drawn pair is one of ours, with the same m
for line in report["files"]:
    if line["kept"] and line["shots"] == 1 and line["file"] in measured:
        assert line["in_range"] == len(in_range(measured[line["file"]]))
print(counts)
for line in report["files"]:
    told = f"{line['shots']} shot(s), {line['measured']} pairs, {line['in_range']} in range" if line["kept"] else line["reason"]
    print(f"{line['file']:13} {line.get('split', ''):6} {told}")
print("near duplicates, kept on one side:", report["near_duplicates"])
picture = Image.open(DATA / "report.png").convert("RGB")
Embedded(picture.reduce(2).quantize(128), alt="Histograms of motion before and after curation, and pairs of some clips")

# %% [markdown]
# Every file has its line: kept, with what it gave, or dropped, with the reason. A GIF stores identical neighbours as one frame of their
# summed time, so the still one holds a single frame. Across the cut, Lucas-Kanade returns a number all the same; no pair reaches over it
# here. And since `cut.gif` shows the same pictures as two others, all three go to the same side of the split. The picture is `report.png`.
#
# ## Slide
# The histogram before and after. Move the range's upper end and the cap.

# %%
from pix2gif_lite.presets import Slider
from pix2gif_lite.viz import histogram
from pix2gif_lite.widgets import Explorer


def show(high, most):
    rng, kept = random.Random(0), []
    for table in measured.values():
        some = list(in_range(table, 2, high).values())
        kept += rng.sample(some, min(most, len(some)))
    values = {"all pairs i < j": [m for table in measured.values() for m in table.values()], "drawn": kept}
    words = f"{len(kept)} pairs drawn"
    return [histogram(values, np.arange(0, 62, 2), "motion m, px at 256 x 256", words, keep=(2, high)), words]


upper = Slider(4, 60, 2, 20, "px at 256 x 256", "the largest motion that is kept")
cap = Slider(1, 28, 1, 10, "pairs", "drawn a GIF at most")
explorer = Explorer(show, alt="Histogram of motion before and after curation", high=upper, most=cap)
explorer

# %%
narrow, wide = explorer.set(high=8, most=28), explorer.set(high=60, most=28)
assert int(narrow[1].split()[0]) <= int(wide[1].split()[0]), "a wider range keeps more"
paper = explorer.set(high=20, most=10)
assert int(paper[1].split()[0]) == sum(map(len, drawn.values()))
Embedded(*paper, alt="Histogram of motion before and after curation, at the paper's 2-20 px and 10 pairs a GIF")

# %% [markdown]
# ## From pairs to training
# **Split by GIF.** Whole GIFs are held out, never single pairs; "Where it fails" says why.
#
# **Flip.** The authors' code mirrors half of the pairs left to right and leaves the caption as it is, so that half of all "to the left" go
# right. With `--flip` each pair is there twice, and the caption is mirrored too, turns included (a mirrored wheel spins the other way round).

# %% tags=["nbval-check-output"]
from pix2gif_lite.curating.mirroring import flip_caption

for caption in ("The camera pans to the left past a red kite", "a wheel turns clockwise", "a bright leftover cake"):
    print(f"{caption} -> {flip_caption(caption)}")

# %% [markdown]
# `PairDataset` reads the table back: pictures in [-1, 1], caption, the integer and the float of the motion. It is a torch `Dataset`; the
# table itself is plain parquet (`datasets.load_dataset("parquet", data_files=...)` reads it too).

# %%
print({split: f"{len(side)} pairs, {len(side.frames)} frames" for split, side in pairs.items()})
table = pairs["train"].rows
plain = max((k for k, row in enumerate(table) if "-flip" not in row["source"]), key=lambda k: table[k]["motion_px"])
mirror = [table[plain][end].replace(".webp", "-flip.webp") for end in ("source", "target")]
flipped = next(k for k, row in enumerate(table) if [row["source"], row["target"]] == mirror)
two = [pairs["train"][k] for k in (plain, flipped)]
print({name: tuple(part.shape) if torch.is_tensor(part) else part for name, part in two[0].items()})
names = [f"{one['caption']} (m = {one['motion_px']:.1f})" for one in two] + [f"wrong: {two[0]['caption']}"]
sheet = contact_sheet([[one["source"], one["target"]] for one in (*two, two[1])], names, size=150)
Embedded(sheet.quantize(256), alt="A pair, the same pair mirrored with the mirrored caption, and with the wrong one")

# %% [markdown]
# **Train.** `train_model` encodes each frame once and trains; in a terminal that is
#
# ```bash
# pix2gif-lite train --data my_data --init lite --mix gifs=0.5,scenes=0.5 --scenes 400 --only warp --minutes 10 --out my_weights
# ```
#
# Half of the samples are our pairs and half are drawn scenes, so that the model keeps what it knew. A new way of moving is a new flow:
# `only="warp"` trains text encoder, M and FNet, a tenth of the work, and leaves the UNet as it is. We look at four things before
# and after: pairs of the held-out GIFs; the same with the captions of their mirror images, which is what the authors' flip would train on
# half of the time; drawn scenes, which are in the mix; and pictures under a moving camera, which the shipped model also knows and which we
# leave out of the mix on purpose.

# %%
import os
from functools import partial

from transformers.utils import logging

from pix2gif_lite.data.latent_cache import Family, cache_family, cache_scenes
from pix2gif_lite.origins.loading import load_component
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.data.pair_latents import cache_pairs
from pix2gif_lite.photos import draw_moved, sample_moved_photos
from pix2gif_lite.presets import LITE
from pix2gif_lite.training import train_model

logging.disable_progress_bar()  # transformers' own, for a save that takes milliseconds
preset = LITE.with_changes(residual=pipe.config.residual, variant=pipe.config.variant)
still_lifes = [to_pil(image) for image in draw(sample_scenes(8, "val", seed=5), [0] * 8, 256).image]
camera = Family("camera", partial(sample_moved_photos, photos=still_lifes), draw_moved)
val = cache_pairs(pipe.vae, WORK / "val", pairs["val"], progress_bar=False)
checks = {
    "held-out GIFs": val,
    "mirrored captions": val._replace(captions=[flip_caption(caption) for caption in val.captions]),
    "drawn scenes": cache_scenes(pipe.vae, WORK / "old", 8, 2, split="val", progress_bar=False),
    "moving camera": cache_family(pipe.vae, WORK / "camera", camera, 8, 2, split="val", progress_bar=False),
}


def warp_losses(p):  # {name: (L_W, L_W of no warp at all)}
    job = ModelJob(preset, p.model, p.tokenizer, p.vae, val, held_out=checks, only="warp").eval()
    found, ends = job.measure(), ["", *[f"_{name}" for name in list(checks)[1:]]]
    return {name: (found[f"val_warp{end}"], found[f"val_copy{end}"]) for name, end in zip(checks, ends, strict=True)}


mix = {"data": DATA, "mix": {"gifs": 0.5, "scenes": 0.5}, "scenes": 80, "targets": 2, "held_out": 0}
STEPS = int(os.environ.get("PIX2GIF_TAUGHT_STEPS", 80))
pace = {"steps": STEPS, "batch_size": 12, "learning_rate": 8e-4, "warmup_steps": 5, "ema_decay": 0.8}
shutil.rmtree(WORK / "taught", ignore_errors=True)
summary = train_model(preset, WORK / "taught", init="lite", only="warp", progress_bar=False, **mix, **pace)
parts = {name: load_component(WORK / "taught", name) for name in ("text_encoder", "motion_embedding", "flow_net")}
taught = Pix2GifPipeline.from_pretrained("lite", **parts)
before, after = warp_losses(pipe), warp_losses(taught)
print(f"{summary['steps']} steps of {pace['batch_size']} pairs in {summary['seconds']:.0f} s on {summary['device']}")
for name in checks:
    print(f"L_W, {name:18} {before[name][0]:.3f} -> {after[name][0]:.3f}   (no warp at all: {before[name][1]:.3f})")

# %% [markdown]
# Read the four lines. **Held-out GIFs:** the loss falls well below that of no warp: what was learnt holds for pictures that were not
# trained on. **Mirrored captions:** there it has risen. Now that the words are learnt, the caption of the mirror image says the wrong thing.
# **Drawn scenes** were in the mix, and still pay a little. **The moving camera** was not, and pays several times as much in $L_W$: a model
# that shall know several things must see them all. (`photos=400` and a share for `"photos"` in the mix would add it.)

# %%
held = pairs["val"][next(k for k, row in enumerate(pairs["val"].rows) if "-flip" not in row["source"])]
old = sample_scenes(2, "val")[1]
MOTIONS = [5, 10, 15]


def compare(source, caption):  # two rows of pictures and their labels
    outs = {name: p(source, caption, motion=MOTIONS, seed=0) for name, p in (("shipped", pipe), ("taught", taught))}
    labels = [f"{name}: {caption}; measured {', '.join(f'{m:.1f}' for m in out.measured())}" for name, out in outs.items()]
    return outs["taught"], [[out.source, *out.frames] for out in outs.values()], labels


moved, shown, labels = compare(held["source"], held["caption"])
_, more, others = compare(old.at(0).image[0], old.caption)
columns = ["source", *[f"m = {m}" for m in MOTIONS]]
sheet = contact_sheet(shown + more, labels + others, columns, 110)
moving = moved.save(WORK / "moved.gif", fps=4, loop="pingpong").read_bytes()
Embedded(moving, sheet.quantize(256), alt="A held-out scene and an old one, by the shipped model and after the training")

# %% [markdown]
# ## Any photograph moves
# A GIF is not the only source of pairs. `photos.py` takes **one still picture**, a move (pan, zoom, turn, sway, ripple, breathe, drift, slide)
# and a motion, and draws the frame exactly: the flow is a formula. From such pairs the shipped model knows what a camera does. For training
# `sample_moved_photos` chooses crop, move and words at random; here we choose. Put a picture of yours into `MY_PICTURE`; with `None` it is a
# photograph that comes with scikit-image, or a drawn one where that is missing.

# %%
from pix2gif_lite.data.photo_crops import plain_crop
from pix2gif_lite.data.photo_moves import describe_move
from pix2gif_lite.photos import MovedPhoto
from pix2gif_lite.media.pictures import open_image

MY_PICTURE = None  # or Path("...") of a photograph
if MY_PICTURE is not None:
    scenery = portrait = open_image(MY_PICTURE)
elif find_spec("skimage"):
    from skimage import data

    scenery, portrait = data.coffee(), data.chelsea()  # neither was trained on
else:
    scenery, portrait = still_lifes[:2]
MOVES = ("pan left", "zoom in", "turn clockwise", "sway right", "ripple", "breathe", "drift up", "slide left")


def move_it(picture, name):
    """The largest square of a picture, under a move."""
    square = plain_crop(np.random.default_rng(0), "mine", np.asarray(picture), whole=True)
    return MovedPhoto("test", 0, 0, square, name, describe_move(random.Random(0), name))


photos = [move_it(scenery, name) for name in MOVES]
sheets = [contact_sheet([list(draw_moved(photos, [m] * len(photos), 64).image[k::2]) for k in (0, 1)]) for m in (0, 6, 12, 18)]
for k in (0, 1):
    print("   ".join(photo.caption for photo in photos[k::2]))
moving = gifs.save_animation(sheets, WORK / "moves.gif", fps=5, loop="pingpong").read_bytes()
Embedded(
    moving, alt="One photograph under eight moves at once: it pans, zooms, turns, sways, ripples, breathes, drifts, slides"
)

# %% [markdown]
# The shipped model on a photograph that it has never seen, against the exactly moved one: a pan to the left, so that everything goes right, and
# what comes in on the left has to be made up. Below it the swirl of this notebook: learnt from a dozen drawn pictures, asked of a photograph.

# %%
photo = move_it(portrait, "pan left")
source = photo.at(0, 256).image[0]
pan = pipe(source, "the camera pans to the left", motion=MOTIONS, seed=0)
swirled, shown, labels = compare(source, "the picture swirls clockwise")
shown = [[source, *[photo.at(m, 256).image[0] for m in MOTIONS]], [pan.source, *pan.frames], *shown]
labels = ["exact: the camera pans to the left", f"shipped: measured {', '.join(f'{m:.1f}' for m in pan.measured())}", *labels]
sheet = contact_sheet(shown, labels, columns, 96)
small = [frame.resize((128, 128)) for frame in (swirled.source, *swirled.frames)]
moving = gifs.save_animation(small, WORK / "swirled.gif", fps=4, loop="pingpong").read_bytes()
Embedded(sheet.quantize(256), moving, alt="A photograph panned exactly and by the model, and swirled before and after training")

# %% [markdown]
# ## The source
# Which pairs of a GIF are drawn, and what a training step picks.

# %%
import inspect

from pix2gif_lite.data.mixture import Mixture
from pix2gif_lite.pairs import drawing_order

print(inspect.getsource(drawing_order))
print(inspect.getsource(Mixture.pick))

# %% [markdown]
# ## The paper's scale
# The paper does not start from nothing: it starts from Stable Diffusion, an image model of 860 million weights, at 256 px. `init` takes such
# weights as diffusers keeps them: a folder or a Hub id, InstructPix2Pix or Stable Diffusion v1.5. The first convolution of the UNet grows to
# twelve input channels, the known ones in place and the new ones at zero, and $M$ is zero too. So before the first step the model
# computes what its parent computes, and training teaches it what $z_W$ and $m$ are for.
#
# **On a GPU** the next cells do that with `timbrooks/instruct-pix2pix` on the pairs above: only small additions to the UNet's attention are trained
# (`lora_rank`), with FNet, M and the new channels, on latents and texts that are computed once. That fits the 15 GiB of a free T4.
# **Without one** the same cells run on a small checkpoint of **random** weights in exactly the parent's layout: every line is executed,
# and the picture is noise. The printed line says which it was. What training writes is a whole pipeline, the additions merged into the UNet;
# sampling is the paper's: Euler ancestral, $s_T = 7.5$, $s_I = 1.8$, three predictions a step.

# %%
from pix2gif_lite.presets import PAPER
from pix2gif_lite.origins.small_parent import write_small_parent

REAL = torch.cuda.is_available() and os.environ.get("PIX2GIF_PROFILE") != "cpu"
if REAL:
    PARENT, big, many = "timbrooks/instruct-pix2pix", PAPER, {"steps": 400, "batch_size": 16, "micro_batch": 2}
else:
    PARENT, big = write_small_parent(WORK / "parent"), PAPER.with_changes(image_size=128)
    many = {"steps": 3, "batch_size": 4, "micro_batch": 2}
big = big.with_changes(perceptual_network="decoder", warmup_steps=20)
small_card = {"lora_rank": 16, "cache_text": True, "gradient_checkpointing": True, "held_out": 4, "progress_bar": False}
shutil.rmtree(WORK / "grown", ignore_errors=True)
grown = train_model(big, WORK / "grown", init=PARENT, data=DATA, cpu=not REAL, **small_card, **many)
real = f"real weights of {PARENT}" if REAL else "a small checkpoint of RANDOM weights: no GPU here"
print(f"{real}; {grown['steps']} steps of {many['batch_size']} on {grown['device']}, loss {grown['loss']:.3f}")
print(f"trained {grown['parameters'] / 1e6:.2f} M parameters, {grown['samples_per_second']:.1f} samples/s")

half = torch.float16 if REAL else torch.float32
grown_pipe = Pix2GifPipeline.from_pretrained(WORK / "grown", torch_dtype=half).to("cuda" if REAL else "cpu")
out = grown_pipe(held["source"], held["caption"], motion=MOTIONS, steps=50 if REAL else 4, seed=0, output_size=256)
s_T, s_I = grown_pipe.config.s_T, grown_pipe.config.s_I
assert grown_pipe.unet.config.in_channels == 12 and (s_T, s_I) == (PAPER.s_T, PAPER.s_I)
print(
    f"{grown_pipe.config.sampler}, s_T = {s_T}, s_I = {s_I}; asked {MOTIONS}, measured", [round(m, 1) for m in out.measured()]
)
sheet = contact_sheet([[out.source, *out.frames]], [f"{real}: {held['caption']}"], columns, 110)
Embedded(sheet.quantize(128), alt="A source picture and three frames of the model grown from a parent")

# %% [markdown]
# In a terminal, on all GPUs there are (`accelerate launch`) and with the paper's batch of 256, which is split over devices and accumulated:
#
# ```bash
# accelerate launch -m pix2gif_lite.cli train --preset paper --data my_data --init timbrooks/instruct-pix2pix --out my_weights
# ```
#
# How much memory that takes can be counted without having any: on the `meta` device a network has shapes and no numbers. `learning/memory.py` builds the
# real UNet there, runs a step and adds up what has to be kept.

# %%
from IPython.display import Markdown

from pix2gif_lite.learning.memory import training_table

Markdown("GiB, 256 px, by way of training:\n\n" + training_table(PAPER, [2]))

# %% [markdown]
# `full` keeps everything in the usual precision, `full-small` is `--gradient-checkpointing --optimizer adamw8bit`, `lora` the recipe of the cells above.
#
# The paper used 16 V100: 25,000 steps of 256 are 8.2 epochs over its 783,184 pairs (it says 7). What this project cannot show is the result of
# that: no weights of this size are trained or shipped here. That the code computes what it should is shown in small: before training the
# model equals its parent, and a checkpoint of the reference implementation, read by `load_reference`, gives the same $c_L$, flows, $z_W$
# and eps as an independent implementation.
#
# ## Where it fails
# **One GIF in train and val.** Shuffle all pairs, hold out as many as the split by GIF does, and nearly every held-out frame is in training too: a frame belongs
# to many pairs. For each held-out target we look for its nearest frame in training. And what would such a validation set report? Take
# the worst model there is, one that only remembers: it looks for the training pair whose source is nearest, then for the nearest motion,
# and returns that pair's target. No network, nothing learnt.

# %%
from pix2gif_lite.metrics import psnr

some = random.Random(0).sample(rows, min(len(rows), 400))  # none is mirrored
look = {
    name: torch.from_numpy(np.asarray(Image.open(DATA / name).resize((64, 64)), np.float32) / 127.5 - 1).permute(2, 0, 1)
    for row in some
    for name in (row["source"], row["target"])
}  # (3, 64, 64) each


def remember(val_side, train_side):
    """Of each held-out target: dB to its nearest training frame, that frame, dB of what remembering returns."""
    names = sorted({row[end] for row in train_side for end in ("source", "target")})
    frames, sources = torch.stack([look[n] for n in names]), torch.stack([look[row["source"]] for row in train_side])
    found = []
    for row in val_side:
        target = look[row["target"]]
        near = psnr(frames, target.expand_as(frames))  # (T,)
        alike = psnr(sources, look[row["source"]].expand_as(sources))
        best = [q for q, dB in zip(train_side, alike, strict=True) if dB >= alike.max() - 0.01]
        q = min(best, key=lambda q: abs(q["motion_px"] - row["motion_px"]))
        found.append(
            (float(near.max()), target, look[names[int(near.argmax())]], float(psnr(look[q["target"]][None], target[None])))
        )
    return found


by_gif = [[row for row in some if row["split"] == split] for split in ("val", "train")]
by_pair = some[: len(by_gif[0])], some[len(by_gif[0]) :]
leaks = {"split by pair": remember(*by_pair), "split by GIF": remember(*by_gif)}
values = {name: [dB for dB, *_ in found] for name, found in leaks.items()}
remembered = {name: float(np.mean([dB for *_, dB in found])) for name, found in leaks.items()}
for name, found in values.items():
    print(
        f"{name}: nearest training frame at {np.median(found):.0f} dB (median), identical {sum(x > 99 for x in found)} of {len(found)}"
    )
print("remembering scores", {name: f"{dB:.1f} dB" for name, dB in remembered.items()})
chart = histogram(values, np.arange(0, 110, 5), "PSNR to the nearest training frame, dB (100: identical)", "Is val in train?")
sheet = contact_sheet(
    [[f for _, a, b, _ in found[:3] for f in (a, b)] for found in leaks.values()], list(leaks), ["held out", "nearest"] * 3, 90
)
Embedded(chart, sheet, alt="Held-out frames beside their nearest training frame, for both splits")

# %% [markdown]
# By pair, remembering passes for understanding; by GIF it is found out. With ten pairs a GIF a big network can remember them all, and
# its leaked validation loss would keep falling. Near-duplicates leak in the same way, which is why they stay on one side.
#
# ## Exercises
# **1.** A curated pair has `motion_px` 7.9. Which integer stands in the table (`motion`, as the authors' code makes it), and which one is
# the model told in training, where drawn scenes move by exactly their integer?

# %% tags=["nbval-check-output"]
from pix2gif_lite.data.pair_latents import training_motion
from pix2gif_lite.pairs import Pair

answer = (8, 8)  # edit: (in the table, in training)
print("Right." if answer == (Pair(0, 1, 7.9).motion, training_motion(7.9)) else "Not yet: one is cut off, the other rounded.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `(7, 8)`: the table is truncated, as the authors' code does, half a pixel low on average. Mixed with scenes that would make one number
# mean two things, so training rounds `motion_px`.
# </details>
#
# **2.** `flip_caption` knows English. With German captions `--flip` would do what the authors' code does. Write `flip_german`: "links" and
# "rechts" change places, as whole words.


# %%
def flip_german(caption):  # edit
    return flip_caption(caption)


wanted = {
    "die Kamera schwenkt nach links": "die Kamera schwenkt nach rechts",
    "rechts ein Linksabbieger": "links ein Linksabbieger",
}
print("Right." if all(flip_german(a) == b for a, b in wanted.items()) else f"Not yet: {[flip_german(a) for a in wanted]}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# ```python
# import re
#
# def flip_german(caption):
#     other = {"links": "rechts", "rechts": "links"}
#     return re.sub(r"\b(links|rechts)\b", lambda word: other[word[0]], caption)
# ```
# </details>
#
# ## Recap
# - GIF to pairs: motion of all $i < j$, keep 2 to 20 px, at most ten a GIF. `curate` does it, and says of every file what became of it.
# - Pairs to training: `train_model` with `data=` and a `mix`. Mirror the caption with the picture, and mix in what shall not be forgotten.
# - Split by GIF. A split by pair validates on the training set.
#
# Next: `12_one_step`.

# %%
# What this notebook taught, checked
assert flip_caption(flip_caption("to the left, clockwise")) == "to the left, clockwise"
assert all(2 <= row["motion_px"] <= 20 for row in rows) and max(map(len, drawn.values())) <= 10
assert not {row["gif"] for row in pairs["train"].rows} & {row["gif"] for row in pairs["val"].rows}, "no GIF on both sides"
assert np.median(values["split by pair"]) > np.median(values["split by GIF"]) + 10
assert remembered["split by pair"] > remembered["split by GIF"] + 2
if MADE:
    dropped = {line["file"]: line["reason"] for line in report["files"] if not line["kept"]}
    assert sorted(dropped) == ["damaged.gif", "nameless.gif", "still.gif"]
    assert not any(name == "cut.gif" and i < 4 <= j for name, i, j in numbers), "no pair reaches over the cut"
    held_out, wrong = "held-out GIFs", "mirrored captions"
    assert after[held_out][0] < 0.8 * min(before[held_out][0], before[held_out][1]), "held-out swirls are warped better"
    assert after[held_out][0] < after[wrong][0], "the caption has to be mirrored too"
if MY_PICTURE is None:
    assert np.abs(np.subtract(pan.measured(), MOTIONS)).max() < 4, "a photograph that was never seen pans as far as asked"
