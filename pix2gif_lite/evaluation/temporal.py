"""Does a thing keep its looks while it moves? Neighbouring frames compared along the exact motion between them.

A GIF may change from frame to frame because things move, or because the model paints them anew each time. Where the exact
motion is known the first can be taken out: each pixel of a frame is compared with the place in the frame before where the
same point of the source is seen.

    frame k+1, pixel p --exact backward flow--> the source's point q = p + f_(k+1)(p) <--f_k-- r, a place in frame k

Flows are backward, (B, 2, H, W), in pixels of their own frame, x then y: frame(p) = source(p + f(p)).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as tf

from ..lookup import to_sampling_grid, warp
from ..metrics import region_mean

NEAR = 0.05  # px: so near to its point of the source has a found place to come
MIXED = 0.15  # px: so far may the flow between pixels be from that of the nearest pixel
SEARCH_STEPS = 6


def flow_between(
    before: Tensor, after: Tensor, hidden_before: Tensor, hidden_after: Tensor, share: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """From the exact flows of two frames: the flow (B, 2, H, W) from the later one's pixels to the same points in the earlier.

    before, after   backward flows (B, 2, H, W) of the two frames to the picture that both come from
    hidden_*        (B, 1, H, W) bool: pixels that the picture does not show (`Frame.occluded`)
    share           where to begin to look, (B,): which part of the later frame's motion the earlier one's is

    Returns the flow and where it holds, (B, 1, H, W) bool. It holds where r + before(r) is the point within 0.05 px and
    neither end is hidden: a place that passes this IS the right one, up to bilinear look-up, since a point of the picture
    is seen once. An object's last pixel, where the flows of two things mix, is left out: 3% of what moves in scenes.
    """
    # after(p)   -> the point q = p + after(p); the search is for d with (p + d) + before(p + d) = q
    share = torch.as_tensor(share, dtype=after.dtype, device=after.device).reshape(-1, 1, 1, 1)
    d = after * (1 - share)
    for _ in range(SEARCH_STEPS):  # a contraction where the flow varies by less than a pixel a pixel
        d = after - warp(before, d)
    found = warp(before, d)
    miss = (d + found - after).norm(dim=1, keepdim=True)
    pixels = torch.cat([before, (~hidden_before).to(d.dtype)], 1)
    there = to_sampling_grid(d).permute(0, 2, 3, 1)
    flow, seen = tf.grid_sample(pixels, there, mode="nearest", padding_mode="zeros", align_corners=False).split([2, 1], 1)
    mixed = (flow - found).norm(dim=1, keepdim=True)  # of two things that move differently
    return d, (miss < NEAR) & (mixed < MIXED) & (seen > 0.5) & ~hidden_after


def neighbours(flows: Tensor, hidden: Tensor, motions: Tensor) -> tuple[Tensor, Tensor]:
    """`flow_between` each frame of GIFs and the frame before it: (N, K - 1, 2, H, W) and (N, K - 1, 1, H, W).

    Exact backward flows (N, K, 2, H, W), hidden (N, K, 1, H, W) as `Frame.occluded`, motions (K,) > 0 in rising order.
    """
    N, K = flows.shape[:2]
    (before, after), (hidden_before, hidden_after) = (
        (part[:, :-1].flatten(0, 1), part[:, 1:].flatten(0, 1)) for part in (flows.float(), hidden)
    )
    share = (motions[:-1] / motions[1:]).repeat(N)
    found = flow_between(before, after, hidden_before, hidden_after, share)
    return tuple(part.unflatten(0, (N, K - 1)) for part in found)


def warped_difference(frames: Tensor, flow: Tensor, holds: Tensor) -> Tensor:
    """Mean absolute change of each thing from frame to frame, its motion taken out, grey levels 0-255: (N,).

    Frames (N, K, 3, H, W) in [-1, 1], in the order of their motion; flow and holds as `neighbours` returns them. The frame
    before is looked up between its pixels, bicubic, so the exact frames have a small difference too: subtract it.
    """
    frames = frames.float().clamp(-1, 1)
    looked_up = warp(frames[:, :-1].flatten(0, 1), flow.flatten(0, 1), interpolation="bicubic")
    apart = (frames[:, 1:] - looked_up.unflatten(0, flow.shape[:2])).abs().mul(127.5)
    # pixels of all neighbours count alike: one picture, the pairs below each other
    return region_mean(*(part.transpose(1, 2).flatten(2, 3) for part in (apart, holds)))
