"""Which data the model learns from, and how much of each: drawn scenes, moved photographs, curated GIFs, or several at once.

A set is encoded once (latent_cache.py). Each training sample first picks its set by the shares, then an entry and one of
its frames, so that sets of any size and any number of frames mix as asked. This file knows nothing of losses.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..photos import draw_moved, sample_moved_photos
from ..presets import Preset
from ..request import check_mix
from ..scenery.actions import ACTIONS
from ..scenes import Scene, sample_scenes
from .latent_cache import SCENES, Family, Latents, cache_family
from .pair_data import PairDataset, no_pairs
from .pair_latents import cache_pairs, check_motions_of, family_of

NOT_MEASURED = "The data {!r} have no pairs in split val: training goes on, but nothing measures it on them."


def sample_large(count: int, split: str, seed: int) -> list[Scene]:
    """Scenes in which everything turns, leans or grows, which is harder than to drift: none of `sample_scenes(.., seed)`."""
    return sample_scenes(count, split, seed + 1, actions=[name for name, action in ACTIONS.items() if action.large])


LARGE = SCENES._replace(name="large", sample=sample_large)
FAMILIES = {family.name: family for family in (SCENES, LARGE, Family("photos", sample_moved_photos, draw_moved))}


class Pick(NamedTuple):
    """Where a pair stands: in the set `name`, its entry, its frame."""

    name: str
    entry: int
    frame: int


class Pairs(NamedTuple):
    """A batch of pairs, latents unscaled, float32."""

    source: Tensor  # (B, 4, h, w)
    target: Tensor  # (B, 4, h, w)
    motion: Tensor  # (B,) int64, pixels at 256 x 256
    captions: list[str]
    flow: Tensor | None = None  # (B, 2, S, S) exact, pixels, NaN where it is not known; None: of no set


class Mixture:
    """Sets of latents under names, each with its share of the samples (None: equal ones). One `Latents` is a set alone."""

    def __init__(self, sets: Latents | Mapping[str, Latents], shares: Mapping[str, float] | None = None) -> None:
        self.sets = {SCENES.name: sets} if isinstance(sets, Latents) else dict(sets)
        self.names = list(self.sets)
        given = [1.0 if shares is None else shares[name] for name in self.names]
        self.shares = {name: share / sum(given) for name, share in zip(self.names, given, strict=True)}
        self.edges = list(accumulate(self.shares.values()))[:-1]
        shapes = {tuple(latents.source.shape[1:]) for latents in self.sets.values()}
        if len(shapes) > 1:
            raise ValueError(f"Sets of latents of shapes {sorted(shapes)} do not mix: encode them at one size.")
        (self.shape,) = shapes  # of one latent, (4, h, w)

    def pick(self, rng: np.random.Generator) -> Pick:
        """A random pair: a set by the shares (not asked where there is one alone), an entry, a frame."""
        name = self.names[int(np.searchsorted(self.edges, rng.random(), side="right")) if self.edges else 0]
        entries, frames = self.sets[name].motion.shape
        return Pick(name, int(rng.integers(entries)), int(rng.integers(frames)))

    def every(self, name: str) -> list[Pick]:
        """All pairs of a set."""
        entries, frames = self.sets[name].motion.shape
        return [Pick(name, entry, frame) for entry in range(entries) for frame in range(frames)]

    def pairs(self, picks: Sequence[Pick]) -> Pairs:
        """The latents, motions and captions of these places."""
        where = [(self.sets[name], entry, frame) for name, entry, frame in picks]
        source = torch.stack([latents.source[entry] for latents, entry, _ in where]).float()
        target = torch.stack([latents.target[entry, frame] for latents, entry, frame in where]).float()
        motion = torch.stack([latents.motion[entry, frame] for latents, entry, frame in where])
        return Pairs(source, target, motion, [latents.captions[entry] for latents, entry, _ in where], self._flow(where))

    def _flow(self, where: Sequence[tuple[Latents, int, int]]) -> Tensor | None:
        known = [None if latents.flow is None else latents.flow[entry, frame].float() for latents, entry, frame in where]
        like = next((flow for flow in known if flow is not None), None)
        if like is None:
            return None
        return torch.stack([torch.full_like(like, torch.nan) if flow is None else flow for flow in known])


class TrainingData:
    """What the model and D learn from: so many scenes and photographs, curated GIFs, and the share of samples from each.

    scenes, photos, large   how many of each (large: scenes of what turns, leans and grows alone), with `targets` moved frames
    data             a folder that `pix2gif-lite curate` wrote: its pairs are the set "gifs"
    mix              shares, such as {"scenes": 0.65, "photos": 0.35}, the default; with `data`: gifs alone unless given
    latents, photo_latents, large_latents, data_latents   folders of the encoded sets (below `out`: see FOLDERS)
    data_seed        which scenes and photographs, and their motions (None: the run's seed): by giving it, runs of
                     different seeds share the encoded sets

    Errors: `check_mix`'s and `PairDataset`'s; ValueError where `data` have no pairs in split train.
    """

    OPTIONS = ("scenes", "targets", "latents", "photos", "photo_latents", "data", "data_latents")
    OPTIONS += ("mix", "data_seed", "large", "large_latents")
    FOLDERS = {"scenes": "latents", "large": "latents-large", "photos": "latents-photos", "gifs": "latents-gifs"}

    def __init__(
        self,
        preset: Preset,
        seed: int = 0,
        scenes: int = 4000,
        targets: int = 4,
        latents: str | Path | None = None,
        photos: int = 0,
        photo_latents: str | Path | None = None,
        data: str | Path | None = None,
        data_latents: str | Path | None = None,
        mix: Mapping[str, float] | None = None,
        data_seed: int | None = None,
        large: int = 0,
        large_latents: str | Path | None = None,
    ) -> None:
        self.fixed, seed = {} if data_seed is None else {"data_seed": data_seed}, seed if data_seed is None else data_seed
        self.counts = {"scenes": scenes, "large": large, "photos": photos}
        self.shares = check_mix(mix, self.counts | {"gifs": int(data is not None)})
        self.targets, self.size, self.seed = targets, preset.image_size, seed
        self.places = {"scenes": latents, "large": large_latents, "photos": photo_latents, "gifs": data_latents}
        self.families, self.pairs = {name: FAMILIES[name] for name in self.shares if name in FAMILIES}, None
        if "gifs" in self.shares:
            self.pairs, self.families["gifs"] = PairDataset(data, "train", self.size), family_of(data)
            self.counts["gifs"] = len(self.pairs)
            if not len(self.pairs):
                raise no_pairs(data)
            check_motions_of(self.pairs, preset.motion_rows)

    def settings(self) -> dict[str, Any]:
        """What a run must not change when it is resumed."""
        table = {} if self.pairs is None else {"table": self.pairs.key}
        sizes = {name: self.counts[name] for name in FAMILIES if name in self.shares}
        return {**sizes, **table, **self.fixed, "mix": self.shares, **({"targets": self.targets} if sizes else {})}

    def members(self) -> dict[str, Sequence[Any]]:
        """What each set was made of, in the order of its latents."""
        return {name: family.sample(self.counts[name], "train", self.seed) for name, family in self.families.items()}

    def encode(
        self, vae: nn.Module, out: str | Path, held_out: int = 0, flows: bool = False, **options: Any
    ) -> tuple[Mixture, Mixture | None]:
        """Each set encoded once, and of each `held_out` members of val with 2 frames (of GIFs twice as many pairs).

        A set without a val split is not measured, with a warning.
        `flows`: with exact flows where there are any. `options`: mixed_precision, progress_bar. Errors: those of
        `cache_family` and `cache_pairs`.
        """
        train, val = {}, {}
        drawn = {"size": self.size, "seed": self.seed, "flows": flows, **options}
        for name, family in self.families.items():
            folder = Path(out) / self.FOLDERS[name] if self.places[name] is None else Path(self.places[name])
            if name != "gifs":
                train[name] = cache_family(vae, folder, family, self.counts[name], self.targets, split="train", **drawn)
                if held_out:
                    val[name] = cache_family(vae, folder / "val", family, held_out, 2, split="val", **drawn)
                continue
            train[name] = cache_pairs(vae, folder, self.pairs, **options)
            kept = PairDataset(self.pairs.data, "val", self.size).spread(2 * held_out) if held_out else ()
            if len(kept):
                val[name] = cache_pairs(vae, folder / "val", kept, **options)
            elif held_out:
                warnings.warn(NOT_MEASURED.format(str(self.pairs.data)), stacklevel=2)
        return Mixture(train, self.shares), Mixture(val) if val else None
