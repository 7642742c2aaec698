"""The ablation as pictures: the same held-out scenes made by every setting, and the motion each made over the one asked for."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ..files import write_whole
from ..origins.completeness import INDEX
from ..pipeline import Pix2GifPipeline
from ..scenes import sample_scenes
from ..sheets import contact_sheet
from ..viz import requested_vs_measured
from .ablation import SETTINGS, STEPS
from .ablation_claims import OWN
from .ablation_report import markdown
from .generating import Drawn, Scales, drawn, generate_for
from .report import SHEET_MOTIONS

REPORT, SHEET, CURVES = "ablation.md", "ablation.webp", "ablation-curves.png"
SHEET_SIDE = 96  # px of a picture: the whole sheet, seen at once, and small beside the weights
QUALITY = 75  # of the WebP: 100 is without visible loss


def picture(
    out: str | os.PathLike,
    scenes: Sequence[int] = (0, 1),
    motions: Sequence[float] = SHEET_MOTIONS,
    seed: int = 0,
    size: int | None = None,
) -> Image.Image | None:
    """A sheet, a setting a row: of each scene the source, then its frame at each motion, without guidance (s_I = 1).

    The first row has the exact frames. Made with the runs in `out` that have that seed; None where there is none.

    scenes   their numbers in `test`; motions: px at 256 x 256
    size     a picture's side in px (None: the model's own)
    """
    folders = [(setting.label, Path(out) / f"{setting.name}-{seed}") for setting in SETTINGS]
    population = sample_scenes(1 + max(scenes), "test")
    parts: list[Drawn] = []
    rows, labels = [], []
    for label, folder in folders:
        if not (folder / INDEX).is_file():  # saved last: without it the run is not done
            continue
        pipe = Pix2GifPipeline.from_pretrained(folder)
        if not parts:
            parts = list(drawn([population[k] for k in scenes], motions, pipe.config.image_size))
            rows.append(_row((part.source, part.exact.image) for part in parts))
            labels.append("exact: " + "; ".join(population[k].caption for k in scenes))
        made = (generate_for(pipe, part, motions, STEPS, scales=Scales(float(OWN))).image for part in parts)
        rows.append(_row((part.source, frames) for part, frames in zip(parts, made, strict=True)))
        labels.append(label)
    columns = ["source", *(f"m = {m:g}" for m in motions)] * len(scenes)
    return contact_sheet(rows, labels, columns, size) if rows else None


def _row(parts: Iterable[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Sources (N, 3, S, S) and their frames (N K, 3, S, S) in one line: a source, its K frames, the next source, ..."""
    return [cell for sources, frames in parts for source, gif in zip(sources, frames.chunk(len(sources)), strict=True)
            for cell in (source, *gif)]  # fmt: skip


def figure(results: dict[str, Any], path: str | os.PathLike, scale: str = OWN) -> Path:
    """The measured motion of each setting over the motion asked for, with the line where they agree, as a picture file.

    A setting's line is the mean of its seeds, each averaged over scenes, at one s_I of the results ("1.4"); its band is the
    middle 80% of its seeds. The ceiling is the exact frame through E and D. ValueError where nothing was measured there.
    """
    curves = {name: [run["s_I"][scale]["curve"] for run in runs.values() if scale in run["s_I"]]
              for name, runs in results["runs"].items()}  # fmt: skip
    lines: dict[str, Any] = {setting.name: curves[setting.name] for setting in SETTINGS if curves.get(setting.name)}
    if not lines:
        raise ValueError(f"Nothing was measured at s_I = {scale}: train a variant first.")
    if "ceiling" in results:
        lines["exact, through E and D"] = results["ceiling"]["curve"]
    return requested_vs_measured(results["made"]["motions"], lines, Path(path), f"s_I = {scale}")


def write_report(out: str | os.PathLike, results: dict[str, Any]) -> list[Path]:
    """Beside ablation.json: ablation.md; ablation.webp where runs of seed 0 are there; ablation-curves.png with matplotlib."""
    out = Path(out)
    write_whole(out / REPORT, markdown(results).encode())
    written = [out / REPORT]
    if sheet := picture(out, size=SHEET_SIDE):
        file = io.BytesIO()
        sheet.save(file, "webp", quality=QUALITY, method=6)
        write_whole(out / SHEET, file.getvalue())
        written.append(out / SHEET)
    if importlib.util.find_spec("matplotlib") is not None:
        written.append(figure(results, out / CURVES))
    return written
