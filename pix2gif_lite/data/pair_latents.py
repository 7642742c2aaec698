"""Curated pairs as the model learns from them: each frame encoded once, whichever pairs it is in.

The latents of all frames lie in shards, mapped into memory; a pair is two numbers of frames. See latent_cache.py.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..processes import share_out
from ..scenes import Frame
from .latent_cache import INDEX_FILE, Family, Latents, Shards, check_index, encode, fingerprint, write_shard
from .pair_data import PairDataset

CHANGED = 0.1  # of the range [-1, 1]: a pixel of the target that differs more from the source counts as moving


class Looked:
    """Rows of `rows` under other numbers: entry k is rows[numbers[k]], read when it is asked for."""

    def __init__(self, rows: Shards, numbers: Tensor) -> None:
        self.rows, self.numbers, self.dtype = rows, numbers, rows.dtype
        self.shape = torch.Size((*numbers.shape, *rows.shape[1:]))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Tensor:
        chosen = self.numbers[index]
        return self.rows[chosen.flatten().tolist()].reshape(*chosen.shape, *self.rows.shape[1:])


def training_motion(motion_px: float) -> int:
    """The integer that training tells the model of a curated pair, at least 1: rounded half up from the float of the table.

    The table's own integer is cut off, as the authors' is, half a pixel low on average. Scenes and photographs move by exactly
    their integer, and the shipped weights learnt from those: one number must not mean two things.
    """
    return max(1, math.floor(motion_px + 0.5))


def check_motions_of(pairs: PairDataset, rows: int) -> None:
    """ValueError where a pair moves further than the motion table of `rows` rows reaches."""
    top = max((training_motion(row["motion_px"]) for row in pairs.rows), default=0)
    if top >= rows:
        raise ValueError(
            f"The data {str(pairs.data)!r} have a motion of {top} px, the preset's table ends at {rows - 1}: curate with "
            "smaller motions, or choose another preset."
        )


def cache_pairs(
    vae: nn.Module,
    folder: str | Path,
    pairs: PairDataset,
    mixed_precision: str = "no",
    shard: int = 500,
    progress_bar: bool = True,
) -> Latents:
    """Encode each frame of `pairs` once into `folder`, or read what is there already; K = 1 frame an entry.

    Raises ValueError when the folder holds latents of another autoencoder, table, split or size, and without any pair. Of
    several processes each encodes its share, as in `cache_family`.
    """
    if not len(pairs):
        raise ValueError(f"The data {str(pairs.data)!r} have no pairs in split {pairs.split}: there is nothing to encode.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made_from = {"autoencoder": fingerprint(vae), "table": pairs.key, "pairs": len(pairs), "frames": len(pairs.frames)}
    check_index(folder / INDEX_FILE, made_from | {"split": pairs.split, "size": pairs.size, "shard": shard})

    count = len(pairs.frames)
    paths = {first: folder / f"{pairs.split}-{first:06d}.safetensors" for first in range(0, count, shard)}

    def make(first: int) -> None:
        numbers = range(first, min(first + shard, count))
        parts = [numbers[k : k + 32] for k in range(0, len(numbers), 32)]  # pictures in memory at once
        z = [encode(vae, torch.stack([pairs.picture(k) for k in part]), mixed_precision) for part in parts]
        write_shard(paths[first], {"frames": torch.cat(z)}, {})

    label = f"frames of GIFs ({pairs.split})"
    share_out(list(paths), make, lambda first: paths[first].exists(), label, progress_bar=progress_bar)
    tensors = []
    for path in paths.values():
        with safe_open(path, "pt") as file:  # on the CPU its tensors are views of the mapped file
            tensors.append(file.get_tensor("frames"))
    frames = Shards(tensors)
    motion = torch.tensor([[training_motion(row["motion_px"])] for row in pairs.rows])
    source, target = torch.tensor(pairs.source), torch.tensor(pairs.target)[:, None]
    return Latents(Looked(frames, source), Looked(frames, target), motion, [row["caption"] for row in pairs.rows])


class CuratedPair(NamedTuple):
    """A pair as something that can be drawn, at its own motion and at rest."""

    pairs: PairDataset
    number: int

    @property
    def caption(self) -> str:
        return self.pairs.rows[self.number]["caption"]

    @property
    def motion(self) -> int:
        return training_motion(self.pairs.rows[self.number]["motion_px"])


def draw_pairs(members: list[CuratedPair], motions: list[float], size: int) -> Frame:
    """The pair's target, or at motion 0 its source, as `scenes.draw` does for scenes. What changed counts as moving; the flow
    is not known: zeros, and nothing is occluded.

    Raises ValueError for a motion that is neither 0 nor the pair's own, the only ones there are frames of.
    """
    images, moving = [], []
    for member, m in zip(members, motions, strict=True):
        if m not in (0, member.motion):
            raise ValueError(f"A curated pair has frames at 0 and {member.motion} px only, not at {m:g}: ask for one of these.")
        pairs, number = member
        source = pairs.picture(pairs.source[number], size)
        images.append(source if m == 0 else pairs.picture(pairs.target[number], size))
        moving.append((images[-1] - source).abs().amax(0, keepdim=True) > CHANGED)
    image, nothing = torch.stack(images), torch.zeros(len(images), 1, size, size, dtype=torch.bool)
    return Frame(image, torch.zeros(len(images), 2, size, size), nothing, torch.stack(moving))


def family_of(data: str | Path) -> Family:
    """Curated pairs as a family, for what draws its members itself: the first `count` pairs of a split."""
    return Family("gifs", partial(_members, data), draw_pairs)


def _members(data: str | Path, count: int, split: str, seed: int = 0) -> list[CuratedPair]:
    pairs = PairDataset(data, split)
    return [CuratedPair(pairs, k) for k in range(min(count, len(pairs)))]
