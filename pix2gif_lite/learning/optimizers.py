"""Which optimiser moves the weights: AdamW, in 32 or 8 bits a moment (Loshchilov & Hutter 2019; Dettmers et al. 2022)."""

from __future__ import annotations

import torch
from torch import nn

BETAS = (0.9, 0.99)  # the second moment follows the small steps of a short run


def build_optimizer(name: str, trained: list[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW over the parameters `trained`, of which biases and norms are not decayed.

    name    "adamw", 8 bytes of moments a weight, or "adamw8bit", 2 bytes (bitsandbytes; weights of less than 4096 numbers
            keep 8). Their steps differ by rounding: a checkpoint of one is none of the other.
    """
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=True)
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(groups, lr=learning_rate, betas=BETAS)
