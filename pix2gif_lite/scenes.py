"""The default data: captioned pictures that move, with their exact flow. It stands in for TGIF where nothing can be downloaded.

A `Scene` is a backdrop and one or two actors. `draw` renders a batch of scenes at any motion and size, together with the exact
backward flow to the rest frame, what that flow cannot explain (`occluded`) and where anything moved (`moving`). `m` is the
paper's own measure (Alg. 1): see `calibrate`.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count as count_from
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .motion import find_corners, motion_magnitudes, to_gray
from .presets import MOTION_MAX, MOTION_SIZE
from .scenery.actions import ACTIONS, SUITS
from .scenery.backdrops import DETAILS
from .scenery.captions import caption, describe
from .scenery.casting import Actor, cast
from .scenery.drawing import deform_of, explain, render

PROBES = (3, 7, 11, 15, 17, 20)  # motions at which `readable` tries the ruler
SPLITS = ("train", "val", "test", "test_pairs", "test_open")
AS_DRAWN = ("train", "test_pairs")  # whose scenes stay, readable or not
REMEMBERED = 5_000  # scenes, and which of them are readable: a kilobyte each
SEARCHED = 20_000  # scenes looked through for the next one of the chosen subjects and actions


@dataclass(frozen=True)
class Scene:
    """One captioned picture that can move."""

    split: str
    seed: int
    index: int
    backdrop: str
    details: tuple[float, ...]
    actors: tuple[Actor, ...]
    caption: str
    gains: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)  # filled by `calibrate`

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(actor.subject for actor in self.actors)

    @property
    def open(self) -> bool:
        """True where the caption leaves the direction open, so that several frames are right."""
        return any(actor.action and ACTIONS[actor.action].open for actor in self.actors)

    def at(self, m: float, size: int = 128) -> Frame:
        """The frame whose motion from the rest frame is m (pixels at 256 x 256), a batch of one."""
        return draw([self], [m], size)


class Frame(NamedTuple):
    """A batch of drawn frames."""

    image: Tensor  # (B, 3, S, S) in [-1, 1]
    flow: Tensor  # (B, 2, S, S): image(p) = rest(p + flow(p)), pixels of this frame, x then y
    occluded: Tensor  # (B, 1, S, S) bool: pixels that the rest frame does not show
    moving: Tensor  # (B, 1, S, S) bool: pixels covered by something that moves, now or at rest


@functools.lru_cache(REMEMBERED)  # asked for again, it is calibrated
def _scene(split: str, seed: int, index: int, attempt: int = 0) -> Scene:
    rng = random.Random(f"pix2gif-lite scene {split} {seed} {index} {attempt}")
    backdrop, actors = cast(rng, split)
    details = tuple(rng.random() for _ in range(DETAILS))
    clauses = [describe(rng, a.colour, a.subject, a.action, a.way) for a in actors if a.action]
    still = next((f"{a.colour} {a.subject}" for a in actors if not a.action), None)
    if rng.random() < 0.5:
        actors.reverse()  # either may be in front
    return Scene(split, seed, index, backdrop, details, tuple(actors), caption(rng, clauses, backdrop, still))


def endless_scenes(split: str, seed: int = 0) -> Iterator[Scene]:
    """The scenes of a split in the order of `sample_scenes`, without an end, each found when it is asked for."""
    for index in count_from(0):
        tries = (_scene(split, seed, index, k) for k in count_from(0))
        yield next(scene for scene in tries if split in AS_DRAWN or readable(scene))


def sample_scenes(
    count: int,
    split: str = "train",
    seed: int = 0,
    subjects: Sequence[str] | None = None,
    actions: Sequence[str] | None = None,
) -> list[Scene]:
    """The first `count` scenes of a split; scene i depends on (split, seed, i) alone. Raises ValueError for another split.

    `subjects`, `actions`: only scenes all of whose actors are of these and do one of these (None: any). ValueError for
    a name there is not, and where the split has no such scenes.

    In `val`, `test` and `test_open` a scene whose own exact frames Lucas-Kanade reads wrongly is drawn anew: it could not
    score a model. `test_pairs` keeps all, else some pairs (a rocking kite) would hardly ever come up; read its motion
    beside the ruler's own error.
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: choose one of {', '.join(SPLITS)}.")
    if subjects is not None or actions is not None:
        return _chosen(count, split, seed, subjects, actions)
    return list(islice(endless_scenes(split, seed), count))


def _chosen(count: int, split: str, seed: int, subjects, actions) -> list[Scene]:
    for what, chosen, known in (("subject", subjects, SUITS), ("action", actions, ACTIONS)):
        for name in set(chosen or ()) - set(known):
            raise ValueError(f"Unknown {what} {name!r}: choose from {', '.join(known)}.")

    def fits(scene: Scene) -> bool:
        plays = all(subjects is None or actor.subject in subjects for actor in scene.actors)
        return plays and all(actions is None or actor.action in actions for actor in scene.actors)

    return scenes_where(count, split, fits, f"of only {subjects or 'any'} that {actions or 'act'}", seed)


