"""How zero-shot results read: Table 1's layout, the paper's rows beside ours and marked as such, and a sheet to look at."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file

from ..files import write_whole
from ..markdown import markdown_table
from ..sheets import contact_sheet
from .fvd import VIDEOS
from .paper_tables import TABLE_1
from .zero_shot import MOTIONS, SHOWN, SHOWN_FRAMES

TITLES = {"ucf101": "UCF-101", "msrvtt": "MSR-VTT"}
PAPERS_SIZE = 256  # px (section 4.1)
DIGITS = {"fvd": 2, "clipsim": 4, "pic": 4}
NAMES = {"fvd": "FVD", "clipsim": "CLIPSim", "pic": "PIC"}


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of what `zero_shot.run` returned, for one data set or both; a dash where there is nothing to measure."""
    by_layout = {result["made"]["layout"]: result for result in results}
    heads = [f"{TITLES[layout]} {NAMES[name]}" for layout in TITLES for name in NAMES]
    rows = [
        _row(f"{method} (the paper's)", {layout: row[layout]._asdict() for layout in TITLES}) for method, row in TABLE_1.items()
    ]
    for whose, label in (("ours", "ours, measured here"), ("real", "the real clips themselves, measured here")):
        rows.append(_row(label, {layout: result[whose] for layout, result in by_layout.items()}))
    lines = markdown_table(["zero-shot", *heads], rows)
    for layout in TITLES:
        if layout in by_layout:
            lines += ["", *_notes(TITLES[layout], by_layout[layout])]
    return "\n".join([*lines, ""])


def _row(label: str, figures: Mapping[str, Mapping[str, float | str | None]]) -> list[str]:
    values = [(figures.get(layout, {}).get(name, "-"), DIGITS[name]) for layout in TITLES for name in NAMES]
    return [label, *("not computed" if v is None else v if isinstance(v, str) else f"{v:.{digits}f}" for v, digits in values)]


def _notes(title: str, result: Mapping[str, Any]) -> list[str]:
    """What was measured of one data set, and what was not."""
    made, found = result["made"], result["coherency"]
    notes = [
        f"{title}: {result['clips']:,} clips of {len(MOTIONS)} frames, every {made['stride']}rd of the video, squeezed to"
        f" {made['size']} x {made['size']} px; generated at m = {', '.join(map(str, made['motions']))} with weights"
        f" `{made['weights']}`, {made['sampler']}, {made['steps']} steps. `{made['command']}`, {made['date']},"
        f" {made['machine']}, commit {made['commit']}.",
        f"Asked against measured motion of the generated clips: Pearson {found['pearson']:.3f}, RMSE {found['rmse']:.2f} px a"
        f" clip. The last frame has moved {result['curve'][-1]:.1f} px where {MOTIONS[-1]} were asked for, in the real clips"
        f" {result['real_curve'][-1]:.1f} px.",
    ]
    apart = [] if made["size"] == PAPERS_SIZE else [f"our clips are {made['size']} px, the paper's {PAPERS_SIZE} px"]
    if made["weights"] == "lite":
        apart.append("the shipped weights learnt from drawn scenes and moved photographs, the paper's from GIFs of the web")
    if apart:
        notes.append(f"What sets our row apart from the paper's: {'; '.join(apart)}.")
    if result["ours"]["fvd"] is not None and result["clips"] < VIDEOS:
        notes.append(f"FVD of fewer clips than the paper's {VIDEOS:,} is larger: it is no figure to set beside the paper's.")
    if skipped := result["skipped"]:
        example = next(iter(skipped.values()))
        notes.append(f"Left out: {len(skipped):,} videos that cannot be read or are too short, such as: {example}")
    notes += [f"{NAMES[name]} is not computed: {reason}" for name, reason in result["not_computed"].items()]
    return [line for note in notes for line in (note, "")][:-1]


def sheet(folder: str | os.PathLike) -> Image.Image:
    """The first clips below `folder`, clips-<layout> of a run: real frames, and below them the generated ones."""
    rows, labels = [], []
    for path in sorted(Path(folder).glob("*.safetensors")):
        if len(rows) == 2 * SHOWN:
            break
        kept = load_file(path).get("sheet")
        if kept is not None:
            rows += [[*clip] for clip in kept.float().div(127.5).sub(1)]
            labels += [f"{int(path.stem)}: real", "generated from the first frame above"]
    return contact_sheet(rows, labels, [f"frame {k + 1}" for k in SHOWN_FRAMES])


def write(out: str | os.PathLike) -> str:
    """zero_shot.md and a sheet a data set, of all runs whose JSON is in the folder `out`; returns the Markdown."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(out).glob("zero_shot-*.json"))]
    text = table(results)
    write_whole(Path(out) / "zero_shot.md", text.encode())
    for layout in (result["made"]["layout"] for result in results):
        if (folder := Path(out) / f"clips-{layout}").is_dir():
            picture = io.BytesIO()
            sheet(folder).save(picture, "PNG")
            write_whole(Path(out) / f"zero_shot-{layout}.png", picture.getvalue())
    return text
