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
# # 01 · Motion as a number
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/01_motion_as_a_number.ipynb)
#
# Pix2Gif is told how far things shall move by one number. This notebook measures that number: for two frames, for a GIF, and for a GIF of yours.
#
# **You will learn**
# - how two frames become one motion magnitude m: corners, Lucas-Kanade, a mean;
# - how a GIF becomes training pairs, and why only m from 2 to 20 is kept;
# - what the number cannot see: a cut, a flat picture, how large the moving thing is.
#
# **In the paper:** section 3.1 and Algorithm 1.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $I_1, I_2$ | two frames, grey, 256 x 256 | `gray_a`, `gray_b` (256, 256) uint8 |
# | $p_i$ | corners of $I_1$, at most 100 | `corners` (N, 2), x then y |
# | $d_i$ | where corner i went in $I_2$, px | `vectors` (N, 2) |
# | $m$ | motion magnitude, px at 256 x 256 | `motion_magnitude(a, b)` |
# | gap | distance of two frames in a GIF | `gap` |

# %%
# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    # %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/OWNER/pix2gif-lite@v0.1.0" av imagehash peft
    pass

# %% [markdown]
# ## Set-up
# No model is needed here, only OpenCV.

# %%
import inspect

import cv2
import numpy as np
import torch

from pix2gif_lite.media import clips
from pix2gif_lite.curating import cuts
from pix2gif_lite import gifs, motion

# %% [markdown]
# `read_frames` turns a GIF, APNG, WebP, mp4 or folder of numbered pictures into RGB frames and their times, and refuses what is damaged or
# too large. The example is the GIF that comes with the package.
# %%
from pix2gif_lite.command_line.commands import EXAMPLE_IMAGE
from pix2gif_lite.sheets import contact_sheet
from pix2gif_lite.widgets import Embedded

EXAMPLE_GIF = EXAMPLE_IMAGE.with_suffix(".gif")
frames, milliseconds = clips.read_frames(EXAMPLE_GIF)  # PIL images, ms each
print(f"{len(frames)} frames of {frames[0].size} px, {sum(milliseconds)} ms")
Embedded(EXAMPLE_GIF.read_bytes(), contact_sheet([frames], size=90), alt="The example GIF: a red balloon rises over water")

# %% [markdown]
# ## The idea
# Find corners in the first frame, follow each into the second, and average the length of those that moved:
# $$m = \frac{1}{|M|}\sum_{i \in M} \lVert d_i \rVert, \qquad M = \{\, i : \lVert d_i \rVert > 1\,\mathrm{px} \,\}, \qquad m = 0 \text{ if } M = \emptyset$$
# Both frames are first resized to 256 x 256, so m does not depend on the size of the file. A corner that stands still does not count.
# So a small bird that flies 8 px has the same m as a whole picture that slides 8 px: m says how far, not how much.
#
# **Lucas-Kanade** finds $d$ for one corner. Inside a window $W$ of 15 x 15 px the picture shall be the same, moved by $d$. To first order
# that is one 2 x 2 system:
# $$\Big[\sum_W \nabla I_1 \nabla I_1^{\top}\Big]\, d = -\sum_W \nabla I_1\,(I_2 - I_1)$$
# Solve, look up $I_2$ at the moved window, solve again; the authors' code stops after 10 turns or at a step below 0.03 px. For large motions the same is done at
# a quarter of the size first, then at half, then at full size. The matrix on the left can be inverted only where gradients point in two directions:
# at a corner. That is why corners come first.

# %%
smooth = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(400, 400)), (0, 0), 4)
texture = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # (400, 400): a picture with corners everywhere


def window(x, y, side=256):  # the part of the texture around (x, y), with fractions of a pixel
    return cv2.getRectSubPix(texture, (side, side), (x, y))


I1, I2 = window(200, 200), window(198.5, 200.7)  # the window goes left and down: the picture goes right and up
p, d = np.array([128.0, 128.0]), np.zeros(2)
W = cv2.getRectSubPix(I1, (17, 17), p).astype(float)  # one px more on each side, for the differences
gradient = np.stack([W[1:-1, 2:] - W[1:-1, :-2], W[2:, 1:-1] - W[:-2, 1:-1]], -1).reshape(-1, 2) / 2  # (225, 2)
for _ in range(10):
    there = cv2.getRectSubPix(I2, (15, 15), p + d).astype(float)
    change = (there - W[1:-1, 1:-1]).reshape(-1)  # I_2 - I_1 in the window, (225,)
    d = d - np.linalg.solve(gradient.T @ gradient, gradient.T @ change)  # the 2 x 2 system
