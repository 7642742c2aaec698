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
# # 00 · Make a GIF
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/00_make_a_gif.ipynb)
#
# A picture, a caption and one number become a GIF. The number says how far things move. Everything on this page runs on two CPU
# cores with weights that came with the package.
#
# **You will learn**
# - to make a GIF of a drawn scene or of your own picture;
# - what each slider does, and how to do the same in five lines of Python;
# - where it fails, and which of the following notebooks has the reason.
#
# **In the paper:** the task of section 3 and Figure 1 of *Pix2Gif* (arXiv 2403.04634).

# %% [markdown]
# ## Symbols
# | symbol | meaning |
# |---|---|
# | $c_I$, $c_T$ | the source picture, the caption |
# | $m$ | motion magnitude: how far things move, in pixels after a resize to 256 x 256 |
# | $s_T$, $s_I$ | guidance scales of text and picture; 1 is none |

# %%
# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    # %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/OWNER/pix2gif-lite@v0.1.0" av imagehash peft
    pass

# %% [markdown]
# ## Set-up

# %%
from pix2gif_lite import Pix2GifPipeline
from pix2gif_lite.sliders.studio import Studio
from pix2gif_lite.widgets import Embedded, GifStudio

pipe = Pix2GifPipeline.from_pretrained("lite-turbo")

# %% [markdown]
# ## The idea
# Pix2Gif never makes a film. It edits one picture, once for every frame:
#
# $$\text{frame}_k = \mathrm{Pix2Gif}(c_I,\; c_T,\; m_k)$$
#
# and a GIF is a list of magnitudes $m_0, m_1, \dots$, all from the same picture. $m$ is measured with the paper's own ruler
# (notebook 01), so 8 means 8 pixels at 256 x 256, whatever the size of your picture. $m = 0$ is the picture itself.

# %% [markdown]
# ## Slide
# Pick a scene or upload a picture, and drag **motion**. While you drag, the stage shows the model's own frame for every place
# of the slider that it has time for; when you let go, all frames are made, with the motion that was measured in them beside the
# one you asked for. The weights are `lite-turbo`: they answer in one step and need no guidance (notebook 12), so **s_T**, **s_I** and
# **steps** stand still. Put `"lite"` in their place above, and you can move those as well.

# %%
studio = GifStudio(Studio(pipe))
studio

# %% [markdown]
# A cell can move the sliders as a hand does. Twice, and what was measured:

# %%
frames = {}
for m in (5, 16):
    studio.motion.value = m
    made = studio.wait().made
    frames[m] = made
    print(f"asked for {m} px, measured {made.measured[-1]:.1f} px")
assert frames[16].measured[-1] > 2 * frames[5].measured[-1]

# %%
Embedded(frames[5].gif, frames[5].sheet, frames[16].gif, frames[16].sheet, alt="the same picture at m = 5 and at m = 16")

# %% [markdown]
# ## One frame, and the next
# What the slider drags is `Live`: the pipeline's frame for one number. The picture and the texts of the caption are encoded at the
# first and kept, so that every other frame costs one flow, one warp, the UNet's steps and one decoding. (The README says how long that
# takes, and on which processor.)

# %%
import time
from pix2gif_lite.live import Live

scene = next(iter(studio.compute.pictures))
picture, caption = studio.compute.pictures[scene], studio.compute.captions[scene]
live, milliseconds = Live(pipe), []
for m in (3, 7, 10, 12, 14, 17):
    began = time.perf_counter()
    png = live.png(picture, caption, m)
    milliseconds.append(1000 * (time.perf_counter() - began))
print(
    f"the first {milliseconds[0]:.0f} ms, the others {sorted(milliseconds[1:])[2]:.0f} ms: a PNG of {len(png) / 1024:.0f} KiB"
)

# %% [markdown]
# ## The same in Python

# %%
out = pipe(picture, caption, motion=[0, 4, 8, 12, 16], seed=0)
print(len(out.frames), "frames of", out.frames[0].size, "for m =", out.motions)
# out.save("mine.gif", fps=4, loop="pingpong")   # or .mp4, or .webp

# %% [markdown]
# The picture comes back untouched at $m = 0$:

# %% tags=["nbval-check-output"]
print(out.frames[0].tobytes() == out.source.tobytes())

# %% [markdown]
# ## By hand
# A list of motions is nothing but one call after another. So ask for the frames one by one, each from the same picture and the
# same noise.

# %%
one_by_one = [pipe(picture, caption, motion=[m], seed=0).frames[0] for m in out.motions]

