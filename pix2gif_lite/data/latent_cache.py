"""Latents computed once: the autoencoder is frozen while the model trains, so E runs over the data a single time.

A cache is a folder of safetensors shards (float16) and an index.json that says what made them. Each entry is a picture,
some later frames of it, their motions and the caption. A shard is whole or absent: encoding goes on where it stopped, and
several processes, on one machine or with a disk in common, encode a share of the shards each.
Reading maps the files into memory: only the rows that a batch asks for leave the disk.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files import temporary_name, write_whole
from ..presets import MOTION_MAX, MOTION_MIN
from ..processes import share_out
from ..scenes import Frame, draw, sample_scenes
from .training_data import keyed_rng

MOTION_STREAM = 0x3071  # sets these random numbers apart from others drawn for the same (seed, scene)
STILL_SHARE = 0.04  # targets that do not move at all: m = 0 has to mean "nothing"
SMALL_SHARE = 0.03  # targets of m = 1, below the paper's range: else its row is never trained, and 0.5 or 1.5 lie between
INDEX_FILE = "index.json"


class Family(NamedTuple):
    """Pictures that move by exactly what they are asked to: scenes.py's, photos.py's."""

    name: str  # "scenes", "photos": how index.json counts them
    sample: Callable[[int, str, int], Sequence[Any]]  # (count, split, seed): the first of them, each with a `caption`
    draw: Callable[[Sequence[Any], Sequence[float], int], Frame]  # (members, motions, size)


SCENES = Family("scenes", sample_scenes, draw)


class Shards:
    """The same tensor of several files, one behind the other, float16 (N, ...): indexed as a tensor, read from the disk.

    Takes what a batch needs: an entry, a list of entries or a slice; as a tuple, further indices behind it.
    """

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts]).tolist()
        self.shape = torch.Size((self.ends[-1], *parts[0].shape[1:]))
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Tensor:
        entries, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(entries, int):
            return self._row(entries)[tuple(rest)]
        entries = range(len(self))[entries] if isinstance(entries, slice) else entries
        rows = [self._row(int(k)) for k in entries]
        if len(rest) == 1 and isinstance(rest[0], (list, Tensor)):  # pairs of entry and frame
            return torch.stack([row[int(frame)] for row, frame in zip(rows, rest[0], strict=True)])
        return torch.stack([row[tuple(rest)] for row in rows])

    def _row(self, entry: int) -> Tensor:
        entry = range(len(self))[entry]  # IndexError outside, from the end where negative
        part = bisect_right(self.ends, entry)
        return self.parts[part][entry - self.ends[part]]


class Latents(NamedTuple):
    """E of N pictures and of K later frames of each, unscaled posterior modes, float16."""

    source: Tensor | Shards  # (N, 4, h, w)
    target: Tensor | Shards  # (N, K, 4, h, w)
    motion: Tensor  # (N, K) int64, pixels at 256 x 256
    captions: list[str]  # N
    flow: Tensor | Shards | None = None  # (N, K, 2, S, S) the exact backward flow, pixels; NaN where the source hides it


def random_motions(seed: int, scene: int, count: int) -> list[int]:
    """Integer motions of one scene's targets: MOTION_MIN .. MOTION_MAX, spread out by strata, now and then 0 or 1."""
    rng = keyed_rng(seed, scene, MOTION_STREAM)
    edges = np.linspace(MOTION_MIN, MOTION_MAX + 1, count + 1)
    motions = np.floor(rng.uniform(edges[:-1], edges[1:])).astype(int)
    dice = [rng.random() for _ in motions]
    return [
        0 if d < STILL_SHARE else 1 if d < STILL_SHARE + SMALL_SHARE else int(m) for d, m in zip(dice, motions, strict=True)
    ]


def fingerprint(vae: nn.Module) -> str:
    """A short hash of the autoencoder's encoder weights: other weights, other latents."""
    weights = vae.state_dict().items()
    return hash_of((name, value) for name, value in weights if not name.startswith(("decoder", "post_quant")))


def hash_of(weights: Iterable[tuple[str, Tensor]]) -> str:
    """A short hash of named tensors, in whatever order and precision they come."""
    digest = hashlib.sha256()
    for name, value in sorted(weights, key=lambda item: item[0]):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def encode(vae: nn.Module, pictures: Tensor, mixed_precision: str = "no", at_once: int = 32) -> Tensor:
    """Posterior modes, float16 (B, 4, h, w), of pictures (B, 3, H, W) in [-1, 1]."""
    device, dtype = vae.device, {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mixed_precision)
    parts = []
    for part in pictures.split(at_once):
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            parts.append(vae.encode(part.to(device, vae.dtype)).latent_dist.mode().half().cpu())
    return torch.cat(parts)


