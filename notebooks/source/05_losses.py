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
# # 05 · Losses
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/pix2gif-lite/blob/v0.1.0/notebooks/05_losses.ipynb)
#
# Six numbers say what Pix2Gif gets wrong: the noise, the look, the place, the flow, the outline, the smoothness. Here terms pull on a
# flow, alone and together, so that you see what each of them asks for.
#
# **You will learn**
# - the six terms, which part of the model hears which, and what a weight on a noise level means;
# - why the perceptual loss against the *source* is a brake, and against the *target* is not;
# - what the smoothness term adds, and what the authors' widened convolution does to L_P.
#
# **In the paper:** section 3.4, Eq. 3, 7 and 8; Figure 4 for the smoothness loss.

# %% [markdown]
# ## Symbols
# | symbol | meaning | in code |
# |---|---|---|
# | $\epsilon, v$ | what the UNet may be asked for: the noise, or the velocity | `wanted` (B, 4, h, w) |
# | $E(c_I), z_W$ | source latent; the same, warped by the flow $F$ | `E`, `z` (B, 4, 32, 32) |
# | $E(c_T')$ | the later frame's latent, "the target" | `T` (B, 4, 32, 32) |
# | $\phi_k$ | frozen features of a latent, layer k | `phi(z)`, a list |
# | $F, F^*$ | the flow that FNet gives; the exact one, where the data know it | `true_flow` (B, 2, 32, 32), cells |
# | $O$ | what of the source moves, 0 .. 1 at each place | `outline` (B, 1, 128, 128) |
# | $\lambda_P, \lambda_W, \lambda_F, \lambda_O, \lambda_S$ | weights of the perceptual, warp, flow, outline and smoothness terms | `preset.loss_weights` |

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

from pix2gif_lite import Pix2GifPipeline, losses
from pix2gif_lite.presets import PRESETS, Slider

pipe = Pix2GifPipeline.from_pretrained("lite")

# %% [markdown]
# One held-out scene at rest and moved. The data are drawn, so the exact flow is known too.

# %%
import torch.nn.functional as tf

from pix2gif_lite.scenes import sample_scenes
from pix2gif_lite.sheets import Embedded, contact_sheet, flow_to_rgb
from pix2gif_lite.warping import warp

scene, m = sample_scenes(1, "val", seed=3)[0], 16
frame = scene.at(m)
rest, exact = scene.at(0).image, frame.image  # (1, 3, 128, 128) each
factor = pipe.vae.downsampling  # pixels a cell
true_flow = tf.avg_pool2d(frame.flow, factor) / factor  # (1, 2, 32, 32), cells
moving = tf.avg_pool2d(frame.moving.float(), factor)[0, 0] > 0.5  # (32, 32)
scaling, how = pipe.vae.config.scaling_factor, pipe.flow_net.config.interpolation


@torch.no_grad()
def encode(picture):
    return pipe.vae.encode(picture).latent_dist.mode() * scaling  # (1, 4, 32, 32)


@torch.no_grad()
def decode(z):
    return pipe.vae.decode(z / scaling).sample.clamp(-1, 1)  # (B, 3, 128, 128)


E, T = encode(rest), encode(exact)
z_true = warp(E, true_flow, interpolation=how)
print(scene.caption, "| m =", m)
shown = [rest, exact, decode(z_true), flow_to_rgb(true_flow)]
Embedded(
    contact_sheet([shown], None, ["source", "target", "source, warped", "its flow"], 160), alt="Source, target, warp, flow"
)

