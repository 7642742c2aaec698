"""Every size, rate and slider of Pix2Gif Lite, with its unit and its symbol in the paper (arXiv 2403.04634, section 4.1).

Three presets share one code path: `LITE` (128 px, trained on two CPU cores, shipped), `PAPER` (256 px, starts from Stable
Diffusion weights) and `TINY` (tests and quick notebook cells). This file imports nothing, so reading it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

MOTION_MIN, MOTION_MAX = 2, 20  # the range of m kept by the paper's curation (section 3.1), pixels at 256 x 256
MOTION_SIZE = 256  # m is measured after a resize to this many pixels a side, whatever the picture's size
DEMO_MOTIONS = (2, 4, 6, 8, 11, 13, 16, 19)  # the eight-frame list of the paper's demo
VARIANTS = ("base", "motion-embed", "warp", "warp-add", "warp-concat", "full")  # section 4.3, weakest first


@dataclass(frozen=True)
class AutoencoderPreset:
    """E and D. `patch` folds p x p pixels into channels before the first convolution (1: none, as Stable Diffusion's)."""

    patch: int = 4
    channels: tuple[int, ...] = (96,)  # one entry a resolution, finest first; lite works at the latent's own 32 x 32
    layers: int = 2  # residual blocks a resolution in E (D has one more)
    latent_channels: int = 4
    norm_groups: int = 16
    kl_weight: float = 1e-4  # weight of KL(q(z|x) || N(0, 1)), a latent number, in E and D's loss: keeps the latent smooth
    learning_rate: float = 1.5e-3
    batch_size: int = 8
    steps: int = 20_000
    warmup_steps: int = 200


@dataclass(frozen=True)
class Preset:
    """One scale of the project. Pictures are `image_size` px a side, latents `latent_size` cells a side."""

    name: str
    image_size: int = 128
    latent_size: int = 32
    autoencoder: AutoencoderPreset = field(default_factory=AutoencoderPreset)
    scale_image_latents: bool = True  # multiply E(c_I) by the scaling factor, as z_t is (the reference does not)

    # c_T: the text encoder
    text_width: int = 256  # a multiple of 256: the injection module strides by text_width / 256
    text_layers: int = 2
    text_heads: int = 4
    text_tokens: int = 77
    vocab_size: int = 4096
    train_text: bool = True  # CLIP is frozen at the paper's scale

    # c_M: the motion embedding, M
    motion_rows: int = 64  # integers 0 .. rows - 1 have a row of their own

    # F, z_W: the warping module
    flow_width: int = 64  # ngf
    flow_norm: str = "group"  # "batch" is the reference's; "group" does not mind small batches
    flow_mode: str = "displacement"  # "absolute" only to load and compare with the reference
    flow_text_maps: int = 16  # channels that IM writes
    flow_widths: tuple[int, int] | None = (64, 32)  # on the way up, middle and finest scale; None: ngf / 2 and ngf / 4
    flow_skips: bool = True  # ours: the flow sees the picture at every scale, so it can end where an object does
    flow_mixing: int = 2  # ours: blocks in which text and picture multiply; the reference has none
    flow_subcells: int = 4  # ours: WNet learns to look between cells, at so many places a side; 0: the paper's, no weights
    flow_bodies: int = 2  # ours: so many things may each move as one, where there are places; 0: each goes its own way
    interpolation: str = "bicubic"  # of WNet; "bilinear" is the paper's, and blurs what moves by a fraction of a cell

    # the UNet
    variant: str = "full"
    unet_channels: tuple[int, ...] = (64, 96, 128, 128)
    unet_attention: tuple[bool, ...] = (False, False, True, True)  # attention costs: only at 8 x 8 and 4 x 4
    unet_layers: int = 1
    unet_heads: int = 4
    unet_norm_groups: int = 16

    # the diffusion process
    prediction_type: str = "v_prediction"
    residual: float | None = 0.07  # s: the UNet says how x_0 differs from z_W, this far on average; None: it says v itself
    train_timesteps: int = 1000  # T
    beta_start: float = 0.00085
    beta_end: float = 0.012

    # losses (section 3.4): weights of the terms, 0 = the term is not computed
    loss_weights: dict[str, float] = field(
        default_factory=lambda: {"diffusion": 1.0, "perceptual": 0.01, "warp": 0.3, "flow": 0.0, "outline": 0.0, "smooth": 0.0}
    )
    perceptual_target: str = "target"  # "source" is Eq. 7
    perceptual_network: str = "decoder"  # or "vgg19", which needs torchvision; "auto": vgg19 where it can be had
    # maps of the decoder that phi has: 1 is conv_in alone, which is linear; a second, a block, costs a quarter of the speed
    perceptual_depth: int | None = 1

    # training
    learning_rate: float = 1e-3
    batch_size: int = 32  # effective, over all devices and accumulation steps
    steps: int = 100_000
    warmup_steps: int = 300
    lr_start: float = 0.0  # where the linear warm-up begins
    lr_schedule: str = "cosine"  # after it: falls to 0 at the end of the run, or stays ("constant")
    micro_batch: int | None = None  # samples a device at once; the rest of a batch is accumulated. None: all
    weight_decay: float = 1e-2
    grad_clip: float = 1.0
    ema_decay: float = 0.999
    # this share of the samples takes its timestep from the last tenth of T, where few steps begin; the others from all of T
    noisiest: float = 0.0
    drop_text: float = 0.05
    drop_image: float = 0.05
    drop_both: float = 0.05
    drop_motion_with_text: float = 0.5  # of the text drops, the share that drops the motion too (for s_M)
    drop_motion: float = 0.03  # of the samples that keep text and image, the share that drops the motion alone (for s_M)

    # sampling
    sampler: str = "dpmpp_2m"
    sampling_steps: int = 1  # each further one costs about 0.1 dB (the card); where one answer is right, the seed has no say
    spacing: str = "trailing"
    s_T: float = 1.0
    s_I: float = 1.0
    s_M: float = 1.0  # where a slider for it begins; sampling leaves it out unless it is given
    calibrate: bool = True  # ours: F is made as long as the source's corners say, by Alg. 1
    second_look: float = 0.4  # ours: the share of z_W that is E of the picture itself, moved along F; 0: none, the paper's
    distilled_steps: tuple[int, ...] | None = None  # the UNet was distilled for these step counts, unguided; None: for any

    def with_changes(self, **changes: Any) -> Preset:
        """The same preset with some fields replaced."""
        return replace(self, **changes)


# Lite learns from drawn scenes and moved photographs, whose exact flow is known: L_F, L_O. The mix by measurement: the card.
LITE = Preset(
    name="lite",
    loss_weights={"diffusion": 1.0, "perceptual": 0.01, "warp": 0.3, "flow": 0.04, "outline": 0.02, "smooth": 0.0},
)

PAPER = Preset(
    name="paper",
    image_size=256,
    autoencoder=AutoencoderPreset(patch=1, channels=(128, 256, 512, 512), layers=2, norm_groups=32, kl_weight=1e-6),
    scale_image_latents=False,
    text_width=768,
    text_layers=12,
    text_heads=12,
    vocab_size=49408,
    train_text=False,
    motion_rows=1024,
    flow_norm="batch",
    flow_widths=None,
    flow_skips=False,
    flow_mixing=0,
    flow_subcells=0,
    flow_bodies=0,
    calibrate=False,
    second_look=0.0,
    interpolation="bilinear",
    unet_channels=(320, 640, 1280, 1280),
    unet_attention=(True, True, True, False),
    unet_layers=2,
    unet_heads=8,
    unet_norm_groups=32,
    prediction_type="epsilon",
    residual=None,
    loss_weights={"diffusion": 1.0, "perceptual": 0.01, "warp": 0.0, "flow": 0.0, "outline": 0.0, "smooth": 0.0},
    perceptual_target="source",
    perceptual_network="auto",
    learning_rate=1e-4,
    batch_size=256,
    steps=25_000,
    warmup_steps=10_000,
    lr_start=1e-6,
    lr_schedule="constant",
    micro_batch=2,
    ema_decay=0.9999,
    drop_motion_with_text=0.0,
    drop_motion=0.0,
    sampler="euler_ancestral",
    sampling_steps=100,
    spacing="linspace",
    s_T=7.5,
    s_I=1.8,
)

TINY = Preset(
    name="tiny",
    image_size=64,
    latent_size=16,
    autoencoder=AutoencoderPreset(channels=(16,), layers=1, norm_groups=8, batch_size=4, steps=20, warmup_steps=2),
    text_layers=1,
    text_heads=2,
    vocab_size=512,
    motion_rows=32,
    flow_width=16,
    flow_widths=None,
    flow_subcells=2,
    second_look=0.0,  # tests of the learnt look-up need no E; its own have it
    unet_channels=(16, 32),
    unet_attention=(False, True),
    unet_heads=2,
    unet_norm_groups=8,
    batch_size=4,
    steps=20,
    warmup_steps=2,
    sampling_steps=4,
)

PRESETS = {preset.name: preset for preset in (LITE, PAPER, TINY)}


def get_preset(name: str) -> Preset:
    """The preset of that name. Raises ValueError naming the known ones."""
    if name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}: choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


@dataclass(frozen=True)
class Slider:
    """One control, shared by the CLI, the widgets and the docs."""

    minimum: float
    maximum: float
    step: float
    default: float
    unit: str
    help: str


SLIDERS = {
    "motion": Slider(0, MOTION_MAX, 1, 8, "px at 256 x 256", "how far things move, by the paper's own measure"),
    "frames": Slider(2, 32, 1, 8, "frames", "number of frames in the GIF"),
    "fps": Slider(1, 30, 1, 4, "frames/s", "playing speed"),
    "steps": Slider(1, 100, 1, LITE.sampling_steps, "steps", "denoising steps a frame"),
    "s_T": Slider(0, 20, 0.1, LITE.s_T, "", "text guidance: how strongly the caption is followed"),
    "s_I": Slider(0, 5, 0.1, LITE.s_I, "", "image guidance: how strongly the source picture is kept"),
    "s_M": Slider(0, 5, 0.1, LITE.s_M, "", "motion guidance: how strongly the motion number is followed"),
    "seed": Slider(0, 2**31 - 1, 1, 0, "", "the start noise: same seed, same GIF"),
}
