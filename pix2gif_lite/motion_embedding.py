"""M, the motion embedding: a table that turns the motion number m into a vector (section 3.3.1 of the paper).

The paper's point: with the motion only in the prompt ("... The optical flow is twelve.") the network "gave divided
attention to a single token". So m also gets a vector of its own, c_M, which is added to every token of the text:

    c_M = M[m]             one row of the table
    c_L = c_T + c_M        goes to the warping module and to the UNet's cross-attention

The table knows nothing about what a pixel of motion looks like; it only learns what the losses tell it.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class MotionEmbedding(ModelMixin, ConfigMixin):
    """M: `rows` x `width`, row k belongs to the motion of k pixels at 256 x 256 (the paper's table: 1024 x 768)."""

    @register_to_config
    def __init__(self, rows: int = 64, width: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, width)
        # c_T leaves a LayerNorm with entries near 1: a tenth of that is heard from the first step and drowns nothing.
        nn.init.normal_(self.embedding.weight, std=0.1)

    def lookup(self, motion: Tensor) -> Tensor:
        """c_M, (B, width), of the motions (B,), integers or fractions: 2.5 lies half-way between rows 2 and 3.

        Raises ValueError for a motion outside the table, 0 .. rows - 1.
        """
        table = self.embedding.weight
        last = table.shape[0] - 1
        if not table.is_meta:  # an offloaded table comes to where the motion is
            motion = torch.as_tensor(motion, device=table.device)
        motion = motion.to(torch.float32)
        if motion.dim() != 1:
            raise ValueError(f"motion has shape {tuple(motion.shape)}: give one number a sample, shape (B,).")
        outside = motion[~((motion >= 0) & (motion <= last))]  # the negation also catches NaN
        if outside.numel():
            raise ValueError(f"Motion {outside[0].item():g} is outside the table: give a number from 0 to {last}.")
        below = motion.floor()
        share = (motion - below).to(table.dtype)[:, None]  # (B, 1), 0 for a whole number
        return torch.lerp(self.embedding(below.long()), self.embedding(motion.ceil().long()), share)

    def forward(self, c_T: Tensor, motion: Tensor, keep: Tensor | None = None) -> Tensor:
        """c_L = c_T + c_M, (B, tokens, width), for text c_T (B, tokens, width) and motions (B,).

        Where `keep` (B,) bool is False the motion is dropped: c_M = 0 (ours, for motion guidance).
        """
        c_M = self.lookup(motion)  # (B, width)
        if keep is not None:
            c_M = c_M * keep.to(c_M)[:, None]
        return c_T + c_M[:, None].to(c_T.dtype)  # the one vector, on all tokens
