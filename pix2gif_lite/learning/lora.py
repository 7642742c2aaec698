"""LoRA: a UNet too large to train on a small card learns through small additions to its attention (Hu et al. 2021).

    W x   becomes   W x + (alpha / rank) B A x        A: rank x inputs, random    B: outputs x rank, zero

W stays as it is and needs neither gradient nor optimiser nor average; B = 0, so that nothing has changed before training.
Input channels that the UNet's parent did not have (z_W's) hold no knowledge yet: they are trained themselves. When all
is learnt, B A is added to W and the UNet is a plain one again. peft does the work, through diffusers.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.utils import parametrize

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")  # W_q, W_k, W_v, W_o of every attention, to itself and to the text


def add_lora(
    unet: UNet2DConditionModel,
    rank: int = 16,
    alpha: float | None = None,
    *,
    new_channels: int | None = None,
    frozen_dtype: torch.dtype | None = None,
    seed: int = 0,
) -> None:
    """Freeze the UNet, in place, but for what it learns through from now on: adapters on its attention, and conv_in.

    alpha         the adapters count alpha / rank; None: once
    new_channels  the last so many input channels of conv_in are trained, its other channels and its bias are not; None:
                  those that are all zero, as a widened parent's are (`new_input_channels`); where none is, conv_in whole
    frozen_dtype  half precision for the frozen layers, half their memory; what is trained, and the norms, stay float32. Such
                  a UNet runs under autocast only
    seed          of A

    Raises ModuleNotFoundError without peft; ValueError for a rank below 1, a UNet that has adapters or no attention.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ModuleNotFoundError("LoRA needs peft: run `pip install 'pix2gif-lite[paper]'`, or train without it.") from error
    attention = [name for name, _ in unet.named_modules() if name.endswith(ATTENTION)]
    channels = unet.conv_in.weight.shape[1]
    new_channels = new_input_channels(unet) if new_channels is None else new_channels
    if not isinstance(rank, int) or rank < 1:
        raise ValueError(f"A LoRA of rank {rank}: give a whole number from 1 up, such as 16.")
    if hasattr(unet, "peft_config"):
        raise ValueError("The UNet has adapters already: merge them with merge_lora, then add new ones.")
    if not attention:
        raise ValueError("The UNet has no attention that LoRA could adapt: train it whole.")
    if not 1 <= new_channels <= channels:
        raise ValueError(f"new_channels is {new_channels}: conv_in has {channels} input channels, give 1 to {channels}.")

    unet.requires_grad_(False)
    if frozen_dtype is not None:
        for module in unet.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)) and module is not unet.conv_in:
                module.to(frozen_dtype)
    with torch.random.fork_rng(devices=[]):  # the caller's random state is left alone
        torch.manual_seed(seed)
        alpha = rank if alpha is None else alpha
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=attention))
    if new_channels < channels:
        known = unet.conv_in.weight.detach()[:, : channels - new_channels]
        parametrize.register_parametrization(unet.conv_in, "weight", _NewChannels(known))
        unet.conv_in.parametrizations.weight.original.requires_grad_(True)
    else:
        unet.conv_in.requires_grad_(True)
    for parameter in unet.parameters():
        if parameter.requires_grad:  # peft makes adapters in the dtype of the layer they are on
            parameter.data = parameter.data.float()


def new_input_channels(unet: UNet2DConditionModel) -> int:
    """How many input channels of conv_in, counted from the last, are all zero: what widening a parent added. Else all."""
    used = unet.conv_in.weight.detach().abs().amax((0, 2, 3)).nonzero()
    channels = unet.conv_in.weight.shape[1]
    known = int(used.max()) + 1 if len(used) else 0
    return channels - known or channels


def merge_lora(unet: UNet2DConditionModel) -> None:
    """Add what the adapters learnt to the UNet's own weights, in place: a plain float32 UNet with its old names.

    Raises ValueError for a UNet without adapters, and for adapters that are not finite.
    """
    if not hasattr(unet, "peft_config"):
        raise ValueError("The UNet has no adapters to merge: add_lora comes first.")
    from peft.tuners.tuners_utils import BaseTunerLayer

    if parametrize.is_parametrized(unet.conv_in):
        parametrize.remove_parametrizations(unet.conv_in, "weight")
    unet.float()  # before anything is added: in half precision the sum would be rounded
    for module in unet.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
    unet.unload_lora()
    unet.requires_grad_(True)


class _NewChannels(nn.Module):
    """conv_in's kernel (out, in, 3, 3) as known channels, which stay, and new ones, which are the parameter that is trained."""

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.known = nn.Parameter(known.clone(), requires_grad=False)

    def forward(self, new: Tensor) -> Tensor:
        return torch.cat([self.known, new], dim=1)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight[:, self.known.shape[1] :].contiguous()
