"""Between the user's picture and the model's: sizes, conversions, and the detail that the autoencoder loses.

The model works at one size (short side 128 px for lite) and its autoencoder blurs. Neither should be seen in a large
photograph, and since every frame is the source picture moved by a known flow F, neither has to be:

    frame at full size = up(frame) + W( source - up(D(E(source))), F )

what E and D lost of the source, warped along. With F = 0 and a perfect sampler that is the source itself. It is added
only where F explains the frame: not where F looks outside of the picture, nor where the frame is unlike the warped
source, as behind something that moved away. Measured on exact frames and flows of scenes at 512 px, m = 11: 31.4 dB
without detail, 32.1 with it everywhere, 34.6 where it is explained (moving region 22.8, 22.6 and 25.2 dB).
This file knows no model: tensors and PIL images.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
import torch.nn.functional as tf
from PIL import Image
from torch import Tensor

from .lookup import resized, warp
from .media.pictures import open_image

WORK_ASPECT = 4  # long side / short side of the work picture: a longer strip is squeezed, for memory's sake
LIKE, UNLIKE = 0.2, 0.6  # difference to the warped source, of [-1, 1]: all detail below the first, none above the second
BAND_PIXELS = 1 << 20  # warped at a time, so that a 12-megapixel photograph needs no gigabytes


def to_source(image: Any) -> Image.Image:
    """The user's picture, upright RGB: a path, a PIL image, a uint8 array (H, W, 3) or a tensor (3, H, W) in [-1, 1].

    Raises FileNotFoundError and ValueError as `open_image` does.
    """
    if isinstance(image, Tensor):
        if image.ndim == 4 and len(image) == 1:
            image = image[0]
        if image.ndim != 3 or image.shape[0] != 3 or not (image.is_floating_point() and bool(torch.isfinite(image).all())):
            kind = f"A tensor of shape {tuple(image.shape)} and {image.dtype}"
            raise ValueError(f"{kind} is no picture: give finite floats (3, H, W) in [-1, 1].")
        image = to_pil(image)
    elif isinstance(image, np.ndarray):
        image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
        if image.dtype != np.uint8 or not (image.ndim == 2 or image.ndim == 3 and image.shape[2] in (3, 4)):
            raise ValueError(f"A {image.dtype} array of shape {image.shape} is no picture: give uint8 (H, W, 3).")
        image = Image.fromarray(image)
    return open_image(image)


def grey_levels(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] of any shape, clamped and rounded as they are saved: uint8."""
    return pictures.detach().float().clamp(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)


def to_pil(picture: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1], clamped and rounded, as an RGB image."""
    return Image.merge("RGB", [Image.fromarray(plane) for plane in grey_levels(picture.cpu()).contiguous().numpy()])


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as float32 (1, 3, H, W) in [-1, 1]."""
    levels = torch.from_numpy(np.array(image.convert("RGB")))
    return levels.permute(2, 0, 1)[None].float().div_(127.5).sub_(1)


def work_size(size: tuple[int, int], short_side: int, multiple: int) -> tuple[int, int]:
    """(width, height) px the model works at for a picture of that (width, height): the short side is `short_side`, the
    aspect kept to the nearest multiple, at most 4 : 1."""
    short = min(size)
    sides = (min(length / short, WORK_ASPECT) * short_side for length in size)
    return tuple(max(1, round(side / multiple)) * multiple for side in sides)


def fit_size(size: tuple[int, int], wanted: int | tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) of the frames: None is the source's size, a number the longest side, a pair the size itself."""
    if wanted is None:
        return size
    if isinstance(wanted, Integral):
        sides = tuple(max(1, round(length * wanted / max(size))) for length in size)
    else:
        sides = tuple(wanted) if isinstance(wanted, Sequence) else (wanted,)
    if len(sides) != 2 or not all(isinstance(side, Integral) and 8 <= side <= 16384 for side in sides):
        raise ValueError(f"The output size {wanted!r} makes frames of {sides} px: give whole sides from 8 to 16384 px.")
    return tuple(map(int, sides))


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) at another (width, height): bicubic, averaging where it shrinks, one linear map for all channels."""
    if pictures.shape[-2:] == size[::-1]:
        return pictures
    return tf.interpolate(pictures, size[::-1], mode="bicubic", antialias=True, align_corners=False)


def lost_detail(source: Image.Image, decoded: Tensor) -> Tensor:
    """source - up(D(E(source))), float32 (1, 3, H, W) at the source's size; `decoded` is D(E(source)), (1, 3, h, w)."""
    return to_tensor(source).to(decoded.device).sub_(resize(decoded.float(), source.size))