# %% [markdown]
# ## Compared with the package
# The list, made in one batch, against our frames: the same, to one of 256 grey levels (sums in another order round differently).

# %%
import torch
from pix2gif_lite.canvas import to_tensor

mine, package = (torch.cat([to_tensor(frame) for frame in frames]) for frames in (one_by_one, out.frames))
torch.testing.assert_close(mine, package, rtol=0, atol=1.5 / 127.5)
print("largest difference:", round(127.5 * float((mine - package).abs().max())), "of 255 grey levels")

# %% [markdown]
# ## The source
# Where the lists of the menu **curve** come from:

# %%
import inspect
from pix2gif_lite.sliders.curves import motion_curve

print(inspect.getsource(motion_curve))

# %% [markdown]
# ## Where it fails
# The small model knows drawn scenes of sixteen subjects and sixteen actions, and eighteen moves of a whole picture, which your
# photographs obey too: try "the camera pans to the left". What a photograph shows it does not understand: no dog will run. A caption
# it never saw moves something at random, or everything (below the picture comes nearer, as if a camera zoomed in), or bends things
# where they stand, or does nothing; the number is still read, the words are not.

# %%
from pix2gif_lite.sheets import contact_sheet

strange = "the committee postpones its decision"
guessed = pipe(picture, strange, motion=out.motions, seed=0)
sheet = contact_sheet([out.frames, guessed.frames], [caption, strange], size=150)
Embedded(sheet, alt="above: a caption of the kind it knows; below: one it never saw")

# %% [markdown]
# What cannot be done at all is refused in one sentence, before any model runs, and the controls stay usable:

# %% tags=["nbval-check-output"]
for words, motion in (("", 8), ("a ball is rolling", -3), ("a ball is rolling", 300)):
    try:
        pipe(picture, words, motion=[motion])
    except ValueError as error:
        print(error)
try:
    studio.compute.add_upload("holiday.png", b"this is a text file that was named .png")
except ValueError as error:
    print(error)

# %% [markdown]
# ## Exercises
# **1.** A GIF that plays for ever without a jump: which curve, and which `loop`? Set `answer`, then run the cell.

# %%
answer = {"curve": "linear", "loop": "forward"}
curve = motion_curve(answer["curve"], 12, 8)
jump = abs(curve[-1] - curve[0]) if answer["loop"] == "forward" else abs(curve[1] - curve[0])
print(
    curve, "- from the last frame to the next it jumps by", round(jump, 2), "px:", "smooth" if jump <= 3 else "not yet smooth"
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# `{"curve": "pingpong", "loop": "forward"}`: the curve comes back down by itself. Or keep `linear` and play it with
# `loop="pingpong"`.
# </details>
#
# **2.** Make the picture move by about half as much as the scene above did at 16. Set `answer`.

# %%
answer = 4
half = pipe(picture, caption, motion=[answer]).measured()[0]
full = out.measured()[-1]
print(f"{half:.1f} px of {full:.1f} px:", "half" if 0.4 < half / full < 0.6 else "not half yet")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `answer = 8`: $m$ is a length, so half the number is half the way. That is what training on measured motion buys.
# </details>

# %% [markdown]
# ## Recap
# - One frame is one edit of the source picture; a GIF is a list of magnitudes.
# - The number is a length in pixels, and it can be checked with a ruler.
# - Outside what it was trained on, the model keeps the look of the picture and guesses what moves, be it everything.
#
# ## What follows
# | notebook | question |
# |---|---|
# | `01_motion_as_a_number` | what is $m$, and how is it measured? |
# | `02_latents` | where does the model work, and what is lost there? |
# | `03_motion_embedding` | how does a number reach two networks? |
# | `04_flow_and_warping` | how is the picture moved? (what makes most of the frame you drag) |
# | `05_losses` | what is asked of the model in training? |
# | `06_diffusion` | what does the UNet add, and why not predict the frame at once? |
# | `07_train_it` | train one yourself, in a few minutes |
# | `08_sampling_and_guidance` | what do **s_T**, **s_I** and **steps** do? |
# | `09_make_it_move` | curves, loops, flicker, two actions |
# | `10_does_it_work` | how good is it, and can the numbers be fooled? |
# | `11_your_own_gifs` | your GIFs as training data |
# | `12_one_step` | why the slider can follow your hand |

# %%
# What this notebook taught, checked
assert len(out.frames) == 5 and out.motions == [0, 4, 8, 12, 16]
measured = out.measured()
assert measured[0] == 0 and measured[-1] > measured[1]
assert frames[16].gif.startswith(b"GIF8") and studio.error == ""