# %% [markdown]
# ## The idea
# The UNet sees a noisy latent and is asked for the noise (Eq. 3). Nothing in that sentence mentions the flow: FNet only learns through
# what the UNet makes of $z_W$. The paper adds a term that looks at $z_W$ itself (Eq. 7), with weight $\lambda_P = 0.01$ (Eq. 8):
# $$L'_{LDM} = \lVert \epsilon - \epsilon_\theta \rVert^2 \qquad L_P = \sum_k \lambda_k \lVert \phi_k(a) - \phi_k(z_W)\rVert^2
# \qquad L_T = L'_{LDM} + \lambda_P L_P$$
# What is $a$? The abstract says the *target* frame. Eq. 7 says the *source*, $a = E(c_I)$, and so does the authors' code. Those are
# opposite wishes: "be right" and "do not change". The `paper` preset follows Eq. 7; `lite` takes the target.
#
# Four more terms. $L_W$ is ours: it says directly what the warped latent should be. $L_F$ and $L_O$ are ours, too: drawn scenes know
# their exact flow $F^*$, and inside a plain red star no colour tells where it came from. $L_F$ is asked of what moves and, at a
# quarter of the weight, 8 pixels beyond, where $F$ should go on as a plane through what is near by (`extension.py`): what turns or grows
# gets faster on the way out. $L_O$ asks $O$ (notebook 04) of each pixel's own place in the source whether it moves. GIFs do not know
# their flow: for them both are left out. $L_S$ is drawn in the paper's Figure 4 and commented out in the authors' code; its weight is 0
# here, too.
# $$L_W = \lvert z_W - E(c_T') \rvert \qquad L_F = \lVert F - F^* \rVert_2 \qquad
# L_O = -\log \lvert O(p + F^*) - [F^* = 0] \rvert \qquad L_S = \lvert \partial F/\partial x \rvert + \lvert \partial F/\partial y \rvert$$
# ($[\cdot]$ is 1 where it holds, else 0.) $\phi$ is VGG19 at the paper's scale; offline it is the start of the autoencoder's own decoder
# (`DecoderFeatures`), for lite its first convolution alone, which is linear: a block more costs a quarter of the speed.

# %% tags=["nbval-check-output"]
for name in ("paper", "lite"):
    preset = PRESETS[name]
    print(f"{name:6}", preset.loss_weights, "| L_P against the", preset.perceptual_target, "|", preset.perceptual_network)

# %% [markdown]
# ## By hand
# Every mean runs over everything: samples, channels and places.


# %%
def diffusion_by_hand(prediction, wanted):
    return ((prediction - wanted) ** 2).mean()


def perceptual_by_hand(a, b):  # two lists of feature maps, lambda_k = 1
    return sum(((x - y) ** 2).mean() for x, y in zip(a, b, strict=True))


def warp_by_hand(z_W, target):
    return (z_W - target).abs().mean()


def flow_by_hand(flow, exact):  # both (B, 2, h, w); rounded off at 0, as sqrt(x^2 + e^2) - e is
    e = losses.EPSILON
    error = (((flow - exact) ** 2).sum(1) + e**2).sqrt() - e  # (B, h, w)
    return (error * (exact != 0).any(1)).mean()  # of what moves


def outline_by_hand(outline, exact):  # (B, 1, S, S) and (B, 2, S, S), px; each pixel asks the place that it comes from
    moves = (exact != 0).any(1, keepdim=True)
    right = torch.where(moves, warp(outline, exact), 1 - warp(outline, exact))
    asked = (exact.norm(dim=1, keepdim=True) >= losses.UNSURE) | ~moves
    return -(right.clamp(min=1e-6).log() * asked).mean()


def smooth_by_hand(flow):  # (B, 2, h, w)
    right = (flow[..., :, 1:] - flow[..., :, :-1]).abs().mean()
    down = (flow[..., 1:, :] - flow[..., :-1, :]).abs().mean()
    return right + down


def total_by_hand(terms, weights):
    return sum(weights[name] * value for name, value in terms.items())


# %% [markdown]
# ## Compared with the package
# The same latents, features and flow go to both.

# %%
depth = PRESETS["lite"].perceptual_depth
phi = losses.DecoderFeatures(pipe.vae, depth, scaled=True)
fE, fT = phi(E), phi(T)  # lists of (1, C, 32, 32)
g = torch.Generator().manual_seed(0)
wanted, guess = torch.randn(1, 4, 32, 32, generator=g), torch.randn(1, 4, 32, 32, generator=g)
bumpy = true_flow + 0.1 * torch.randn(1, 2, 32, 32, generator=g)
outline = torch.rand(1, 1, 128, 128, generator=g)

mine = {
    "diffusion": diffusion_by_hand(guess, wanted),
    "perceptual": perceptual_by_hand(fE, fT),
    "warp": warp_by_hand(z_true, T),
    "flow": flow_by_hand(bumpy, true_flow),
    "outline": outline_by_hand(outline, frame.flow),
    "smooth": smooth_by_hand(bumpy),
}
package = {
    "diffusion": losses.diffusion_loss(guess, wanted),
    "perceptual": losses.perceptual_loss(fE, fT),
    "warp": losses.warp_loss(z_true, T),
    "flow": losses.flow_loss(bumpy, true_flow),
    "outline": losses.outline_loss(outline, frame.flow),
    "smooth": losses.smoothness_loss(bumpy),
}
for name in mine:
    torch.testing.assert_close(mine[name], package[name])
