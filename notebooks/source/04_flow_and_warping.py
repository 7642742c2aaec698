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
# # 04 · Flow and warping
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/04_flow_and_warping.ipynb)
#
# The heart of Pix2Gif. A small network looks at the picture and at the text and says, for every cell of the latent, from where its
# content comes. Moving the latent there is a lookup, in the paper without weights; lite's has learnt what lies between two cells. The
# UNet only has to repair what the lookup gets wrong.
#
# **You will learn**
# - what a backward flow is, how `grid_sample` reads it, and why a displacement and an absolute grid are not the same thing;
# - how FlowNet predicts a flow at three scales, and how the injection module turns 77 tokens into maps;
# - what no flow can do, however exact: show what the source picture does not show.
#
# **In the paper:** section 3.3.2, Eq. 5 and 6, Figure 3. The code is `pix2gif_lite/warping.py` and `lookup.py`, and `subcell.py`,
# `bodies.py` and `calibration.py`, which are ours.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code, shape |
# |---|---|---|
# | $E(c_I)$ | the source latent | `E` (1, 4, 32, 32) |
# | $c_L$ | text plus motion (notebook 03) | `c_L` (1, 77, 256) |
# | IM | injection module: text to maps | `injected` (1, 16, 16, 16) |
# | $F$ | flow, in cells of its own grid, x then y, backward | `flow` (1, 2, 32, 32) |
# | $F'$ | the flow of $r \times r$ places in each cell (ours), in places | `fine` (1, 2, 128, 128) |
# | $S_k$, $T$ | to which body a place belongs, how far it goes with it (ours) | `shares` (2, 128, 128), `trust` |
# | $g$ | what $F'$ is multiplied by, so that Alg. 1 says $m$ (ours) | `g` (1,) |
# | $z_W$ | the warped latent | `z_W` (1, 4, 32, 32) |
# | $D$ | decoder | `decode` gives (1, 3, 128, 128) |
# | $m$ | motion magnitude | px at 256 x 256 |

# %%
# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    # %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/OWNER/pix2gif-lite@v0.1.0" av imagehash peft
    pass

# %% [markdown]
# ## Set-up
# Three held-out scenes. Then three helpers for the rest of the notebook: pictures to latents as the model sees them, back again, and
# pictures shown in 256 colours, a third of the bytes (flows keep all of theirs).

# %%
import inspect
import torch
import torch.nn.functional as tf  # not F: that is the flow here
from pix2gif_lite import Pix2GifPipeline, lookup, sample_scenes, warping

torch.manual_seed(0)
pipe, scenes = Pix2GifPipeline.from_pretrained("lite"), sample_scenes(3, "val", seed=7)

# %%
from pix2gif_lite.sheets import Embedded, contact_sheet

model = pipe.model
factor = pipe.vae.config.scaling_factor if pipe.config.scale_image_latents else 1.0


@torch.no_grad()
def encode(picture):  # (B, 3, 128, 128) -> (B, 4, 32, 32)
    return pipe.vae.encode(picture).latent_dist.mode() * factor


@torch.no_grad()
def decode(latent):
    return pipe.vae.decode(latent / factor).sample.clamp(-1, 1)


def show(*parts, alt):
    return Embedded(*[p if isinstance(p, str) else p.quantize(256) for p in parts], alt=alt)


rest = [scene.at(0).image for scene in scenes]  # the source pictures
E = [encode(picture) for picture in rest]
for k, scene in enumerate(scenes):
    print(f"scene {k}: {scene.caption}")
sheet = contact_sheet([[*rest, decode(E[1])]], None, ["scene 0", "scene 1", "scene 2", "D(E(scene 1))"])
show(sheet, alt="A tree, a bird and a kite; the bird once more, through the autoencoder")

# %% [markdown]
# ## The idea
# There are two ways to move a picture. *Forward*: push every cell to its new place; some places get two cells, others none.
# *Backward*: ask for every new place where its content comes from. Then every place has exactly one value, and the result is
# differentiable in the flow. Pix2Gif asks backward:
# $$F = \mathrm{FNet}(E(c_I),\, \mathrm{IM}(c_L)) \quad (5) \qquad\qquad z_W(p) = E(c_I)\big(p + F(p)\big) \quad (6)$$
# So content that moves to the **right** has a flow that points to the **left**.
#
# `grid_sample` does not know cells. It wants coordinates in which -1 and 1 are the outer edges; cell $k$ of $n$ has its centre at
# $(2k+1)/n - 1$. Two readings of FlowNet's output are possible:
# $$\text{displacement: } \; \mathrm{grid}(p) = \mathrm{identity}(p) + F(p) \qquad\qquad \text{absolute: } \; \mathrm{grid}(p) = F(p)$$
# **Paper and code disagree here.** The paper calls $F$ a flow, a displacement. The authors' code hands the Tanh output to `grid_sample`
# as it is: an absolute grid. There a flow of zero does not mean "stay". It means "everybody look at the centre of the picture". We
# add the displacement to the identity grid; `flow_mode="absolute"` is kept to load and compare with the reference.
#
# Four cells are enough to see it.

