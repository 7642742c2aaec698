"""What training looks at: drawn frames and crops of photographs for E and D, cached latents for the model.

Every sample is a function of (seed, its number in the whole run) alone: no iterator state, so a run that is resumed, or
split over batches and devices, sees the samples an uninterrupted one would. It does not know about losses.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..presets import MOTION_MAX
from ..scenes import draw, sample_scenes

# Photographs inside wheels, CC0, CC BY or public domain (their notes are in each package). (package, file, colour?)
PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/motorcycle_right.png"),
    ("skimage", "data/retina.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/brick.png"),  # from here on grey: each crop is tinted by two random colours
    ("skimage", "data/camera.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/moon.png"),
)
HELD_OUT_PHOTOGRAPHS = (
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)
SAMPLE_STREAM, BLOCK_STREAM = 0x5A3B, 0xB10C  # set apart random numbers drawn for the same (seed, number)


def keyed_rng(seed: int, number: int, stream: int = SAMPLE_STREAM) -> np.random.Generator:
    """Random numbers that belong to one sample: the same whatever the batch, the device or the history of the run."""
    return np.random.default_rng((seed, number, stream))


def keyed_noise(seed: int, numbers: Sequence[int], shape: Sequence[int], stream: int) -> Tensor:
    """Standard normal noise, float32 (len(numbers), *shape), each row keyed by (seed, number, stream)."""
    rows = [keyed_rng(seed, n, stream).standard_normal(tuple(shape), dtype=np.float32) for n in numbers]
    return torch.from_numpy(np.stack(rows))


# ------------------------------------------------------------------------------------------------------- photographs


def load_photographs(
    files: Sequence[tuple[str, str]] = PHOTOGRAPHS, folder: str | Path | Sequence[Path] | None = None
) -> list[np.ndarray]:
    """The photographs as uint8 arrays, (H, W, 3) or grey (H, W); pictures of `folder`, or these files, are added behind them.

    Raises ModuleNotFoundError naming the extra when scikit-image or scikit-learn is missing.
    """
    paths = []
    for package, name in files:
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / name if spec and spec.origin else None
        if path is None or not path.is_file():
            raise ModuleNotFoundError(
                f"The photograph {name} of {package} is missing: run `pip install 'pix2gif-lite[photos]'`."
            )
        paths.append(path)
    if folder is not None and not isinstance(folder, (str, Path)):
        paths += folder
    elif folder is not None:
        extra = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
        if not extra:
            raise FileNotFoundError(f"No .png, .jpg or .webp pictures in {folder}.")
        paths += extra
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture if picture.mode == "L" else picture.convert("RGB")))
    return pictures


def photo_crop(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random crop, float32 (3, size, size) in [-1, 1]: scaled by 0.25 - 1, flipped, its colours changed a little."""
    # 1. where and how large: small scales show whole objects, large ones the texture of the file's own pixels
    side = min(int(size / np.exp(rng.uniform(np.log(0.25), 0))), *photo.shape[:2])
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    crop = photo[top : top + side, left : left + side]
    crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)
    crop = crop.astype(np.float32) / 255
    # 2. which way round
    flips = rng.integers(0, 2, 3)
    crop = crop[:: 1 - 2 * flips[0], :: 1 - 2 * flips[1]]
    crop = crop.swapaxes(0, 1) if flips[2] else crop
    # 3. which colours
    crop = recolour(crop, rng)
    return np.ascontiguousarray(crop.transpose(2, 0, 1) * 2 - 1, dtype=np.float32)