def scenes_where(count: int, split: str, fits: Callable[[Scene], bool], what: str, seed: int = 0) -> list[Scene]:
    """The first `count` scenes of a split for which `fits` is True. Only scenes that fit are drawn to see if they are readable.

    They are scenes of `sample_scenes(..., split, seed)`, at their own index. `what` names them in the ValueError where none of
    20,000 scenes on end fits: "Split test has no scenes {what}."
    """
    found: list[Scene] = []
    index, last = 0, -1  # of the scene looked at, and of the last one found
    while len(found) < count:
        scene = _scene(split, seed, index)
        if fits(scene) and (split in AS_DRAWN or readable(scene)):
            found.append(scene)
            last = index
        elif index - last > SEARCHED:
            raise ValueError(f"Split {split} has no scenes {what}.")
        index += 1
    return found


@functools.lru_cache(REMEMBERED)
def readable(scene: Scene, tolerance: float = 1.0) -> bool:
    """Whether Alg. 1 reads the scene's exact frames at PROBES to within `tolerance` pixels, root mean square.

    Lucas-Kanade follows a 15 px window through three scales; a large motion over a busy edge can be more than it can follow.
    """
    frames = [to_gray(image) for image in draw([scene] * (1 + len(PROBES)), (0, *PROBES)).image]
    measured = motion_magnitudes(frames[0], frames[1:])
    return float(np.sqrt(np.mean((np.asarray(measured) - PROBES) ** 2))) <= tolerance


def all_captions(count: int, seed: int = 0) -> list[str]:
    """Captions of training scenes, for the tokenizer."""
    return [scene.caption for scene in sample_scenes(count, "train", seed)]


NODES = torch.linspace(0, 2 * MOTION_MAX, 33)  # nominal amplitudes at which `calibrate` looks


def calibrate(scene: Scene) -> Tensor:
    """The measure of Alg. 1, computed from the exact flow at the rest frame's own corners, at each amplitude of NODES: (33,).

    Corners are found as Alg. 1 finds them; each that lies on a moving layer is displaced exactly, and the mean length of those
    that go further than 1 px is the magnitude. No tracker's error enters: what an amplitude shows depends on the picture alone.
    """
    if "curve" in scene.gains:
        return scene.gains["curve"]
    full = 128
    picture, layers, _ = render([scene], torch.zeros(1), full)
    corners = torch.from_numpy(np.asarray(find_corners(to_gray(2 * picture[0] - 1)))).reshape(-1, 2)
    # A corner sits on an edge, half in and half out: it belongs to what moves within a pixel of it.
    near = F.max_pool2d((layers * (layers % 2 == 0))[:, None].float(), 3, 1, 1)[0, 0]
    at = (corners * full / MOTION_SIZE).long().clamp(0, full - 1)
    owner = near[at[:, 1], at[:, 0]].long() // 2 - 1 if len(corners) else corners.new_zeros(0).long()
    lengths = [torch.zeros(len(NODES), 0)]
    for slot, actor in enumerate(scene.actors):
        mine = corners[owner == slot]
        if actor.action is None or not len(mine):
            continue
        unit = actor.size * MOTION_SIZE
        vx = ((mine[:, 0] + 0.5 - actor.x * MOTION_SIZE) / unit * actor.facing).expand(len(NODES), 1, -1)
        vy = ((mine[:, 1] + 0.5 - actor.y * MOTION_SIZE) / unit).expand(len(NODES), 1, -1)
        x, y = deform_of([actor] * len(NODES), NODES).forward(vx, vy)
        lengths.append(torch.hypot(x - vx, y - vy)[:, 0] * unit)
    length = torch.cat(lengths, 1)
    moved = length > 1
    curve = (length * moved).sum(1) / moved.sum(1).clamp_min(1)
    scene.gains["curve"] = curve if length.shape[1] else NODES.clone()
    return scene.gains["curve"]


def amplitude(scene: Scene, m: float) -> float:
    """The nominal amplitude at which the scene's motion is m, by the inverse of its calibration curve."""
    if m == 0:
        return 0.0
    curve = torch.cummax(calibrate(scene), 0).values
    return float(np.interp(m, curve.numpy(), NODES.numpy()))


def draw(
    scenes: Sequence[Scene], motions: Sequence[float] | Tensor, size: int = 128, device: torch.device | str = "cpu"
) -> Frame:
    """Draw each scene at its motion (pixels at 256 x 256), on a CPU or a GPU; all of `Frame` is there, too.

    Raises ValueError for a negative, non-finite or too large motion.
    """
    motions = [float(m) for m in motions]
    if len(motions) != len(scenes):
        raise ValueError(f"{len(scenes)} scenes need as many motions, got {len(motions)}.")
    for m in motions:
        if not 0 <= m <= 1.5 * MOTION_MAX:
            raise ValueError(f"A scene's motion must be between 0 and {1.5 * MOTION_MAX:g} pixels at 256 x 256, got {m}.")
    amplitudes = torch.tensor([amplitude(s, m) for s, m in zip(scenes, motions, strict=True)], device=device)
    # What stands where at rest is drawn along with the frames, once a scene: they share backgrounds and patches.
    unique = {id(scene): scene for scene in scenes}
    row = {key: len(scenes) + k for k, key in enumerate(unique)}
    picture, layers, flow = render([*scenes, *unique.values()], F.pad(amplitudes, (0, len(unique))), size)
    rest, count = layers[torch.tensor([row[id(scene)] for scene in scenes], device=device)], len(scenes)
    occluded, moving = explain(layers[:count], rest, flow[:count])
    return Frame(picture[:count].mul(2).sub_(1), flow[:count], occluded, moving)