# %% tags=["nbval-check-output"]
row = torch.tensor([10.0, 20, 30, 40]).view(1, 1, 1, 4)


def constant_flow(x, y, h, w):
    return torch.tensor([x, y], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, h, w)


print("the row               ", row.flatten().tolist())
for x in (0, 1, -1, 0.5):
    print(f"displacement, F = {x:4g} ", lookup.warp(row, constant_flow(x, 0, 1, 4)).flatten().tolist())
print("absolute,     F =    0 ", lookup.warp(row, constant_flow(0, 0, 1, 4), mode="absolute").flatten().tolist())

# %% [markdown]
# F = 1 looks one cell to the right: the content moves left, and at the edge the last cell goes on (`padding_mode="border"`).
# Half a cell mixes two neighbours. In absolute mode zero gives the middle of the row, four times.
#
# ## By hand
# Bilinear lookup in plain torch. Four neighbours, weighted by how near they are.


# %%
def warp_by_hand(z, flow):
    B, C, h, w = z.shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    x = (x + flow[:, 0]).clamp(0, w - 1)  # (B, h, w): where to look; outside, the edge goes on
    y = (y + flow[:, 1]).clamp(0, h - 1)
    x0, y0 = x.floor().long(), y.floor().long()  # the neighbour above and left
    x1, y1 = (x0 + 1).clamp(max=w - 1), (y0 + 1).clamp(max=h - 1)
    a, b = (x - x0)[:, None], (y - y0)[:, None]  # (B, 1, h, w): how far past it, 0 to 1

    def pick(row, column):  # z at whole cells
        place = (row * w + column).view(B, 1, h * w).expand(B, C, h * w)
        return z.flatten(2).gather(2, place).view(B, C, h, w)

    upper = (1 - a) * pick(y0, x0) + a * pick(y0, x1)
    lower = (1 - a) * pick(y1, x0) + a * pick(y1, x1)
    return (1 - b) * upper + b * lower


# %% [markdown]
# ## Compared with the package
# A random latent and a random flow, up to several cells and past the edges. Then a whole number of cells: that is `torch.roll`, but for the edge.

# %%
z, flow = torch.randn(2, 4, 32, 32), 4 * torch.randn(2, 2, 32, 32)
mine, package = warp_by_hand(z, flow), lookup.warp(z, flow)
torch.testing.assert_close(mine, package, rtol=1e-4, atol=1e-4)

shifted = lookup.warp(z, constant_flow(-3, 2, 32, 32).expand(2, 2, 32, 32))  # look 3 left, 2 down: content goes right and up
rolled = torch.roll(z, shifts=(-2, 3), dims=(2, 3))
torch.testing.assert_close(shifted[:, :, :-2, 3:], rolled[:, :, :-2, 3:], rtol=1e-4, atol=1e-4)  # inside
assert not torch.allclose(shifted, rolled)  # at the edge: roll wraps around, warp repeats the border
torch.testing.assert_close(lookup.warp(z, torch.zeros(2, 2, 32, 32)), z, rtol=1e-4, atol=1e-4)  # zero flow: nothing moves
print("by hand = package; whole shifts = torch.roll inside; zero flow = identity")

# %% [markdown]
# ## The source
# `to_coordinates` changes units: place $k$ becomes $(2k+1)/n - 1$. A displacement is a difference of two places, so the constants cancel,
# and one cell is $2/n$.
#
# **Bilinear or bicubic.** The paper's WNet is bilinear. Between cells that is an average, and an average blurs. Our `warp` can look up
# bicubically (16 neighbours, negative weights at the rim). Here a whole picture moves by half a cell, that is 2 px; the exact answer
# is known. The cell prints how near each decoded result comes where the edge plays no part, and shows a piece of each.
#
# **Flow as colours and arrows.** Hue is direction, saturation is length, white is "stays". The key is the flow that points away from the
# centre everywhere. The drawn scenes know their own exact flow (`scene.at(m).flow`, in pixels of the frame). All arrows point
# backward, to where the content was.

# %%
from pix2gif_lite.metrics import psnr
from pix2gif_lite.sheets import flow_to_rgb
from pix2gif_lite.viz import arrows

print(inspect.getsource(lookup.to_sampling_grid))
print(inspect.getsource(lookup.to_coordinates))
print(inspect.getsource(lookup.warp))

