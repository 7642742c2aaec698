"""diffusers' own InstructPix2Pix pipeline around our parts: what a general library makes of the same networks.

It is the Base variant of the paper's section 4.3: no warp, no motion embedding, the motion a word in the prompt. VAE, tokenizer
and text encoder are the weights' own; the UNet has 8 input channels and the weights' widths, and RANDOM numbers: what comes out
is noise, which takes as long as a picture. So its rows have a time and no quality.

Our autoencoder works in it as it is. diffusers takes it for one that keeps the picture's size (it counts `block_out_channels`,
and ours folds pixels instead), but uses that number only to round sizes that are whole already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from PIL import Image
from transformers.utils import logging

from ..pipeline import Pix2GifPipeline
from ..text import motion_prompt


def instruct_pix2pix(pipe: Pix2GifPipeline, seed: int = 0) -> DiffusionPipeline:
    """diffusers' pipeline of the weights' parts and a random UNet of their widths, with Euler ancestral on their schedule."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # importing it, transformers tells of image processors that nobody uses here
    try:
        from diffusers import StableDiffusionInstructPix2PixPipeline
    finally:
        logging.set_verbosity(before)
    c = pipe.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        channels = 2 * pipe.unet.config.out_channels
        unet = UNet2DConditionModel.from_config({**pipe.unet.config, "in_channels": channels}).eval()
    torch.nn.Module.to(unet, pipe.unet.dtype)  # diffusers' own `to` warns of layers to keep, even of none
    scheduler = EulerAncestralDiscreteScheduler(
        num_train_timesteps=c.train_timesteps,
        beta_start=c.beta_start,
        beta_end=c.beta_end,
        beta_schedule="scaled_linear",
        prediction_type=c.prediction_type,
        timestep_spacing=c.spacing,
    )
    parts = {name: getattr(pipe, name) for name in ("vae", "tokenizer", "text_encoder")}
    nobody = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    theirs = StableDiffusionInstructPix2PixPipeline(**parts, unet=unet, scheduler=scheduler, **nobody)
    theirs.set_progress_bar_config(disable=True)
    return theirs


def diffusers_frames(
    theirs: DiffusionPipeline,
    picture: Image.Image,
    caption: str,
    motions: Sequence[float],
    steps: int,
    s_I: float,
    s_T: float,
    batched: bool = False,
    seed: int = 0,
) -> list[Image.Image]:
    """One frame for each motion, one call a frame, or one for all (`batched`). s_T above 1: else it does not guide at all."""
    if s_T <= 1 or s_I < 1:
        raise ValueError(f"diffusers guides at s_T > 1 and s_I >= 1 only, not at s_T = {s_T:g}, s_I = {s_I:g}: raise them.")
    how: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": s_T, "image_guidance_scale": s_I}
    prompts = [motion_prompt(caption, m) for m in motions]
    if batched:
        generators = [torch.Generator().manual_seed(seed) for _ in prompts]
        return list(theirs(prompts, [picture] * len(prompts), generator=generators, **how).images)
    return [theirs(prompt, picture, generator=torch.Generator().manual_seed(seed), **how).images[0] for prompt in prompts]
