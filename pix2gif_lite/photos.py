"""The second data family: any still picture, moved by a known flow. It teaches the model what a camera does.

A `MovedPhoto` is a square crop of a picture, a move and a caption. `draw_moved` gives frames of it at any motion and size
with the exact backward flow to the crop. The larger photograph around the crop comes into view where a move uncovers it.
`m` is the paper's own measure (Alg. 1), as for drawn scenes: see `calibrate_photo`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .data.photo_crops import Crop, named_pictures, plain_crop, random_crop, scene_crop, textures
from .data.photo_moves import MOVES, backward, describe_move, forward
from .data.training_data import keyed_rng
from .motion import find_corners, motion_magnitudes, to_gray
from .presets import LITE, MOTION_MAX, MOTION_SIZE
from .scenes import Frame

STREAMS = {"train": 0x9F07, "val": 0x9F0A, "test": 0x9F0E}  # sets these random numbers apart, split by split
SCENE_SHARE = 1 / 3  # of the training pictures: drawn scenes at rest, so that a drawn picture obeys the camera too
LEAST_CORNERS = 8  # a flatter crop has no motion to speak of
STRIPES = 0.07  # contrast of stripes one pixel wide, of 2: with more (roof tiles far away) no warp of the crop gives 30 dB
PROBES = (4, 11, 19)  # motions at which `readable_photo` tries the ruler
LARGEST = 1.5 * MOTION_MAX  # px at 256 x 256
NODES = torch.linspace(0, 1.6 * LARGEST, 33)  # nominal amplitudes at which `calibrate_photo` looks
MOVING = 0.25 / 128  # of the side: a pixel whose flow is longer counts as moving
TRIES = 120  # crops looked at before the pictures are found too flat


@dataclass(frozen=True)
class MovedPhoto:
    """A crop of a picture that moves as its caption says."""

    split: str
    seed: int
    index: int
    crop: Crop
    move: str  # a key of photo_moves.MOVES
    caption: str
    gains: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)  # filled by `calibrate_photo`

    @property
    def photo(self) -> str:
        """Which picture: "china.jpg", "scene", or the user's file, or "photo 3" of his list."""
        return self.crop.photo

    def at(self, m: float, size: int = LITE.image_size) -> Frame:
        """The frame whose motion from the crop is m (pixels at 256 x 256), a batch of one."""
        return draw_moved([self], [m], size)


# -------------------------------------------------------------------------------------------------------------- sampling


def sample_moved_photos(
    count: int,
    split: str = "train",
    seed: int = 0,
    photos: str | os.PathLike | Sequence[Any] | None = None,
    moves: Sequence[str] | None = None,
) -> list[MovedPhoto]:
    """The first `count` moved pictures of a split; number i depends on (split, seed, i) alone, given photos and moves.

    train  crops of PHOTOGRAPHS, scaled, flipped and recoloured as `photo_crop` does, and a third scenes of the training split
    val    other crops of PHOTOGRAPHS, no scenes
    test   HELD_OUT_PHOTOGRAPHS as photographed, upright, whole (their shorter side) or 128 of their own pixels, in turn
    photos a folder, or a list of files, PIL images or uint8 arrays: these in place of PHOTOGRAPHS and scenes, in any split
    moves  only these of photo_moves.MOVES (None: all; each kind as often as another)

    A crop with fewer than 8 corners, or of stripes one pixel wide, is drawn anew; in val and test also one whose exact frames
    Lucas-Kanade reads wrongly. Raises ValueError for another split, an unknown move, unusable photos or pictures without a
    crop that will do; ModuleNotFoundError naming the extra when a package with photographs is missing; FileNotFoundError for
    an empty folder.
    """
    if split not in STREAMS:
        raise ValueError(f"Unknown split {split!r}: choose one of {', '.join(STREAMS)}.")
    for name in set(moves or ()) - set(MOVES):
        raise ValueError(f"Unknown move {name!r}: choose from {', '.join(MOVES)}.")
    if moves is not None and not len(moves):
        raise ValueError("No moves to choose from: name at least one, or give None for all.")
    if seed < 0:
        raise ValueError(f"The seed is {seed}: give a whole number from 0.")
    pictures = named_pictures(photos, held_out=split == "test")
    kinds: dict[str, list[str]] = {}
    for name in dict.fromkeys(moves or MOVES):
        kinds.setdefault(MOVES[name].kind, []).append(name)
    scene_share = SCENE_SHARE if split == "train" and photos is None else 0.0
    return [_sampled(split, seed, index, pictures, list(kinds.values()), scene_share) for index in range(count)]