def recolour(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random colours for a crop in [0, 1]: (H, W, 3), or grey (H, W) that is tinted -> (H, W, 3) in [0, 1]."""
    if crop.ndim == 2:
        dark, light = rng.uniform(0, 0.4, 3), rng.uniform(0.5, 1, 3)
        crop = dark + crop[..., None] * (light - dark)
    if rng.random() < 0.3:
        crop = crop[..., rng.permutation(3)]
    grey = crop.mean(-1, keepdims=True)
    crop = grey + (crop - grey) * rng.uniform(0.5, 1.5)
    crop = (crop - 0.5) * rng.uniform(0.7, 1.2) + 0.5 + rng.uniform(-0.1, 0.1)
    return crop.clip(0, 1)


# ------------------------------------------------------------------------------------------------------ drawn frames


class FrameStream:
    """Drawn frames in numbered blocks: half at rest, half moved by a random integer motion; block k is always the same.

    The last `keep` blocks stay in memory as bytes, so a frame is drawn once and seen a few times.
    """

    def __init__(self, size: int, seed: int, scenes_a_block: int = 32, keep: int = 10) -> None:
        self.size, self.seed, self.scenes, self.keep = size, seed, scenes_a_block, keep
        self.blocks: OrderedDict[int, Any] = OrderedDict()

    def block(self, k: int) -> Any:
        """Block k, made once while it is among the last `keep` that were asked for."""
        if k not in self.blocks:
            self.blocks[k] = self.make(k)
            while len(self.blocks) > self.keep:
                self.blocks.popitem(last=False)
        return self.blocks[k]

    def make(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 (2 scenes, 3, S, S) and what moves, bool (2 scenes, 1, S, S)."""
        rng = keyed_rng(self.seed, k, BLOCK_STREAM)
        scenes = sample_scenes(self.scenes, "train", seed=int(rng.integers(1, 2**31)))
        motions = [0] * self.scenes + rng.integers(1, MOTION_MAX + 1, self.scenes).tolist()
        frame = draw(scenes * 2, motions, self.size)
        return as_bytes(frame.image).numpy(), frame.moving.numpy()


def as_bytes(image: Tensor) -> Tensor:
    """Pictures in [-1, 1] as grey levels, uint8, as a file holds them."""
    return image.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


class PictureBatch(NamedTuple):
    """What E and D train on."""

    image: Tensor  # (B, 3, S, S) in [-1, 1]
    moving: Tensor  # (B, 1, S, S) float, 1 where something moves
    is_photo: Tensor  # (B,) bool
    numbers: list[int]  # each sample's number in the whole run


class PictureSource:
    """Pictures for the autoencoder: `batch(numbers)`, each sample a photograph's crop or a drawn frame.

    Sample n picks among `window` blocks of drawn frames; the window moves on by one block every `reuse` * block samples
    of scenes, so that each frame is seen about `reuse` times.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        photo_share: float = 0.35,
        photos: str | Path | Sequence[Path] | None = None,
        window: int = 8,
        reuse: float = 2.0,
        scenes_a_block: int = 32,
    ) -> None:
        if not 0 <= photo_share <= 1:
            raise ValueError(f"photo_share is {photo_share}: give a share from 0 to 1.")
        self.size, self.seed, self.photo_share, self.window = size, seed, photo_share, window
        self.photos = load_photographs(folder=photos) if photo_share > 0 else []
        # Colour photographs come up in proportion to the square root of their area, grey ones (textures) half as often.
        weights = np.array([np.sqrt(p.shape[0] * p.shape[1]) * (1.0 if p.ndim == 3 else 0.5) for p in self.photos])
        self.weights = weights / weights.sum()
        self.frames = FrameStream(size, seed, scenes_a_block, keep=window + 2)
        self.stride = max(1, int(reuse * 2 * scenes_a_block / max(1e-6, 1 - photo_share)))  # samples a block

    def sample(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Sample `number`: a picture, float32 (3, S, S), and what moves in it, bool (1, S, S); None: a photograph."""
        rng = keyed_rng(self.seed, number)
        if rng.random() < self.photo_share:
            photo = self.photos[rng.choice(len(self.photos), p=self.weights)]
            return photo_crop(photo, self.size, rng), None
        images, moving = self.frames.block(number // self.stride + int(rng.integers(self.window)))
        row = int(rng.integers(len(images)))
        image, mask = images[row], moving[row]
        if rng.random() < 0.5:
            image, mask = image[..., ::-1], mask[..., ::-1]
        return image.astype(np.float32) / 127.5 - 1, mask

    def batch(self, numbers: Sequence[int]) -> PictureBatch:
        """The samples of those numbers."""
        samples = [self.sample(n) for n in numbers]
        still = np.zeros((1, self.size, self.size), dtype=bool)
        return PictureBatch(
            torch.from_numpy(np.stack([image for image, _ in samples])),
            torch.from_numpy(np.stack([still if m is None else m for _, m in samples])).float(),
            torch.tensor([m is None for _, m in samples]),
            list(numbers),
        )


def held_out_crops(size: int, count: int = 16) -> Tensor:
    """Fixed crops of the photographs kept out of training, (count, 3, size, size) in [-1, 1], half at full scale."""
    photos = load_photographs(HELD_OUT_PHOTOGRAPHS)
    crops = []
    for k in range(count):
        rng, photo = keyed_rng(0, k), photos[k % len(photos)]
        side = size if k % 2 else min(photo.shape[:2])
        top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
        crop = cv2.resize(photo[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
        crops.append(torch.from_numpy(crop.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1))
    return torch.stack(crops)