half = constant_flow(-0.5, -0.5, 32, 32)
exact = torch.roll(rest[0], (2, 2), (2, 3))
ceiling = decode(encode(exact))
results = {"exact": exact, "D(E(exact))": ceiling}
results |= {kind: decode(lookup.warp(E[0], half, interpolation=kind)) for kind in lookup.INTERPOLATIONS}
middle = torch.zeros(1, 1, 128, 128, dtype=torch.bool)
middle[..., 16:112, 16:112] = True
print({name: f"{float(psnr(picture, exact, middle)):.1f} dB" for name, picture in results.items() if name != "exact"})
pieces = contact_sheet([[p[:, :, 50:114, 2:66] for p in results.values()]], None, list(results), 192)

key = lookup.identity_grid(128, 128)[None] - 63.5  # points away from the centre
frames = [scene.at(16) for scene in scenes]
flows = [flow_to_rgb(f.flow) for f in frames]
sheet = contact_sheet([[f.image for f in frames] + [None], [*flows, flow_to_rgb(key)]], ["m = 16", "exact flow, and the key"])
Embedded(
    pieces,
    sheet,
    arrows(frames[1].image, frames[1].flow[0], stride=5),
    alt="A piece of the exact picture, through D(E), bilinear and bicubic; frames, their exact flow as colours, arrows on the bird",
)

# %% [markdown]
# ## Slide
# **A flow of your own.** Angle and strength shift, zoom and swirl do what they say. The same flow moves the picture (128 px, by
# pixels) and its latent (32 cells, by cells, then decoded). On whole-cell shifts the two agree as well as D allows. A swirl turns the
# cells but not the 4 x 4 pixels that each of them stands for: that is what a warp in latent space costs.


# %%
def hand_flow(size, angle, strength, zoom, swirl):  # compute: backward, in cells of a grid of this size
    p = (lookup.identity_grid(size, size)[None] + 0.5) / size - 0.5  # places, -0.5 .. 0.5 from the centre
    turn = torch.deg2rad(torch.tensor(float(swirl))) * torch.exp(-p.square().sum(1) / 0.35**2)  # fades outwards
    cos, sin = turn.cos(), turn.sin()
    x = (cos * p[:, 0] + sin * p[:, 1]) / zoom  # where the content was: turned back, and nearer the centre
    y = (cos * p[:, 1] - sin * p[:, 0]) / zoom
    a = torch.deg2rad(torch.tensor(float(angle)))
    shift = torch.stack([a.cos(), a.sin()]).view(1, 2, 1, 1) * strength / 256  # strength is in px at 256, like m
    return (torch.stack([x, y], 1) - shift - p) * size


def move(angle, strength, zoom, swirl):
    picture = lookup.warp(rest[0], hand_flow(128, angle, strength, zoom, swirl))
    latent = lookup.warp(E[0], hand_flow(32, angle, strength, zoom, swirl), interpolation=model.flow_net.config.interpolation)
    return picture, decode(latent)


def draw_by_hand(angle, strength, zoom, swirl):  # draw
    flow = hand_flow(32, angle, strength, zoom, swirl)
    picture, decoded = move(angle, strength, zoom, swirl)
    row = [rest[0], picture, decoded, flow_to_rgb(flow, maximum=6.0)]
    sheet = contact_sheet([row], None, ["source", "picture warped", "latent warped", "flow, full at 6 cells"])
    apart = float(psnr(decoded, picture))
    words = f"mean flow {float(flow.norm(dim=1).mean()):.2f} cells; latent against picture: {apart:.1f} dB"
    return [sheet, words, arrows(picture, flow[0])]


from pix2gif_lite.presets import SLIDERS, Slider
from pix2gif_lite.widgets import Explorer

by_hand = Explorer(
    draw_by_hand,
    alt="Source, warped picture, warped and decoded latent, flow as colours and as arrows",
    angle=Slider(0, 360, 5, 0, "degrees", "where the picture goes: 0 right, 90 down"),
    strength=Slider(0, 64, 1, 16, "px at 256 x 256", "how far it is shifted"),
    zoom=Slider(0.5, 2, 0.05, 1.0, "", "larger than 1: things grow"),
    swirl=Slider(-180, 180, 5, 0, "degrees", "turn at the centre, fading outwards"),
)
by_hand