weights = PRESETS["lite"].loss_weights
torch.testing.assert_close(total_by_hand(mine, weights), losses.total_loss(package, weights))
print({name: f"{float(value):.3f}" for name, value in mine.items()})

# %% [markdown]
# **Who hears which term?** A tiny model with random weights, one backward pass a term. We print which parts get a gradient. The UNet
# and everything before it hears $L'_{LDM}$; the terms on $z_W$ and $F$ reach FNet, M and the text encoder, never the UNet. (The outline's last
# layer starts at 0, so in the first pass it alone hears $L_O$.)

# %%
from pix2gif_lite.diffusion import alphas_cumprod, q_sample, velocity
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.text import tokenize

TINY = PRESETS["tiny"]
parts = build_components(TINY)
tiny_phi = losses.DecoderFeatures(parts["vae"], 1)
tiny = Pix2GifModel.from_parts(parts, TINY).requires_grad_(True)
source, target, noise = torch.randn(3, 2, 4, 16, 16, generator=g)  # (2, 4, 16, 16) each
t, AC = torch.tensor([300, 700]), alphas_cumprod(TINY)


def tiny_terms(model):
    c_L = model.condition(tokenize(parts["tokenizer"], ["a red balloon is rising"] * 2), torch.tensor([4, 12]))
    flows = model.flows(source, c_L)
    flow, z_W = flows.flow0, model.flow_net.look_up(source, flows)
    prediction = model(q_sample(target, noise, t, AC), t, source, z_W, c_L)
    return {
        "diffusion": losses.diffusion_loss(prediction, velocity(target, noise, t, AC)),
        "perceptual": losses.perceptual_loss(tiny_phi(target), tiny_phi(z_W)),
        "warp": losses.warp_loss(z_W, target),
        "flow": losses.flow_loss(flows.finest, torch.ones(2, 2, 64, 64)),
        "outline": losses.outline_loss(flows.places.moving, torch.ones(2, 2, 64, 64)),
        "smooth": losses.smoothness_loss(flow),
    }


def hears(model, term):
    model.zero_grad()
    tiny_terms(model)[term].backward()
    names = ("text_encoder", "motion_embedding", "flow_net", "unet")
    return {n: any(p.grad is not None and bool(p.grad.any()) for p in getattr(model, n).parameters()) for n in names}


# %% tags=["nbval-check-output"]
heard = {term: hears(tiny, term) for term in mine}
for term, who in heard.items():
    print(f"{term:11}", ", ".join(name for name, yes in who.items() if yes))

# %% [markdown]
# **Noise or velocity?** The UNet can be asked for $\epsilon$ (the paper) or for $v$ (lite). Both imply an $x_0$; an error of that $x_0$
# costs a different amount at each noise level. With $x_0$ the frame's latent, $t$ the level of the noise, $a_t$ what is left of $x_0$'s
# variance at it ($z_t = \sqrt{a_t}\,x_0 + \sqrt{1-a_t}\,\epsilon$, notebook 06) and $s$ how far $x_0$ usually is from $z_W$, per unit of squared error in $x_0$ the loss is
# $$\epsilon:\ \frac{a_t}{1-a_t} \qquad v:\ \frac{1}{1-a_t} \qquad \text{lite's weight: } \frac{a_t s^2 + 1 - a_t}{1-a_t}$$
# $\epsilon$ hardly cares at high noise, where the motion is decided. Lite weights $v$ so that no level counts for less than 1
# (`residual_variance` in `diffusion.py`; notebook 06 says why). The cell checks the three curves against the loss itself.

# %%
from pix2gif_lite.diffusion import predict_x0, residual_variance
from pix2gif_lite.viz import line_chart

