"""The guidance branches of a batch of frames: what each gives the UNet, by the table in guidance.py.

Flow and warp are computed here, once for each branch: they depend on the picture, the text and the motion, not on the
noise. This file knows no scales and no sampler.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .lookup import identity_grid
from .model import Pix2GifModel
from .sampling import Branch
from .second_look import SecondLook


def make_branches(
    model: Pix2GifModel,
    names: Sequence[str],
    image_latents: Tensor,
    c_T: Tensor,
    null: Tensor,
    motion: Tensor,
    s_M: float | None = None,
    bare: Tensor | None = None,
    corners: Tensor | None = None,
    second_look: SecondLook | None = None,
) -> tuple[dict[str, Branch], Tensor]:
    """The conditions of the named branches, and the flow of the last, the fullest: a displacement in its cells, float32.

    image_latents E(c_I) (B, 4, h, w); c_T (B, 77, w) of the prompts, null (77, w) of the empty one and bare, (77, w) or one
    for each, of the caption without its number, which is what "text" hears where motion is dropped (None: c_T); motion (B,).
    corners (B, N, 2) of the pictures: the full branch's flow is made as long as m says at them, see calibration.py. With
    `second_look` z_W is in part E of the picture itself, wherever a branch sees the picture.
    Without `s_M` every branch has its c_M (the paper's), with it the full branch alone. The flow is 0 for variants
    without a warp and for a dropped picture.
    """
    # image -> E(c_I) or 0,  c_L -> text plus motion,  F, z_W -> the branch's own flow and warped source
    null, keep = null.expand_as(c_T), torch.full((len(motion),), s_M is None, device=motion.device)
    branches, F, kind = {}, None, None if model.flow_net is None else model.flow_net.dtype  # it may stay in float32
    for name in names:
        image = torch.zeros_like(image_latents) if name == "none" else image_latents
        text = null if name in ("none", "image") else c_T if name == "full" or bare is None else bare.expand_as(c_T)
        c_L = model.add_motion(text, motion, None if name == "full" else keep)
        where = corners if name == "full" else None
        again = None if name == "none" else second_look
        F, z_W = (None, None) if kind is None else model.warp(image.to(kind), c_L.to(kind), where, motion, again)
        branches[name] = Branch(image, None if z_W is None else z_W.to(image.dtype), c_L)
    if F is None or name == "none":
        sides = [model.flow_places * side for side in image_latents.shape[-2:]]
        return branches, torch.zeros(len(motion), 2, *sides, device=image_latents.device)
    return branches, in_cells(F.float(), model.flow_net.config.flow_mode)


def in_cells(flow: Tensor, flow_mode: str) -> Tensor:
    """A flow of FlowNet (B, 2, h, w) as a displacement in cells: absolute places lose their own cell's."""
    if flow_mode == "displacement":
        return flow
    h, w = flow.shape[-2:]
    place = ((flow + 1) * flow.new_tensor([w, h])[:, None, None] - 1) / 2  # the inverse of to_coordinates
    return place - identity_grid(h, w, flow.device)