# %%
still, still_words, _ = by_hand.set(angle=0, strength=0, zoom=1.0, swirl=0)
moved, moved_words, _ = by_hand.set(angle=0, strength=32, zoom=1.0, swirl=0)
swirled, swirled_words, pointed = by_hand.set(strength=0, swirl=90)
assert still.tobytes() != moved.tobytes() != swirled.tobytes()
assert torch.equal(move(0, 0, 1, 0)[0], rest[0]) or float(psnr(move(0, 0, 1, 0)[0], rest[0])) > 60  # a flow of zero: the source
right = torch.roll(rest[0], 16, 3)  # 32 px at 256 are 16 px at 128
assert float(psnr(move(0, 32, 1, 0)[0][..., 16:], right[..., 16:])) > 60  # angle 0 goes right
print("nothing:", still_words)
Embedded(
    "32 px to the right: " + moved_words,
    moved,
    "swirl of 90 degrees: " + swirled_words,
    swirled,
    pointed,
    alt="A shift and a swirl",
)

# %% [markdown]
# ### FlowNet: three scales
# ```
# E(c_I)  4 x 32 x 32
#   | conv0
# 64 x 32 x 32 --conv1--> 128 x 16 x 16 --conv2--> 128 x 8 x 8 --> flow2
#                                                    | deconv1, and flow2 enlarged
# c_L  77 x 256 --IM--> 16 x 16 x 16 ------------> 50 x 16 x 16 --> flow1
#                                                    | deconv0, and flow1 enlarged
#                                                  18 x 32 x 32 --> flow0 = F
# ```
# Going down, the network sees only the picture: what could move? In the middle the text joins in: what should move, and how far?
# flow2 is therefore a guess made before anything was asked. Only flow0 warps (and `fine`, made of it: see below). flow1 and flow2 are two more channels for the next
# scale; no loss asks them to be flows, and nothing says that they look like one.
#
# That is the reference's. Two things about it limit how exact a flow can be. The whole picture passes through 8 x 8 cells, so F cannot end
# where an object does and drags the background along. And between the text joining in and F there is one layer, so "this object"
# *times* "that far" has to be approximated. Lite therefore adds, in the same topology (`FlowNet(skips=, mixing=)`, off at the
# paper's scale): skips, by which each scale on the way up sees what the way down saw there, and mixing blocks, in which the text
# scales and shifts channels. The model card compares them with the reference's at equal training time.

# %%
from pix2gif_lite.text import motion_prompt, tokenize


@torch.no_grad()
def condition(k, m):  # c_L of scene k's caption at this motion
    return model.condition(tokenize(pipe.tokenizer, [motion_prompt(scenes[k].caption, m)]), torch.tensor([m]))


with torch.no_grad():
    pyramids = {m: pipe.flow_net(E[0], condition(0, m)) for m in (4, 16)}
print([tuple(flow.shape) for flow in pyramids[4][:3]], "|", pipe.flow_net.num_parameters(), "weights")
print("flow2 is the same for m = 4 and m = 16:", torch.equal(pyramids[4].flow2, pyramids[16].flow2))
rows = [[flow_to_rgb(f) for f in reversed(p[:3])] + [flow_to_rgb(scenes[0].at(m).flow)] for m, p in pyramids.items()]
names = ["flow2, 8 x 8", "flow1, 16 x 16", "flow0 = F, 32 x 32", "exact"]
show(
    contact_sheet(rows, [f"m = {m}" for m in pyramids], names, 160),
    alt="The three flows of FlowNet as colours, beside the exact flow",
)

# %% [markdown]
# ### IM: text becomes maps
# The 77 tokens are treated as 77 *channels* of a signal as long as the text is wide. One strided Conv1d makes 16 channels of 256
# numbers, and 256 numbers are viewed as 16 x 16. There is no meaning in the order: the module has to learn what to write where.
# The maps below do not look like the picture, since IM has not seen it. But they differ between two motions: this is how
# words and number reach the flow (in the reference the only way; lite's mixing blocks hear the mean of the tokens as well).
# By hand, then compared:


# %%
def inject_by_hand(im, c_L):
    stride = c_L.shape[2] // 256  # 1 for lite, 3 for CLIP's 768
    x = tf.conv1d(c_L, im.linear.weight, im.linear.bias, stride=stride, padding=1)  # (B, 16, 256)
    x = x.transpose(1, 2)  # (B, 256, 16)
    x = (x - x.mean((1, 2), keepdim=True)) / (x.var((1, 2), keepdim=True, unbiased=False) + im.norm.eps).sqrt()  # LayerNorm
    x = (x * im.norm.weight + im.norm.bias).relu()
    return x.transpose(1, 2).reshape(-1, 16, 16, 16)


with torch.no_grad():
    im, maps = pipe.flow_net.injection1, {}
    for m in (4, 16):
        maps[m] = inject_by_hand(im, condition(0, m))
        torch.testing.assert_close(maps[m], im(condition(0, m)), rtol=1e-4, atol=1e-4)