def cache_family(
    vae: nn.Module,
    folder: str | Path,
    family: Family,
    count: int,
    targets: int = 4,
    size: int = 128,
    split: str = "train",
    seed: int = 0,
    mixed_precision: str = "no",
    shard: int = 100,
    progress_bar: bool = True,
    on_shard: Callable[[int], None] | None = None,
    chosen: dict[str, Any] | None = None,
    flows: bool = False,
) -> Latents:
    """Draw and encode the first `count` of a family with `targets` frames each into `folder`, or read what is there already.

    `chosen` is kept in index.json: what else the members depend on. `on_shard(first)` is called after each shard, in the
    process that made it. `flows`: the exact flows as well, in files of their own, 4 S^2 bytes a frame.

    Raises ValueError when the folder holds latents of another autoencoder or of other settings. Of several processes all
    call this and each encodes its share; errors then: those of `share_out`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made_from = {"autoencoder": fingerprint(vae), family.name: count, "targets": targets, "size": size}
    made_from |= {"split": split, "seed": seed, "shard": shard, "shares": [STILL_SHARE, SMALL_SHARE], **(chosen or {})}
    check_index(folder / INDEX_FILE, made_from)

    paths = {first: folder / f"{split}-{first:06d}.safetensors" for first in range(0, count, shard)}
    flow_paths = {first: path.with_stem(f"flow-{path.stem}") for first, path in paths.items()} if flows else {}
    population = cache(lambda: family.sample(count, split, seed))  # not needed where all shards are there

    def there(first: int) -> bool:
        return paths[first].exists() and (not flows or flow_paths[first].exists())

    def make(first: int) -> None:
        part = population()[first : first + shard]
        motions = [random_motions(seed, first + k, targets) for k in range(len(part))]
        every = [member for member in part for _ in range(1 + targets)]
        frames = family.draw(every, [m for row in motions for m in (0, *row)], size)
        if not paths[first].exists():
            z = encode(vae, frames.image, mixed_precision).unflatten(0, (len(part), 1 + targets))
            tensors = {"source": z[:, 0], "target": z[:, 1:], "motion": torch.tensor(motions)}
            write_shard(paths[first], tensors, {"captions": json.dumps([member.caption for member in part])})
        if flows:
            known = frames.flow.masked_fill(frames.occluded, torch.nan).half().unflatten(0, (len(part), 1 + targets))
            write_shard(flow_paths[first], {"flow": known[:, 1:]}, {})
        if on_shard:
            on_shard(first)

    share_out(list(paths), make, there, f"{family.name} ({split})", progress_bar=progress_bar)
    return read_latents(list(paths.values()), list(flow_paths.values()))


def cache_scenes(
    vae: nn.Module,
    folder: str | Path,
    scenes: int,
    *args: Any,
    subjects: Sequence[str] | None = None,
    actions: Sequence[str] | None = None,
    **options: Any,
) -> Latents:
    """`cache_family` of drawn scenes. `subjects`, `actions`: only scenes of these, see `sample_scenes`."""
    family = SCENES._replace(sample=partial(sample_scenes, subjects=subjects, actions=actions))
    chosen = {name: sorted(some) for name, some in (("subjects", subjects), ("actions", actions)) if some is not None}
    return cache_family(vae, folder, family, scenes, *args, chosen=chosen, **options)


def check_index(path: Path, made_from: dict[str, Any]) -> None:
    """Write what a cache is made from, or raise ValueError where it was made from something else."""
    if path.exists():
        found = json.loads(path.read_text())
        other = sorted(k for k in {*found, *made_from} if found.get(k) != made_from.get(k))
        if other:
            raise ValueError(
                f"What {path.parent} holds was made differently ({', '.join(other)}): delete the folder or choose another."
            )
    else:
        write_whole(path, (json.dumps(made_from, indent=2) + "\n").encode())


def write_shard(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """A safetensors file that is whole or absent."""
    temporary = temporary_name(path)
    try:
        save_file({name: part.contiguous() for name, part in tensors.items()}, temporary, metadata=metadata)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_latents(paths: list[Path], flow_paths: Sequence[Path] = ()) -> Latents:
    """The shards as one, mapped into memory, with those of the flows if there are any. FileNotFoundError: one is missing."""
    parts: dict[str, list[Tensor]] = {"source": [], "target": [], "motion": [], "flow": []}
    captions: list[str] = []
    for path in (*paths, *flow_paths):
        if not path.is_file():
            raise FileNotFoundError(f"Latents {path} are missing: encode them again, on a disk that every process sees.")
        with safe_open(path, "pt") as file:  # on the CPU its tensors are views of the mapped file
            for name in file.keys():  # noqa: SIM118 (not a dict)
                parts[name].append(file.get_tensor(name))
            captions += json.loads((file.metadata() or {}).get("captions", "[]"))
    source, target = Shards(parts["source"]), Shards(parts["target"])
    return Latents(source, target, torch.cat(parts["motion"]), captions, Shards(parts["flow"]) if flow_paths else None)
