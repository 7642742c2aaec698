"""Pictures to begin with: drawn scenes that no training saw, and captions that suit each."""

from __future__ import annotations

from ..scenery.actions import SUITS
from ..scenery.captions import PHRASES, article
from ..scenery.casting import HELD_OUT_ACTIONS
from ..scenes import Scene, endless_scenes

GALLERY_SEED = 2026  # of the `test` scenes: a whale that jumps comes first
IDEAS = ("a red balloon is rising", "a boat is sailing to the right", "a butterfly is growing")  # for a stranger's picture


def gallery(wanted: int, seed: int = GALLERY_SEED) -> list[Scene]:
    """Held-out scenes to choose from, of one subject each and no subject twice: `wanted` of them, or one a subject."""
    chosen: dict[str, Scene] = {}
    scenes = endless_scenes("test", seed)
    while len(chosen) < min(wanted, len(SUITS)):
        scene = next(scenes)
        if len(scene.actors) == 1:
            chosen.setdefault(scene.subjects[0], scene)
    return list(chosen.values())


def suggestions(scene: Scene) -> tuple[str, ...]:
    """Captions that suit a scene: its own, and the other things its subject was seen doing in training."""
    actor = scene.actors[0]
    way = "to the right" if actor.facing > 0 else "to the left"
    others = [a for a in SUITS[actor.subject] if a != actor.action and (actor.subject, a) not in HELD_OUT_ACTIONS]
    name = article(f"{actor.colour} {actor.subject}")
    return (scene.caption, *(f"{name} {PHRASES[action][0].format(way=way, turn='clockwise')}" for action in others))