top = max(float(v.max()) for v in maps.values())
grey = {m: 2 * (v[0, :, None] / top).sqrt() - 1 for m, v in maps.items()}  # (16, 1, 16, 16); the root shows faint ones
change = (maps[16] - maps[4])[0, :, None].abs()
rows = [[v.expand(3, 16, 16) for v in page] for page in (*grey.values(), 2 * (change / change.max()).sqrt() - 1)]
sheet = contact_sheet(rows, ["the 16 maps for m = 4", "for m = 16", "where they differ"], None, 48)
show(sheet, alt="The sixteen maps that IM writes for two motions, and their difference")

# %% [markdown]
# **The real FlowNet.** The slider is m. What you see is the warp alone, no diffusion: $D(z_W)$.


# %%
def warped(k, m):  # compute
    with torch.no_grad():
        flow, z_W = model.warp(E[k], condition(k, m))
    return flow, decode(z_W)


def draw_real(m, scene):  # draw
    k = int(scene.split()[0])
    flow, picture = warped(k, m)
    exact = scenes[k].at(m)
    row = [rest[k], picture, exact.image, flow_to_rgb(flow, maximum=10)]
    sheet = contact_sheet([row], None, ["source", "D(z_W)", "exact frame", "F, full at 10 px of 128"])
    longest = float(flow.norm(dim=1).max()) * 256 / flow.shape[-1]
    return [sheet, f"m = {m}: longest arrow {longest:.1f} px at 256", arrows(picture, flow[0], stride=6)]


real = Explorer(
    draw_real,
    alt="Source, decoded warped latent, exact frame, flow as colours and as arrows",
    m=SLIDERS["motion"],
    scene=[f"{k} {scene.caption}" for k, scene in enumerate(scenes)],
)
real

# %%
bird = f"1 {scenes[1].caption}"
small, small_words, _ = real.set(m=4, scene=bird)
large, large_words, pointed = real.set(m=16)
assert small.tobytes() != large.tobytes()
length = {m: float(warped(1, m)[0].norm(dim=1).max()) for m in (4, 16)}
assert length[16] > 1.5 * length[4], "a larger m must give a longer flow"
show(small_words, small, large_words, large, pointed, alt="The real flow and the warped picture at m = 4 and m = 16")

# %% [markdown]
# ### Between the cells
# A cell is 4 x 4 pixels, and its four numbers are a code that D reads. Halfway between two cells the plain lookup takes the average of two
# codes, and D does not read it as what lies halfway. Also, a cell on an object's edge has one arrow: it moves whole or not at all.
# So lite's WNet (ours, `subcell.py`) *unfolds* every cell into $r \times r$ places, $U = \mathrm{unfold}(E(c_I))$, looks each of them up
# and *folds* them again: a few convolutions around a pixel shuffle. $F'$ gives every place an arrow of its own, a weighted mean of $F$ at
# the 3 x 3 cells around it, with weights that FlowNet writes.
#
# And where does a thing end? A convolution cannot draw an edge into a flow, and the hills behind a kite must not be dragged along. But the
# *picture* shows the edge. So a small network marks in the source what moves, $O(p)$ between 0 and 1, and the flow carries that mark along:
# $$a(p) = \big(1 - O(p)\big)\big(1 - O(p + F'(p))\big)$$
# is what stays: nothing that moves is here, and nothing that moves comes here. Then
# $$z_0 = (1 - a)\,\mathrm{WNet}\big(E(c_I), F\big) + a\,E(c_I) \qquad
# z_W = z_0 + \mathrm{fold}\big((1 - a)\,\mathrm{WNet}(U, F') + a\,U,\; z_0\big)$$
# $F$ may be smooth now, and go on well beyond the kite. It is even asked to ($L_F$, notebook 05). Where the kite has left, $a$ is 0, and the
# flow that goes on fetches sky from beside it.
#
# Below the bird and the kite move to the right, by parts of a cell: one constant flow, exact for them, and the decibels where they are to be
# seen. At one cell there is nothing between, and the plain lookup is exact. Its backdrop comes along; the learnt one's $O$ keeps it in place.
#
# What E has forgotten no look-up in a latent brings back. But the picture itself is there. So lite looks a second time (`second_look.py`):
# $c_I$ goes the same way, $(1 - a)\,\mathrm{WNet}(c_I, F') + a\,c_I$, and through E, and $z_W$ is 0.6 of the first and 0.4 of that. Along
# an exact flow, as below, E of the picture is as good alone; along FNet's each is wrong in its own way, and both together less than either.
# Then $F$ beside $F'$: one arrow for a cell, and one for each of its places; $O$, and $a$.

# %%
from pix2gif_lite.second_look import SecondLook
from pix2gif_lite.subcell import Places
from pix2gif_lite.warping import FlowPyramid

r, plain = pipe.flow_net.config.subcells, pipe.flow_net.config.interpolation