def _sampled(split: str, seed: int, index: int, pictures, kinds: list[list[str]], scene_share: float) -> MovedPhoto:
    rng = keyed_rng(seed, index, STREAMS[split])
    kind = kinds[rng.integers(len(kinds))]
    move = kind[rng.integers(len(kind))]  # kept while crops are tried, or what is hard to read would become rare
    caption = describe_move(random.Random(int(rng.integers(2**31))), move)
    is_scene = rng.random() < scene_share
    for attempt in range(TRIES):
        if is_scene:
            crop = scene_crop(rng)
        elif split == "test":  # photographs and scales in turn; the next photograph where eight crops of one did not do
            name, picture = pictures[(index + attempt // 8) % len(pictures)]
            crop = plain_crop(rng, name, picture, whole=index // len(pictures) % 2 == 0)
        else:
            crop = random_crop(rng, pictures)
        photo = MovedPhoto(split, seed, index, crop, move, caption)
        if _lively(photo) and (split == "train" or readable_photo(photo)):
            return photo
    why = "flat or too finely striped" if split == "train" else "flat, too finely striped, or more than Lucas-Kanade can follow"
    raise ValueError(f"{TRIES} crops were {why} to show {move!r}, the last one of {photo.photo}: give other pictures.")


def _lively(photo: MovedPhoto) -> bool:
    """Whether the crop shows every motion up to LARGEST, and has nothing so fine that half a pixel changes its look."""
    curve = calibrate_photo(photo)
    return bool(curve.amax() >= LARGEST and photo.gains["corners"] >= LEAST_CORNERS and photo.gains["stripes"] < STRIPES)


def readable_photo(photo: MovedPhoto, tolerance: float = 1.0) -> bool:
    """Whether Alg. 1 reads the picture's exact frames at PROBES to within `tolerance` pixels, root mean square."""
    frames = [to_gray(image) for image in draw_moved([photo] * (1 + len(PROBES)), (0, *PROBES)).image]
    measured = motion_magnitudes(frames[0], frames[1:])
    return float(np.sqrt(np.mean((measured - PROBES) ** 2))) <= tolerance


# --------------------------------------------------------------------------------------------------------------- drawing


def _places(size: int) -> tuple[Tensor, Tensor]:
    """The centres of a frame's pixels, x (1, size) and y (size, 1), from -0.5 to 0.5 across the frame."""
    axis = (torch.arange(size) + 0.5) / size - 0.5
    return axis[None], axis[:, None]


def draw_moved(photos: Sequence[MovedPhoto], motions: Sequence[float] | Tensor, size: int = LITE.image_size) -> Frame:
    """Draw each picture at its motion (pixels at 256 x 256), as `scenes.draw` does for scenes.

    image (B, 3, S, S) in [-1, 1]; at motion 0 the crop itself. Drawn at twice the size and averaged.
    flow (B, 2, S, S), image(p) = crop(p + flow(p)), pixels of this frame; exact. occluded (B, 1, S, S): the flow points outside
    the crop, so that the frame shows what the crop does not. moving (B, 1, S, S): flow longer than 0.25 px at 128.

    Raises ValueError for a negative, non-finite or too large motion, and a size that is not even.
    """
    motions = [float(m) for m in motions]
    if len(motions) != len(photos):
        raise ValueError(f"{len(photos)} photographs need as many motions, got {len(motions)}.")
    for m in motions:
        if not 0 <= m <= LARGEST:
            raise ValueError(f"A photograph's motion must be between 0 and {LARGEST:g} pixels at 256 x 256, got {m}.")
    if size < 8 or size % 2:
        raise ValueError(f"A frame of {size} px cannot be drawn: choose an even size from 8.")
    texture_of = textures([photo.crop for photo in photos], size)
    image, flow = torch.zeros(len(photos), 3, size, size), torch.zeros(len(photos), 2, size, size)
    occluded = torch.zeros(len(photos), 1, size, size, dtype=torch.bool)
    here, fine = _places(size), _places(2 * size)
    for k, (photo, m) in enumerate(zip(photos, motions, strict=True)):
        texture = texture_of[id(photo.crop)]
        if m == 0:
            middle = slice(size // 2, size // 2 + 2 * size)
            image[k] = F.avg_pool2d(texture[:, middle, middle], 2)
            continue
        reach = amplitude_photo(photo, m)
        grid = torch.stack(backward(photo.move, *fine, reach), -1) * (4 / 3)  # 1 is the texture's edge, 1.5 sides across
        sampled = F.grid_sample(texture[None], grid[None], mode="bicubic", padding_mode="reflection", align_corners=False)
        image[k] = F.avg_pool2d(sampled[0], 2)
        x, y = backward(photo.move, *here, reach)
        flow[k] = torch.stack([x - here[0], y - here[1]]) * size
        occluded[k, 0] = (x.abs() >= 0.5) | (y.abs() >= 0.5)
    moving = flow.square().sum(1, keepdim=True) > (MOVING * size) ** 2
    return Frame(image.clamp_(0, 1).mul_(2).sub_(1), flow, occluded, moving)


# ----------------------------------------------------------------------------------------------------------- calibration


def calibrate_photo(photo: MovedPhoto) -> Tensor:
    """The measure of Alg. 1, computed from the exact map at the crop's own corners, at each amplitude of NODES: (33,).

    No tracker's error enters: what an amplitude shows depends on the picture alone. Without corners: NODES themselves.
    """
    if "curve" not in photo.gains:
        image = photo.at(0).image[0]
        corners = torch.from_numpy(find_corners(to_gray(image))).double()
        x, y = ((corners + 0.5) / MOTION_SIZE - 0.5).unbind(1)
        there = forward(photo.move, x, y, NODES[:, None].double())
        length = torch.hypot(there[0] - x, there[1] - y) * MOTION_SIZE  # (33, corners)
        moved = length > 1
        curve = (length * moved).sum(1) / moved.sum(1).clamp_min(1)
        photo.gains["corners"], photo.gains["stripes"] = torch.tensor(len(corners)), _stripes(image)
        photo.gains["curve"] = curve if len(corners) else NODES.double()
    return photo.gains["curve"]


def _stripes(image: Tensor) -> Tensor:
    """The contrast (root mean square) of what changes from pixel to pixel, along rows and columns, in (3, H, W)."""
    taps = torch.tensor([1.0, -4.0, 6.0, -4.0, 1.0]) / 16  # 1 at the finest stripes, 1/4 at twice their width
    filtered = [F.conv2d(image[:, None], taps.view(1, 1, *shape)) for shape in ((1, 5), (5, 1))]
    return sum(part.square().mean() for part in filtered).sqrt()


def amplitude_photo(photo: MovedPhoto, m: float) -> float:
    """The nominal amplitude at which the picture's motion is m, by the inverse of its calibration curve."""
    if m == 0:
        return 0.0
    curve = torch.cummax(calibrate_photo(photo), 0).values
    return float(np.interp(m, curve.numpy(), NODES.numpy()))
