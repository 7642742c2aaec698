"""What the results are measured with: pure functions of tensors, no model, no file, no random number.

Pictures are (B, 3, H, W) in [-1, 1], masks (B, 1, H, W) bool, flows (B, 2, H, W) in pixels, motions (N, K): K asked or
measured magnitudes (Alg. 1, px at 256 x 256) of each of N GIFs. Results are one number a sample, (B,) or (N,): how to
average them is the caller's business. A sample whose mask is empty gives NaN, which `nanmean` leaves out.
"""

from __future__ import annotations

import torch
from torch import Tensor

BEST_PSNR = 100.0  # dB: what identical pictures get, instead of infinity


def region_mean(values: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean of values (B, C, H, W) over the pixels of `where` (B, 1, H, W), all of them without it: (B,)."""
    values = values.float().mean(1, keepdim=True)
    if where is None:
        return values.mean((1, 2, 3))
    # torch.where and not a product: values outside the region may be NaN
    return torch.where(where, values, 0.0).sum((1, 2, 3)) / where.sum((1, 2, 3))


def psnr(picture: Tensor, exact: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal to noise ratio in dB of each picture, (B,), at most 100; `where` restricts it to a region.

    `picture` is clamped to [-1, 1], as a saved frame is. Raises ValueError if the shapes differ.
    """
    _same_shape(picture, exact, "pictures")
    # /4: the usual peak of 1 belongs to pictures in [0, 1]
    mse = region_mean((picture.float().clamp(-1, 1) - exact.float()).square() / 4, where)
    return -10 * mse.clamp_min(10 ** (-BEST_PSNR / 10)).log10()


def pearson(asked: Tensor, measured: Tensor) -> Tensor:
    """Correlation along the last axis: (N, K) -> (N,). 0 where either is constant: a GIF that stands still follows nothing."""
    _same_shape(asked, measured, "motions")
    a, b = (v.double() - v.double().mean(-1, keepdim=True) for v in (asked, measured))
    scale = a.norm(dim=-1) * b.norm(dim=-1)
    return torch.where(scale > 1e-12, (a * b).sum(-1) / scale.clamp_min(1e-12), 0.0)


def rmse(asked: Tensor, measured: Tensor) -> Tensor:
    """Root mean square difference along the last axis: (N, K) -> (N,)."""
    _same_shape(asked, measured, "motions")
    return (asked.double() - measured.double()).square().mean(-1).sqrt()


def coherency(asked: Tensor, measured: Tensor) -> dict[str, float]:
    """Motion coherency (paper Table 2) of N GIFs of K frames: how well the measured motions follow those asked for.

    pearson, rmse              of each GIF, mean over GIFs: the stricter reading, and the one this project's targets mean
    curve_pearson, curve_l2    of the curve averaged over GIFs, where the errors of single GIFs cancel: the paper's table
                               (curve_l2 is the length of the K differences, in px)
    """
    curves = asked.double().mean(0), measured.double().mean(0)
    return {
        "pearson": float(pearson(asked, measured).mean()),
        "rmse": float(rmse(asked, measured).mean()),
        "curve_pearson": float(pearson(*curves)),
        "curve_l2": float((curves[0] - curves[1]).norm()),
    }


def end_point_error(flow: Tensor, exact: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean distance between the ends of two flows' vectors, in their own pixels: (B,)."""
    _same_shape(flow, exact, "flows")
    return region_mean((flow.float() - exact.float()).norm(dim=1, keepdim=True), where)


def stillness(frame: Tensor, source: Tensor, still: Tensor) -> Tensor:
    """How much the region that should not move changes: mean absolute difference to the source, grey levels 0-255, (B,)."""
    _same_shape(frame, source, "pictures")
    return region_mean((frame.float().clamp(-1, 1) - source.float()).abs() * 127.5, still)


def sharpness(picture: Tensor, where: Tensor | None = None) -> Tensor:
    """Root mean square difference between neighbouring pixels, (B,), to compare with that of a picture of the same thing.

    Squares, since a blurred edge has the same sum of absolute differences as a sharp one.
    """
    picture = picture.float().clamp(-1, 1)
    across = picture.diff(dim=3, append=picture[..., -1:])
    down = picture.diff(dim=2, append=picture[..., -1:, :])
    return region_mean(across.square() + down.square(), where).sqrt()


def _same_shape(a: Tensor, b: Tensor, what: str) -> None:
    if a.shape != b.shape:
        raise ValueError(f"The {what} have shapes {tuple(a.shape)} and {tuple(b.shape)}: make them the same.")