@torch.no_grad()
def push(k, cells):  # to the right -> the exact picture, through the autoencoder, by both lookups; where the thing is
    exact, fine = scenes[k].at(8 * cells), constant_flow(-cells * r, 0, 32 * r, 32 * r)
    moving = pipe.flow_net(E[k], condition(k, int(8 * cells))).places.moving  # O
    places = Places(fine, pipe.flow_net.subcell.unfold(E[k]), moving, lookup.warp(moving, fine))
    flow = constant_flow(-cells, 0, 32, 32)
    learnt = pipe.flow_net.subcell(E[k], flow, places, plain)
    pyramid, shares = FlowPyramid(flow, flow, flow, places), (1.0, pipe.config.second_look)
    picture, both = (SecondLook(pipe.vae, rest[k], factor, share)(learnt, pyramid, plain) for share in shares)
    looked_up = lookup.warp(E[k], flow, interpolation=plain), learnt, picture, both
    shows = exact.moving & ~exact.occluded & (exact.flow != 0).any(1, keepdim=True)
    return [exact.image, *(decode(z) for z in (encode(exact.image), *looked_up))], shows


names, between = ["exact", "D(E(exact))", f"plain ({plain})", "learnt", "E(picture)", "both"], {}
for cells in (0.25, 0.5, 0.75, 1):
    pushed = [push(k, cells) for k in (1, 2)]
    decibels = [[float(psnr(p, row[0], shows)) for p in row[1:]] for row, shows in pushed]
    between[cells] = dict(zip(names[1:], torch.tensor(decibels).mean(0).tolist(), strict=True))
    print(f"by {cells:4} cell: " + ", ".join(f"{name} {value:.1f} dB" for name, value in between[cells].items()))
rows = [row for row, _ in (push(k, 1.5) for k in (1, 2))]
with torch.no_grad():
    flows = pipe.flow_net(E[1], condition(1, 16))
F, places = flows.flow0, flows.places
exact_flow = scenes[1].at(16).flow / 4  # pixels of 128 as cells
shown = [flow_to_rgb(flow, maximum=2.5) for flow in (F, places.flow / r)]
shown += [1 - 2 * mask.expand(-1, 3, -1, -1) for mask in (places.moving, places.staying)]
shown.append(flow_to_rgb(exact_flow, maximum=2.5))
show(
    contact_sheet(rows, None, names, 160),
    contact_sheet([shown], None, ["F", f"F', {r} x {r} a cell", "O: black moves", "a: black stays", "exact flow"], 160),
    alt="Two things moved by one and a half cells, exact, through D and E, plain, learnt, of the picture and both; then F, F', O, a and the exact flow",
)

# %% [markdown]
# ### What moves as one
# A convolution says of every place how far away to look, and errs by a percent or two, everywhere a little differently. But a star that
# turns is *one* thing. Its flow, like that of all that grows, leans or drifts, is a polynomial of the place: twelve numbers say it, and a
# thousand places know them better than one. So FlowNet (ours, `bodies.py`) also writes to which of two bodies a place belongs, $S_k$, and
# how far the place goes with its body, $T$. Each body's polynomial $P_k$ is fitted to $F'$ by least squares, where $S_k\,O(p + F')$ is large:
# $$F'' = (1 - T)\,F' + T \sum_k S_k P_k$$
# Of each body the network also says how firm it is: what does not bend needs six numbers, what keeps its shape too only four. Nobody says
# which places belong together, or how they move. The loss of $F''$ finds out. (Everywhere else $F'$ means what is corrected already.)
# In the pictures below nearly the whole star belongs to one body, and $T$ is near 1 all over: its flow is the fit alone.
#
# And *how far* does it turn? $m$ is the mean length at the corners that Alg. 1 finds in the source (notebook 01). FlowNet has to guess where
# they are; the picture shows it. So the pipeline reads $F'$ off at those corners and multiplies it by $g = m / \text{mean length}$
# (`calibration.py`). Below, the error of the flow, where the star is to be seen: as the convolution has it, as a body, and in its right
# length.

# %%
from pix2gif_lite import calibration

turning = sample_scenes(1, "val", seed=7, actions=["spin"])[0]
star, caught = turning.at(0).image, []
hook = pipe.flow_net.subcell.bodies.register_forward_hook(lambda bodies, given, made: caught.append((given, made)))
lines, corners = [], calibration.corners_of(star)
for m in (4, 10, 16):
    c_L = model.condition(tokenize(pipe.tokenizer, [motion_prompt(turning.caption, m)]), torch.tensor([m]))
    with torch.no_grad():
        flows = pipe.flow_net(encode(star), c_L)
        g = calibration.gain(flows, corners, torch.tensor([m]))
    (single, features, *_), whole = caught[-1]
    exact = turning.at(m)
    inside = (exact.moving & ~exact.occluded)[0, 0]
    errors = [float((flow - exact.flow)[0, :, inside].norm(dim=0).mean() * 2) for flow in (single, whole, g * whole)]
    lines.append(errors)
    print(f"m = {m:2}: F' alone {errors[0]:.2f} px, as a body {errors[1]:.2f}, times g = {float(g):.3f} {errors[2]:.2f}")