AC, s = alphas_cumprod(pipe.config), PRESETS["lite"].residual
times = torch.arange(0, 1000, 25)
a = AC[times]
x0, noise, wrong = torch.randn(3, 1, 4, 8, 8, generator=g)  # (1, 4, 8, 8) each
cost = {"eps": a / (1 - a), "v": 1 / (1 - a), "v, weighted as lite": (a * s**2 + 1 - a) / (1 - a)}
for t in (torch.tensor([100]), torch.tensor([900])):
    z_t, a_t = q_sample(x0, noise, t, AC), AC[t]
    for kind, wanted in (("epsilon", noise), ("v_prediction", velocity(x0, noise, t, AC))):
        prediction = wanted + 0.1 * wrong
        error = losses.diffusion_loss(predict_x0(z_t, prediction, t, AC, kind), x0)
        loss = losses.diffusion_loss(prediction, wanted)
        torch.testing.assert_close(
            loss / error, (a_t / (1 - a_t) if kind == "epsilon" else 1 / (1 - a_t))[0], rtol=1e-3, atol=0
        )
    D = residual_variance(t, AC, s)[1]
    torch.testing.assert_close(losses.diffusion_loss(prediction, wanted, D), D.flatten()[0] * loss)
curves = {name: (times, value) for name, value in cost.items()}
Embedded(
    line_chart(curves, "t", "loss per squared error in x_0", "What an error in x_0 costs", log="y"), alt="Cost by noise level"
)

# %% [markdown]
# ## The source

# %%
print(inspect.getsource(losses.perceptual_loss))
print(inspect.getsource(losses.flow_loss))
print(inspect.getsource(losses.outline_loss))
print(inspect.getsource(losses.smoothness_loss))
print(inspect.getsource(losses.total_loss))

# %% [markdown]
# ## Slide
# No network is trained here. The flow of one scene *is* the parameter: it starts at zero and Adam moves it for 100 steps. What pulls it
# to the target is $L_W$; $L_P$ is added with a weight you choose, against source or target. $L_S$ holds neighbours together: each cell alone
# would grab whatever colour is near. In the paper $L'_{LDM}$ does the pulling, through the UNet. All weights run as one batch.
#
# First compute: every setting of the slider at once.

# %%
LOGS = [-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0]  # log10 of lambda_P


def fit(settings, steps=100, smooth=1.0):
    """One flow for each (against, lambda_P): (N, 2, 32, 32) cells, each by gradient descent on its own loss."""
    flow = torch.zeros(len(settings), 2, 32, 32, requires_grad=True)
    adam = torch.optim.Adam([flow], lr=0.1)
    wanted = {"source": [f.detach() for f in fE], "target": [f.detach() for f in fT]}
    for _ in range(steps):
        z = warp(E.expand(len(settings), -1, -1, -1), flow, interpolation=how)
        features = phi(z)  # a list of (N, C, 32, 32)
        loss = 0
        for k, (against, lambda_P) in enumerate(settings):
            terms = {
                "warp": losses.warp_loss(z[k : k + 1], T),
                "perceptual": losses.perceptual_loss(wanted[against], [f[k : k + 1] for f in features]),
                "smooth": losses.smoothness_loss(flow[k : k + 1]),
            }
            loss = loss + losses.total_loss(terms, {"warp": 1.0, "perceptual": lambda_P, "smooth": smooth})
        adam.zero_grad()
        loss.backward()
        adam.step()
    return flow.detach()


def length(flow):  # mean over the cells that the ball covers, now or at rest, in px at 256 x 256, as m is
    return float(flow.norm(dim=1)[:, moving].mean()) * factor * 256 / pipe.config.image_size


settings = [(against, 10**log) for against in ("source", "target") for log in LOGS]
flows = fit([("source", 0.0), *settings])
alone, flows = flows[:1], dict(zip(settings, flows[1:].split(1), strict=True))
print(f"exact flow {length(true_flow):.1f} px, L_W alone {length(alone):.1f} px")

# %% [markdown]
# Then draw, then slide.

# %%
from pix2gif_lite.widgets import Explorer

full = float(true_flow.norm(dim=1).max())  # one scale of colours for all flows


def draw(log_lambda_P, against):
    flow = flows[(against, 10**log_lambda_P)]
    z = warp(E, flow, interpolation=how)
    row = [rest, exact, decode(z), flow_to_rgb(flow, full)]
    words = f"lambda_P = {10**log_lambda_P:.3g} against the {against}: moved {length(flow):.1f} px, exact {length(true_flow):.1f} px"
    return [contact_sheet([row], None, ["source", "target", "D(z_W)", "flow"], 160), words]


