"""How much of the benchmark is run: how often, how long, on how many scenes. The whole of it, or `--quick`.

The whole takes about an hour on two cores, most of it for the quality of the slow rows: 50 scenes of 8 frames at 100 steps and
three predictions are 120,000 of them. Quick is meant to stay below three minutes on a CPU without AVX-512 too: of 100 steps,
and of 12 that cost the same each, two are run, and what all would take is computed from them, and marked.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What is run."""

    scenes: int = 50  # of `test`, whose frames are judged
    repeats: int = 5
    slow_repeats: int = 5  # of rows of 12 steps and more, and of what grows
    short: tuple[int, int] | None = None  # steps that are run in place of 12 or 100; None: all of them
    quality_steps: int | None = None  # at most so many for the judged frames
    moves: int = 20  # of the slider, each kind of them after the others, so often:
    rounds: int = 5
    starts: int = 5  # fresh processes
    training_steps: int = 12
    clips: int = 3
    clip_frames: int = 41  # TGIF's mean
    frames: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)  # growth: frames, px a side, steps
    pixels: tuple[int, ...] = (128, 192, 256, 384, 512)
    steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    growth_frames: int = 8  # of the GIFs whose pixels and steps grow


FULL = Plan()
QUICK = Plan(
    scenes=1,
    slow_repeats=2,
    short=(1, 2),
    quality_steps=6,
    moves=5,
    rounds=3,
    starts=1,
    training_steps=3,
    clips=2,  # one for each core of two
    clip_frames=12,
    frames=(1, 4, 8),
    pixels=(128, 256, 384),
    steps=(1, 4, 16),
    growth_frames=1,
)
