"""Classifier-free guidance with two conditions, and a third: what is dropped in training, what is added up in sampling.

InstructPix2Pix (Brooks et al. 2023, section 3.2.1) guides by the image I and the text T; Pix2Gif adds the motion M.
A chain of predictions, from unconditional to fully conditioned, is walked with one scale a link:

    s_M None   eps = e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)]          c_M in every branch: the paper's
    s_M given  eps = e(0,0,0) + s_I [e(I,0,0) - e(0,0,0)] + s_T [e(I,T,0) - e(I,0,0)] + s_M [e(I,T,M) - e(I,T,0)]

The branches, by name, and what each is given:

    name     image  text  motion (s_M None | s_M given)    dropped image: E(c_I) = 0, hence z_W = 0
    none     0      0     M | 0                            dropped text: c_T of ""
    image    I      0     M | 0                            dropped motion: c_M = 0, no number in T
    text     I      T     - | 0
    full     I      T     M | M

This file knows no network and no noise schedule: predictions in, a prediction out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .presets import Preset

BRANCHES = ("none", "image", "text", "full")
DROP_STREAM = 0xD509  # sets these random numbers apart from others drawn for the same (seed, sample)


class DropMasks(NamedTuple):
    """Which conditions each sample loses, bool (B,) each."""

    text: Tensor
    image: Tensor
    motion: Tensor


def drop_masks(sample_indices: Iterable[int], seed: int, preset: Preset) -> DropMasks:
    """Which conditions are dropped in training: 5% text only, 5% image only, 5% both, by the preset's rates.

    Where the preset guides by motion too (s_M), half of the text drops lose the motion, and 3% of the samples that
    keep text and image lose the motion alone.

    `sample_indices` (B,) count samples over the whole training (step * batch_size + position), not places in a data
    set, else a sample would lose the same condition in every epoch. A sample's fate depends on (seed, index) alone, so
    any split over batches, devices or resumed runs gives the same masks. seed and indices >= 0.
    """
    # u_0 -> place on the line [text only | image only | both | neither],  u_1 -> does the motion go with the text?
    fates = [np.random.default_rng((seed, int(index), DROP_STREAM)).random(2) for index in sample_indices]
    u_0, u_1 = torch.from_numpy(np.reshape(fates, (-1, 2))).unbind(1)
    # 1. the ends of the three intervals on the line
    text_only, image_only, both = np.cumsum([preset.drop_text, preset.drop_image, preset.drop_both]).tolist()
    # 2. each sample falls into one of four
    drops_both = (u_0 >= image_only) & (u_0 < both)
    text = (u_0 < text_only) | drops_both
    image = ((u_0 >= text_only) & (u_0 < image_only)) | drops_both
    # 3. a share of the text drops loses the motion too: e(.,0,0);  a few others lose the motion alone: e(I,T,0)
    motion = torch.where(text, u_1 < preset.drop_motion_with_text, ~image & (u_1 < preset.drop_motion))
    return DropMasks(text, image, motion)


def drop(values: Tensor, dropped: Tensor, null: Tensor | float = 0.0) -> Tensor:
    """`values` (B, ...) with the samples where `dropped` (B,) is true replaced by `null` (broadcast), same dtype."""
    mask = dropped.to(values.device).view(-1, *[1] * (values.ndim - 1))
    return torch.where(mask, torch.as_tensor(null, dtype=values.dtype, device=values.device), values)


def branch_weights(s_I: float, s_T: float, s_M: float | None = None) -> dict[str, float]:
    """The weight of each branch in `guide`, in the order of the chain; they sum to 1.

    Each prediction stands in two differences, once with either sign. Collected, the k-th of the chain weighs
    s_k - s_{k+1}, with s = 1 before the first scale and 0 after the last.
    """
    names, scales = BRANCHES, (1.0, s_I, s_T, s_M, 0.0)
    if s_M is None:
        names, scales = ("none", "image", "full"), (1.0, s_I, s_T, 0.0)
    return {name: here - after for name, here, after in zip(names, scales, scales[1:], strict=False)}


def needed_predictions(s_I: float, s_T: float, s_M: float | None = None) -> tuple[str, ...]:
    """The branches that `guide` reads, those whose weight is not 0: one UNet call for all of them.

    All scales 1 need only ("full",): no guidance, a single prediction. (0, 0) needs ("none",), (1, 0) ("image",).
    """
    return tuple(name for name, weight in branch_weights(s_I, s_T, s_M).items() if weight != 0)


def guide(predictions: Mapping[str, Tensor], s_I: float, s_T: float, s_M: float | None = None) -> Tensor:
    """The guided prediction, of the shape and dtype of each `predictions[branch]` (B, C, h, w).

    s_I in 1.6 - 2.2 keeps the source picture, s_T = 7.5 follows the caption (paper section 4.1). Holds for eps, v and
    x_0 alike, the weights summing to 1. Exact to the bit where one branch has all the weight: e(0,0) at (0, 0), e(I,0)
    at (1, 0), e(I,T) at (1, 1). Branches other than `needed_predictions` may be missing.
    """
    # predictions -> e(.,.),  weights -> the formula at the head of this file, collected by prediction
    # 1. which predictions count
    weights = branch_weights(s_I, s_T, s_M)
    names = needed_predictions(s_I, s_T, s_M)
    # 2. add them up in float32: in half precision large scales would magnify the rounding of the sum
    dtype = predictions[names[0]].dtype
    eps = sum(weights[name] * predictions[name].to(torch.promote_types(dtype, torch.float32)) for name in names)
    return eps.to(dtype)


def guidance_interval(sigma: float, low: float, high: float) -> bool:
    """Whether guidance acts at this noise level: low < sigma <= high (Kynkaanniemi et al. 2024)."""
    return low < sigma <= high
