"""What training starts from: nothing, weights of ours, a parent's (Stable Diffusion, InstructPix2Pix), the reference's file.

Each kind is read by the file that knows it; here it is only told apart. The parts that come out have the same names
whatever they came from, and the preset says what they are.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from diffusers import AutoencoderKL

from ..presets import Preset
from ..pretrained import build_components, resolve_weights
from .completeness import INDEX, OURS, read_json
from .hub import NEEDED, fetch
from .loading import PARTS, load_component
from .parents import load_parent, load_parent_vae
from .reference import is_reference, load_reference_parts

READ_BY = ("residual", "prediction_type", "scale_image_latents", "distilled_steps")  # what a UNet's output means
FLOW_SIZES = {"flow_width": "flow_width", "text_maps": "flow_text_maps", "widths": "flow_widths"}  # FlowNet's: the preset's
FLOW_SIZES |= {"skips": "flow_skips", "mixing": "flow_mixing", "norm": "flow_norm", "flow_mode": "flow_mode"}
FLOW_SIZES |= {"subcells": "flow_subcells", "bodies": "flow_bodies"}


class Start(NamedTuple):
    """Parts to start from, float32 and in eval mode."""

    parts: dict[str, Any]
    preset: Preset  # as these parts have it
    kind: str  # scratch, ours, parent, reference
    place: Path | None  # the folder or file they were read from
    vae: str | None = None  # the name of the autoencoder that was given in place of theirs


def kind_of(init: str | Path | None, **hub: Any) -> tuple[str, Path | None]:
    """Which kind `init` is, and where it lies: "lite", a folder, a Hub id (which is fetched), a file of the reference's.

    Pipelines of other kinds are "parent" too: `load_parent` says what of them does not fit. Raises FileNotFoundError where
    there is nothing, ValueError for a model_index.json that cannot be read.
    """
    if init is None:
        return "scratch", None
    if is_reference(init):
        return "reference", Path(init)
    place = resolve_weights(init)
    folder = Path(place) if Path(place).is_dir() else fetch(place, **hub)
    index = read_json(folder / INDEX) if (folder / INDEX).is_file() else dict.fromkeys(OURS)
    return ("ours" if index.keys() & set(OURS) else "parent"), folder


def starting_parts(
    init: str | Path | None,
    preset: Preset,
    *,
    vae: str | Path | AutoencoderKL | None = None,
    text: str | Path | None = None,
    seed: int = 0,
    unet_stays: bool = False,
    tokenizer: Any = None,
    **hub: Any,
) -> Start:
    """The parts of `init`, or new ones.

    vae         an autoencoder, its folder or Hub id, in place of the one that comes with `init`
    text        weights of ours whose text encoder and tokenizer to take in place of those of `init`
    seed        of what is new and random
    unet_stays  the UNet will not be trained: its output has to mean what the preset says
    tokenizer   for the reference's file, which holds none: a folder, Hub id or tokenizer (None: CLIP ViT-L/14's from the Hub)
    hub         revision, token, cache_dir, local_files_only

    Errors: those of `load_parent`, `load_reference_parts` and `load_component`; FileNotFoundError for a folder without the
    parts; ValueError when there is no autoencoder, and where weights of ours do not fit the preset.
    """
    kind, place = kind_of(init, **hub)
    if kind == "scratch" and vae is None:
        raise ValueError("The model needs an autoencoder: give vae, the folder that train_autoencoder saved.")
    if kind == "scratch":
        parts = build_components(preset, seed=seed)
    elif kind == "parent":
        parts, preset = load_parent(str(place), preset, seed=seed)
    elif kind == "reference":
        parts = load_reference_parts(place, tokenizer=tokenizer, **hub)
        preset = as_read(preset, parts)
    else:
        there = [name for name in PARTS if (place / name).is_dir() and (name != "vae" or vae is None)]
        check_parts(init, place, there, vae)
        parts = dict.fromkeys(PARTS) | {name: load_component(place, name) for name in there}
        check_fit(init, place, parts["flow_net"], preset, unet_stays)
    if isinstance(vae, AutoencoderKL):
        parts["vae"] = vae
    elif vae is not None:
        parts["vae"] = load_vae(vae, kind, place, **hub)
    if text is not None:
        parts |= {name: load_component(text, name) for name in ("text_encoder", "tokenizer")}
        check_text(text, parts, preset)
    return Start(parts, preset, kind, place, None if vae is None or isinstance(vae, AutoencoderKL) else str(vae))


def load_vae(name: str | Path, kind: str, place: Path | None, **hub: Any) -> AutoencoderKL:
    """Another autoencoder than that of `init`: one of ours, or where a parent's UNet reads its latents, one that fits it."""
    if kind == "parent":
        return load_parent_vae(name, read_json(place / "vae" / "config.json"), **hub)
    folder = Path(name).expanduser()
    ours = name in ("lite", "lite-turbo") or (folder / "vae").is_dir() or folder.name == "vae"
    return load_component(name, "vae") if ours and kind != "reference" else load_parent_vae(name, **hub)


