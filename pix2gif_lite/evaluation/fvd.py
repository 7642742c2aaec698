"""Frechet video distance: how far the cloud of generated clips is from the cloud of real ones, seen by a video network.

    clips --> network: features (N, D) --> mean, covariance --> Frechet distance of two Gaussian clouds (metrics.py)

The network is passed in: it is FVD only with I3D (network_metrics.py). Means and covariances add up clip by clip, so that
2,048 videos need no room. Protocol of paper section 4: 2,048 videos, 16 frames each, every third frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..metrics import frechet_distance

VIDEOS, FRAMES, STRIDE = 2048, 16, 3
SPAN = (FRAMES - 1) * STRIDE + 1  # frames that a video must have: 46
Network = Callable[[Tensor], Tensor]  # clips (B, T, 3, H, W) in [-1, 1] -> features (B, D)


def clip_frames(count: int) -> range:
    """Which of a video's `count` frames make its clip: 16, every third, from the first one.

    Raises ValueError for a video that is too short.
    """
    if count < SPAN:
        raise ValueError(f"{count} frames are too few: {FRAMES} frames, every {STRIDE}rd, need a video of at least {SPAN}.")
    return range(0, SPAN, STRIDE)


class Cloud:
    """Mean and covariance of feature vectors that come a few at a time, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None  # (D,)
        self._scatter: Tensor | None = None  # (D, D), sum of the products of what is left without the mean

    def add(self, features: Tensor) -> None:
        """Features (B, D), B from 1. ValueError for another shape, another D than before, or numbers that are not finite."""
        if features.ndim != 2 or not len(features) or (self._mean is not None and features.shape[1] != len(self._mean)):
            wanted = "(B, D)" if self._mean is None else f"(B, {len(self._mean)})"
            raise ValueError(f"Features of shape {tuple(features.shape)} make no cloud: the network must give {wanted}.")
        if not features.isfinite().all():
            raise ValueError("The network gives features that are not finite: use it in float32, on clips in [-1, 1].")
        x = features.detach().double().cpu()
        mean, count = x.mean(0), len(x)
        rest = x - mean
        scatter = rest.T @ rest
        if self._mean is None or self._scatter is None:
            self._mean, self._scatter = mean, scatter
        else:  # Chan, Golub, LeVeque 1979: sums of squares minus squares of sums would lose the digits
            apart, total = mean - self._mean, self.count + count
            self._scatter = self._scatter + scatter + torch.outer(apart, apart) * (self.count * count / total)
            self._mean = self._mean + apart * (count / total)
        self.count += count

    @property
    def mean(self) -> Tensor:
        """(D,) float64. Raises ValueError without a vector."""
        if self._mean is None:
            raise ValueError("A cloud without a clip has no mean: add some.")
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """(D, D) float64, divided by one less than the count. Raises ValueError for less than two vectors."""
        if self._scatter is None or self.count < 2:
            raise ValueError(f"A cloud of {self.count} clips has no covariance: give at least two.")
        return self._scatter / (self.count - 1)


def cloud_of(network: Network, clips: Iterable[Tensor]) -> Cloud:
    """The cloud of clips (B, T, 3, H, W), batch after batch, as the network sees them."""
    cloud = Cloud()
    with torch.inference_mode():
        for batch in clips:
            cloud.add(network(batch))
    return cloud


def cloud_distance(real: Cloud, made: Cloud) -> float:
    """Frechet distance of two clouds; FVD where their features are I3D's. 0: the same cloud; lower is better.

    With few clips for their D features it is too large, even between halves of one set of clips: compare only distances
    of equal counts. Raises ValueError for less than two clips on a side.
    """
    return frechet_distance(real.mean, real.covariance, made.mean, made.covariance)


def fvd(network: Network, real: Iterable[Tensor], made: Iterable[Tensor]) -> float:
    """`cloud_distance` of real and generated clips, each in batches (B, T, 3, H, W) in [-1, 1]."""
    return cloud_distance(cloud_of(network, real), cloud_of(network, made))
