"""Every number that can be measured of generated frames where the exact answer is known.

    generated frames --> compared with the exact frames (fidelity), with the asked motion (coherency)
                     --> with each other (flicker)
    exact frames     --> through E, D: the ceiling; by Lucas-Kanade: the ruler's own error

Results are one number a frame, or one a GIF: what they come to on average is summary.py's, how that reads report.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as tf

from ..data.latent_cache import SCENES, Family
from ..lookup import resized, warp
from ..losses import warp_loss
from ..metrics import change, end_point_error, psnr, region_mean, sharpness, ssim_map, stillness
from ..motion import dense_flow, motion_magnitudes
from ..pipeline import Pix2GifPipeline
from ..presets import DEMO_MOTIONS, MOTION_SIZE
from ..scenes import Frame
from .generating import Drawn, decode, drawn, encode, generate_for, through_autoencoder, with_detail
from .temporal import neighbours, warped_difference


def fidelity(picture: Tensor, exact: Frame) -> dict[str, Tensor]:
    """PSNR of frames (B, 3, S, S) against the exact ones, dB (B,): whole picture, moving and still region, and what is seen.

    Seen is where the exact frame shows what the source shows. A region without a pixel gives NaN.
    """
    return {
        "psnr": psnr(picture, exact.image),
        "moving_psnr": psnr(picture, exact.image, exact.moving),
        "still_psnr": psnr(picture, exact.image, ~exact.moving),
        "seen_psnr": psnr(picture, exact.image, ~exact.occluded),
    }


def similarity(picture: Tensor, exact: Frame) -> dict[str, Tensor]:
    """SSIM of frames (B, 3, S, S) to the exact ones, (B,): whole picture, moving and still region. NaN as in `fidelity`."""
    windows = ssim_map(picture, exact.image)
    return {
        "ssim": region_mean(windows),
        "moving_ssim": region_mean(windows, exact.moving),
        "still_ssim": region_mean(windows, ~exact.moving),
    }


def changes(pictures: Mapping[str, Tensor], exact: Frame, motions: Sequence[float]) -> dict[str, Tensor]:
    """How frames (N K, 3, S, S) change from one motion to the next larger one, grey levels 0-255, one number a GIF, (N,).

    change         mean absolute change from frame to frame
    still_change   the same where nothing moves in either frame; soft edges of what moves reach into it
    warped_change  the same of each thing along the exact motion between the frames, where both show it

    The names of `pictures` stand before: {"": ..., "exact_": ...}. Of itself each says little: compare with the exact
    frames' own. NaN for a single motion.
    """
    K, found = len(motions), {}
    if K < 2:
        nothing = torch.full((len(exact.image),), torch.nan)
        return {which + kind: nothing for which in pictures for kind in ("change", "still_change", "warped_change")}
    order = sorted(range(K), key=lambda k: motions[k])

    def rising(frames: Tensor) -> Tensor:
        return frames.unflatten(0, (-1, K))[:, order]

    still = ~rising(exact.moving)
    flow = neighbours(rising(exact.flow), rising(exact.occluded), torch.tensor([float(motions[k]) for k in order]))
    for which, frames in pictures.items():
        gifs = rising(frames)
        found |= {which + "change": change(gifs), which + "still_change": change(gifs, still)}
        found[which + "warped_change"] = warped_difference(gifs, *flow)
    return found


def measured_motion(source: Tensor, frames: Tensor) -> Tensor:
    """m (Alg. 1) of each frame (N K, 3, S, S) against its source (N, 3, S, S): (N K,)."""
    parts = frames.unflatten(0, (len(source), -1))
    rows = [motion_magnitudes(picture, list(gif)) for picture, gif in zip(source, parts, strict=True)]
    return torch.tensor([m for row in rows for m in row])


def flow_error(flow: Tensor, exact: Frame) -> Tensor:
    """End-point error of a flow (B, 2, h, w), in its own cells, where things move and were visible before: px at 256, (B,)."""
    size = exact.image.shape[-1]
    fine = resized(flow, size, size) * (MOTION_SIZE / size)
    return end_point_error(fine, exact.flow * (MOTION_SIZE / size), exact.moving & ~exact.occluded)


def measured_flow_error(source: Tensor, frames: Tensor, exact: Frame) -> Tensor:
    """`flow_error` of the flow that DIS finds from frames (N K, 3, S, S) back to their sources (N, 3, S, S): (N K,).

    Of the exact frames it is the ruler's own error.
    """
    pairs = zip(frames, source.repeat_interleave(len(frames) // len(source), 0), strict=True)
    flows = [torch.from_numpy(dense_flow(frame, picture)) for frame, picture in pairs]
    return flow_error(torch.stack(flows), exact)


def search_flow(source: Tensor, target: Tensor, flow: Tensor, how: Any, steps: int = 150) -> Tensor:
    """The flow (B, 2, h, w), in cells, that brings the warped source nearest to the target in L_W, both (B, C, h, w).

    A local search (Adam) from `flow`: a still better one may exist. `how`: an object with flow_mode and interpolation.
    """
    flow = flow.clone().requires_grad_(True)
    adam = torch.optim.Adam([flow], lr=0.03)
    for _ in range(steps):
        loss = warp_loss(warp(source, flow, how.flow_mode, how.interpolation), target)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return flow.detach()


@torch.no_grad()
def best_warp(pipe: Pix2GifPipeline, part: Drawn, flow: Tensor) -> Tensor:
    """D(z_W) by the flow searched for each exact frame from the flow (N K, 2, r h, r w) of `generate_for`: (N K, 3, S, S).

    The search sees the exact frame, as FNet never does. It is of the plain look-up, whatever
    the weights have, and local: at least as good as the plain look-up it began at.
    """
    how, device = pipe.flow_net.config, pipe.vae.device
    source, target = (encode(pipe, picture.to(device)).float() for picture in (part.source, part.exact.image))
    source, r = source.repeat_interleave(len(flow) // len(source), 0), flow.shape[-1] // source.shape[-1]
    flow = tf.avg_pool2d(flow, r) / r  # in latent cells
    with torch.enable_grad():
        flow = search_flow(source, target, flow.to(source), how)
    return decode(pipe, warp(source, flow, how.flow_mode, how.interpolation))


def measure(
    pipe: Pix2GifPipeline,
    scenes: Sequence[Any],
    motions: Sequence[float] = DEMO_MOTIONS,
    steps: int | None = None,
    sampler: str | None = None,
    tick: Callable[[int], Any] | None = None,
    family: Family = SCENES,
) -> dict[str, Tensor]:
    """Everything there is to measure of N scenes, or members of another family, at K motions: (N, K), of `changes` (N, 1).

    Prefixes: none ours, ceiling_ the exact frame through E and D, copy_ the source, warp_ D(z_W), detail_ ours with the
    pipeline's detail, exact_ the exact frame.
    NaN where a frame has nothing of the region. `tick(n)` is told when n more scenes are done.
    """
    columns: dict[str, list[Tensor]] = {}
    for part in drawn(scenes, motions, pipe.config.image_size, family):
        source, exact = part.source, part.exact
        made = generate_for(pipe, part, motions, steps, sampler)
        ceiling = through_autoencoder(pipe, exact.image)
        values = {
            "asked": torch.tensor([float(m) for m in motions]).repeat(len(source)),
            "measured": measured_motion(source, made.image),
            "ruler": measured_motion(source, exact.image),
            "ceiling_measured": measured_motion(source, ceiling),
            "sharpness": sharpness(made.image) / sharpness(ceiling),
            "stillness": stillness(made.image, part.copies, ~exact.moving),
            "ceiling_stillness": stillness(ceiling, part.copies, ~exact.moving),
            "measured_flow_error": measured_flow_error(source, made.image, exact),
            "ruler_flow_error": measured_flow_error(source, exact.image, exact),
        }
        pictures = {"": made.image, "ceiling_": ceiling, "copy_": part.copies}
        if made.warped is not None:
            pictures |= {"warp_": made.warped, "detail_": with_detail(pipe, source, made)}
            values["flow_error"] = flow_error(made.flow, exact)
        for prefix, picture in pictures.items():
            found = fidelity(picture, exact) | similarity(picture, exact)
            values |= {prefix + name: value for name, value in found.items()}
        values |= changes({"": made.image, "ceiling_": ceiling, "exact_": exact.image}, exact, motions)
        for name, value in values.items():
            columns.setdefault(name, []).append(value.reshape(len(source), -1))
        if tick:
            tick(len(source))
    return {name: torch.cat(values) for name, values in columns.items()}