hook.remove()
bodies = pipe.flow_net.subcell.bodies
with torch.no_grad():
    shares = bodies.shares(features)
    known = bodies.bodies(features, shares * flows.places.moving)
    trust = bodies.trust(features, shares, known)[0]
for k, (stiff, rigid) in enumerate(zip(*(part[0].tolist() for part in known.hold), strict=True), 1):
    print(f"body {k}: weight of 'it does not bend' {stiff:.3g}, of 'it keeps its shape' {rigid:.3g}; of all its places 1")
row = [star, *(1 - 2 * share.expand(1, 3, -1, -1) for share in (*shares[0, :, None], trust))]
row += [flow_to_rgb(flow, maximum=10) for flow in (single, g * whole, exact.flow)]
names = ["source", "S: black is body 1", "S: black is body 2", "T: black goes along", "F' alone", "F'' times g", "exact flow"]
show(
    contact_sheet([row], None, names, 128),
    alt="A star, its bodies, how far a place goes with them, and the flow before and after",
)

# %% [markdown]
# ## Where it fails
# **Zero flow in absolute mode.** A new FlowNet says almost zero: its last weights start at N(0, 1e-4). Read as a displacement, that is the
# source picture, within 0.02 cell. Read as an absolute grid, every cell of the latent is the centre of the picture.
#
# So a network in absolute mode first has to learn to copy, before it can learn to move. It must paint a ramp from -1 to 1 with a Tanh, and
# a Tanh flattens at its ends. The numbers below are for a grid of 32.
#
# How long does that take? The second cell trains two new FlowNets, same size, same seed, one in each mode. The task is the easiest there
# is: $z_W = E(c_I)$, stand still. Adam, 80 steps, three pictures.

# %% tags=["nbval-check-output"]
edge = torch.tensor(31 / 32)  # grid_sample's place of the last cell
print(f"to look at its own cell the last one needs tanh(x) = {edge:.4f}, x = {torch.atanh(edge):.2f}")
print(f"there the slope of tanh is {1 - edge**2:.3f}; at zero it is 1")
print(f"m = 2 is {2 / 256 * 32:.2f} cells: {2 * 2 / 256:.4f} of a tanh on top of that ramp")

# %%
from pix2gif_lite.viz import line_chart

nothing = torch.zeros(1, 2, 32, 32)
modes = {mode: [decode(lookup.warp(z, nothing, mode)) for z in E] for mode in lookup.FLOW_MODES}
unmoved = contact_sheet(list(modes.values()), ["zero flow as a displacement", "zero flow as an absolute grid: one colour"])
source, text = torch.cat(E), torch.cat([condition(k, 8) for k in range(3)])
settings = {k: pipe.flow_net.config[k] for k in ("latent_channels", "flow_width", "text_width", "tokens", "norm")}
losses, copies = {}, {}
for mode in lookup.FLOW_MODES:
    torch.manual_seed(0)
    net = warping.FlowNet(**settings, flow_mode=mode)
    adam, losses[mode] = torch.optim.Adam(net.parameters(), lr=1e-3), []
    for _ in range(80):
        copy = lookup.warp(source, net(source, text).flow0, mode)
        loss = (copy - source).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses[mode].append(loss.item())
    copies[mode] = list(decode(copy.detach()))
steps, title = range(1, 81), "Learning to stand still"
chart = line_chart({k: (steps, v) for k, v in losses.items()}, "step", "mean |z_W - E(c_I)|", title, log="y")
sheet = contact_sheet(list(copies.values()), ["displacement, after 80 steps", "absolute, after 80 steps"])
show(unmoved, sheet, chart, alt="A flow of zero in both modes; copies made by both networks after 80 steps; their losses")

# %% [markdown]
# Displacement starts where absolute mode wants to arrive (its first steps even leave that place, and come back). The authors trained
# 25,000 steps on 16 GPUs (section 4.1), and part of that went into learning coordinates. On two cores we would rather not.
#
# **Occlusion.** Now a failure that no flow can avoid. This flow is exact: the scene was drawn, and we know where each pixel came from. The
# background behind the bird does not move, so its flow is zero. But at that place the source shows the bird. Backward warping looks
# there all the same, and drags a ghost into what was uncovered. `Frame.occluded` says where (magenta).
#
# The second row is the shipped model at the same m. For the *true* flow $L_F$ (notebook 05) asks only where something moves; around the
# bird F is to go on as it does inside, and beyond that to do whatever brings $z_W$ near the right latent. So it may bend, and fetch
# clean sky from beside the bird. That hides most of the ghost, and it is why F spreads beyond the bird's outline in the slider above.
# What is left is for the UNet, which sees $[z_t, E(c_I), z_W]$; the last two lines of the table say what it adds here, or spoils.

