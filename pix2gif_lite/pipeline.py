"""A picture, a caption and a list of motions become frames: the whole of Pix2Gif, for users.

    image ------------ E ---> E(c_I) --.
    caption, m_k ----- CLIP, M -> c_L --+--> FNet, WNet -> z_W --> sampler (UNet) --> D --> + detail --> frame k

All frames come from the same picture, so they are one batch: the picture and each distinct prompt are encoded once, flow
and warp computed once a frame (and once a branch of the guidance), and the UNet is called once a step for all of them.
This file checks what is asked for; the stages are in frames.py, how latents become other latents in model.py, guidance.py
and sampling.py, how pixels become other pixels in canvas.py.

To spend less memory, diffusers' own switches: `from_pretrained(..., torch_dtype=torch.float16)` (on CPUs bfloat16),
`enable_model_cpu_offload()` or `enable_sequential_cpu_offload()` in place of `.to("cuda")`, `vae.enable_tiling()` and
`vae.enable_slicing()`, `enable_attention_slicing()`; and `frames_at_once` in a call.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

from .calibration import corners_of
from .canvas import fit_size, lost_detail, to_source, to_tensor, work_size
from .diffusion import alphas_cumprod, sigmas_for
from .distilled import check_distilled, saved_step_counts
from .fast.direct_unet import DirectUNet
from .fast.kept import Kept
from .frames import KEPT_TEXTS, Order, decode_frames, encode_texts, look_again, sample_latents
from .hardware import out_of_memory
from .model import Pix2GifModel
from .noise import NOISES
from .origins.loading import load_parts
from .presets import LITE, Preset
from .pretrained import resolve_weights
from .request import check_at_once, check_image_size, check_interval, check_motions, check_scales, check_seed, untrained_note
from .result import Clock, Pix2GifOutput
from .second_look import check_share
from .text import cut_note, motion_prompt

FRAMES_AT_ONCE = 16  # in one UNet call, times the branches of the guidance
ADVICE = (
    "Make it smaller: frames_at_once=1 (--frames-at-once 1), half precision (torch_dtype=torch.float16, --dtype float16; on a "
    "CPU bfloat16), a smaller image_size (--image-size); on a GPU enable_model_cpu_offload() in place of .to() (--offload "
    "model); for large pictures vae.enable_tiling() (--tiling)."
)


class Pix2GifPipeline(DiffusionPipeline):
    """Pix2Gif (arXiv 2403.04634) as a diffusers pipeline: `.to(device, dtype)`, offloading and saving work as usual.

    The settings are kept in model_index.json: preset (its name), variant, prediction_type, residual, scale_image_latents, the
    schedule (train_timesteps, beta_start, beta_end), image_size (px, short side of the work picture), the defaults of a
    call, and distilled_steps, the only step counts that distilled weights take. Parts a variant does not use may be None.
    """

    model_cpu_offload_seq = "text_encoder->motion_embedding->flow_net->unet->vae"
    _optional_components = ["motion_embedding", "flow_net"]

    def __init__(
        self,
        vae: Any,
        tokenizer: Any,
        text_encoder: Any,
        unet: Any,
        motion_embedding: Any = None,
        flow_net: Any = None,
        preset: str = "lite",
        variant: str = "full",
        prediction_type: str = "v_prediction",
        residual: float | None = LITE.residual,
        scale_image_latents: bool = True,
        train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        image_size: int = 128,
        sampler: str = "dpmpp_2m",
        sampling_steps: int = LITE.sampling_steps,
        spacing: str = "trailing",
        s_T: float = 1.0,
        s_I: float = 1.0,
        calibrate: bool = False,
        second_look: float = 0.0,
        distilled_steps: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, tokenizer=tokenizer, text_encoder=text_encoder, unet=unet)
        self.register_modules(motion_embedding=motion_embedding, flow_net=flow_net)
        self.register_to_config(preset=preset, variant=variant, prediction_type=prediction_type, residual=residual)
        self.register_to_config(scale_image_latents=scale_image_latents, image_size=image_size, spacing=spacing)
        self.register_to_config(train_timesteps=train_timesteps, beta_start=beta_start, beta_end=beta_end)
        self.register_to_config(sampler=sampler, sampling_steps=sampling_steps, s_T=s_T, s_I=s_I)
        counts = saved_step_counts(distilled_steps)
        share = check_share(second_look) if flow_net is not None else 0.0
        self.register_to_config(calibrate=calibrate and flow_net is not None, second_look=share, distilled_steps=counts)
        self._texts = Kept(KEPT_TEXTS)

    @classmethod
    def from_components(cls, preset: Preset, components: dict[str, Any], **changes: Any) -> Pix2GifPipeline:
        """A pipeline of parts in memory, as `build_components` returns them, with the preset's settings."""
        names = [name for name in cls._get_signature_keys(cls)[1] if name != "preset"]
        settings = {name: getattr(preset, name) for name in names} | changes
        unused = {"base": ("motion_embedding", "flow_net"), "motion-embed": ("flow_net",)}.get(settings["variant"], ())
        return cls(**{**components, **dict.fromkeys(unused)}, preset=preset.name, **settings)

    @classmethod
    def from_pretrained(
        cls, weights: str | os.PathLike = "lite", *, torch_dtype: torch.dtype = torch.float32, **options: Any
    ) -> Pix2GifPipeline:
        """The pipeline of "lite" (shipped), a local folder or a Hub id, in `torch_dtype` (or `dtype`) whatever it was saved in.

        `options`: parts to use instead of the saved ones (vae=..., unet=...), settings to change (image_size=512), and for
        the Hub revision, token, cache_dir, local_files_only. Only safetensors are read, and only this project's classes
        made, whatever the folder says. Raises FileNotFoundError without weights, ValueError where they cannot be used.
        """
        torch_dtype = options.pop("dtype", torch_dtype)  # diffusers' newer name
        names, settings = cls._get_signature_keys(cls)
        given = {key: options.pop(key) for key in (*names, *settings) if key in options}
        parts, index = load_parts(resolve_weights(weights), torch_dtype, skip=given.keys() & set(names), **options)
        return cls(**{**parts, **{key: index[key] for key in settings if key in index}, **given})

    @property
    def model(self) -> Pix2GifModel:
        """The parts glued together (Figure 3 of the paper); holds the same weights, not copies."""
        return Pix2GifModel.from_parts(self.components, self.config).eval()

    @property
    def motion_rows(self) -> int | None:
        """Length of the motion table (motions are 0 .. rows - 1); None for the base variant, which has none."""
        return None if self.motion_embedding is None else self.motion_embedding.config.rows

    @property
    def image_scale(self) -> float:
        """What E(c_I) is multiplied by before FNet and the UNet see it."""
        return self.vae.config.scaling_factor if self.config.scale_image_latents else 1.0

    def work_size(self, source: Image.Image, image_size: int | None = None) -> tuple[int, int]:
        """(width, height) px at which the models work on a picture: its short side is `image_size` (None: the weights' own)."""
        short = self.config.image_size if image_size is None else image_size
        return work_size(source.size, short, math.lcm(32, self.vae.downsampling * self.model.latent_multiple))

    @torch.no_grad()  # not inference_mode: weights that an offload moves in a call could never be trained again
    def encode(self, source: Image.Image, image_size: int | None = None) -> Tensor:
        """E of an upright RGB picture at its work size, (1, 4, h, w), as D takes it: `image_scale` is still to come."""
        work = to_tensor(source.resize(self.work_size(source, image_size), Image.Resampling.LANCZOS))
        return self.vae.encode(work.to(self._execution_device, self.vae.dtype)).latent_dist.mode()

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        caption: str,
        motion: Real | Iterable[Real],
        *,
        steps: int | None = None,
        sampler: str | None = None,
        s_T: float | None = None,
        s_I: float | None = None,
        s_M: float | None = None,
        interval: tuple[float, float] | None = None,
        seed: int = 0,
        generator: torch.Generator | None = None,
        noise: str = "shared",
        detail: bool = True,
        image_size: int | None = None,
        output_size: int | tuple[int, int] | None = None,
        frames_at_once: int | None = FRAMES_AT_ONCE,
        callback: Callable[[dict], None] | None = None,
        quiet: bool = False,
    ) -> Pix2GifOutput:
        """One frame for each motion, from one picture.

        image        path, PIL image, uint8 array (H, W, 3) or tensor (3, H, W) in [-1, 1]; any size and aspect
        caption      what moves and how; motion: px at 256 x 256, one number a frame, 0 is the picture itself
        steps        denoising steps; sampler: "dpmpp_2m" or "euler_ancestral"
        s_T, s_I     text and image guidance, 1 = none; s_M: motion guidance (None: the paper's formula, without it)
        interval     (low, high): guidance only at noise levels low < sigma <= high
        seed         of the noise, or a `generator`; noise: "shared" by all frames (no flicker) or "independent"
        detail       add what the autoencoder lost of the source, carried along by the flow
        image_size   short side in px at which the models work; far from the size trained at they know less
        output_size  longest side in px or (width, height); None: the picture's own
        frames_at_once  how many go through the UNet, and D, together (None: all): for memory; the frames stay the same
        callback     gets the sampler's dict at each step, with `frames`, which are in it, and `progress`, 0-1; may raise
        quiet        do not warn: what there is to say of the request is in the output's `notes` either way
        None takes the weights' own default. Raises ValueError or FileNotFoundError on bad input, before any model runs;
        MemoryError, which says what to change, where there is not enough.
        """
        c = self.config
        motions = check_motions(motion, self.motion_rows)
        prompts = [motion_prompt(caption, m) for m in motions if m != 0]
        scales = check_scales(c.s_I if s_I is None else s_I, c.s_T if s_T is None else s_T, s_M)
        interval = check_interval(interval)
        sampler = c.sampler if sampler is None else sampler
        ac = alphas_cumprod(c)  # the settings have a preset's names
        steps = c.sampling_steps if steps is None else steps
        sigmas, _ = sigmas_for(steps, ac, c.spacing, sampler)
        check_distilled(c.distilled_steps, steps, sampler, scales, interval)
        if noise not in NOISES:
            raise ValueError(f"Unknown noise {noise!r}: choose one of {', '.join(NOISES)}.")
        generator = torch.Generator().manual_seed(check_seed(seed)) if generator is None else generator
        image_size = check_image_size(c.image_size if image_size is None else image_size)
        at_once = check_at_once(len(motions) if frames_at_once is None else frames_at_once)
        source = to_source(image)
        size = fit_size(source.size, output_size)
        notes = untrained_note(motions) + cut_note(self.tokenizer, prompts)
        for note in () if quiet else notes:
            warnings.warn(note, stacklevel=3)  # at the caller's line, beyond the wrapper of no_grad
        process = interval, sampler, sigmas, ac, c.prediction_type, noise
        order = Order(caption, motions, scales, *process, generator, at_once, callback)
        with out_of_memory(ADVICE):
            try:
                return self._make(order, source, size, image_size, detail, notes)
            finally:  # also after an error, or a callback that stopped it
                self.maybe_free_model_hooks()

    def _make(
        self, order: Order, source: Image.Image, size: tuple[int, int], image_size: int, detail: bool, notes: list[str]
    ) -> Pix2GifOutput:
        clock, model = Clock("encode", "condition", "sample", "decode"), self.model
        cells = [side // self.vae.downsampling for side in reversed(self.work_size(source, image_size))]
        still = source if source.size == size else source.resize(size, Image.Resampling.LANCZOS)
        frames = [still.copy() for _ in order.motions]  # each its own: a caller may draw on one
        flow = torch.zeros(len(order.motions), 2, *(model.flow_places * side for side in cells))
        if rows := order.rows:  # else nothing moves: the picture itself, and no model
            # 1. the picture
            latent = self.encode(source, image_size)
            E = (latent * self.image_scale).to(self.unet.dtype)
            decoded = self.vae.decode(latent).sample if detail and model.uses_warp else None  # detail needs a flow
            extra = None if decoded is None else (lost_detail(still, decoded), decoded)
            self.maybe_free_model_hooks()  # E and D have their turn again at the end, the UNet may need their room
            clock.lap("encode")
            # 2. the texts
            c_T = encode_texts(order, self.tokenizer, self.text_encoder, E, self._texts)
            clock.lap("condition")
            # 3. the frames
            model.unet = DirectUNet(self.unet)
            corners = corners_of([source]) if self.config.calibrate else None
            z, F = sample_latents(order, model, E, c_T, clock, corners, look_again(self, source, image_size))
            for row, f, picture in zip(rows, F, decode_frames(order, self.vae, z, F, size, extra), strict=True):
                for k in order.same_as(row):
                    frames[k], flow[k] = picture.copy(), f
            clock.lap("decode")
        return Pix2GifOutput(frames, order.motions, flow, clock.times, source, notes)
