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

from .metrics import region_mean
from .warping import to_sampling_grid, warp

NEAR = 0.05  # px: so near to its point of the source has a found place to come
SEARCH_STEPS = 12


def flow_between(
    before: Tensor, after: Tensor, hidden_before: Tensor, hidden_after: Tensor, share: Tensor | float = 1.0
) -> tuple[Tensor, Tensor]:
    """From the exact flows of two frames: the flow (B, 2, H, W) from the later one's pixels to the same points in the earlier.

    before, after   backward flows (B, 2, H, W) of the two frames to the picture that both come from
    hidden_*        (B, 1, H, W) bool: pixels that the picture does not show (`Frame.occluded`)
    share           where to begin to look, (B,): which part of the later frame's motion the earlier one's is

    Returns the flow and where it holds, (B, 1, H, W) bool. It holds where r + before(r) is the point within 0.05 px and
    neither end is hidden: a place that passes this IS the right one, up to bilinear look-up, since a point of the picture
    is seen once. What is not found (an object's last pixel, where flows of two things mix) is left out.
    """
    # after(p)   -> the point q = p + after(p); the search is for d with (p + d) + before(p + d) = q
    share = torch.as_tensor(share, dtype=after.dtype, device=after.device).reshape(-1, 1, 1, 1)
    d = after * (1 - share)
    for _ in range(SEARCH_STEPS):  # a contraction where the flow varies by less than a pixel a pixel
        d = after - warp(before, d)
    miss = (d + warp(before, d) - after).norm(dim=1, keepdim=True)
    there = to_sampling_grid(d).permute(0, 2, 3, 1)
    seen = tf.grid_sample((~hidden_before).to(d.dtype), there, mode="nearest", padding_mode="zeros", align_corners=False)
    return d, (miss < NEAR) & (seen > 0.5) & ~hidden_after


def warped_difference(frames: Tensor, flows: Tensor, hidden: Tensor, motions: Tensor) -> Tensor:
    """Mean absolute change of each thing from frame to frame, its motion taken out, grey levels 0-255: (N,).

    frames (N, K, 3, H, W) in [-1, 1] and their exact backward flows (N, K, 2, H, W), hidden (N, K, 1, H, W) as
    `Frame.occluded`, motions (K,) > 0 in rising order. The frame before is looked up between its pixels, bicubic, so the
    exact frames have a small difference too: subtract it. Raises ValueError for less than two frames.
    """
    N, K = frames.shape[:2]
    if K < 2:
        raise ValueError("One frame has no neighbour: give at least two.")
    frames = frames.float().clamp(-1, 1)
    pairs = [(part[:, :-1].flatten(0, 1), part[:, 1:].flatten(0, 1)) for part in (frames, flows.float(), hidden)]
    (earlier, later), (before, after), (hidden_before, hidden_after) = pairs
    share = (motions[:-1] / motions[1:]).repeat(N)
    flow, holds = flow_between(before, after, hidden_before, hidden_after, share)
    apart = (later - warp(earlier, flow, interpolation="bicubic")).abs().mul(127.5).mean(1, keepdim=True)
    # pixels of all neighbours count alike: one picture, the pairs below each other
    apart, holds = (part.unflatten(0, (N, K - 1)).transpose(1, 2).flatten(2, 3) for part in (apart, holds))
    return region_mean(apart, holds)