knob = Slider(-3, 1, 0.5, -2, "log10", "log10 of the weight of the perceptual loss")
explorer = Explorer(draw, alt="Source, target, warp and flow", log_lambda_P=knob, against=["source", "target"])
explorer

# %%
weak = explorer.set(log_lambda_P=-3.0, against="source")[1]
strong = explorer.set(log_lambda_P=1.0)[1]
right = explorer.set(against="target")[1]
print(weak, strong, right, sep="\n")
assert length(flows[("source", 10.0)]) < 0.3 * length(flows[("source", 0.001)]), "against the source L_P holds still"
assert length(flows[("target", 10.0)]) > 3 * length(flows[("source", 10.0)]), "against the target it does not"
explorer.set(log_lambda_P=-0.5, against="source")[0]

# %% [markdown]
# ## Where it fails
# $\lambda_P$ too large against the source: nothing moves. $L_P$ is 0 at $z_W = E(c_I)$, that is, at zero flow, and every cell that
# moves is charged for looking different. The answer is a bargain between staying and going, and the weight sets the price.

# %%
some = [-2.0, -1.0, -0.5, 0.0, 1.0]
rows = [[exact, *[decode(warp(E, flows[(a, 10**k)], interpolation=how)) for k in some]] for a in ("source", "target")]
names = ["L_P against the source: Eq. 7, the authors' code", "L_P against the target: the abstract, lite"]
columns = ["target", *[f"lambda_P {10**k:.2g}" for k in some]]
lines = {a: ([10**k for k in LOGS], [length(flows[(a, 10**k)]) for k in LOGS]) for a in ("source", "target")}
lines["exact"] = ([0.001, 10], [length(true_flow)] * 2)
chart = line_chart(lines, "lambda_P", "px moved, of 256", "How far the flow dares to go", log="x")
Embedded(contact_sheet(rows, names, columns, 128), chart, alt="Warped pictures and flow lengths for several lambda_P")

# %% [markdown]
# Where the bend lies depends on what $\phi$ is: features of another size shift it left or right. VGG19 on raw latents at 0.01 is the
# authors' choice; the paper's ablation (section 4.3) says that $L_P$ trades extent of motion for control. That trade is this curve. Against
# the target a large weight only outvotes the smoothness: the ball is torn into whatever looks right, but it does move.
#
# **Smoothness**, the term that the authors commented out. Without it each cell takes the nearest fitting colour, from wherever it
# is: the loss is small, the flow is no motion. With some, the ball moves as one. With too much, a flow may not have an outline, so
# nothing moves. Lite trains FNet with weight 0: there the flow comes out of convolutions, not cell by cell. Same scene, $\lambda_P = 0$.

# %%
smooths = (0.0, 0.1, 1.0, 5.0)
smoothed = [fit([("target", 0.0)], smooth=k) for k in smooths]
values = [float(losses.smoothness_loss(flow)) for flow in smoothed]
cells = [
    [flow_to_rgb(true_flow, full), *[flow_to_rgb(flow, full) for flow in smoothed]],
    [exact, *[decode(warp(E, flow, interpolation=how)) for flow in smoothed]],
]
print({f"lambda_S = {k:g}": f"L_S {v:.3f}" for k, v in zip(smooths, values, strict=True)})
columns = ["exact", *[f"lambda_S {k:g}" for k in smooths]]
Embedded(contact_sheet(cells, ["flow", "D(z_W)"], columns, 128), alt="Flows and pictures for several smoothness weights")

# %% [markdown]
# **The widened convolution.** VGG19 reads 3 channels, a latent has 4. The paper widens the first convolution, its 4th kernel the mean
# of the three. In the authors' code the widened layer's bias is random, and VGG is built anew at every training step, so the ruler itself
# changes from step to step. We build it once and copy the bias. Below: the same two latents measured 30 times, on a stand-in of two
# convolutions (VGG19's weights are not shipped; nor does this depend on them).

# %%
torch.manual_seed(0)
first, second = torch.nn.Conv2d(3, 64, 3, padding=1), torch.nn.Conv2d(64, 64, 3, padding=1)
wide = losses.widen_first_conv(first)
torch.testing.assert_close(wide.weight[:, 3], first.weight.mean(1))  # (64, 3, 3)
torch.testing.assert_close(wide.bias, first.bias)


