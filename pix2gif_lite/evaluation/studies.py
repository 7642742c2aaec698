"""What the weights do when they are asked differently: noise, guidance, steps, and two actions at once. Nothing is trained.

    scenes of `test` --> all ways of asking, the same scenes for each --> one row of figures a way
    scenes with one or two actors that act --> how far below E/D --> what a second action costs

Scenes are few, so that all of it takes minutes. What is compared is the same pictures, captions and seeds asked in two ways:
`psnr_change` is the mean difference to the weights' own way, `psnr_change_error` its standard error over scenes.
How the rows read is studies_report.py's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..metrics import coherency, flicker, pearson, rmse
from ..pipeline import Pix2GifPipeline
from ..presets import DEMO_MOTIONS
from ..scenery.actions import ACTIONS
from ..scenes import Scene, sample_scenes, scenes_where
from .generating import Drawn, Scales, drawn, generate_for, through_autoencoder
from .measuring import fidelity, measure, measured_motion
from .summary import mean, standard_error

SAMPLERS_COMPARED = ("dpmpp_2m", "euler_ancestral")
TIMED_STEPS = 6  # few steps are timed more often: as many GIFs as come to so many steps


@dataclass(frozen=True)
class Plan:
    """What is tried, and on how many scenes."""

    scenes: int = 8  # for noise, guidance and steps
    casts: int = 20  # of each kind, for two actions
    steps: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20, 50)
    s_I: tuple[float, ...] = (1.0, 1.4, 1.6, 1.8, 2.0)
    s_T: tuple[float, ...] = (1.0, 2.0, 7.5)
    # s_T and s_M; None: the motion is in every branch (the paper's), a number: dropped with the text, and guided by s_M
    motion: tuple[tuple[float, float | None], ...] = (
        *((1.0, s_M) for s_M in (None, 1.0, 1.5, 2.0, 3.0)),
        *((2.0, s_M) for s_M in (None, 1.0, 2.0)),
    )
    noise_steps: int = 20  # of Euler ancestral, which draws fresh noise at each step
    scales: tuple[float, ...] = (1.0, 1.4, 1.6, 1.8, 2.0)  # s_I and s_T at once, as in the ablation: the paper's Table 2


FULL = Plan()
QUICK = Plan(
    scenes=2,
    casts=2,
    steps=(1, 2, 5, 20),
    s_I=(1.0, 1.8),
    s_T=(1.0, 7.5),
    motion=((1.0, None), (1.0, 2.0), (2.0, None), (2.0, 2.0)),
    noise_steps=5,
    scales=(1.0, 1.8),
)


class Way(NamedTuple):
    """One way to ask for a GIF."""

    steps: int
    sampler: str
    scales: Scales
    noise: str = "shared"


# Scenes by who acts. In all of them the actions are those that two actors at once can have: none that need a large subject.
KINDS: dict[str, Callable[[Scene], bool]] = {
    "one": lambda scene: _acting(scene) == [True] and not _large(scene),
    "beside": lambda scene: sorted(_acting(scene)) == [False, True],  # one acts, one stands still
    "two": lambda scene: _acting(scene) == [True, True],
}


def _acting(scene: Scene) -> list[bool]:
    return [actor.action is not None for actor in scene.actors]


def _large(scene: Scene) -> bool:
    return any(actor.action and ACTIONS[actor.action].large for actor in scene.actors)


def total(quick: bool = False) -> int:
    """How many pictures `run_studies` ticks."""
    plan = QUICK if quick else FULL
    ways = 4 + len(plan.motion) + len(plan.scales) + len(plan.s_I) * len(plan.s_T) + len(plan.steps) * len(SAMPLERS_COMPARED)
    return ways * plan.scenes + len(KINDS) * plan.casts


def run_studies(pipe: Pix2GifPipeline, quick: bool = False, tick: Callable[[int], Any] | None = None) -> dict[str, Any]:
    """All studies of the pipeline's weights, as JSON values. `tick(n)` is told when n more pictures are done.

    noise, motion_guidance, guidance, coherency, steps   lists of rows, see `Asked.row`; those of coherency have
                  `curve_pearson` and `curve_l2` of the averaged curve too, those of steps `seconds`, of one GIF
    two_actions   for each of KINDS what `cost` returns; and what two cost more than one, with its standard error over
                  scenes: `worse_db`, `worse_db_error`, `moving_worse_db`, `moving_worse_db_error`
    """
    plan = QUICK if quick else FULL
    own = Scales(pipe.config.s_I, pipe.config.s_T)
    asked = Asked(pipe, plan.scenes, tick)
    way, slow = asked.own, Way(plan.noise_steps, "euler_ancestral", own)
    noises = [asked.row(each._replace(noise=noise)) for each in (way, slow) for noise in ("shared", "independent")]
    motion = [asked.row(way._replace(scales=Scales(own.s_I, s_T, s_M))) for s_T, s_M in plan.motion]
    guidance = [asked.row(way._replace(scales=Scales(s_I, s_T))) for s_I in plan.s_I for s_T in plan.s_T]
    by_scale = [way._replace(scales=Scales(s, s)) for s in plan.scales]
    by_scale = [asked.row(each) | asked.coherency(each) for each in by_scale]
    steps = []
    for sampler in SAMPLERS_COMPARED:
        for n in plan.steps:
            each = Way(n, sampler, own)
            steps.append(asked.row(each) | {"seconds": round(seconds_a_gif(pipe, asked.parts[0], each), 3)})
    costs = {kind: cost(pipe, scenes_where(plan.casts, "test", KINDS[kind], f"of kind {kind}"), tick) for kind in KINDS}
    more: dict[str, float | None] = {}
    for region in ("", "moving_"):
        more[region + "worse_db"] = costs["two"][region + "gap_db"] - costs["one"][region + "gap_db"]
        errors = [costs[kind][region + "gap_db_error"] for kind in ("one", "two")]
        more[region + "worse_db_error"] = None if None in errors else math.hypot(*errors)
    return {
        "made": {"scenes": plan.scenes, "split": "test", "motions": list(DEMO_MOTIONS), "threads": torch.get_num_threads()},
        "own": _settings(way),
        "noise": noises,
        "motion_guidance": motion,
        "guidance": guidance,
        "coherency": by_scale,
        "steps": steps,
        "two_actions": {**costs, **more, "scenes": plan.casts},
    }


class Asked:
    """The first scenes of `test`, asked for in many ways: exact frames and ceilings are made once, a way is measured once."""

    def __init__(self, pipe: Pix2GifPipeline, scenes: int, tick: Callable[[int], Any] | None = None) -> None:
        c = pipe.config
        self.pipe, self.scenes, self.tick = pipe, scenes, tick
        self.own = Way(c.sampling_steps, c.sampler, Scales(c.s_I, c.s_T))
        self.parts = list(drawn(sample_scenes(scenes, "test"), DEMO_MOTIONS, c.image_size))
        self.ceilings = [fidelity(through_autoencoder(pipe, part.exact.image), part.exact) for part in self.parts]
        self._known: dict[Way, dict[str, Tensor]] = {}

    def row(self, way: Way) -> dict[str, Any]:
        """The way, and its figures, means over scenes (None where no scene has the region):

        psnr, moving_psnr, still_psnr; gap_db, moving_gap_db (below E/D alone); psnr_change and psnr_change_error, all dB;
        pearson and rmse (px at 256 x 256) of asked and measured motion, a GIF; flicker and still_flicker, grey levels.
        """
        found, own = self.columns(way), self.columns(self.own)
        change = found["psnr"] - own["psnr"]
        if self.tick:
            self.tick(self.scenes)
        means = {name: mean(values) for name, values in found.items() if name != "measured"}
        return {**_settings(way), **means, "psnr_change": mean(change), "psnr_change_error": standard_error(change)}

    def coherency(self, way: Way) -> dict[str, float]:
        """Motion coherency, of each GIF and of the curve averaged over the scenes: `metrics.coherency`."""
        measured = self.columns(way)["measured"]
        return coherency(torch.tensor([float(m) for m in DEMO_MOTIONS]).expand_as(measured), measured)

    def columns(self, way: Way) -> dict[str, Tensor]:
        """The figures of each scene, (N,); and `measured`, the motion of each frame, (N, K)."""
        if way not in self._known:
            parts = [self._measure(part, ceiling, way) for part, ceiling in zip(self.parts, self.ceilings, strict=True)]
            self._known[way] = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return self._known[way]

    def _measure(self, part: Drawn, ceiling: dict[str, Tensor], way: Way) -> dict[str, Tensor]:
        how = {"scales": way.scales, "noise": way.noise}
        frames, exact = generate_for(self.pipe, part, DEMO_MOTIONS, way.steps, way.sampler, **how).image, part.exact
        shape = (len(part.source), len(DEMO_MOTIONS))
        asked = torch.tensor([float(m) for m in DEMO_MOTIONS]).expand(shape)
        measured = measured_motion(part.source, frames).reshape(shape)
        values = {"measured": measured, "pearson": pearson(asked, measured), "rmse": rmse(asked, measured)}
        likeness = fidelity(frames, exact)
        for region in ("", "moving_", "still_"):
            ours, best = (found[region + "psnr"].reshape(shape) for found in (likeness, ceiling))
            values |= {region + "psnr": ours.nanmean(1), region + "gap_db": (best - ours).nanmean(1)}
        gifs, exacts, still = (part.unflatten(0, shape) for part in (frames, exact.image, ~exact.moving))
        return values | {"flicker": flicker(gifs, exacts), "still_flicker": flicker(gifs, exacts, still)}


def seconds_a_gif(pipe: Pix2GifPipeline, part: Drawn, way: Way) -> float:
    """How long the pipeline takes for one GIF of DEMO_MOTIONS from the first picture, the shortest of up to six."""
    times = []
    for _ in range(max(1, TIMED_STEPS // way.steps)):
        began = time.perf_counter()
        scales = {"s_I": way.scales.s_I, "s_T": way.scales.s_T, "s_M": way.scales.s_M}
        pipe(part.source[0], part.scenes[0].caption, DEMO_MOTIONS, steps=way.steps, sampler=way.sampler, quiet=True, **scales)
        times.append(time.perf_counter() - began)
    return min(times)


def cost(pipe: Pix2GifPipeline, scenes: Sequence[Scene], tick: Callable[[int], Any] | None = None) -> dict[str, Any]:
    """What scenes lose against E/D alone, as the weights are asked by themselves: means over scenes and DEMO_MOTIONS.

    psnr, gap_db, moving_psnr, moving_gap_db (dB; each gap with its standard error over scenes, `..._error`), pearson and
    rmse (px at 256 x 256) a GIF, ceiling_rmse and ruler_rmse (what the exact frames give, through E and D and as they are),
    flow_error (px; None without a warp).
    """
    frames = measure(pipe, scenes, tick=tick)
    asked, found = frames["asked"], {}
    for region in ("", "moving_"):
        ours, best = frames[region + "psnr"], frames[f"ceiling_{region}psnr"]
        gap = (best - ours).nanmean(1)
        found |= {region + "psnr": mean(ours), region + "gap_db": mean(gap), region + "gap_db_error": standard_error(gap)}
    found |= {"pearson": mean(pearson(asked, frames["measured"])), "rmse": mean(rmse(asked, frames["measured"]))}
    found["ceiling_rmse"] = mean(rmse(asked, frames["ceiling_measured"]))
    return found | {"ruler_rmse": mean(rmse(asked, frames["ruler"])), "flow_error": mean(frames.get("flow_error"))}


def _settings(way: Way) -> dict[str, Any]:
    return {"sampler": way.sampler, "steps": way.steps, **way.scales._asdict(), "noise": way.noise}
