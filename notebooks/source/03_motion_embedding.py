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
# # 03 · The motion embedding
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/03_motion_embedding.ipynb)
#
# One number has to reach two networks: how far should things move? Pix2Gif says it twice, as a word in the prompt and as a vector of
# its own that is added to every token.
#
# **You will learn**
# - how the number gets into the prompt, and why a word alone is a weak channel;
# - what $c_L = c_T + c_M$ is in code: a table lookup, a broadcast, an addition;
# - what the shipped table has learnt, and what happens when the vector or the word is taken away.
#
# **In the paper:** section 3.3.1, the $c_L$ of Eq. 3 and 5; Table 2 for the comparison with words only.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code, shape |
# |---|---|---|
# | $m$ | motion magnitude, px at 256 x 256 | `m` (B,) |
# | $c_T$ | text, from CLIP's text encoder | `c_T` (B, 77, w) |
# | $M$ | the motion table | `table` (rows, w) |
# | $c_M = M[m]$ | motion embedding | `c_M` (B, w) |
# | $c_L = c_T + c_M$ | what FlowNet and the UNet's cross-attention hear | `c_L` (B, 77, w) |
# | $D(z_W)$ | the warp alone, decoded | (B, 3, 128, 128) |
#
# w is 256 for lite; the paper's table is 1024 x 768.

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
from pix2gif_lite import MotionEmbedding, Pix2GifPipeline, sample_scenes, text

torch.manual_seed(0)
pipe, scenes = Pix2GifPipeline.from_pretrained("lite"), sample_scenes(2, "val", seed=5)  # two held-out scenes

# %% [markdown]
# ## The idea
# **The word.** The caption gets a sentence with the number, spelt out: CLIP attends to words better than to digits. Fractions are
# rounded for the word (not for the vector).

# %% tags=["nbval-check-output"]
for m in (2, 8.4, 12, 20):
    print(f"{m:4g} ->", text.motion_prompt("a red balloon is rising", m))

# %% [markdown]
# **Why that is not enough.** Of 77 tokens one carries the number. The paper reports that with motion only in the prompt the model "gave
# divided attention to a single token" (section 3.3.1). So a table $M$ holds one learnt vector for each integer, and that vector is added
# to *all* tokens:
# $$c_M = M[m] \qquad\qquad c_L = c_T + c_M$$
# $c_L$ goes to two places: to the warping module, $F = \mathrm{FNet}(E(c_I), \mathrm{IM}(c_L))$, and to the UNet's cross-attention.
# Nothing tells the table what a pixel of motion looks like. It learns what the losses need.
#
# Below: how far $c_T$ moves, token by token, when the word changes, and how far $c_M$ moves when the row changes. The text encoder is
# causal, so only the number and what stands behind it (the end mark and the padding) can change. The vector changes everything
# alike. A word's line on zero is a number that the encoder did not pass on.

# %%
from pix2gif_lite.sheets import Embedded
from pix2gif_lite.viz import heatmap, line_chart

model, table = pipe.model, pipe.motion_embedding.embedding.weight.detach()  # (rows, w)
caption = "a red balloon is rising"


@torch.no_grad()
def c_T_of(prompts):  # (B, 77, w)
    return text.encode_text(pipe.text_encoder, text.tokenize(pipe.tokenizer, prompts))


words = c_T_of([text.motion_prompt(caption, k) for k in range(21)])  # (21, 77, w), for m = 0 .. 20
charts = []
for a, b in ((4, 8), (14, 19)):
    by = {"word": (words[b] - words[a]).norm(dim=-1), "vector": (table[b] - table[a]).norm().expand(77)}
    charts.append(line_chart({k: (range(77), v) for k, v in by.items()}, "token", "distance", f"m from {a} to {b}"))
ids = text.tokenize(pipe.tokenizer, [text.motion_prompt(caption, m) for m in (4, 8)])
print("tokens that differ between the two prompts:", int((ids[0] != ids[1]).sum()), "of", ids.shape[1])
Embedded(*charts, alt="Distance by token, word and vector: from m = 4 to 8, and from 14 to 19")

# %% [markdown]
# ## By hand
# First with numbers you can check on paper: a table of three rows, two numbers wide, and a text of three tokens.

# %% tags=["nbval-check-output"]
small_table = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0]])
small_text = torch.tensor([[[10.0, 10.0], [20.0, 20.0], [30.0, 30.0]]])  # (1, 3 tokens, 2)
print("m = 2   ", (small_text + small_table[2]).tolist())
print("m = 1.5 ", (small_text + 0.5 * (small_table[1] + small_table[2])).tolist())

