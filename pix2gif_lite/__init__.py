"""Pix2Gif Lite: a picture, a caption and a motion number become a GIF (arXiv 2403.04634).

`import pix2gif_lite` loads nothing heavy: each public name imports its file when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {  # public name -> the file it lives in, imported when first asked for
    "Pix2GifPipeline": "pipeline",
    "Pix2GifModel": "model",
    "MotionEmbedding": "motion_embedding",
    "FlowNet": "warping",
    "warp": "lookup",
    "load_reference": "origins.reference",
    "load_reference_parts": "origins.reference",
    "sample_scenes": "scenes",
    "draw": "scenes",
    "motion_magnitude": "motion",
    "get_preset": "presets",
    "LITE": "presets",
    "PAPER": "presets",
    "TINY": "presets",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pix2gif_lite' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
