"""What measured columns come to on average: the sections of results.json.

`measure` gives a number for each frame; here they become means, and differences of means, of everything, of each motion, of
each kind of move. Figures in dB are means over frames of each frame's dB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..data.photo_moves import MOVES
from ..metrics import coherency, rmse
from ..photos import MovedPhoto
from ..scenes import Scene

FAST = 8  # px at 256: the gain over a copied source counts from this motion on, below it a copy is nearly right


def mean(values: Tensor | None) -> float | None:
    """Mean of what there is; None where there is nothing."""
    if values is None or values.isnan().all():
        return None
    return float(values.nanmean())


def standard_error(values: Tensor) -> float | None:
    """Of the mean of values (N,); None of a single one, or none."""
    return float(values.std()) / len(values) ** 0.5 if len(values) > 1 else None


def summarise(frames: Mapping[str, Tensor]) -> dict[str, Any]:
    """The sections fidelity, coherency, ceiling, ruler, flow, stillness, flicker and by_motion, from `measure`'s columns."""
    asked = frames["asked"]
    likeness = {name: mean(value) for name, value in frames.items() if name.endswith(("psnr", "ssim"))}
    fast = asked[0] >= FAST
    for region in ("", "moving_", "still_", "seen_"):
        ours, ceiling, copy = (frames[f"{which}{region}psnr"] for which in ("", "ceiling_", "copy_"))
        likeness[region + "gap_db"] = mean(ceiling - ours)
        likeness[region + "gain_db"] = mean((ours - copy)[:, fast])
        for which in ("warp_", "detail_"):  # not there for the variants without a warp
            other = frames.get(f"{which}{region}psnr")
            likeness[f"{which}{region}gap_db"] = None if other is None else mean(ceiling - other)
    kept = [f"{which}{region}psnr" for region in ("", "moving_", "seen_") for which in ("", "ceiling_", "copy_")]
    kept += ["measured", "ruler"]
    return {
        "fidelity": likeness,
        "coherency": coherency(asked, frames["measured"]),
        "ceiling": coherency(asked, frames["ceiling_measured"]),
        "ruler": coherency(asked, frames["ruler"]) | {"median_error": float((frames["ruler"] - asked).abs().median())},
        "flow": {
            "end_point_error": mean(frames.get("flow_error")),  # F's own
            "measured_end_point_error": mean(frames.get("measured_flow_error")),  # of what is seen in the generated frames
            "ruler_end_point_error": mean(frames.get("ruler_flow_error")),  # the same of the exact frames
        },
        "stillness": {"generated": mean(frames["stillness"]), "ceiling": mean(frames["ceiling_stillness"])},
        "flicker": flickers(frames),
        "by_motion": {f"{float(m):g}": {name: mean(frames[name][:, k]) for name in kept} for k, m in enumerate(asked[0])},
    }


def flickers(frames: Mapping[str, Tensor]) -> dict[str, float | None]:
    """The section flicker, grey levels: with no prefix, still_ and warped_, as in `changes`, for each

    generated, ceiling, exact   the change of those frames

    excess         by how much the generated frames change more than the exact ones
    ceiling_excess the same of the exact frames through E and D
    """
    found: dict[str, float | None] = {}
    for kind in ("", "still_", "warped_"):
        ours, ceiling, exact = (frames[f"{which}{kind}change"] for which in ("", "ceiling_", "exact_"))
        found |= {kind + "generated": mean(ours), kind + "ceiling": mean(ceiling), kind + "exact": mean(exact)}
        found |= {kind + "excess": mean(ours - exact), kind + "ceiling_excess": mean(ceiling - exact)}
    return found


def brief(frames: Mapping[str, Tensor]) -> dict[str, Any]:
    """The few figures of a side split, or of one kind of move."""
    full = summarise(frames)
    keys = [f"{which}{region}psnr" for region in ("", "moving_", "seen_") for which in ("", "ceiling_")]
    keys += [region + what for region in ("", "moving_", "seen_") for what in ("gap_db", "gain_db")]
    return {
        **{key: full["fidelity"][key] for key in keys},
        "pearson": full["coherency"]["pearson"],
        "rmse": full["coherency"]["rmse"],
        "ruler_rmse": full["ruler"]["rmse"],
        "sharpness": mean(frames["sharpness"]),
    }


def summarise_actions(scenes: Sequence[Scene], frames: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """The section by_action, from `measure`'s columns: scenes with one actor by its action, those with two together.

    Of each: scenes; gap_db, moving_gap_db, still_gap_db (below E/D alone); rmse of motion, ceiling_rmse of the exact frames
    through E and D, flow_error (None without a warp), px at 256 x 256.
    """
    names = [str(scene.actors[0].action) if len(scene.actors) == 1 else "two subjects" for scene in scenes]
    found = {}
    for name in sorted(set(names)):
        some = [k for k, other in enumerate(names) if other == name]
        part = {key: values[some] for key, values in frames.items()}
        gaps = {r + "gap_db": mean(part[f"ceiling_{r}psnr"] - part[r + "psnr"]) for r in ("", "moving_", "still_")}
        errors = {k + "rmse": mean(rmse(part["asked"], part[k + "measured"])) for k in ("", "ceiling_")}
        found[name] = {"scenes": len(some), **gaps, **errors, "flow_error": mean(part.get("flow_error"))}
    return found


def summarise_photos(photos: Sequence[MovedPhoto], frames: Mapping[str, Tensor]) -> dict[str, Any]:
    """The section moved_photographs, from `measure`'s columns: all of them, and each kind of move alone."""
    kinds = [MOVES[photo.move].kind for photo in photos]
    rows = {kind: [k for k, other in enumerate(kinds) if other == kind] for kind in sorted(set(kinds))}
    alone = {kind: brief({name: v[some] for name, v in frames.items()}) | {"photos": len(some)} for kind, some in rows.items()}
    return {"photos": len(photos), **summarise(frames), "by_move": alone}