vector, _ = motion.track(I1, I2, p[None])
print("truth (1.5, -0.7)   by hand", d.round(2), "  OpenCV", vector[0].round(2))

# %% [markdown]
# On the example GIF: corners of the first frame as dots, and lines to where Lucas-Kanade says they went. Red vectors are longer than 1 px and
# count; grey ones do not.

# %%
from PIL import Image, ImageDraw


def with_vectors(a, b, size=256):
    """Frame a with what Alg. 1 sees when it compares it with frame b."""
    gray_a, gray_b = motion.to_gray(a), motion.to_gray(b)
    corners = motion.find_corners(gray_a)
    vectors, found = motion.track(gray_a, gray_b, corners)
    picture = (a if isinstance(a, Image.Image) else Image.fromarray(a)).convert("RGB").resize((2 * size, 2 * size))
    pen, factor = ImageDraw.Draw(picture), 2 * size / 256
    for (x, y), (dx, dy) in zip(corners[found] * factor, vectors[found] * factor, strict=True):
        colour = (217, 32, 59) if np.hypot(dx, dy) > factor * motion.STILL else (120, 120, 120)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline="white")
        pen.line((x, y, x + dx, y + dy), fill=colour, width=4)
    return picture


few = [0, len(frames) // 3, 2 * len(frames) // 3, len(frames) - 1]
names = [f"to frame {k + 1}: m = {motion.motion_magnitude(frames[0], frames[k]):.1f}" for k in few]
sheet = contact_sheet([[with_vectors(frames[0], frames[k]) for k in few]], None, names, 200)
Embedded(sheet, alt="The first frame with vectors that grow upwards on the balloon, for four later frames")

# %% [markdown]
# ## By hand
# Algorithm 1 in OpenCV and numpy. The numbers in the two calls are those of the authors' code. Then a motion we know: the texture
# shifted by (3, 4) px has to give 5, by (6, 8) px 10, and by (0.3, 0.4) px 0, since half a pixel counts as still. Rounded to whole
# pixels: a few corners at the border leave the picture and are matched to something else.


# %% tags=["nbval-check-output"]
def magnitude_by_hand(a, b):
    gray = [cv2.cvtColor(np.asarray(x), cv2.COLOR_RGB2GRAY) if np.ndim(x) == 3 else x for x in (a, b)]
    gray = [np.asarray(Image.fromarray(x).resize((256, 256), Image.Resampling.LANCZOS)) for x in gray]
    corners = cv2.goodFeaturesToTrack(gray[0], maxCorners=100, qualityLevel=0.1, minDistance=7, blockSize=7)
    if corners is None:  # nothing to follow
        return 0.0
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(*gray, corners, None, winSize=(15, 15), maxLevel=2, criteria=stop)
    length = np.linalg.norm(moved - corners, axis=-1)[found == 1]  # (N,)
    length = length[length > 1]
    return float(length.mean()) if len(length) else 0.0


for dx, dy in ((3, 4), (6, 8), (9, 12), (0.3, 0.4)):
    moved = window(200 - dx, 200 - dy)
    print(f"shift ({dx:g}, {dy:g}): truth {np.hypot(dx, dy):4.1f}   by hand {magnitude_by_hand(window(200, 200), moved):3.0f}")

# %% [markdown]
# ## Compared with the package

# %%
pairs = [(window(200, 200), window(197, 196)), (frames[0], frames[-1]), (frames[-1], frames[0]), (frames[1], frames[3])]
mine = torch.tensor([magnitude_by_hand(a, b) for a, b in pairs])
package = torch.tensor([motion.motion_magnitude(a, b) for a, b in pairs])
torch.testing.assert_close(mine, package, rtol=0, atol=0.02)
print([f"{m:.2f}" for m in package])

# %% [markdown]
# The second and third number are the same two frames in both orders. They differ a little: the corners are the first frame's.
#
# ## The source

# %%
print(inspect.getsource(motion.motion_magnitudes))
print(inspect.getsource(motion.mean_moving_length))

# %% [markdown]
# **Curation.** The paper measures all pairs of frames of a GIF from TGIF. It sees m from 0 to 200, keeps 2 to 20, and draws at most 10
# of the kept pairs at random. It does not say why. Our reading:
# below 2 there is little to learn, and above 20 the ruler itself gives way (see "Slide") and cuts begin (see "Where it fails").
#
# By hand that is a double loop. `pair_magnitudes` gives the same numbers sooner: a frame is made grey and small, and its corners are found,
# once a frame and not once a pair. A GIF of TGIF has 41 frames on average, which makes 820 pairs.

# %%
import time
from itertools import combinations

from pix2gif_lite.presets import MOTION_MAX, MOTION_MIN

began = time.perf_counter()
by_hand = {(i, j): magnitude_by_hand(frames[i], frames[j]) for i, j in combinations(range(len(frames)), 2)}
halfway = time.perf_counter()
i, j, m = motion.pair_magnitudes(frames)  # (P,) each, P = N (N - 1) / 2
ended = time.perf_counter()
assert list(by_hand) == list(zip(i, j, strict=True))
torch.testing.assert_close(torch.tensor(list(by_hand.values())), torch.from_numpy(m).float(), rtol=0, atol=0.02)
keep = [pair for pair, value in by_hand.items() if MOTION_MIN <= value <= MOTION_MAX]
print(f"{len(m)} pairs, {len(keep)} in range; by hand {halfway - began:.2f} s, pair_magnitudes {ended - halfway:.2f} s")

# %% [markdown]
# `curate_clip` is all of section 3.1 for one file: read, measure, keep, draw. Which ten of those in range? The paper draws at random
# (`draw="random"`). The package's default deals one pair of each integer motion there is, then a second of each (`"uniform"`): a plain
# draw takes motions as often as the GIF has them, some of them hardly ever.
#
# Now yours: put the path of a GIF, WebP or mp4 in `MY_GIF`. As it stands, it is the example again.
# Below the histogram: pairs as a model would meet them, source above, target below.

# %%
import io

from pix2gif_lite.pairs import CurationSettings, Dropped, curate_clip, frame_name
from pix2gif_lite.viz import histogram, line_chart

MY_GIF = EXAMPLE_GIF  # edit, for example "cat.gif" after an upload

mine = {draw: curate_clip(MY_GIF, CurationSettings(draw=draw)) for draw in ("random", "uniform")}
clip = mine["uniform"]
if isinstance(clip, Dropped):  # it says why: one frame, nothing moves, damaged
    raise ValueError(f"{MY_GIF} gives no pairs. {clip.reason}")
print(
    f"{clip.frames} frames, {clip.shots} shot(s), {clip.measured} pairs measured, {clip.in_range} in range, {len(clip.pairs)} drawn"
)
for draw, result in mine.items():
    print(f"{draw:7} integer motions drawn:", sorted(pair.motion for pair in result.pairs))
if MY_GIF == EXAMPLE_GIF:
    assert clip.in_range == len(keep) and all(abs(by_hand[p.source, p.target] - p.m) < 0.02 for p in clip.pairs)
drawn = [[Image.open(io.BytesIO(clip.files[frame_name(p[end])])) for p in clip.pairs] for end in (0, 1)]
values = {"all pairs": np.arange(len(clip.histogram))}  # a bin a pixel
bars = histogram(values, range(27), "m, px at 256 x 256", "All pairs", (MOTION_MIN, MOTION_MAX), {"all pairs": clip.histogram})
sheet = contact_sheet(drawn, None, [f"{p.source + 1}>{p.target + 1}: {p.m:.1f}" for p in clip.pairs], 76)
Embedded(bars, sheet, alt="Histogram of m over all pairs of the GIF; the pairs that were drawn")

# %% [markdown]
# **The integer.** The authors' code truncates m, since m indexes a table of embeddings: a pair of 7.9 px trains row 7. The paper does not say.
# On GIFs every label is then too small, by what the next cell prints. Our drawn scenes move by exactly the integer they are labelled with, and
# one number must not mean two things. So a curated pair keeps both (`pair.motion`, `pair.m`), and training rounds instead: 7.9 is told as 8.
# How much is that in a picture? A drawn scene at 7.9 and at 7:

# %%
from pix2gif_lite.data.pair_latents import training_motion
from pix2gif_lite.scenes import draw, sample_scenes

scene = sample_scenes(3, "val", seed=0)[2]
exact, truncated = scene.at(7.9, 256).image[0], scene.at(7, 256).image[0]  # (3, 256, 256) each
labels = ["at rest", "m = 7.9", "m = 7: truncated", "difference, 3 times"]
of_example = np.array([value for value in by_hand.values() if value > MOTION_MIN])
labels_of = {"truncated": of_example.astype(int), "rounded": np.array([training_motion(value) for value in of_example])}
print("off on average:", ", ".join(f"{how} {np.mean(told - of_example):+.2f} px" for how, told in labels_of.items()))
gap_seen = (3 * (exact - truncated).abs() - 1).clamp(-1, 1)
sheet = contact_sheet([[scene.at(0, 256).image[0], exact, truncated, gap_seen]], None, labels, 180)
Embedded(sheet, alt="A drawn leaf at rest, at m = 7.9, at m = 7, and the difference of the last two: thin lines at its edges")

# %% [markdown]
# ## Slide
# **Shift and rotation.** A busy picture of 16 scenes is shifted and turned by a known amount. The truth is known at each corner, so the ruler itself
# can be tested. Under a rotation each corner moves by its own length, proportional to its distance from the centre: m is their mean.

# %%
from pix2gif_lite.presets import Slider
from pix2gif_lite.widgets import Explorer

tiles = iter(draw(sample_scenes(16, "train", seed=2), [0] * 16, 64).image)
busy = np.asarray(contact_sheet([[next(tiles) for _ in range(4)] for _ in range(4)], size=64, gap=0))  # (256, 256, 3)
spots = motion.find_corners(motion.to_gray(busy))


def compute(shift, angle):
    matrix = cv2.getRotationMatrix2D((127.5, 127.5), -angle, 1.0)  # clockwise, as seen
    matrix[0, 2] += shift
    there = cv2.warpAffine(busy, matrix, (256, 256), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    truth = spots @ matrix[:, :2].T + matrix[:, 2] - spots
    return there, motion.mean_moving_length(truth), motion.motion_magnitude(busy, there)


def draw_known(shift, angle):
    there, truth, measured = compute(shift, angle)
    words = f"truth {truth:.1f} px, measured {measured:.1f} px"
    return [words, contact_sheet([[with_vectors(busy, there), Image.fromarray(there)]], None, ["source", "target"], 200)]


known = Explorer(
    draw_known,
    alt="A busy picture with vectors at its corners, and the picture after shift and rotation",
    shift=Slider(0, 40, 1, 8, "px", "how far to the right"),
    angle=Slider(0, 20, 1, 0, "degrees", "how far it turns clockwise"),
)
known

# %%
read = {shift: float(known.set(shift=shift, angle=0)[0].split()[-2]) for shift in (4, 12)}
turned = float(known.set(shift=0, angle=6)[0].split()[-2])
print("shift -> m:", read, "  6 degrees -> m:", turned)
assert abs(read[4] - 4) < 0.5 and abs(read[12] - 12) < 1, "m follows the shift"
assert turned > motion.STILL, "a rotation is motion too"
shifts = range(0, 61, 3)
readings = {"measured": (shifts, [compute(shift, 0)[2] for shift in shifts])}
chart = line_chart(readings, "true shift, px at 256 x 256", "m", "The ruler, tested", diagonal=True, marker="o")
Embedded(
    *known.set(shift=8, angle=5),
    chart,
    alt="Vectors of a shift with a rotation; measured over true shift, which agree up to about 20 px",
)

# %% [markdown]
# The chart shows how far the ruler can see. Three scales of a 15 px window reach a little beyond 20 px here; after that corners lock on to
# wrong places, and m says less than the truth.
#
# **Frame gap.** A drawn GIF whose frame k has moved by k px from frame 0. Neighbours hardly differ, distant frames differ too much: the gap decides
# what is kept.

# %%
from pix2gif_lite.canvas import to_pil

long_gif = [to_pil(picture) for picture in draw([scene] * 31, range(31)).image]  # 31 frames
i, j, m = motion.pair_magnitudes(long_gif)
by_gap = {gap: m[j - i == gap] for gap in range(1, len(long_gif))}


def draw_gap(gap):
    values = by_gap[gap]
    share = np.mean((values >= MOTION_MIN) & (values <= MOTION_MAX))
    pair = contact_sheet(
        [[with_vectors(long_gif[0], long_gif[gap]), long_gif[gap]]], None, ["frame 1", f"frame {1 + gap}"], 200
    )
    bars = histogram(
        {f"gap {gap}": values}, np.arange(36) - 0.5, "m, px at 256 x 256", scene.caption, keep=(MOTION_MIN, MOTION_MAX)
    )
    return [f"mean m {values.mean():.1f} px, kept {share:.0%}", pair, bars]


gaps = Explorer(
    draw_gap, alt="Two frames and the motion of all pairs of that gap", gap=Slider(1, 30, 1, 6, "frames", "distance in the GIF")
)
gaps

# %%
said = {gap: gaps.set(gap=gap)[0] for gap in (1, 10, 30)}
print("\n".join(f"gap {gap}: {words}" for gap, words in said.items()))
kept = {gap: int(words.split()[-1].rstrip("%")) for gap, words in said.items()}
assert kept[10] > kept[1] and kept[10] > kept[30], "the middle gaps train"
Embedded(*gaps.set(gap=10), alt="Frames 1 and 11 of the drawn GIF, and the histogram of m of all pairs ten frames apart")

# %% [markdown]
# ## Where it fails
# **A scene cut.** Lucas-Kanade always answers, even where the second frame shows something else. Its vectors then point anywhere, and m is the mean of
# nonsense. Here are all cuts among 12 unrelated scenes. Cuts fall mostly above 20, so the range removes most of them. Not all. Below the
# histogram is the cut with the smallest m, next to an honest pair. A check that sees the difference: follow each corner forth and back.
# A corner that really moved comes home; one that was lost does not. Neither the paper's algorithm nor the authors' code checks this.
# Our curation does, with `cuts.same_scene`: at least a quarter of the corners must return (and, where a logo stands still over both, a
# quarter of those that move).

# %%
import tempfile
from pathlib import Path

firsts = [to_pil(s.at(0).image[0]) for s in sample_scenes(12, "train", seed=5)]
across = [(i, j, m) for i, a in enumerate(firsts) for j, m in enumerate(motion.motion_magnitudes(a, firsts)) if i != j]
passed = sum(MOTION_MIN <= m <= MOTION_MAX for *_, m in across)


def came_home(a, b):
    """Share of the corners that return to within 1 px, by hand."""
    gray_a, gray_b = motion.to_gray(a), motion.to_gray(b)
    corners = motion.find_corners(gray_a)
    forth, found = motion.track(gray_a, gray_b, corners)
    back, again = motion.track(gray_b, gray_a, corners + forth)
    return float((found & again & (np.linalg.norm(forth + back, axis=1) < 1)).mean()) if len(corners) else 0.0


grays = [motion.to_gray(a) for a in firsts]
noticed = sum(not cuts.same_scene(grays[i], grays[j]) for i, j, _ in across)
print(f"{passed} of {len(across)} cuts have an m that is kept; same_scene says no to {noticed}")
i, j, m_cut = min(across, key=lambda cut: cut[2])
honest, cut = (long_gif[0], long_gif[10]), (firsts[i], firsts[j])
home_real, home_cut = came_home(*honest), came_home(*cut)
for a, b, home in ((*honest, home_real), (*cut, home_cut)):
    assert home == cuts.there_and_back(motion.to_gray(a), motion.to_gray(b))[0].mean()  # the package's
    print(f"m = {motion.motion_magnitude(a, b):4.1f}, {home:.0%} of the corners come home")
with tempfile.TemporaryDirectory() as folder:  # a GIF with a cut in its middle
    gifs.save_animation(long_gif[:8:2] + [firsts[j], *long_gif[1:8:2]], Path(folder) / "cuts.gif")
    halves = curate_clip(Path(folder) / "cuts.gif")
print(
    f"a GIF with another picture in its middle: {halves.shots} shots, pairs",
    [(p.source + 1, p.target + 1) for p in halves.pairs],
)
rows = [[with_vectors(a, b), b] for a, b in (honest, cut)]
bars = histogram(
    {"cuts": [m for *_, m in across]}, range(0, 101, 4), "m, px at 256 x 256", "m across a cut", (MOTION_MIN, MOTION_MAX)
)
sheet = contact_sheet(rows, ["an honest pair", "a cut"], ["source", "target"], 170)
Embedded(
    bars,
    sheet,
    alt="Histogram of m across cuts, mostly above 20; vectors of an honest pair point one way, those of a cut anywhere",
)

# %% [markdown]
# **A flat picture.** No corners, nothing to follow, m = 0 whatever happens. A straight edge is no corner either: its gradients all point the same way, and the
# 2 x 2 matrix cannot be inverted (the aperture problem). And on a flat wall with sensor noise the "corners" are grains of noise: the quality threshold is
# relative to the best corner there is. They seem to move.

# %%
flat = np.full((256, 256, 3), 180, np.uint8)
edge, edge_moved = flat.copy(), flat.copy()
edge[:, 100:], edge_moved[:, 110:] = 60, 60  # an edge that moves by 10 px
grain = [np.clip(flat + np.random.default_rng(k).normal(0, 2, flat.shape), 0, 255).astype(np.uint8) for k in (0, 1)]
cases = {"flat, darker": (flat, flat - 40), "edge, moved 10 px": (edge, edge_moved), "still, with noise": tuple(grain)}
blind = {name: (len(motion.find_corners(motion.to_gray(a))), motion.motion_magnitude(a, b)) for name, (a, b) in cases.items()}
labels = [f"{name}: m = {m:.1f}" for name, (_, m) in blind.items()]
sheet = contact_sheet([[with_vectors(a, b) for a, b in cases.values()]], None, labels, 160)
Embedded(sheet, alt="A flat grey picture and an edge without a single corner; a noisy wall with a hundred dots")

# %% tags=["nbval-check-output"]
for name in ("flat, darker", "edge, moved 10 px"):
    print(f"{name}: {blind[name][0]} corners, m = {blind[name][1]:.1f}")

# %% [markdown]
# ## Exercises
# **1.** A GIF is 512 x 512 px. Everything in it moves by (6, 8) px from one frame to the next. What is m?

# %%
answer = 10.0  # edit
big = cv2.resize(texture, (1024, 1024), interpolation=cv2.INTER_CUBIC)
truth = motion.motion_magnitude(big[200:712, 200:712], big[192:704, 194:706])
print("Right." if abs(answer - truth) < 0.2 else "Not yet: at which size is m measured?")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 5: the frames are halved to 256 x 256 before anything is measured, and 10 px become 5.
# </details>
#
# **2.** A GIF of TGIF has 41 frames on average (paper, section 3.1). How many pairs are that, and how many of them train at most?

# %% tags=["nbval-check-output"]
answer = (41, 10)  # edit: (pairs, pairs that train at most)
print("Right." if answer == (41 * 40 // 2, 10) else "Not yet: each pair of frames once, the earlier one first.")
print(f"the paper: {783_184 / 78_692:.2f} pairs per GIF in train, {105_041 / 10_546:.2f} in val")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `(820, 10)`: 41 x 40 / 2 pairs, of which min(#pairs, 10) train. The paper's totals agree: nearly ten pairs a GIF.
# </details>
#
# ## Recap
# - m is the mean length of the Lucas-Kanade vectors longer than 1 px, at 256 x 256. It says how far, not how much nor where to.
# - Training pairs are all pairs of a GIF with m from 2 to 20, ten at most. The same ruler later measures what the model made.
# - It is blind without corners, and it believes a cut. A look forth and back tells: `curating/cuts.py`.
#
# Next: `02_latents`.

# %%
# What this notebook taught, checked
assert abs(magnitude_by_hand(window(200, 200), window(197, 196)) - 5) < 0.5  # a known shift
assert np.abs(d - vector[0]).max() < 0.1 and np.abs(d - (1.5, -0.7)).max() < 0.1  # Lucas-Kanade is a 2 x 2 system
assert all(MOTION_MIN <= p.m <= MOTION_MAX for p in clip.pairs) and len(clip.pairs) <= 10  # what trains
assert home_real > home_cut and noticed > 0.9 * len(across)  # a cut does not come home
assert halves.shots == 3 and not any(p.source < 4 < p.target for p in halves.pairs)  # and gives no pair
assert blind["flat, darker"] == (0, 0.0) and blind["edge, moved 10 px"][1] == 0.0  # no corners, no motion
