"""What a parent's folder says of itself: its layout, its sizes, its noise schedule; and what of it does not fit ours.

A parent is Stable Diffusion v1.5 or InstructPix2Pix as diffusers saves them. Here only its JSON files are read, so that
what cannot work is refused, in one sentence, before gigabytes of weights are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..diffusion import PREDICTION_TYPES
from ..presets import Preset
from .completeness import INDEX, OURS, check_complete, read_json

CLASSES = {  # of a parent's parts, as model_index.json names them
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "scheduler": (),  # any: only its noise schedule is read
}
CONFIGS = {part: "config.json" for part in ("unet", "vae", "text_encoder")} | {"scheduler": "scheduler_config.json"}
CONDITIONS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type")  # of a UNet that hears more than time and text
PARENTS = "give Stable Diffusion v1.5, InstructPix2Pix or a model trained from one of them"


def is_parent(folder: str | Path) -> bool:
    """Whether model_index.json names the parts of a text-to-image pipeline and none of ours."""
    try:
        index = read_json(Path(folder) / INDEX)
    except (OSError, ValueError):
        return False
    return index.keys() >= CLASSES.keys() and not index.keys() & set(OURS)


def read_configs(folder: str | Path) -> dict[str, dict[str, Any]]:
    """The config of each of a parent's parts, by name.

    Raises ValueError where the pipeline in it is of another kind; for half-downloaded folders, see `check_complete`.
    """
    folder = Path(folder)
    if not (folder / INDEX).is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no {INDEX}, so it is no diffusers pipeline: {PARENTS}.")
    index = read_json(folder / INDEX)
    second = "text_encoder_2" if "text_encoder_2" in index else None  # Stable Diffusion XL
    lacking = next((part for part in CLASSES if part not in index), None)
    if second or lacking or not is_parent(folder):
        why = f"has a {second}" if second else f"has no {lacking}" if lacking else "is a Pix2Gif already"
        raise ValueError(f"The {index.get('_class_name', 'pipeline')} in {str(folder)!r} {why}: {PARENTS}.")
    for part, known in CLASSES.items():
        found = index[part][-1] if isinstance(index[part], list) and index[part] else None
        if found is None or (known and found not in known):
            wanted = known[0] if known else "noise schedule"
            what = f"a {found}" if found else "absent"
            raise ValueError(f"The {part} in {str(folder)!r} is {what}, not a {wanted}: {PARENTS}.")
    check_complete(folder, list(CLASSES))
    configs = {part: read_json(folder / part / file) for part, file in CONFIGS.items()}
    tokenizer = folder / "tokenizer" / "tokenizer_config.json"
    return configs | {"tokenizer": read_json(tokenizer) if tokenizer.is_file() else {}}


def fitted(preset: Preset, configs: Mapping[str, Mapping[str, Any]], name: str | Path) -> Preset:
    """The preset with all that the parent `name` dictates: sizes of text, latents and UNet, schedule, prediction type.

    Raises ValueError where the parts do not fit each other, the preset or our model.
    """
    unet, vae, text, scheduler = (configs[part] for part in ("unet", "vae", "text_encoder", "scheduler"))

    def refuse(said: str, fix: str = PARENTS) -> None:
        raise ValueError(f"The parent {str(name)!r} {said}: {fix}.")

    # Without an entry, a config means the class's own default.
    channels, inputs, outputs = latent_channels(vae), unet.get("in_channels", 4), unet.get("out_channels", 4)
    width, heard = text.get("hidden_size", 512), unet.get("cross_attention_dim", 1280)
    levels = tuple(unet.get("block_out_channels", (320, 640, 1280, 1280)))
    if inputs not in (channels, 2 * channels):
        refuse(f"has a UNet of {inputs} input channels for latents of {channels} (an inpainting model has 9)")
    if outputs != channels:
        refuse(f"has a UNet for latents of {outputs} channels, but its autoencoder makes {channels}")
    if heard != width:
        refuse(f"has a UNet that hears texts of width {heard}, but its text encoder writes {width}")
    if width % 256:
        refuse(f"has texts of width {width}, and FNet reads multiples of 256", "choose one of width 768, as CLIP ViT-L/14")
    if more := [condition for condition in CONDITIONS if unet.get(condition) is not None]:
        refuse(f"has a UNet that needs more than time and text ({more[0]})")
    schedule = scheduler.get("beta_schedule", "linear")
    if schedule != "scaled_linear" or scheduler.get("trained_betas") is not None:
        refuse(f"has a noise schedule that is {schedule}, not scaled_linear")
    if scheduler.get("rescale_betas_zero_snr"):
        refuse("has a noise schedule rescaled to end in pure noise, which ours is not")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        refuse(f"predicts {prediction!r}, not {' or '.join(PREDICTION_TYPES)}")
    multiple = downsampling(vae) * math.lcm(2 ** (len(levels) - 1), 4)  # the UNet halves that often, FNet twice
    if preset.image_size % multiple:
        refuse(f"cannot take pictures of {preset.image_size} px", f"set image_size to a multiple of {multiple}")

    sizes = {  # of parts that are made from their own configs: what the preset says of them has to be true too
        "unet_channels": levels,
        "unet_attention": tuple("CrossAttn" in kind for kind in unet.get("down_block_types", ())) or None,
        "unet_layers": _one(unet.get("layers_per_block", 2)),
        "unet_heads": _one(unet.get("num_attention_heads") or unet.get("attention_head_dim", 8)),
        "unet_norm_groups": unet.get("norm_num_groups", 32),
        "text_layers": text.get("num_hidden_layers"),
        "text_heads": text.get("num_attention_heads"),
        "vocab_size": text.get("vocab_size"),
    }
    return preset.with_changes(
        **{field: size for field, size in sizes.items() if size is not None},
        text_width=width,
        text_tokens=min(text.get("max_position_embeddings", 77), configs["tokenizer"].get("model_max_length", math.inf)),
        latent_size=preset.image_size // downsampling(vae),
        autoencoder=replace(
            preset.autoencoder,
            patch=1,
            channels=tuple(vae.get("block_out_channels", (64,))),
            layers=vae.get("layers_per_block", 1),
            latent_channels=channels,
            norm_groups=vae.get("norm_num_groups", 32),
        ),
        prediction_type=prediction,
        train_timesteps=scheduler.get("num_train_timesteps", 1000),
        beta_start=scheduler.get("beta_start", 0.0001),
        beta_end=scheduler.get("beta_end", 0.02),
    )


def latent_channels(vae: Mapping[str, Any]) -> int:
    """C of the latents that an autoencoder of this config makes."""
    return vae.get("latent_channels", 4)


def downsampling(vae: Mapping[str, Any]) -> int:
    """Pixels that a latent cell of an autoencoder of this config spans on a side."""
    return vae.get("patch", 1) * 2 ** (len(vae.get("block_out_channels", (64,))) - 1)


def _one(sizes: Any) -> int | None:
    """A size given once or once a resolution; None where a preset's single number cannot say it."""
    different = set(sizes) if isinstance(sizes, list | tuple) else {sizes}
    return different.pop() if len(different) == 1 else None
