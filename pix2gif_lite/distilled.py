"""What distilled weights take: a few step counts, one sampler, no guidance; and how small their UNet may be.

A UNet that was distilled (learning/distillation_job.py) has learnt where a longer, guided way ends, from the states of its
own short one. Asked otherwise it would still give a picture, of something it never saw: so it is refused. This file imports
nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from .presets import Preset

SAMPLER, SPACING = "dpmpp_2m", "trailing"  # trailing: every step count starts at pure noise, so all from the same state
STEPS, TEACHER_STEPS = (1, 2, 4), 12


def check_distilled(
    made_for: Sequence[int] | None,
    steps: int,
    sampler: str,
    scales: Sequence[float | None] = (1.0, 1.0, None),
    interval: tuple[float, float] | None = None,
) -> None:
    """Refuses what weights distilled for the step counts `made_for` do not take; None: they are not distilled, and take all.

    `scales`: s_I, s_T, s_M, each 1 (or None); `interval`: the noise levels that are guided, None. ValueError that says what
    they take.
    """
    if made_for is None:
        return
    if steps not in made_for:
        counts = ", ".join(map(str, made_for))
        raise ValueError(f"These weights were distilled for {counts} steps, not {steps}: give one of these, or other weights.")
    if sampler != SAMPLER:
        raise ValueError(f"These weights were distilled for the sampler {SAMPLER}, not {sampler}: leave it out.")
    for name, scale in zip(("s_I", "s_T", "s_M"), scales, strict=True):
        if scale not in (None, 1):
            raise ValueError(f"These weights were distilled to need no guidance, but {name} is {scale:g}: leave it at 1.")
    if interval is not None:
        raise ValueError(f"These weights were distilled to need no guidance, but interval is {interval}: leave it out.")


def check_step_counts(steps: Iterable[int], teacher_steps: int = TEACHER_STEPS) -> tuple[int, ...]:
    """The step counts to distil for, each once, the fewest first.

    ValueError unless they are whole numbers from 1, below the teacher's.
    """
    counts = list(steps)
    whole = all(isinstance(count, Integral) and not isinstance(count, bool) for count in counts)
    if not counts or not whole or not 1 <= min(counts) <= max(counts) < teacher_steps:
        given = ", ".join(map(str, counts)) or "none"
        raise ValueError(
            f"Step counts to distil for: {given}; the teacher's: {teacher_steps}. Give whole numbers from 1, below the "
            "teacher's, such as 1,2,4."
        )
    return tuple(sorted({int(count) for count in counts}))


def saved_step_counts(saved: Any) -> tuple[int, ...] | None:
    """`distilled_steps` as a folder of weights has it: None, or a list. ValueError unless it has whole numbers from 1."""
    if saved is None:
        return None
    counts = tuple(saved) if isinstance(saved, list | tuple) else ()
    if not counts or not all(type(count) is int and count > 0 for count in counts):
        raise ValueError(f"The setting distilled_steps is {saved!r}: give whole numbers from 1, such as [1, 2, 4], or null.")
    return counts


def parse_counts(text: str, what: str = "step count", such_as: str = "1,2,4") -> tuple[int, ...]:
    """ "1,2,4" as (1, 2, 4). Raises ValueError naming what is no whole number."""
    counts = []
    for word in filter(str.strip, text.split(",")):
        try:
            counts.append(int(word))
        except ValueError:
            raise ValueError(f"The {what} {word.strip()!r} is no whole number: give a list such as {such_as}.") from None
    return tuple(counts)


def smaller(preset: Preset, channels: Sequence[int]) -> Preset:
    """The preset with a UNet of these widths, the finest first; attention stays at the scales where it was.

    ValueError for more widths than the preset's UNet has, and for one that its groups and heads do not divide.
    """
    channels, most = tuple(channels), len(preset.unet_channels)
    if not 1 <= len(channels) <= most:
        raise ValueError(
            f"A student's UNet of {len(channels)} widths: give 1 to {most}, as {preset.name}'s has, such as 32,64,96."
        )
    for parts in (preset.unet_norm_groups, preset.unet_heads):
        if wrong := [width for width in channels if not isinstance(width, Integral) or width < 1 or width % parts]:
            raise ValueError(f"A student's UNet of width {wrong[0]}: give multiples of {parts}, such as 32,64,96.")
    return preset.with_changes(unet_channels=channels, unet_attention=preset.unet_attention[: len(channels)])


def distilled(preset: Preset, steps: Sequence[int]) -> Preset:
    """The preset of weights distilled for these step counts: they are asked for the fewest unless told otherwise.

    Unguided, and without a second look: a student is to be quick, and learns from the latent's z_W alone.
    """
    counts = tuple(steps)
    unguided = {"s_I": 1.0, "s_T": 1.0, "s_M": 1.0, "second_look": 0.0}
    return preset.with_changes(sampler=SAMPLER, spacing=SPACING, sampling_steps=min(counts), distilled_steps=counts, **unguided)