# %% [markdown]
# Then the real thing. A fraction lies between two rows (ours: the paper's m are integers). `keep` drops the motion of a sample: $c_M = 0$.


# %%
def c_L_by_hand(table, c_T, m, keep):
    below, above = table[m.floor().long()], table[m.ceil().long()]  # two rows each, (B, w)
    c_M = below + (m - m.floor())[:, None] * (above - below)  # between them for a fraction
    c_M = c_M * keep[:, None]  # 0 where the motion is dropped
    return c_T + c_M[:, None, :]  # (B, 77, w): the same vector on every token


# %% [markdown]
# ## Compared with the package
# On a new table and on the shipped one; whole numbers, a fraction, and a dropped motion.

# %%
m, keep = torch.tensor([0.0, 7.0, 12.5, 20.0, 8.0]), torch.tensor([True, True, True, True, False])
for embedding in (MotionEmbedding(rows=64, width=256), pipe.motion_embedding):
    weight = embedding.embedding.weight.detach()
    c_T = torch.randn(5, 77, weight.shape[1])
    mine, package = c_L_by_hand(weight, c_T, m, keep), embedding(c_T, m, keep).detach()
    torch.testing.assert_close(mine, package)
    torch.testing.assert_close(package[4], c_T[4])  # dropped: the text alone
print("by hand = package, on a new and on the shipped table")

# %% [markdown]
# **Where paper and code differ.** The paper writes that $c_M$ is "concatenated with itself" to fit the text. The authors' code broadcasts
# one vector and adds it; so do we. Read as "77 copies, one below another", the two are the same, to the bit, and no picture changes:

# %% tags=["nbval-check-output"]
c_M = pipe.motion_embedding.lookup(torch.tensor([12.0])).detach()  # (1, w)
copies = torch.cat([c_M[:, None]] * 77, dim=1)  # (1, 77, w)
c_T = words[12:13]
print("concatenated with itself:", tuple(copies.shape), "| same c_L:", torch.equal(c_T + copies, c_T + c_M[:, None]))

# %% [markdown]
# A second difference stays hidden in the training loop: the authors add $c_M$ to the *empty* prompt too. Then guidance never amplifies
# the motion. Ours may drop both together; notebook 08 shows what that does to a frame.
#
# ## The source

# %%
print(inspect.getsource(text.motion_prompt))
print(inspect.getsource(MotionEmbedding.lookup))
print(inspect.getsource(MotionEmbedding.forward))

# %% [markdown]
# **What the shipped table has learnt.** Cosine between every two rows, 0 to 24. Neighbours look alike and small motions are unlike large
# ones: an axis, though nobody told the table that 7 lies between 6 and 8. The rows from 21 up have nothing in common with any other. They
# were never asked for in training (m = 2 to 20, 0 for a picture that stands still, in lite 1 as well); they are as random as on the first day.

# %%
rows = table[:25]
similar = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=-1)  # (25, 25)
shown = [k if k % 2 == 0 else "" for k in range(25)]
picture = heatmap(similar, shown, shown, "m", "m", "cosine between rows of the table", (-1, 1), diverging=True)
Embedded(picture, alt="Similarity of the rows of the motion table")

# %% [markdown]
# The same question to the words: how far apart are two *prompts* that differ in the number only, and how far apart are the two *vectors*?
# A dark square is a range of numbers which that channel does not tell apart.

# %%
asked = list(range(2, 21))
by_word = torch.cdist(words[2:].flatten(1), words[2:].flatten(1)) / 77**0.5  # root mean square over tokens
by_vector = torch.cdist(table[2:21], table[2:21])
shown = [k if k % 2 == 0 else "" for k in asked]
charts = [heatmap(d, shown, shown, "m", "m", f"distance by {name}") for name, d in (("word", by_word), ("vector", by_vector))]
far = [float(d[asked.index(14), asked.index(19)]) for d in (by_word, by_vector)]
print(f"from fourteen to nineteen: {far[0]:.3f} by word, {far[1]:.3f} by vector")
Embedded(*charts, alt="Distances between number words in the text, and between rows of the table")

# %% [markdown]
# ## Slide
# The slider is m. You see the warp alone, $D(z_W)$, and $c_M$ as a 16 x 16 picture: red is positive, blue negative, white zero. Take away
# the word or the vector and move it again.

# %%
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.presets import SLIDERS
from pix2gif_lite.sheets import contact_sheet
from pix2gif_lite.widgets import Explorer

