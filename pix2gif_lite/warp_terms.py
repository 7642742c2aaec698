"""The loss terms that a warp can answer for by itself (section 3.4 of the paper), chosen by their weights.

The training (learning/model_job.py) and the memory count (learning/dry_run.py) both call this, so they have the same terms.
Which samples count, and how much, the caller decides.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor

from .losses import DecoderFeatures, VGG19Features, flow_loss, outline_loss, perceptual_loss, smoothness_loss, warp_loss
from .warping import FlowPyramid

BEYOND = 8  # px of the latents' pictures: so far F is asked to go on around what moves, where O says where that ends
FROM_THE_EXACT_FLOW = ("flow", "outline")  # not every batch knows it


def warp_terms(
    weights: Container[str],
    flows: FlowPyramid,
    z_W: Tensor,
    target: Tensor,
    exact: Tensor | None = None,
    features: DecoderFeatures | VGG19Features | None = None,
    like: Tensor | None = None,
) -> dict[str, Tensor]:
    """The named terms, each one number: warp, flow, outline, smooth, and perceptual where there are features.

    flows, z_W (B, C, h, w): of one batch; target (B, C, h, w): the later frame's latent; exact (B, 2, S, S): the exact flow in
    pixels, NaN where unknown (None: no flow and no outline); features: phi; like (B, C, h, w): what phi compares z_W with.
    """
    terms, places = {}, flows.places
    if "warp" in weights:
        terms["warp"] = warp_loss(z_W, target)
    if "flow" in weights and exact is not None:
        terms["flow"] = flow_loss(flows.finest, exact, beyond=0 if places is None else BEYOND)
    if "outline" in weights and exact is not None and places is not None:
        terms["outline"] = outline_loss(places.moving, exact)
    if "smooth" in weights:
        terms["smooth"] = smoothness_loss(flows.flow0)
    if features is not None:
        with torch.no_grad():
            wanted = features(like)
        terms["perceptual"] = perceptual_loss(wanted, features(z_W))
    return terms
