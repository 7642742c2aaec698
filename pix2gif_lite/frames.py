"""How the frames of a GIF come about once the request is checked: texts, then latents, then pictures.

Each stage goes over all frames before the next begins, in parts of `at_once` frames. Models are large and latents small, so
with `enable_model_cpu_offload` every large model travels to the GPU once a GIF, and E, D and the UNet are never there together
(with a second look, which is for small weights, they are).
A frame does not depend on the parts: they bound the memory, and change the result by float32's rounding alone
(kernels are chosen by size, on a GPU more so). This file reads no files and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from .branches import make_branches
from .canvas import add_detail, chunks, explained, resize, to_pil, to_tensor
from .fast.direct_unet import is_watched
from .fast.kept import Kept, state_of
from .guidance import needed_predictions
from .model import Pix2GifModel
from .noise import FrameNoise
from .result import Clock
from .sampling import Callback, Denoiser, part_of, sample, start
from .second_look import SecondLook
from .text import NULL_PROMPT, encode_text, motion_prompt, tokenize

TEXTS_AT_ONCE = 32
KEPT_TEXTS = 30_000_000  # bytes of encoded texts


class Order(NamedTuple):
    """What a call asks for, checked."""

    caption: str
    motions: list[float]  # m of each frame, px at 256 x 256
    scales: tuple[float, float, float | None]  # s_I, s_T, s_M
    interval: tuple[float, float] | None  # noise levels that are guided
    sampler: str
    sigmas: Tensor  # (steps + 1,), on the CPU as the samplers want them
    alphas_cumprod: Tensor  # float32 (T,), whatever the models' precision
    prediction_type: str
    noise: str  # shared or independent
    generator: torch.Generator
    at_once: int  # frames in one call of the UNet, times the branches of the guidance
    callback: Callback | None

    @property
    def rows(self) -> list[int]:
        """Which frames have to be made: those that move; with shared noise equal motions are equal frames, made once."""
        moving = [k for k, m in enumerate(self.motions) if m != 0]
        return [k for k in moving if self.noise == "independent" or self.motions.index(self.motions[k]) == k]

    def same_as(self, row: int) -> list[int]:
        """The frames that show what frame `row` shows, itself among them."""
        alone = self.noise == "independent"
        return [row] if alone else [k for k, m in enumerate(self.motions) if m == self.motions[row]]


def look_again(pipe: Any, source: Image.Image, image_size: int | None = None) -> SecondLook | None:
    """The second look, by the pipeline's settings, at an upright RGB picture of its work size; None for a share of 0."""
    if not (share := pipe.config.second_look):
        return None
    picture = to_tensor(source.resize(pipe.work_size(source, image_size), Image.Resampling.LANCZOS))
    return SecondLook(pipe.vae, picture, pipe.image_scale, share)


def encode_texts(
    order: Order,
    tokenizer: PreTrainedTokenizerFast,
    text_encoder: CLIPTextModel,
    like: Tensor,
    kept: Kept | None = None,
) -> dict[str, Tensor]:
    """c_T of every text that the order needs, each once: (77, width), on the device and in the dtype of `like`.

    kept: answers of this very batch of texts, by the same weights, are taken from there (None: always encoded).
    """
    prompts = [motion_prompt(order.caption, order.motions[k]) for k in order.rows]
    texts = list(dict.fromkeys((NULL_PROMPT, *prompts, *([] if order.scales[2] is None else [order.caption]))))
    ids = tokenize(tokenizer, texts).to(like.device)
    weights = [weight.detach() for weight in text_encoder.parameters()]
    if text_encoder.training or is_watched(text_encoder.modules()):  # an offload moves its weights
        kept = None
    key = ids.cpu().numpy().tobytes(), *map(state_of, weights)
    if kept is None or (known := kept.get(key)) is None:
        c_T = torch.cat([encode_text(text_encoder, part) for part in ids.split(TEXTS_AT_ONCE)])
        known = c_T, weights  # held, or their memory might become another's
        if kept is not None:
            kept.forget(unless=lambda other: other[1:] == key[1:])  # other weights need not be held any longer
            kept.put(key, known, c_T.numel() * c_T.element_size())
    c_T, _ = known
    return dict(zip(texts, c_T.to(like.dtype), strict=True))


