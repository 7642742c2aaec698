"""Reading a folder of weights that a stranger may have made, and writing one.

A folder says in model_index.json which class each part has, and diffusers would import it. Here the classes are fixed
(`PARTS`), and pickles, which can run code, are never opened: safetensors or nothing. Weights saved in half precision come
back in the dtype asked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, PreTrainedTokenizerFast
from transformers.utils import logging

from .autoencoder import PatchAutoencoderKL
from .motion_embedding import MotionEmbedding
from .pretrained import resolve_weights
from .warping import FlowNet

PARTS = {
    "vae": PatchAutoencoderKL,
    "tokenizer": PreTrainedTokenizerFast,
    "text_encoder": CLIPTextModel,
    "unet": UNet2DConditionModel,
    "motion_embedding": MotionEmbedding,
    "flow_net": FlowNet,
}
INDEX = "model_index.json"
HUB_FILES = ["*.json", "*.txt", "*.safetensors"]  # all that is ever downloaded
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")


def load_parts(
    weights: str, dtype: torch.dtype = torch.float32, skip: Collection[str] = (), **hub_options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of a folder or Hub id (but those in `skip`), and what its model_index.json says.

    `hub_options`: revision, token, cache_dir, local_files_only. Raises FileNotFoundError where there are no weights,
    ValueError for weights that are no safetensors, damaged, incomplete, or made for other sizes than their config says.
    """
    folder = Path(weights) if Path(weights).is_dir() else _download(weights, hub_options)
    index = _read_json(folder / INDEX, folder)
    parts: dict[str, Any] = {}
    for name, kind in PARTS.items():
        if name in skip or (index.get(name) or [None])[0] is None:  # an optional part that was not saved
            continue
        if name != "tokenizer":
            _check_safetensors(folder / name)
        try:
            parts[name] = _load(kind, folder / name, dtype)
        except Exception as error:  # damaged files raise nearly anything
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(f"The weights in {str(folder / name)!r} cannot be used ({reason}): get them again.") from error
    if missing := [name for name in ("vae", "tokenizer", "text_encoder", "unet") if name not in {*parts, *skip}]:
        raise ValueError(f"{str(folder / INDEX)!r} names no {missing[0]}: these are not the weights of a whole Pix2Gif.")
    return parts, index


def load_component(weights: str | Path, name: str) -> Any:
    """One part of a set of weights, float32: `weights` is "lite", a folder that holds a folder `name`, or that folder itself.

    Raises FileNotFoundError when there is no such part.
    """
    folder = Path(resolve_weights(weights))
    if (folder / name).is_dir():
        folder = folder / name
    marker = "tokenizer.json" if name == "tokenizer" else "config.json"
    if folder.name != name or not (folder / marker).is_file():
        raise FileNotFoundError(f"No {name} in {folder}: give a folder of weights that training saved.")
    return _load(PARTS[name], folder, torch.float32)


def save_parts(parts: Mapping[str, Any], folder: str | Path) -> None:
    """Each part in a folder of its name below `folder`, as safetensors; parts that are None are left out."""
    with _no_bars():
        for name, part in parts.items():
            if part is not None:
                part.save_pretrained(Path(folder) / name)


def _load(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    if kind is PreTrainedTokenizerFast:
        return kind.from_pretrained(folder, local_files_only=True)
    named = "dtype" if kind is CLIPTextModel else "torch_dtype"  # transformers, diffusers
    with _no_bars():
        part, info = kind.from_pretrained(
            folder, **{named: dtype}, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    if info["missing_keys"]:  # they would silently be random numbers
        raise ValueError(f"{sorted(info['missing_keys'])[0]} is missing")
    return part.eval()


@contextmanager
def _no_bars() -> Iterator[None]:
    """transformers draws a progress bar for a load or save that takes milliseconds."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _check_safetensors(folder: Path) -> None:
    files = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    if any(name.endswith(".safetensors") for name in files):
        return
    if pickles := sorted(name for name in files if name.endswith(PICKLES)):
        raise ValueError(
            f"The weights {str(folder / pickles[0])!r} are a pickle, which can run code, and are not opened: "
            "save them as safetensors."
        )
    raise FileNotFoundError(f"There are no weights in {str(folder)!r}: it needs a .safetensors file.")


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no {INDEX}: give a folder that a Pix2GifPipeline was saved to.")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not readable as JSON: get the weights again.") from error
    if not isinstance(index, dict):
        raise ValueError(f"{str(path)!r} is no index of weights: get the weights again.")
    return index


def _download(hub_id: str, options: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=HUB_FILES, **options))
    except Exception as error:  # no network, no such repository, no access
        reason = type(error).__name__
        raise FileNotFoundError(
            f"The weights {hub_id!r} are no local folder and cannot be had from the Hub ({reason}): check the name."
        ) from error