scaling = pipe.vae.config.scaling_factor
factor = scaling if pipe.config.scale_image_latents else 1.0
rest = [scene.at(0).image for scene in scenes]
with torch.no_grad():
    E = [pipe.vae.encode(picture).latent_dist.mode() * factor for picture in rest]  # (1, 4, 32, 32) each


@torch.no_grad()
def warped(k, m, word, vector):  # compute
    prompt = text.motion_prompt(scenes[k].caption, m) if word else scenes[k].caption
    c_L = model.add_motion(c_T_of([prompt]), torch.tensor([m]), torch.tensor([vector]))
    return pipe.vae.decode(model.warp(E[k], c_L)[1] / factor).sample.clamp(-1, 1)


def row_picture(c_M):  # (w,) -> (3, 16, w / 16): red and blue
    v = (c_M / table[2:21].abs().max()).clamp(-1, 1).view(16, -1)
    return torch.stack([1 + 2 * v.clamp(max=0), 1 - 2 * v.abs(), 1 - 2 * v.clamp(min=0)])


def draw(m, word, vector):  # draw
    frame = warped(0, m, word, vector)
    c_M = table[m] if vector else torch.zeros_like(table[m])
    sheet = contact_sheet([[rest[0], frame, row_picture(c_M)]], None, ["source", "D(z_W)", "c_M"], 192)
    prompt = text.motion_prompt(scenes[0].caption, m) if word else scenes[0].caption
    return [sheet, f"{prompt}\nmeasured {motion_magnitude(rest[0][0], frame[0]):.1f} px"]


explorer = Explorer(draw, alt="Source, warped picture and the motion embedding", m=SLIDERS["motion"], word=True, vector=True)
explorer

# %%
shown = {m: explorer.set(m=m) for m in (4, 18)}
without = explorer.set(vector=False)
explorer.set(vector=True)
measured = {m: float(said.split()[-2]) for m, (_, said) in shown.items()}
assert measured[18] > measured[4] + 3, "a larger m must move more"
assert shown[18][0].tobytes() != without[0].tobytes()
Embedded(
    *shown[4],
    *shown[18],
    "m = 18 once more, the vector taken away:",
    *without,
    alt="The warp at m = 4, m = 18, and without c_M",
)

# %% [markdown]
# ## Where it fails
# **Motion in words only.** `keep_motion=False` sets $c_M = 0$; the number stays in the prompt. Then the opposite: the vector, and a caption
# without a number. Full frames this time, sampled as the pipeline does, but without its correction of the length of $F$ (notebook 04); asked against
# measured, mean of two scenes. On the dashed line a GIF does what was asked.

# %%
from pix2gif_lite.diffusion import alphas_cumprod, sigmas_for
from pix2gif_lite.metrics import coherency
from pix2gif_lite.motion import motion_magnitudes
from pix2gif_lite.presets import DEMO_MOTIONS
from pix2gif_lite.sampling import Branch, Denoiser, sample, start

c, AC, motions = pipe.config, alphas_cumprod(pipe.config), list(DEMO_MOTIONS)
sigmas, _ = sigmas_for(c.sampling_steps, AC, c.spacing, c.sampler)
noise = torch.randn(len(sigmas), 1, 4, 32, 32).expand(-1, len(motions), -1, -1, -1)  # shared by all frames


@torch.no_grad()
def frames_of(k, word, vector):
    prompts = [text.motion_prompt(scenes[k].caption, m) if word else scenes[k].caption for m in motions]
    keep = torch.full((len(motions),), vector)
    c_L = model.condition(text.tokenize(pipe.tokenizer, prompts), torch.tensor(motions), keep_motion=keep)
    source = E[k].expand(len(motions), -1, -1, -1)
    z_W = model.warp(source, c_L)[1]
    denoise = Denoiser(model, AC, c.prediction_type, {"full": Branch(source, z_W, c_L)})
    z = sample(c.sampler, denoise, start(noise[0], sigmas), sigmas, noise[1:])
    return pipe.vae.decode(z / scaling).sample.clamp(-1, 1)  # (8, 3, 128, 128)


ways = {"word and vector": (True, True), "word only": (True, False), "vector only": (False, True)}
frames = {name: [frames_of(k, *way) for k in range(2)] for name, way in ways.items()}
measured, errors = {}, {}
for name, gifs in frames.items():
    measured[name] = torch.stack([torch.tensor(motion_magnitudes(rest[k][0], list(gif))) for k, gif in enumerate(gifs)])
    errors[name] = coherency(torch.tensor([motions, motions]), measured[name])
    print(f"{name:16} RMSE {errors[name]['rmse']:.2f} px, Pearson {errors[name]['pearson']:.3f}")
