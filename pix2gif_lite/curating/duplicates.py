"""Which clips are the same or nearly so, and on which side of the split each belongs: twins never sit on both sides.

The same bytes have the same key. Clips that merely look alike, scaled or encoded anew, have frames of nearly the same
perceptual hash. They form a group, and a group goes to one side by a throw that knows its key and the seed alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..media.pictures import PICTURE_SUFFIXES

NEAR = 6  # bits of 64: frames of two clips this close are the same; below 8, for the search by bytes to be complete
FLAT = 2.0  # grey levels: a picture that deviates less has no hash, else all black frames would be twins


def content_key(path: str | os.PathLike) -> str:
    """What a clip is known by: 16 hex digits of the SHA-256 of its bytes, or of a folder's pictures and their names.

    Raises OSError if it cannot be read.
    """
    path, digest = Path(path), hashlib.sha256()
    folder = path.is_dir()
    for file in sorted(f for f in path.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES) if folder else [path]:
        if folder:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as opened:
            while part := opened.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()[:16]


def perceptual_hashes(pictures: Sequence[Image.Image]) -> list[int]:
    """pHash (64 bits, package imagehash) of the clip's pictures at a quarter, half and three quarters; flat ones have none."""
    import imagehash

    places = sorted({len(pictures) * quarter // 4 for quarter in (1, 2, 3)})
    grays = [pictures[k].convert("L") for k in places]
    return [int(str(imagehash.phash(gray)), 16) for gray in grays if np.asarray(gray).std() > FLAT]


def near_duplicates(hashes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Clip -> the key of its group: the smallest key among all clips that a chain of near duplicates connects.

    `hashes`: of each clip, its perceptual hashes. Two clips are near duplicates if any two of theirs differ in at most 6 bits.
    """
    clips = sorted(hashes)
    owner = np.array([k for k, clip in enumerate(clips) for _ in hashes[clip]], np.int64)
    values = np.array([value for clip in clips for value in hashes[clip]], np.uint64)
    group = list(range(len(clips)))  # each clip points to a smaller one of its group, or to itself

    def root(k: int) -> int:
        while group[k] != k:
            group[k] = group[group[k]]
            k = group[k]
        return k

    for column in values.view(np.uint8).reshape(-1, 8).T:  # with at most 7 different bits one of 8 bytes is the same
        order = np.argsort(column, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(column[order])) + 1):
            for k, one in enumerate(bucket[:-1]):
                rest = bucket[k + 1 :]
                for other in rest[np.bitwise_count(values[rest] ^ values[one]) <= NEAR]:
                    a, b = root(owner[one]), root(owner[other])
                    group[max(a, b)] = min(a, b)
    return {clip: clips[root(k)] for k, clip in enumerate(clips)}


def split_by_group(groups: Mapping[str, str], seed: int, val_share: float) -> dict[str, str]:
    """Clip -> "train" or "val", by a throw for its group that hangs on the seed and the group's key alone.

    So a new clip moves no other, except near duplicates that it joins. Where the throws leave one side empty though there
    are two groups and `val_share` is not 0, the group nearest to it goes there.
    """
    throws = {group: _throw(group, seed) for group in set(groups.values())}
    val = {group for group, throw in throws.items() if throw < val_share}
    if val_share > 0 and len(throws) > 1:
        if not val:
            val = {min(throws, key=throws.get)}
        elif len(val) == len(throws):
            val.remove(max(throws, key=throws.get))
    elif len(val) == len(throws):  # a single group: there is something to train on
        val = set()
    return {clip: "val" if group in val else "train" for clip, group in groups.items()}


def _throw(key: str, seed: int) -> float:
    """A number from 0 to 1 that (seed, key) decide."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") / 2**64
