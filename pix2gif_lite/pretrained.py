"""A name of weights ("lite", "lite-turbo", a folder, a Hub id) becomes a folder; or every part gets random weights.

`build_components` is the one factory of models with random weights: training, tests and notebooks all call it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from .autoencoder import build_autoencoder
from .model import build_unet
from .motion_embedding import MotionEmbedding
from .presets import Preset
from .scenes import all_captions
from .text import build_text_encoder, default_corpus, train_tokenizer
from .warping import FlowNet

LITE_WEIGHTS = Path(__file__).parent / "weights" / "lite"  # shipped inside the wheel
TURBO_WEIGHTS = LITE_WEIGHTS.with_name("lite-turbo")  # the same, distilled to a few steps
CORPUS_CAPTIONS = 4000  # captions of default scenes the tokenizer learns from when none are given
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w")  # owner/name


def build_components(preset: Preset, captions: Iterable[str] | None = None, seed: int = 0) -> dict[str, Any]:
    """vae, tokenizer, text_encoder, motion_embedding, flow_net and unet of a preset: the real classes, random weights.

    `captions` train the tokenizer (None: captions of the default scenes). Each part has its own seed, so that changing
    one part's size leaves the others' weights as they were; the caller's random state is left alone. All in eval mode.
    """
    if captions is None:
        captions = all_captions(CORPUS_CAPTIONS, seed=0)
    tokenizer = train_tokenizer(default_corpus(captions), preset.vocab_size, preset.text_tokens)

    makers: dict[str, Callable[[], Any]] = {
        "vae": lambda: build_autoencoder(preset),
        "text_encoder": lambda: build_text_encoder(preset, tokenizer),
        "motion_embedding": lambda: MotionEmbedding(preset.motion_rows, preset.text_width),
        "flow_net": lambda: build_flow_net(preset),
        "unet": lambda: build_unet(preset),
    }
    components: dict[str, Any] = {"tokenizer": tokenizer}
    for k, (name, make) in enumerate(makers.items()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * len(makers) + k)
            components[name] = make().eval()
    return components


def build_flow_net(preset: Preset) -> FlowNet:
    """FNet of the preset's sizes, random weights; `text_width` must be a multiple of 256 (ValueError)."""
    return FlowNet(
        latent_channels=preset.autoencoder.latent_channels,
        flow_width=preset.flow_width,
        text_width=preset.text_width,
        tokens=preset.text_tokens,
        norm=preset.flow_norm,
        flow_mode=preset.flow_mode,
        interpolation=preset.interpolation,
        text_maps=preset.flow_text_maps,
        widths=preset.flow_widths,
        skips=preset.flow_skips,
        mixing=preset.flow_mixing,
        subcells=preset.flow_subcells,
        bodies=preset.flow_bodies if preset.flow_subcells else 0,
    )


def resolve_weights(name_or_path: str | Path) -> str:
    """ "lite", "lite-turbo", a local folder or a Hub id ("owner/name") -> the folder or id that `from_pretrained` understands.

    Raises FileNotFoundError for anything else.
    """
    name = str(name_or_path)
    if name == "lite":
        if not LITE_WEIGHTS.is_dir():
            raise FileNotFoundError(f"The shipped weights are missing from {LITE_WEIGHTS}: install pix2gif-lite again.")
        return str(LITE_WEIGHTS)
    if name == "lite-turbo" and TURBO_WEIGHTS.is_dir():
        return str(TURBO_WEIGHTS)
    folder = Path(name).expanduser()
    if name and folder.is_dir():  # "" would be the current folder
        return str(folder)
    if folder.is_file():
        where = f"that `pix2gif-lite train --init {name}` makes of it" if folder.suffix == ".ckpt" else "it is in"
        raise FileNotFoundError(f"Weights {name!r} is a file: give the folder {where}.")
    if isinstance(name_or_path, str) and HUB_ID.fullmatch(name):
        return name
    if name == "lite-turbo":
        make = "pix2gif-lite train turbo --init lite --out DIR"
        raise FileNotFoundError(f"The weights 'lite-turbo' are not shipped in this version: run `{make}`, then give DIR.")
    raise FileNotFoundError(f"No weights at {name!r}: give 'lite', a folder of weights or a Hub id such as owner/name.")
