"""Reading a folder of weights that a stranger may have made, and writing one.

A folder says in model_index.json which class each part has, and diffusers would import it. Here the classes are fixed
(`PARTS`), and pickles, which can run code, are never opened: safetensors or nothing. Weights saved in half precision come
back in the dtype asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, PreTrainedTokenizerFast
from transformers.utils import logging

from ..autoencoder import PatchAutoencoderKL
from ..files import temporary_name
from ..hardware import out_of_memory
from ..motion_embedding import MotionEmbedding
from ..pretrained import resolve_weights
from ..reasons import reason
from ..warping import FlowNet
from .completeness import INDEX, OURS, check_complete, named_parts, read_json
from .hub import fetch

PARTS = {
    "vae": PatchAutoencoderKL,
    "tokenizer": PreTrainedTokenizerFast,
    "text_encoder": CLIPTextModel,
    "unet": UNet2DConditionModel,
    "motion_embedding": MotionEmbedding,
    "flow_net": FlowNet,
}
ADVICE = "Free some memory, or load the weights in half precision: torch_dtype=torch.float16, --dtype float16."


def load_parts(
    weights: str, dtype: torch.dtype = torch.float32, skip: Collection[str] = (), **hub_options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of a folder or Hub id (but those in `skip`), and what its model_index.json says.

    `hub_options`: revision, token, cache_dir, local_files_only. Raises FileNotFoundError where there are no weights,
    ValueError for weights that are no safetensors, damaged, incomplete, made for other sizes than their config says, or
    another model's.
    """
    folder = Path(weights) if Path(weights).is_dir() else fetch(weights, **hub_options)
    named = [name for name in named_parts(folder) if name in PARTS and name not in skip]
    index = read_json(folder / INDEX)
    if not index.keys() & set(OURS):
        raise ValueError(
            f"The {index.get('_class_name', 'pipeline')} in {weights!r} is no Pix2Gif: train one from it with "
            f"`pix2gif-lite train --preset paper --init {weights}`, and give the folder that this writes."
        )
    check_complete(folder, named)  # before the first part is read
    parts: dict[str, Any] = {}
    for name in named:
        parts[name] = load_part(PARTS[name], folder / name, dtype)
    if missing := [name for name in ("vae", "tokenizer", "text_encoder", "unet") if name not in {*parts, *skip}]:
        raise ValueError(f"{str(folder / INDEX)!r} names no {missing[0]}: these are not the weights of a whole Pix2Gif.")
    return parts, index


def load_component(weights: str | Path, name: str, **hub_options: Any) -> Any:
    """One part of a set of weights, float32: `weights` is "lite", a folder that holds a folder `name`, or that folder itself;
    or a Hub id, of which only that part is fetched.

    Raises FileNotFoundError when there is no such part, ValueError when only half of it is there.
    """
    place = resolve_weights(weights)
    if not Path(place).is_dir():
        return load_part(PARTS[name], fetch(place, part=name, **hub_options))
    folder = Path(place)
    if (folder / name).is_dir():
        folder = folder / name
    marker = "tokenizer.json" if name == "tokenizer" else "config.json"
    if folder.name != name or not (folder / marker).is_file():
        raise FileNotFoundError(f"No {name} in {folder}: give a folder of weights that training saved.")
    check_complete(folder.parent, [name])
    return load_part(PARTS[name], folder)


def save_parts(parts: Mapping[str, Any], folder: str | Path) -> None:
    """Each part in a folder of its name below `folder`, as safetensors; parts that are None are left out.

    All take their places when all are written. OSError (a full disk): what was there stays as it was.
    """
    folder = Path(folder)
    new = temporary_name(folder / "weights")
    try:
        with no_bars():
            for name, part in parts.items():
                if part is not None:
                    part.save_pretrained(new / name)
        for part in sorted(new.iterdir()):
            shutil.rmtree(folder / part.name, ignore_errors=True)
            part.replace(folder / part.name)
    except Exception as error:  # writers in Rust have errors of their own
        raise OSError(
            f"The weights could not be written into {str(folder)!r} ({reason(error)}): free some space; a training then "
            "goes on from its checkpoint when resumed."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def load_part(kind: Any, folder: str | Path, dtype: torch.dtype = torch.float32) -> Any:
    """One part from its own folder: `kind` is a class of `PARTS`, `folder` holds its config.json and its safetensors.

    Parents' folders are read in the same way: kind PatchAutoencoderKL on the folder of a plain AutoencoderKL gives one
    with patch 1. Modules come in eval mode. Raises ValueError where the weights are damaged, incomplete or made for other
    sizes than their config says, MemoryError where there is no room for them.
    """
    try:
        if kind is PreTrainedTokenizerFast:
            return kind.from_pretrained(folder, local_files_only=True)
        named = "dtype" if kind is CLIPTextModel else "torch_dtype"  # transformers, diffusers
        with no_bars(), out_of_memory(ADVICE):
            part, info = kind.from_pretrained(
                folder, **{named: dtype}, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
        if info["missing_keys"]:  # they would silently be random numbers
            raise ValueError(f"{sorted(info['missing_keys'])[0]} is missing")
        if hasattr(part, "register_to_config"):  # diffusers would save, and publish, the path of the folder they came from
            part.register_to_config(_name_or_path="")
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise ValueError(f"The weights in {str(folder)!r} cannot be used ({reason(error)}): get them again.") from error
    return part.eval()


@contextmanager
def no_advice() -> Iterator[None]:
    """transformers warns at import that its picture processors, which nobody here uses, would like torchvision."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def no_bars() -> Iterator[None]:
    """transformers draws a progress bar for a load or save that takes milliseconds."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
