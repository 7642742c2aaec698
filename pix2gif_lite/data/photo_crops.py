"""Square crops of still pictures with what lies around them: the ground on which photos.py moves things.

A crop is a few numbers (where, how large, which way round, which colours) and a reference to its picture; its pixels are
cut when they are asked for. Where the picture ends it is mirrored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..media.pictures import open_image
from ..presets import LITE
from ..scenes import Scene, draw, sample_scenes
from .training_data import HELD_OUT_PHOTOGRAPHS, PHOTOGRAPHS, load_photographs, recolour

SCENE_SIZE = 256  # px at which a scene is drawn before it is cropped
ROOM = 0.85  # a random crop is at most this part of its picture: something is left that can come into view
LEAST_SIDE = 32  # px
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Crop:
    """A square of a picture."""

    photo: str  # "china.jpg", "scene", or the user's file, or the number in his list
    side: int  # px of the picture, a multiple of 4
    top: int
    left: int
    flips: tuple[bool, bool, bool]  # upside down, mirrored, x and y swapped
    colours: int | None  # seed of the random colours; None: as photographed
    picture: np.ndarray | Scene = field(compare=False, repr=False)  # uint8 (H, W, 3) or (H, W), or a scene at rest


@cache
def _shipped(held_out: bool) -> tuple[tuple[str, np.ndarray], ...]:
    files = HELD_OUT_PHOTOGRAPHS if held_out else PHOTOGRAPHS
    return tuple((Path(name).name, photo) for (_, name), photo in zip(files, load_photographs(files), strict=True))


def named_pictures(photos: str | os.PathLike | Sequence[Any] | None, held_out: bool) -> Sequence[tuple[str, np.ndarray]]:
    """Pictures with their names: those of a folder or a list (files, PIL images, uint8 arrays), or those that ship (None).

    Raises ValueError for unusable pictures, FileNotFoundError for files or pictures that are not there, and
    ModuleNotFoundError naming the extra when a package with photographs is missing.
    """
    if photos is None:
        return _shipped(held_out)
    if isinstance(photos, (str, os.PathLike)):
        folder = Path(photos)
        photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not photos:
            raise FileNotFoundError(f"No .png, .jpg or .webp pictures in {folder}: choose a folder that has some.")
    if not len(photos):
        raise ValueError("An empty list of photographs: give at least one, or None for those that ship.")
    named = []
    for k, photo in enumerate(photos):
        name = Path(photo).name if isinstance(photo, (str, os.PathLike)) else f"photo {k}"
        array = photo if isinstance(photo, np.ndarray) else np.asarray(open_image(photo))
        if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
            raise ValueError(f"{name} is a {array.dtype} array of shape {array.shape}: give uint8 (H, W, 3) or (H, W).")
        if min(array.shape[:2]) < LEAST_SIDE:
            raise ValueError(f"{name} is {array.shape[1]} x {array.shape[0]} px: give at least {LEAST_SIDE} px a side.")
        named.append((name, array))
    return named


def random_crop(rng: np.random.Generator, pictures: Sequence[tuple[str, np.ndarray]]) -> Crop:
    """A crop for training: scaled by 0.25 - 1, flipped and recoloured as `photo_crop` does. Grey pictures half as often."""
    weights = np.array([1.0 if picture.ndim == 3 else 0.5 for _, picture in pictures])
    name, picture = pictures[rng.choice(len(pictures), p=weights / weights.sum())]
    # Small scales show whole objects, large ones the texture of the file's own pixels.
    side = int(LITE.image_size / np.exp(rng.uniform(np.log(0.25), 0)))
    flips = tuple(bool(flip) for flip in rng.integers(0, 2, 3))
    return _placed(rng, name, picture, min(side, int(ROOM * min(picture.shape[:2]))), flips, int(rng.integers(2**31)))


def scene_crop(rng: np.random.Generator) -> Crop:
    """A crop of a training scene at rest, upright, its colours left as drawn."""
    scene = sample_scenes(1, "train", seed=int(rng.integers(1, 2**31)))[0]
    side = int(SCENE_SIZE * rng.uniform(0.6, ROOM))
    return _placed(rng, "scene", scene, side, (False, bool(rng.integers(2)), False), None)


def plain_crop(rng: np.random.Generator, name: str, picture: np.ndarray, whole: bool) -> Crop:
    """A crop as photographed: as large as fits, or 128 of the picture's own pixels."""
    side = min(picture.shape[:2])
    return _placed(rng, name, picture, side if whole else min(side, LITE.image_size), (False, False, False), None)


def _placed(rng: np.random.Generator, name: str, picture: np.ndarray | Scene, side: int, flips, colours: int | None) -> Crop:
    side -= side % 4  # so that what is kept around it, a quarter of it, is whole
    height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else (SCENE_SIZE, SCENE_SIZE)
    top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
    return Crop(name, side, top, left, flips, colours, picture)


def textures(crops: Sequence[Crop], size: int) -> dict[int, Tensor]:
    """Of each different crop, by its id: itself and a quarter of its side all round, (3, 3 size, 3 size) in [0, 1].

    That is two texels a pixel of a frame of `size`: the crop is the middle, from size / 2 on. Their scenes are drawn together.
    """
    unique = list({id(crop): crop for crop in crops}.values())
    scenes = [crop for crop in unique if isinstance(crop.picture, Scene)]
    drawn: dict[int, np.ndarray] = {}
    if scenes:
        images = draw([crop.picture for crop in scenes], [0] * len(scenes), SCENE_SIZE).image.add(1).div(2)
        drawn = {id(crop): image.permute(1, 2, 0).numpy() for crop, image in zip(scenes, images, strict=True)}
    return {id(crop): _texture(crop, drawn.get(id(crop), crop.picture), size) for crop in unique}


def _texture(crop: Crop, picture: np.ndarray, size: int) -> Tensor:
    # 1. cut out: mirrored about the photograph's own edge where it ends
    margin, (height, width) = crop.side // 4, picture.shape[:2]
    rows, columns = ((start - margin, start + crop.side + margin) for start in (crop.top, crop.left))
    inside = picture[max(0, rows[0]) : rows[1], max(0, columns[0]) : columns[1]]
    around = (max(0, -rows[0]), max(0, rows[1] - height), max(0, -columns[0]), max(0, columns[1] - width))
    cut = cv2.copyMakeBorder(inside, *around, cv2.BORDER_REFLECT)
    # 2. scale
    how = cv2.INTER_AREA if len(cut) > 3 * size else cv2.INTER_CUBIC
    cut = cv2.resize(cut, (3 * size, 3 * size), interpolation=how).astype(np.float32)
    cut = cut / 255 if picture.dtype == np.uint8 else cut.clip(0, 1)
    # 3. turn over and recolour
    cut = cut[:: 1 - 2 * crop.flips[0], :: 1 - 2 * crop.flips[1]]
    cut = cut.swapaxes(0, 1) if crop.flips[2] else cut
    if crop.colours is not None:
        cut = recolour(cut, np.random.default_rng(crop.colours))
    cut = np.broadcast_to(cut[..., None], (*cut.shape, 3)) if cut.ndim == 2 else cut
    return torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1), dtype=np.float32))
