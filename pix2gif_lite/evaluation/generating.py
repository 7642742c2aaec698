"""Many generated frames at once, beside the exact frames of the scenes or photographs that they were asked for.

    pictures at rest --> E, FNet, WNet, UNet --> D: generated frames
                     \\-> z_W through D: the warp alone
    exact frames     --> E, D: the ceiling, what no generated frame can pass

Frames are what D makes; `with_detail` turns them into what the pipeline gives its users. How good they are is measuring.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..branches import make_branches
from ..calibration import corners_of
from ..canvas import add_detail, explained
from ..data.latent_cache import SCENES, Family
from ..diffusion import alphas_cumprod, sigmas_for
from ..distilled import check_distilled
from ..guidance import needed_predictions
from ..noise import FrameNoise
from ..pipeline import Pix2GifPipeline
from ..sampling import Denoiser, sample, start
from ..scenes import Frame
from ..second_look import SecondLook
from ..text import NULL_PROMPT, encode_text, motion_prompt, tokenize

SCENES_AT_ONCE = 4  # each with all its motions, in one UNet call


class Scales(NamedTuple):
    """Guidance scales, see guidance.py; s_M None: the motion is in every branch, as in the paper."""

    s_I: float = 1.0
    s_T: float = 1.0
    s_M: float | None = None


class Generated(NamedTuple):
    """N K frames, those of one GIF next to each other."""

    image: Tensor  # (N K, 3, S, S) in [-1, 1]
    warped: Tensor | None  # D(z_W), the warp without the diffusion; None for the variants without a warp
    flow: Tensor  # F, (N K, 2, r h, r w), backward, in cells of its own grid, as `Pix2GifModel.warp` gives it
    unclamped: Tensor  # `image` as D leaves it: what the pipeline's detail is added to


@torch.inference_mode()
def generate(
    pipe: Pix2GifPipeline,
    source: Tensor,
    captions: Sequence[str],
    motions: Sequence[float],
    seeds: Sequence[int],
    steps: int | None = None,
    sampler: str | None = None,
    scales: Scales | None = None,
    noise: str = "shared",
    interval: tuple[float, float] | None = None,
) -> Generated:
    """K frames of each of N pictures (N, 3, S, S) in [-1, 1], all in one batch: what N calls of the pipeline return, raw.

    The frames of a GIF share the noise that `pipe(..., seed=seeds[n], detail=False)` would draw, or have their own
    (`noise` "independent"), as the pipeline's do. `scales`: s_I, s_T and s_M (None: the weights' own, without s_M), at
    the noise levels of `interval` alone (None: all). S as the pipeline's work size. Motion 0 is made as any other, where the
    pipeline would return the picture. ValueError for what distilled weights do not take, as the pipeline's.
    """
    c, model, K = pipe.config, pipe.model, len(motions)
    dtype, device, scaling = pipe.unet.dtype, pipe.unet.device, pipe.vae.config.scaling_factor
    sampler = c.sampler if sampler is None else sampler
    steps = c.sampling_steps if steps is None else steps
    scales = Scales(c.s_I, c.s_T) if scales is None else scales
    check_distilled(c.distilled_steps, steps, sampler, scales, interval)
    ac = alphas_cumprod(c)
    sigmas, _ = sigmas_for(steps, ac, c.spacing, sampler)
    # 1. the pictures and the texts
    E = encode(pipe, source.to(device)) * pipe.image_scale
    E = E.to(dtype).repeat_interleave(K, 0)
    prompts = [motion_prompt(caption, m) for caption in captions for m in motions]
    dropped = captions if scales.s_M is not None else []  # heard where motion is dropped: the caption without its number
    ids = tokenize(pipe.tokenizer, [NULL_PROMPT, *prompts, *dropped]).to(device)
    null, c_T, bare = encode_text(pipe.text_encoder, ids).to(dtype).split([1, len(prompts), len(dropped)])
    bare = bare.repeat_interleave(K, 0) if dropped else None
    m = torch.tensor(list(motions), device=device).repeat(len(captions))
    # 2. flow, warp and noise, once a frame
    names = dict.fromkeys((*needed_predictions(*scales), "full"))
    corners = corners_of(source).repeat_interleave(K, 0) if c.calibrate else None
    pictures = source.to(device).repeat_interleave(K, 0)
    again = SecondLook(pipe.vae, pictures, pipe.image_scale, c.second_look) if c.second_look else None
    branches, flow = make_branches(model, list(names), E, c_T, null[0], m, scales.s_M, bare, corners, again)
    draws = len(sigmas) - 1  # as in frames.py: the start, and one for each step but the last
    noises = [FrameNoise(noise, E.shape[1:], draws, torch.Generator().manual_seed(seed), device, K) for seed in seeds]
    firsts, laters = zip(*(gif.batch(range(K)) for gif in noises), strict=True)
    first = torch.cat(firsts)

    def later(step: int) -> Tensor:
        return torch.cat([draw(step).expand(K, *E.shape[1:]) for draw in laters])

    # 3. denoise, decode
    denoiser = Denoiser(model, ac, c.prediction_type, branches, *scales, interval)
    z = sample(sampler, denoiser, start(first, sigmas), sigmas, later)
    z_W = branches["full"].z_W
    if z_W is not None:
        z_W = decode(pipe, z_W / pipe.image_scale)
    frames = unclamped(pipe, z / scaling)
    return Generated(frames.clamp(-1, 1), z_W, flow.cpu(), frames)


def encode(pipe: Pix2GifPipeline, pictures: Tensor) -> Tensor:
    """The posterior's mode, unscaled, in parts that fit a cache."""
    return torch.cat([pipe.vae.encode(part.to(pipe.vae.dtype)).latent_dist.mode() for part in pictures.split(16)])