def check_text(text: str | Path, parts: dict[str, Any], preset: Preset) -> None:
    """ValueError where a text encoder does not fit what reads it: c_L of another width or length."""
    for name, found in (("text_width", "hidden_size"), ("text_tokens", "max_position_embeddings")):
        if (value := getattr(parts["text_encoder"].config, found)) != getattr(preset, name):
            raise ValueError(
                f"The text encoder of {str(text)!r} has {name}={value}, the preset {getattr(preset, name)}: change the preset."
            )


def as_read(preset: Preset, parts: dict[str, Any]) -> Preset:
    """The preset with what the FlowNet, the table and the text encoder of these parts were made with."""
    text, flow = parts["text_encoder"].config, parts["flow_net"].config
    changes = {field: flow[name] for name, field in FLOW_SIZES.items()}
    changes |= {"interpolation": flow.interpolation, "motion_rows": parts["motion_embedding"].config.rows}
    changes |= {"text_width": text.hidden_size, "text_tokens": text.max_position_embeddings}
    changes |= {"prediction_type": "epsilon", "residual": None, "scale_image_latents": False}
    return preset.with_changes(**changes)


def check_parts(init: str | Path, place: Path, there: Collection[str], vae: Any) -> None:
    """FileNotFoundError where a folder lacks parts that every variant has: those behind its warp `check_fit` looks at."""
    missing = [name for name in NEEDED if name not in there and (name != "vae" or vae is None)]
    if missing or not (place / INDEX).is_file() and not set(OURS) & set(there):
        index = "" if (place / INDEX).is_file() else ", and no model_index.json"
        fix = "to start from an autoencoder alone, give it as vae" if there == ["vae"] else "give a folder of whole weights"
        raise FileNotFoundError(f"{str(init)!r} holds no {', no '.join(missing or OURS)}{index}: {fix}.")


def check_fit(init: str | Path, place: Path, flow_net: Any, preset: Preset, unet_stays: bool) -> None:
    """ValueError where weights do not fit the preset: another FlowNet, or a UNet that stays and would be read otherwise."""
    for name, field in FLOW_SIZES.items() if flow_net is not None else ():
        found, wanted = (json.loads(json.dumps(value)) for value in (flow_net.config[name], getattr(preset, field)))
        if found != wanted:
            raise ValueError(
                f"The FlowNet of {str(init)!r} has {name}={found}, the preset {field}={wanted}: change the preset."
            )
    if unet_stays and (place / INDEX).is_file():
        saved = json.loads((place / INDEX).read_text(encoding="utf-8"))
        for name in READ_BY:
            wanted = json.loads(json.dumps(getattr(preset, name)))
            if saved.get(name, wanted) != wanted:
                raise ValueError(
                    f"The UNet of {str(init)!r} was trained with {name}={saved[name]}, the preset has {wanted}: it "
                    "stays as it is here, so change the preset."
                )
