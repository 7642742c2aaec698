"""What the card of the shipped weights says in its blocks: tables, lists and counts, all worked out from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..benchmark.bench_report import felt_table, number, remarks
from ..evaluation.ablation_claims import verdicts as claims
from ..evaluation.ablation_report import notes, own_table
from ..evaluation.ablation_report import table as ablation_table
from ..evaluation.held_out import pairs_markdown
from ..evaluation.report import ROWS, figure, look_up, reached, table
from ..evaluation.studies_report import studies_markdown
from ..evaluation.zero_shot_report import table as zero_shot_table
from ..markdown import markdown_table
from .card import installing

NOT_YET = "Not there yet"  # how every block begins that has nothing to show


@dataclass(frozen=True)
class Sources:
    """What figures and pictures there are: results.json, ablation.json and bench.json (None: not there), names of pictures."""

    results: dict[str, Any]
    ablation: dict[str, Any] | None = None
    pictures: frozenset[str] = frozenset()
    bench: dict[str, Any] | None = None


def targets(sources: Sources) -> str:
    """How many targets of the table are met, and which are not."""
    known = [row for row in ROWS if row[3] is not None and look_up(sources.results, row[1]) is not None]
    missed = [row for row in known if not reached(look_up(sources.results, row[1]), row[3])]
    lines = [f"Of {len(known)} targets {len(known) - len(missed)} are met" + (". Missed:\n" if missed else ".")]
    for label, path, unit, (sign, aim) in missed:
        shown = figure(sources.results, path, unit)
        lines.append(f"- {label}: {shown}, where {sign} {f'{aim:g} {unit}'.strip()} was wanted")
    return "\n".join(lines)


def by_motion(sources: Sources) -> str:
    """A column for each motion: dB below E/D alone, and the motion that was measured."""
    rows, head = [], list(sources.results["by_motion"])
    for name, path, key in (
        ("scenes, whole picture", "by_motion", "psnr"),
        ("scenes, moving region", "by_motion", "moving_psnr"),
        ("photographs, where the frame shows what the source shows", "moved_photographs.by_motion", "seen_psnr"),
    ):
        frames = look_up(sources.results, path) or {}
        if frames:
            rows.append([f"{name}: below E/D alone, dB", *(_minus(frames[m]["ceiling_" + key], frames[m][key]) for m in head)])
    for name, path in (("scenes", "by_motion"), ("photographs", "moved_photographs.by_motion")):
        frames = look_up(sources.results, path) or {}
        if frames:
            rows.append([f"{name}: motion measured, px", *(_minus(frames[m]["measured"]) for m in head)])
    return _markdown(["asked for m =", *head], rows)


def by_action(sources: Sources) -> str:
    """Scenes by what their one actor does, the worst first."""
    if not (found := sources.results.get("by_action")):
        return f"{NOT_YET}: results.json does not tell actions apart."
    rows = sorted(found.items(), key=lambda item: -item[1]["gap_db"])
    keys = ("gap_db", "moving_gap_db", "still_gap_db", "rmse", "ceiling_rmse", "flow_error")
    cells = [[name, str(row["scenes"]), *(number(row[key], 2) for key in keys)] for name, row in rows]
    head = ["action", "scenes", "below E/D alone, dB", "moving region", "still region", "RMSE a GIF, px"]
    head += ["E/D's RMSE, px", "error of F, px"]
    return _markdown(head, cells)


def by_move(sources: Sources) -> str:
    """Moved photographs by kind of move, the worst last."""
    kinds = look_up(sources.results, "moved_photographs.by_move")
    if not kinds:
        return f"{NOT_YET}: no photographs were measured."
    rows = sorted(kinds.items(), key=lambda item: item[1]["seen_gap_db"])
    cells = [[kind, str(r["photos"]), _minus(r["seen_gap_db"]), f"{r['pearson']:.3f}", _minus(r["rmse"])] for kind, r in rows]
    return _markdown(["kind of move", "photographs", "below E/D alone, dB", "Pearson a GIF", "RMSE a GIF, px"], cells)


def pairs(sources: Sources) -> str:
    """Pairs that training never drew, each beside seen scenes of its subject."""
    section = look_up(sources.results, "test_pairs")
    if not section or "by_pair" not in section:  # one of before pairs were compared so
        return f"{NOT_YET}: results.json does not compare pairs with their own subjects."
    return pairs_markdown(section)


def studies(sources: Sources) -> str:
    """The tables of the studies, as `studies_report` writes them."""
    if not sources.results.get("studies"):
        return f"{NOT_YET}: results.json holds no studies."
    return studies_markdown(sources.results["studies"])


def ablation(sources: Sources) -> str:
    """The tables of the ablation, and below them how they were made."""
    if sources.ablation is None:
        return f"{NOT_YET}: no ablation.json lies beside the weights."
    tables = (ablation_table(sources.ablation, of) for of in ("curve", "gif"))
    return "\n\n".join([*tables, own_table(sources.ablation), notes(sources.ablation)])


def verdicts(sources: Sources) -> str:
    """What the ablation says, a line for each comparison."""
    if sources.ablation is None:
        return f"{NOT_YET}: no ablation.json lies beside the weights."
    lines = claims(sources.ablation)
    return "\n".join(f"- {line}" for line in lines) or f"{NOT_YET}: too few variants are trained to compare any."


def speed(sources: Sources) -> str:
    """The benchmark: the ways to make one GIF, slowest first; how that was measured; what a user waits for, with targets."""
    if (bench := sources.bench) is None:
        return f"{NOT_YET}: no bench.json lies beside the weights."
    head = ["way to make the GIF", "steps", "predictions a step", "s a GIF", "times as fast", "G operations", "of the machine"]
    head += ["PSNR, dB", "Pearson a GIF", "RMSE a GIF, px"]
    rows, marked = [], False
    for row in (row for row in bench["rows"] if row["seconds"] is not None):
        short = bool(row["extrapolated"]) or row["quality_steps"] not in (None, row["steps"])
        times = f"{bench['reference_s'] / row['seconds']:.3g}"
        work = [number(row["operations"] and row["operations"] / 1e9, 0)]
        work += ["-" if row["share"] is None else f"{row['share']:.0%}"]
        figures = [number(row["psnr"], 2), number(row["pearson"], 4), number(row["rmse"], 2)]
        label = row["label"] + " *" * short
        rows.append([label, str(row["steps"]), str(row["predictions"]), f"{row['seconds']:.3g}", times, *work, *figures])
        marked |= short
    made, star = bench["made"], " A star: worked out from fewer steps." if marked else ""
    sittings = f" in {bench['sittings']} sittings" if bench["sittings"] > 1 else ""
    told = (
        f"{len(made['motions'])} frames at {made['size']} px, written to a GIF file. Quality: {made['scenes']} `test` scenes."
        f" `{made['command']}`, {made['date']}, {made['machine']}, commit {made['commit']}, {bench['seconds']:.0f} s{sittings}."
        " A multiply-add is two operations; their share is of the rate of a float32 matrix product,"
        f" {bench['matrix_rate'] / 1e9:.0f} G a second.{''.join(f' {each}' for each in remarks(bench['rows']))}{star}"
    )
    return "\n\n".join([_markdown(head, rows), told, "\n".join(felt_table(bench))])


BLOCKS: dict[str, Callable[[Sources], str]] = {
    "install": lambda sources: installing(),
    "quality": lambda sources: table(sources.results),
    "targets": targets,
    "by-motion": by_motion,
    "by-action": by_action,
    "by-move": by_move,
    "zero-shot": lambda sources: zero_shot_table([]),  # the paper's rows: ours need videos that are not here
    "pairs": pairs,
    "studies": studies,
    "ablation": ablation,
    "verdicts": verdicts,
    "bench:speed": speed,
}


def _minus(value: float | None, other: float = 0.0) -> str:
    return "" if value is None or other is None else f"{value - other:.2f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(markdown_table(head, rows, [" --- "] * len(head)))