@torch.no_grad()
def ruler(conv, z):
    return [second(conv(z).relu())]  # the layer after the first ReLU is where the bias counts


once, rebuilt = [], []
for _ in range(30):
    other = losses.widen_first_conv(first)
    torch.nn.init.uniform_(other.bias, -(36**-0.5), 36**-0.5)  # Conv2d's own default for 4 x 3 x 3 inputs
    once.append(float(losses.perceptual_loss(ruler(wide, E), ruler(wide, T))))
    rebuilt.append(float(losses.perceptual_loss(ruler(other, E), ruler(other, T))))
series = {
    "rebuilt each step": (range(30), [v / once[0] for v in rebuilt]),
    "built once": (range(30), [v / once[0] for v in once]),
}
Embedded(line_chart(series, "training step", "L_P, relative", "One pair of latents, two rulers"), alt="L_P over 30 rebuilds")

# %% [markdown]
# ## Exercises
# **1.** Which flow makes $L_S$ exactly 0, though things move? Edit `answer`, a flow (1, 2, 32, 32) that is not zero everywhere.

# %%
answer = torch.zeros(1, 2, 32, 32)  # edit
answer[..., 8:16, 8:16] = 2.0  # a square that moves
value = float(losses.smoothness_loss(answer))
print("Right." if value == 0 and answer.any() else f"Not yet: L_S = {value:.4f}. Where do neighbours differ?")

# %% [markdown]
# <details><summary>Answer</summary>
#
# Any uniform flow, for instance `torch.ones(1, 2, 32, 32)`. So $L_S$ prefers the whole picture moving over one thing moving. The bill
# is along the outline: a sum of absolute differences charges the same for one sharp edge as for a slow ramp of the same height.
# </details>
#
# **2.** At the paper's scale the UNet comes from Stable Diffusion and its new input channels start at zero, $z_W$ among them, and the
# UNet predicts $\epsilon$ itself. Which term moves FNet in the very first step? Put its name in `answer`.

# %%
answer = "diffusion"  # edit: "diffusion" or "perceptual"
paper_like = Pix2GifModel.from_parts(build_components(TINY), TINY.with_changes(residual=None)).requires_grad_(True)
with torch.no_grad():
    paper_like.unet.conv_in.weight[:, 8:] = 0  # the channels of z_W
t, AC = torch.tensor([300, 700]), alphas_cumprod(TINY)
noise = torch.randn(2, 4, 16, 16, generator=g)
print("Right." if hears(paper_like, answer)["flow_net"] else f"Not yet: FNet hears nothing of {answer!r} through zero weights.")

# %% [markdown]
# <details><summary>Answer</summary>
#
# `"perceptual"`. The gradient of $L'_{LDM}$ passes through those zeros on its way to $z_W$, so it is zero. Against the source, the only
# term that FNet hears at first asks it to stay at the identity. Lite's $L_W$ and its `residual` do not have to wait for the UNet.
# </details>
#
# ## Recap
# - $L'_{LDM}$ trains everything, through the UNet; $L_P$, $L_W$, $L_F$, $L_O$ and $L_S$ look at the warp and never touch the UNet.
# - $L_P$ against the source is a brake: at a large weight nothing moves. Against the target it pulls the same way as $L_W$.
# - $\epsilon$, $v$ and lite's weighting ask for the same thing, at other prices for each noise level.
#
# Next: `06_diffusion`.

# %%
# What this notebook taught, checked
reach = [length(flows[("source", 10**k)]) for k in LOGS]
assert reach[0] > reach[4] > reach[6] > reach[8]  # the brake, notch by notch
assert float(losses.warp_loss(warp(E, flows[("target", 1.0)], interpolation=how), T)) < 0.6 * float(losses.warp_loss(E, T))
assert not heard["perceptual"]["unet"] and heard["diffusion"]["unet"] and heard["diffusion"]["flow_net"]
assert values[-1] < values[0] and losses.smoothness_loss(torch.ones(1, 2, 8, 8)) == 0
assert not hears(paper_like, "diffusion")["flow_net"] and hears(paper_like, "perceptual")["flow_net"]
assert len(set(once)) == 1 and len(set(rebuilt)) > 1