# %%
from pix2gif_lite.canvas import to_tensor

m, k = 19, 1
late = scenes[k].at(m)
ghost = lookup.warp(rest[k], late.flow)
magenta = torch.tensor([1.0, -1, 1]).view(1, 3, 1, 1)
marked = torch.where(late.occluded, magenta, late.image)
with torch.no_grad():  # as long as the corners say, and looked up twice, as in the pipeline
    again = SecondLook(pipe.vae, rest[k], factor, pipe.config.second_look)
    _, z_W = model.warp(E[k], condition(k, m), calibration.corners_of(rest[k]), torch.tensor([m]), again)
out = pipe(rest[k], scenes[k].caption, motion=[m], seed=0, detail=False)
painted = to_tensor(out.frames[0])
row, model_row = [rest[k], late.image, ghost], [marked, decode(z_W), painted]
names = ["warped by the exact flow", "D(z_W), FlowNet's flow", "with the UNet"]
seen, hidden = (
    [float(psnr(p, late.image, where)) for p in (ghost, *model_row[1:])] for where in (~late.occluded, late.occluded)
)
print(f"{100 * float(late.occluded.float().mean()):.1f}% of the pixels were hidden before")
for name, a, b in zip(names, seen, hidden, strict=True):
    print(f"{name:26} {a:5.1f} dB where visible before {b:5.1f} dB where hidden before")
above = contact_sheet([row], None, ["source", "exact frame", "warped, exact flow"], 192)
below = contact_sheet([model_row], None, ["hidden before", "D(z_W)", "with the UNet"], 192)
show(above, below, alt="The ghost behind the bird, and what the model makes of it")

# %% [markdown]
# ## Exercises
# **1.** Write a flow that moves the latent 3 cells to the **right**.

# %%
answer = (3.0, 0.0)  # edit: (x, y) in cells
out = lookup.warp(z, constant_flow(*answer, 32, 32).expand(2, 2, 32, 32))
good = torch.allclose(out[..., 3:], z[..., :-3], atol=1e-4)
print("Right." if good else "Not yet: the flow says where to look, not where to go.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `(-3.0, 0.0)`. What stands at x + 3 in the result was at x in the source: p + F(p) = p - 3.
# </details>
#
# **2.** FlowNet's longest arrow on a latent of 32 x 32 cells is 1.5 cells. How many pixels is that in the unit of m (256 x 256)?

# %%
answer = 1.5  # edit
print("Right." if answer == 1.5 * 256 / 32 else "Not yet: how many pixels at 256 x 256 is one cell wide?")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 12: a cell is 256 / 32 = 8 px of that size (and 4 px of the model's own 128).
# </details>
#
# ## Recap
# - A backward flow says where to look. $z_W(p) = E(c_I)(p + F(p))$ is a lookup without weights, and `torch.roll` for whole cells.
#   Between cells it averages codes; a lookup that learns (ours) comes nearer to what lies there.
# - As a displacement, zero is "stay"; as an absolute grid (the authors' code), zero is "the centre", and copying must be learnt first.
# - FlowNet hears the text in its middle, through IM (lite's mixing blocks hear it, too). What was hidden before, no flow can show: FlowNet
#   may fetch something like it from beside, the rest is left to the UNet.
# - What moves as one has a flow of few numbers (ours): many places know it better than each one alone.
#
# Next: `05_losses`.

# %%
# What this notebook taught, checked
torch.testing.assert_close(warp_by_hand(z, flow := torch.randn(2, 2, 32, 32)), lookup.warp(z, flow), rtol=1e-4, atol=1e-4)
flat = lookup.warp(z, torch.zeros(2, 2, 32, 32), "absolute")
assert float(flat.std((2, 3)).max()) < 1e-5  # zero in absolute mode: one value everywhere
assert losses["displacement"][0] < 0.2 * losses["absolute"][0] and losses["displacement"][-1] < losses["absolute"][-1]
assert torch.equal(pyramids[4].flow2, pyramids[16].flow2)  # before IM nothing was asked
assert not torch.equal(pyramids[4].flow0, pyramids[16].flow0) and length[16] > length[4]
assert seen[0] > hidden[0] + 10  # the ghost
assert all(between[cells]["learnt"] > between[cells][f"plain ({plain})"] for cells in (0.25, 0.5, 0.75))  # between cells
assert all(whole < single for single, whole, _ in lines)  # a body knows better than its places