def explained(frame: Tensor, decoded: Tensor, flow: Tensor) -> Tensor:
    """How far the flow explains a frame, (1, 1, h, w) in 0 - 1: 1 where it looks like the source, moved along.

    frame and decoded D(E(source)): (1, 3, h, w), before enlarging; flow as in `add_detail`.
    """
    there = resized(flow, *frame.shape[-2:])  # in pixels
    unlike = (frame.float() - warp(decoded.float(), there)).abs().amax(1, keepdim=True)
    unlike = largest_around(unlike)  # an edge is wrong on both of its sides
    return ((UNLIKE - unlike) / (UNLIKE - LIKE)).clamp(0, 1)


def largest_around(x: Tensor) -> Tensor:
    """The largest of the 3 x 3 numbers around each, (..., h, w): max_pool2d, which is slow where it has one channel."""
    for dim in (-2, -1):
        n = x.shape[dim]
        wider = torch.cat([x.narrow(dim, 0, 1), x, x.narrow(dim, n - 1, 1)], dim)
        x = torch.maximum(torch.maximum(wider.narrow(dim, 0, n), wider.narrow(dim, 2, n)), x)
    return x


@functools.lru_cache(2)  # a moving slider asks for the same again and again
def pixel_centres(height: int, width: int, rows: range, device: torch.device) -> Tensor:
    """Where those rows' pixels are, (2, rows, width), in grid_sample's coordinates: -1 and 1 are the picture's outer edges."""
    x = (2 * torch.arange(width, device=device) + 1) / width - 1
    y = (2 * torch.arange(rows.start, rows.stop, device=device) + 1) / height - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def add_detail(frame: Tensor, lost: Tensor, flow: Tensor, share: Tensor) -> Tensor:
    """A frame (1, 3, H, W) plus the detail lost of the source, same size, carried along by the flow.

    flow: (1, 2, h, w), backward, in cells of its own grid, x then y: the frame's place p shows the source's p + flow.
    share: how much of the detail to add, (1, 1, h', w') in 0 - 1, see `explained`.
    """
    # F     -> the flow, enlarged to H x W
    # there -> p + F, in grid_sample's coordinates
    channels, height, width = frame.shape[1:]
    flow = flow.float() * flow.new_tensor([2 / flow.shape[3], 2 / flow.shape[2]]).float()[:, None, None]
    bands = chunks(height, max(1, BAND_PIXELS // width))
    result = None if len(bands) == 1 else torch.empty_like(frame, memory_format=torch.contiguous_format)
    for rows in bands:
        here = pixel_centres(height, width, rows, frame.device)
        # 1. the flow there, and how much of the detail is wanted
        if len(bands) == 1:  # the same by a shorter way
            F, part = (tf.interpolate(each, (height, width), mode="bilinear", align_corners=False) for each in (flow, share))
        else:
            grid = here.permute(1, 2, 0)[None]
            F, part = (tf.grid_sample(each, grid, padding_mode="border", align_corners=False) for each in (flow, share))
        # 2. look there; what lies outside is 0. A CPU's threads share out the batch alone: each gets a part of the rows
        threads = torch.get_num_threads() if frame.device.type == "cpu" else 1
        parts = threads if len(rows) % threads == 0 else 1
        there = F.add_(here).view(2, parts, len(rows) // parts, width).permute(1, 2, 3, 0)
        detail = tf.grid_sample(lost.expand(parts, -1, -1, -1), there, padding_mode="zeros", align_corners=False)
        # 3. add; (parts, C, h, W), as the detail lies, is a view of the frame, and what is added to a view lies as it does
        band, part = (
            each.view(-1, parts, len(rows) // parts, width).transpose(0, 1)
            for each in (frame[..., rows.start : rows.stop, :].contiguous(), part)
        )
        made = torch.addcmul(band, part, detail).transpose(0, 1).reshape(1, channels, len(rows), width)
        if result is None:
            return made
        result[..., rows.start : rows.stop, :] = made
    return result


def chunks(count: int, largest: int) -> list[range]:
    """0 .. count - 1 in runs of nearly equal length, each at most `largest`."""
    parts = math.ceil(count / largest)
    ends = [round(k * count / parts) for k in range(parts + 1)] if parts else [0]
    return [range(a, b) for a, b in zip(ends, ends[1:], strict=False)]