def sample_latents(
    order: Order,
    model: Pix2GifModel,
    E: Tensor,
    c_T: Mapping[str, Tensor],
    clock: Clock,
    corners: Tensor | None = None,
    second_look: SecondLook | None = None,
) -> tuple[Tensor, Tensor]:
    """z (n, 4, h, w) and the flow F (n, 2, r h, r w) as `Pix2GifModel.warp` gives it, float32, of the n frames `order.rows`.

    E: the source latents as the UNet sees them, (1, 4, h, w), in its dtype; corners (1, N, 2) of the source, by which the
    length of F is corrected (None: it is not); second_look: what of z_W is E's of the source itself (None: nothing). Noise, the
    sampler's x and the guided sum are float32 in any precision.
    """
    names = needed_predictions(*order.scales)
    names = names if order.interval is None else tuple(dict.fromkeys((*names, "full")))
    s_I, s_T, s_M = order.scales
    wanted, frames = order.rows, len(order.motions)
    draws = len(order.sigmas) - 1  # the start, and one for each step but the last
    noises = FrameNoise(order.noise, E.shape[1:], draws, order.generator, E.device, frames)
    latents, flows, parts = [], [], chunks(len(wanted), order.at_once)
    for number, part in enumerate(parts):
        # 1. what each branch of the guidance hears and sees, flow and warp once
        rows = [wanted[k] for k in part]
        m = torch.tensor([order.motions[k] for k in rows]).to(E.device)
        text = torch.stack([c_T[motion_prompt(order.caption, order.motions[k])] for k in rows])
        source, bare = E.expand(len(rows), -1, -1, -1), c_T.get(order.caption)
        where = None if corners is None else corners.expand(len(rows), -1, -1)
        branches, F = make_branches(model, names, source, text, c_T[NULL_PROMPT], m, s_M, bare, where, second_look)
        clock.lap("condition")
        # 2. from noise to latents
        denoiser = Denoiser(model, order.alphas_cumprod, order.prediction_type, branches, s_I, s_T, s_M, order.interval)
        first, later = noises.batch(rows)
        report = None if order.callback is None else part_of(order.callback, rows, number, len(parts))
        latents.append(sample(order.sampler, denoiser, start(first, order.sigmas), order.sigmas, later, report))
        flows.append(F)
        clock.lap("sample")
    return torch.cat(latents), torch.cat(flows)


def decode_frames(
    order: Order, vae: AutoencoderKL, z: Tensor, F: Tensor, size: tuple[int, int], source: tuple[Tensor, Tensor] | None
) -> Iterator[Image.Image]:
    """The pictures of latents as `sample_latents` returns them, of `size` (width, height) px.

    source: what `lost_detail` says of the source at that size, and D(E(source)) as decoded; None: no detail.
    """
    z = (z / vae.config.scaling_factor).to(next(vae.parameters()).dtype)  # its own `dtype` goes through all of them
    if z.device.type == "cpu":  # each convolution writes what it reads: in this order it is done sooner
        z = z.contiguous(memory_format=torch.channels_last)
    for part in chunks(len(z), order.at_once):
        rows = slice(part.start, part.stop)
        pictures = vae.decode(z[rows]).sample.contiguous()  # channels first, they are enlarged in two thirds of the time
        for frame, flow in zip(pictures.split(1), F[rows].split(1), strict=True):
            full = resize(frame.float(), size)
            if source is not None:
                lost, decoded = source
                full = add_detail(full, lost, flow, explained(frame, decoded, flow))
            yield to_pil(full[0])
