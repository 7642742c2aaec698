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


def ssim(picture: Tensor, exact: Tensor, where: Tensor | None = None) -> Tensor:
    """Structural similarity of each picture (Wang et al. 2004), (B,), 1 for equal pictures: the mean of `ssim_map`.

    `where` restricts it to a region, whose windows look up to 5 px beyond it. Raises ValueError as `ssim_map` does.
    """
    return region_mean(ssim_map(picture, exact), where)


def ssim_map(picture: Tensor, exact: Tensor) -> Tensor:
    """The similarity of the windows around each pixel, (B, 3, H, W), computed by torchmetrics.

    Of black as 0 and white as 1. Windows are Gaussian, sigma 1.5 px, 11 px wide; beyond the picture's edge it is mirrored.
    Clamps as `psnr` does. Raises ValueError if the shapes differ or a side is shorter than 6 px.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # takes a second to import

    _same_shape(picture, exact, "pictures")
    if min(picture.shape[-2:]) < 6:
        raise ValueError(f"A picture of {picture.shape[-1]} x {picture.shape[-2]} px is too small: give at least 6 px a side.")
    # in [0, 1]: the luminance term divides by means, so grey must not be 0
    # as the channels of one picture: the same windows, and a convolution that is four times as fast
    channels = [(part.flatten(0, 1)[None] + 1) / 2 for part in (picture.float().clamp(-1, 1), exact.float())]
    _, similarity = structural_similarity_index_measure(*channels, data_range=1.0, reduction="none", return_full_image=True)
    return similarity.reshape(picture.shape)


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


def change(frames: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean absolute change from each frame to the next, grey levels 0-255: (N, K, 3, H, W) -> (N,).

    Frames are in the order of their motion. `where` (N, K, 1, H, W) restricts it: to pixels that both frames count.
    Raises ValueError for less than two frames.
    """
    if frames.shape[1] < 2:
        raise ValueError("One frame has no neighbour: give at least two.")
    frames = frames.float().clamp(-1, 1)
    steps = (frames[:, 1:] - frames[:, :-1]).abs().mul(127.5).transpose(1, 2).flatten(2, 3)  # below each other: one picture
    both = None if where is None else (where[:, 1:] & where[:, :-1]).transpose(1, 2).flatten(2, 3)
    return region_mean(steps, both)


def flicker(frames: Tensor, exact: Tensor, where: Tensor | None = None) -> Tensor:
    """How much more GIFs (N, K, 3, H, W) change from frame to frame than the exact ones do, grey levels 0-255: (N,).

    0 for the exact frames; negative where less changes than should. `where` as in `change`.
    """
    _same_shape(frames, exact, "frames")
    return change(frames, where) - change(exact, where)


def sharpness(picture: Tensor, where: Tensor | None = None) -> Tensor:
    """Root mean square difference between neighbouring pixels, (B,), to compare with that of a picture of the same thing.

    Squares, since a blurred edge has the same sum of absolute differences as a sharp one.
    """
    picture = picture.float().clamp(-1, 1)
    across = picture.diff(dim=3, append=picture[..., -1:])
    down = picture.diff(dim=2, append=picture[..., -1:, :])
    return region_mean(across.square() + down.square(), where).sqrt()


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """Squared Frechet distance of two Gaussian clouds, means (D,) and covariances (D, D): what FID and FVD report.

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)); Dowson and Landau 1982. In float64. The trace of the root is the sum
    of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is symmetric, so that no root of a tiny negative number, as
    rounding makes them of clouds with fewer points than dimensions, turns into an imaginary part. Raises ValueError for
    other shapes and for numbers that are not finite.
    """
    D = len(mean_a)
    if mean_a.shape != (D,) or mean_b.shape != (D,) or cov_a.shape != (D, D) or cov_b.shape != (D, D):
        shapes = ", ".join(str(tuple(part.shape)) for part in (mean_a, cov_a, mean_b, cov_b))
        raise ValueError(f"Clouds of shapes {shapes} cannot be compared: give (D,), (D, D), (D,), (D, D).")
    mean_a, cov_a, mean_b, cov_b = (part.double() for part in (mean_a, cov_a, mean_b, cov_b))
    if not all(bool(part.isfinite().all()) for part in (mean_a, cov_a, mean_b, cov_b)):
        raise ValueError("A cloud with a mean or covariance that is not finite has no distance: look at its features.")
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = vectors * values.clamp_min(0).sqrt() @ vectors.T
    both = torch.linalg.eigvalsh(root_a @ cov_b @ root_a).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * both
    return float(distance.clamp_min(0))


def _same_shape(a: Tensor, b: Tensor, what: str) -> None:
    if a.shape != b.shape:
        raise ValueError(f"The {what} have shapes {tuple(a.shape)} and {tuple(b.shape)}: make them the same.")
