"""The recipe of the paper's published code, on any weights: what its speed is compared with.

    for each motion m_k                                  one frame after the other
        E(c_I), c_T                                      encoded anew
        100 steps of Euler ancestral                     the same noise for every frame
            F, z_W of e(0,0), e(I,0), e(I,T)             FlowNet and warp at every step, though they do not change
            UNet on all three, guided                    s_I = 1.8, s_T = 7.5 (paper section 4.1)
        D

The mathematics, the parts and the weights are those of the pipeline, and so is the result (tests compare them): what differs is
how often each part runs. Lite's second look is left out, which the paper has not: one E a prediction less.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ..calibration import corners_of
from ..canvas import to_pil
from ..diffusion import alphas_cumprod, sigmas_for
from ..noise import FrameNoise
from ..pipeline import Pix2GifPipeline
from ..sampling import Branch, Denoiser, euler_ancestral, start
from ..text import NULL_PROMPT, encode_text, motion_prompt, tokenize

STEPS, S_I, S_T = 100, 1.8, 7.5


@torch.inference_mode()
def reference_frames(
    pipe: Pix2GifPipeline,
    picture: Image.Image,
    caption: str,
    motions: Sequence[float],
    steps: int = STEPS,
    s_I: float = S_I,
    s_T: float = S_T,
    seed: int = 0,
) -> list[Image.Image]:
    """One frame for each motion (px at 256 x 256, above 0), at the size that the models work at, without the pipeline's detail.

    ValueError for an empty caption, and for steps that the schedule has not.
    """
    c, model, ac = pipe.config, pipe.model, alphas_cumprod(pipe.config)
    sigmas, _ = sigmas_for(steps, ac, c.spacing, "euler_ancestral")
    frames = []
    for m in motions:
        # 1. the picture and the texts of the three predictions
        E = (pipe.encode(picture) * pipe.image_scale).to(pipe.unet.dtype)
        texts = encode_text(pipe.text_encoder, tokenize(pipe.tokenizer, [NULL_PROMPT, motion_prompt(caption, m)]).to(E.device))
        null, c_T = texts.to(E.dtype)
        motion = torch.full((3,), float(m), device=E.device)
        c_L = model.add_motion(torch.stack([null, null, c_T]), motion)
        images = torch.cat([torch.zeros_like(E), E, E])
        blank = torch.zeros(3, 2, 2)  # without corners: the last flow alone is calibrated, as `make_branches` has it
        corners = corners_of([blank, blank, picture]) if c.calibrate else None

        # 2. from noise to a latent
        def denoise(x: Tensor, sigma: float, images=images, c_L=c_L, corners=corners, motion=motion) -> Tensor:
            _, z_W = model.warp(images, c_L, corners, motion)
            warped = (None,) * 3 if z_W is None else z_W.split(1)
            parts = zip(images.split(1), warped, c_L.split(1), strict=True)
            branches = dict(zip(("none", "image", "full"), (Branch(*part) for part in parts), strict=True))
            return Denoiser(model, ac, c.prediction_type, branches, s_I, s_T)(x, sigma)

        generator = torch.Generator().manual_seed(seed)
        first, later = FrameNoise("shared", E.shape[1:], len(sigmas), generator, E.device, 1).batch([0])
        z = euler_ancestral(denoise, start(first, sigmas), sigmas, later)
        # 3. the picture
        frames.append(to_pil(pipe.vae.decode((z / pipe.vae.config.scaling_factor).to(pipe.vae.dtype)).sample[0]))
    return frames
