"""Pairs that training never drew, a subject with an action or with a colour, against seen scenes of the same subjects.

    test_pairs: the pair, alone in its scene ----------.
                                                        +--> how much farther below E/D, pair by pair
    test:       the same subject, alone in its scene --'

Some subjects are harder than others, and so are scenes with two actors. So a pair is compared with scenes of its own subject,
with one actor on both sides, and every pair weighs the same. `test` holds only scenes that Lucas-Kanade reads; `test_pairs`
holds others too, which are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..markdown import markdown_table
from ..metrics import rmse
from ..pipeline import Pix2GifPipeline
from ..scenery.casting import HELD_OUT_ACTIONS, HELD_OUT_COLOURS
from ..scenes import Scene, endless_scenes, readable, scenes_where
from .measuring import measure
from .summary import brief, mean, standard_error

TRIED = 25  # scenes of a pair shown to the ruler for each one wanted: it reads a rocking kite in ten, and no yellow boat
REGIONS = ("", "moving_")

Columns = Mapping[str, Tensor]  # of `measure`


class Pair(NamedTuple):
    """A subject, and the action or colour that training never drew it with."""

    kind: str  # "actions" or "colours"
    subject: str
    other: str

    @property
    def name(self) -> str:
        return f"{self.subject}, {self.other}"

    def alone(self, scene: Scene) -> bool:
        """Whether the scene has one actor, and that is such a pair."""
        return _alone(scene, self.subject) and self.other == getattr(scene.actors[0], self.kind.removesuffix("s"))


PAIRS = tuple(
    Pair(kind, *pair)
    for kind, pairs in (("actions", HELD_OUT_ACTIONS), ("colours", HELD_OUT_COLOURS))
    for pair in sorted(pairs)
)


class Cast(NamedTuple):
    """The scenes in which a pair and its subject are compared."""

    pair: Pair
    unseen: list[Scene]  # of test_pairs
    tried: int  # scenes of the pair that were shown to the ruler to find them
    rows: list[int]  # seen ones: which of the scenes that are measured anyway
    more: list[Scene]  # and others, of test
    alike: list[int] = []  # which of those measured anyway show the same action by another subject alone


def find_casts(count: int, measured: Sequence[Scene] = ()) -> list[Cast]:
    """For each of PAIRS up to `count` scenes, fewer where the ruler reads no more of them, and at least as many seen ones.

    `measured`: the first scenes of `test`, all of whose scenes with such a subject alone count as seen; more are drawn where
    these are too few.
    """
    found: dict[Pair, list[Scene]] = {pair: [] for pair in PAIRS}
    tried = dict.fromkeys(PAIRS, 0)
    searched = set(PAIRS)
    scenes = endless_scenes("test_pairs")
    while searched:
        scene = next(scenes)
        for pair in [pair for pair in searched if pair.alone(scene)]:
            tried[pair] += 1
            if readable(scene):
                found[pair].append(scene)
            if len(found[pair]) == count or tried[pair] == TRIED * count:
                searched.remove(pair)
    casts = []
    for pair, unseen in found.items():
        rows = [n for n, scene in enumerate(measured) if _alone(scene, pair.subject)] if unseen else []
        missing = max(0, len(unseen) - len(rows))

        def fits(scene: Scene, subject: str = pair.subject) -> bool:
            return scene.index >= len(measured) and _alone(scene, subject)

        more = scenes_where(missing, "test", fits, f"of a {pair.subject} alone")
        alike = [n for n, scene in enumerate(measured) if pair.kind == "actions" and _acts_alone(scene, pair.other)]
        casts.append(Cast(pair, unseen, tried[pair], rows, more, alike))
    return casts


def ticks(casts: Sequence[Cast]) -> int:
    """How many pictures `held_out_pairs` ticks."""
    return sum(len(cast.unseen) + len(cast.more) for cast in casts)


def held_out_pairs(pipe: Pix2GifPipeline, casts: Sequence[Cast], frames: Columns, **options: Any) -> dict[str, Any]:
    """Measure the casts' scenes and compare: the section test_pairs, as `compare` makes it.

    frames    what `measure` found for the scenes that the casts' rows count from
    options   steps, sampler, tick, as `measure` takes them
    """
    found = {}
    for cast in casts:
        if cast.unseen:
            seen = [{name: values[cast.rows] for name, values in frames.items()}] if cast.rows else []
            seen += [measure(pipe, cast.more, **options)] if cast.more else []
            alike = {name: values[cast.alike] for name, values in frames.items()} if cast.alike else None
            found[cast.pair] = measure(pipe, cast.unseen, **options), _together(seen), alike
    return compare(found) | {"not_read": {cast.pair.name: cast.tried for cast in casts if not cast.unseen}}


def compare(found: Mapping[Pair, tuple[Columns, ...]]) -> dict[str, Any]:
    """Pairs against seen scenes of their subjects: all pairs, and "actions", "colours", "by_pair".

    found: `measure`'s columns of a pair, of its subject and, where there are any, of its action by other subjects.

    Of each pair: scenes, seen_scenes; gap_db, how far below E/D; same_subject_gap_db, the seen scenes'; worse_db, the
    difference, and worse_db_error, its standard error over scenes (None of a single scene); same_action_gap_db, of
    same_action_scenes with the action by another subject (None of none); the same of dB with moving_ before. rmse (px) and
    flow_error (px; None without a warp) of the pair, with same_subject_ before of its subject.
    Of all pairs and of each kind: what `brief` says of their scenes; worse_db and moving_worse_db, the mean over pairs; their
    `_error`, its standard error over pairs, in which both count, how few scenes there are and how pairs differ.
    """
    pairs = {pair: _pair(*columns) for pair, columns in found.items()}

    def part(kind: str | None = None) -> dict[str, Any]:
        chosen = [pair for pair in found if kind in (None, pair.kind)]
        if not chosen:
            return {"pairs": 0, "scenes": 0}
        section = brief(_together([found[pair][0] for pair in chosen])) | {"pairs": len(chosen)}
        section |= {name: sum(pairs[pair][name] for pair in chosen) for name in ("scenes", "seen_scenes")}
        for name in ("worse_db", "moving_worse_db"):
            worse = torch.tensor([value for pair in chosen if (value := pairs[pair][name]) is not None])
            section |= {name: mean(worse), name + "_error": standard_error(worse)}
        return section

    kinds = {kind: part(kind) for kind in dict.fromkeys(pair.kind for pair in PAIRS)}
    return part() | kinds | {"by_pair": {pair.name: figures for pair, figures in pairs.items()}}


def _pair(unseen: Columns, seen: Columns, alike: Columns | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"scenes": len(unseen["asked"]), "seen_scenes": len(seen["asked"])}
    found["same_action_scenes"] = 0 if alike is None else len(alike["asked"])
    for prefix, side in (("", unseen), ("same_subject_", seen)):
        found[prefix + "rmse"] = mean(rmse(side["asked"], side["measured"]))
        found[prefix + "flow_error"] = mean(side.get("flow_error"))
    for region in REGIONS:
        gaps = [_gaps(side, region) for side in (unseen, seen)]
        found[region + "same_action_gap_db"] = None if alike is None else mean(_gaps(alike, region))
        ours, theirs = map(mean, gaps)
        errors = [standard_error(gap) for gap in gaps]
        found |= {region + "gap_db": ours, region + "same_subject_gap_db": theirs}
        found[region + "worse_db"] = None if None in (ours, theirs) else ours - theirs
        found[region + "worse_db_error"] = None if None in errors else math.hypot(*errors)
    return found


def _gaps(side: Columns, region: str) -> Tensor:
    """How far below E/D each scene is, (N,), without scenes in which the region never shows."""
    gaps = (side[f"ceiling_{region}psnr"] - side[region + "psnr"]).nanmean(1)
    return gaps[~gaps.isnan()]


def pairs_markdown(section: Mapping[str, Any]) -> str:
    """The section test_pairs as Markdown: how it was compared, and a row a pair."""
    text = (
        f"{section['pairs']} pairs that training never drew, {section['scenes']} scenes of `test_pairs` with the pair alone,"
        f" against {section['seen_scenes']} scenes of `test` with the same subject alone; both hold only scenes that the ruler"
        " reads (Lucas-Kanade, to within 1 px). +- in a row is the standard error over scenes, in the quality"
        " table, where each pair weighs the same, that over pairs. The same action is that of other subjects, alone, among the"
        " scenes measured anyway (how many). F is compared with the exact flow where things move, px at 256 x 256."
    )
    if section["not_read"]:
        left = ", ".join(f"{name} ({tried:,} scenes tried)" for name, tried in section["not_read"].items())
        text += f" The ruler reads no scene of: {left}."
    head = ["pair", "scenes", "seen scenes", "below E/D, dB", "the same subject seen, dB", "the same action seen, dB"]
    head += ["worse by, dB", "moving region, worse by, dB", "error of F, px", "the same subject seen, px"]
    rows = []
    for name, found in section["by_pair"].items():
        gaps = ["-" if found[key] is None else f"{found[key]:.2f}" for key in ("gap_db", "same_subject_gap_db")]
        worse = [_with_error(found, region + "worse_db") for region in REGIONS]
        alike = found["same_action_gap_db"]
        gaps.append("-" if alike is None else f"{alike:.2f} ({found['same_action_scenes']})")
        flows = ["-" if found[key] is None else f"{found[key]:.2f}" for key in ("flow_error", "same_subject_flow_error")]
        rows.append([name, str(found["scenes"]), str(found["seen_scenes"]), *gaps, *worse, *flows])
    return "\n".join([text, "", *markdown_table(head, rows)])


def _with_error(found: Mapping[str, Any], name: str) -> str:
    if found[name] is None:
        return "-"
    return f"{found[name]:.2f}" + ("" if found[name + "_error"] is None else f" +- {found[name + '_error']:.2f}")


def _alone(scene: Scene, subject: str) -> bool:
    return scene.subjects == (subject,)


def _acts_alone(scene: Scene, action: str) -> bool:
    return len(scene.actors) == 1 and scene.actors[0].action == action


def _together(parts: Sequence[Columns]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