def decode(pipe: Pix2GifPipeline, latents: Tensor) -> Tensor:
    """D of unscaled latents, clamped as a saved frame is, float32 on the CPU."""
    return unclamped(pipe, latents).clamp(-1, 1)


def unclamped(pipe: Pix2GifPipeline, latents: Tensor) -> Tensor:
    """D of unscaled latents as it comes, float32 on the CPU."""
    return torch.cat([pipe.vae.decode(part.to(pipe.vae.dtype)).sample for part in latents.split(16)]).float().cpu()


@torch.inference_mode()
def through_autoencoder(pipe: Pix2GifPipeline, pictures: Tensor) -> Tensor:
    """D(E(x)) of pictures (B, 3, S, S): the best that any frame decoded by D can be."""
    return decode(pipe, encode(pipe, pictures.to(pipe.vae.device)))


@torch.inference_mode()
def with_detail(pipe: Pix2GifPipeline, source: Tensor, made: Generated) -> Tensor:
    """The frames (N K, 3, S, S) as users get them: plus what E and D lose of the sources (N, 3, S, S), carried by the flow.

    The pipeline's `detail`: it is added where the flow explains a frame. For the variants without a warp there is none.
    """
    decoded, K = unclamped(pipe, encode(pipe, source.to(pipe.vae.device))), len(made.image) // len(source)
    frames = []
    for k, (frame, flow) in enumerate(zip(made.unclamped.split(1), made.flow.split(1), strict=True)):
        still, picture = decoded[k // K, None], source[k // K, None].cpu()
        frames.append(add_detail(frame, picture - still, flow, explained(frame, still, flow)))
    return torch.cat(frames).clamp(-1, 1)


class Drawn(NamedTuple):
    """A few scenes, or photographs, with all their exact frames."""

    scenes: list[Any]  # of one family
    source: Tensor  # (N, 3, S, S), in whole grey levels as a file would hold it
    exact: Frame  # N K frames, those of one scene next to each other

    @property
    def copies(self) -> Tensor:
        """The source, once for each of its frames: (N K, 3, S, S)."""
        return self.source.repeat_interleave(len(self.exact.image) // len(self.source), 0)


def drawn(scenes: Sequence[Any], motions: Sequence[float], size: int, family: Family = SCENES) -> Iterator[Drawn]:
    """The scenes, or what else the family draws, a few at a time."""
    rest = iter(scenes)
    while part := list(islice(rest, SCENES_AT_ONCE)):
        source = family.draw(part, [0] * len(part), size).image.add(1).mul(127.5).round().div(127.5).sub(1)
        frames = family.draw([s for s in part for _ in motions], list(motions) * len(part), size)
        yield Drawn(part, source, frames)


def generate_for(
    pipe: Pix2GifPipeline,
    part: Drawn,
    motions: Sequence[float],
    steps: int | None = None,
    sampler: str | None = None,
    **how: Any,
) -> Generated:
    """`generate` for what is drawn; a scene's or photograph's seed is its own number, so that no two GIFs share their noise."""
    captions, seeds = zip(*((scene.caption, scene.index) for scene in part.scenes), strict=True)
    return generate(pipe, part.source, captions, motions, seeds, steps, sampler, **how)