curves = {name: (motions, values.mean(0)) for name, values in measured.items()}
chart = line_chart(
    curves, "motion asked for, px", "measured, px", "Which channel carries the number?", diagonal=True, marker="o"
)
Embedded(chart, alt="Asked against measured motion for word and vector, word only, vector only")

# %%
some = [motions.index(m) for m in (6, 11, 19)]
exact = [scenes[1].at(motions[i]).image for i in some]
sheet = [[rest[1], *exact], *[[None, *[gifs[1][i] for i in some]] for gifs in frames.values()]]
picture = contact_sheet(sheet, ["source, and the exact frames", *ways], ["m = 0", *[f"m = {motions[i]}" for i in some]])
Embedded(picture.quantize(256), alt="Exact frames, and frames by word and vector, by word only, by vector only")

# %% [markdown]
# The vector does nearly all of the work: without the word the curve hardly changes, without the vector it goes flat. Among large
# numbers the heatmap of distances shows why: the prompts differ, by one token of 77, but the encoder had no need to keep them apart,
# for the vector says it already. Small numbers it does tell apart, and yet they hardly change the motion: without the vector things
# move by one middling distance, whatever was asked, the best guess of a model that was not told.
#
# Be careful with the conclusion. This is a model trained with both and then deafened on one ear: when lite's training drops $c_M$, the
# number is left out of the prompt, too (`learning/model_job.py`), so it never met the word alone. The paper trained a model on words only
# (Pix2Gif-Base, which has no warp and no $L_P$ either). Its Table 2, at $s_I = 1.8$: L2 between asked and measured motion 5.6 for Base against 2.9 for the full model;
# Pearson 0.992 and 0.997. Words give the right order and the wrong distances.

# %% [markdown]
# ## Exercises
# **1.** In the paper's data $m$ is from 2 to 20. Lite trains two more rows of the table. Name one of them. Does it stand apart from the rows
# beside it?

# %%
answer = 20  # edit
outside_range = set(range(21)) - set(range(2, 21))
beside = [k for k in (answer - 1, answer + 1) if 0 <= k <= 20]
print(f"cosine of row {answer} with the rows beside it:", *[f"{float(similar[answer, k]):.2f}" for k in beside])
print("Right." if answer in outside_range else "Not yet: which integers up to 20 are not in 2 .. 20?")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 0 or 1. The paper's data keeps motions of 2 to 20 px (section 3.1). Lite's training adds pictures that stand still, m = 0, and frames of
# m = 1 (`STILL_SHARE` and `SMALL_SHARE` in `data/latent_cache.py`), else rows 0 and 1 would still be as they were initialised, and 0.5 or
# 1.5 would lie beside noise. Row 1 resembles row 2; the row that stands apart is 0, a picture that does not move. The rows from 21 up are
# as they were initialised.
# </details>
#
# **2.** The pipeline takes fractions: `motion=[2.5]`. Write the vector it uses, from rows of `table`.

# %%
answer = table[2]  # edit
right = pipe.motion_embedding.lookup(torch.tensor([2.5]))[0].detach()
print("Right." if torch.allclose(answer, right, atol=1e-5) else f"Not yet: {float((answer - right).norm()):.2f} away from it.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `(table[2] + table[3]) / 2`: a straight line between neighbours. It works because neighbours lie near each other, and it is why
# `motion=[20.5]` does not: row 21 is noise.
# </details>
#
# ## Recap
# - The number enters twice: as a word, one token of 77, and as a row of a table, added to all 77.
# - $c_L = c_T + c_M$ is a lookup and a broadcast. The table knows only motions that training asked for.
# - Lite listens to the vector. Take it away, and the measured motion no longer follows what is asked; take the word away, and little changes.
#
# Next: `04_flow_and_warping`.

# %%
# What this notebook taught, checked
c_T = torch.randn(1, 77, table.shape[1])
torch.testing.assert_close(c_L_by_hand(table, c_T, m[1:2], keep[1:2]), pipe.motion_embedding(c_T, m[1:2]).detach())
neighbours = torch.stack([similar[k, k + 1] for k in range(2, 20)])
assert float(neighbours.mean()) > float(similar[1, 2:21].abs().mean())  # rows form an axis
assert errors["word and vector"]["rmse"] < min(errors["word only"]["rmse"], errors["vector only"]["rmse"])
assert int((ids[0] != ids[1]).sum()) == 1  # one token carries the word
