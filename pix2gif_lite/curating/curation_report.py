"""What became of every file, as report.json, and what the data look like, as report.png."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..pairs import TOP, CurationSettings

SHEET_CLIPS, SHEET_PAIRS, SHEET_CELL = 8, 3, 165  # clips, pairs of each, px


def report_of(
    source: Path,
    settings: CurationSettings,
    listed: Sequence[Any],
    kept: Mapping[str, dict[str, Any]],
    groups: Mapping[str, str],
    sides: Mapping[str, str],
    rows: Sequence[dict[str, Any]],
    fates: Sequence[Any],
) -> str:
    """report.json: settings, counts, each listed file with its counts or its reason, near duplicates, each URL's fate.

    `listed` are files with name, caption, key and reason; the rest as `curate` has them. No time or place is in it.
    """
    pairs = Counter(row["gif"] for row in rows)
    captions = Counter(one.key for one in listed if one.reason is None)
    names: dict[str, list[str]] = {}
    files = []
    for one in listed:
        line = {"file": one.name, "caption": one.caption, "kept": one.reason is None}
        if one.reason is not None:
            files.append(line | {"reason": one.reason})
            continue
        counts = {name: kept[one.key][name] for name in ("frames", "looked_at", "shots", "measured", "in_range")}
        files.append(line | {"gif": one.key, "split": sides[one.key], **counts, "pairs": pairs[one.key] // captions[one.key]})
        names.setdefault(groups[one.key], []).append(one.name)
    splits = Counter(row["split"] for row in rows)
    report = {
        "source": source.name,
        "settings": asdict(settings),
        "counts": {
            "files": len(listed),
            "kept": sum(line["kept"] for line in files),
            "dropped": sum(not line["kept"] for line in files),
            "clips": len(kept),
            "pairs_measured": sum(record["measured"] for record in kept.values()),
            "pairs_in_range": sum(record["in_range"] for record in kept.values()),
            "pairs": {"train": splits["train"], "val": splits["val"]},
        },
        "near_duplicates": sorted(group for group in names.values() if len(group) > 1),
        "files": files,
    }
    if fates:
        report["downloads"] = [
            {"url": fate.url, "status": "kept" if fate.path else fate.status, "bytes": fate.bytes} for fate in fates
        ]
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def draw_report(
    out: Path, settings: CurationSettings, kept: Mapping[str, dict[str, Any]], rows: Sequence[dict[str, Any]]
) -> bytes:
    """report.png: the histogram of m before and after, and some pairs of some clips. The frames lie in `out`."""
    from ..viz import histogram

    edges = np.arange(TOP + 2)
    counts = np.sum([record["histogram"] for record in kept.values()], axis=0)
    label, keep = "motion m, px at 256 x 256", (settings.low, settings.high)
    titles = [f"before: {counts.sum():,} pairs of the clips kept", f"after: {len(rows):,} pairs drawn"]
    before = histogram({"all pairs i < j": edges[:-1]}, edges, label, titles[0], keep, {"all pairs i < j": counts})
    after = histogram({"drawn": [row["motion_px"] for row in rows]}, edges, label, titles[1], keep)
    file = io.BytesIO()
    _below(_beside(before, after), _sheet(out, rows)).save(file, format="PNG")
    return file.getvalue()


def _sheet(out: Path, rows: Sequence[dict[str, Any]]) -> Image.Image:
    """Source and target of a small, a middle and a large motion, a row for each of up to eight clips."""
    from ..sheets import contact_sheet

    clips: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        own = clips.setdefault(row["gif"], [])
        if "-flip." not in row["source"] and row["caption"] == (own or [row])[0]["caption"]:  # not mirrored, one caption
            own.append(row)
    chosen = _spread(sorted(clips), SHEET_CLIPS)
    pictures, labels = [], []
    for clip in chosen:
        pairs = _spread(sorted(clips[clip], key=lambda row: row["motion_px"]), SHEET_PAIRS)
        files = [out / row[column] for row in pairs for column in ("source", "target")]
        pictures.append([Image.open(file).convert("RGB") for file in files])
        motions = ", ".join(f"{row['motion_px']:.1f}" for row in pairs)
        labels.append(f"m = {motions}: {pairs[0]['caption']}")
    return contact_sheet(pictures, labels, ["source", "target"] * (max(map(len, pictures)) // 2), SHEET_CELL)


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, from the first to the last."""
    places = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[k] for k in places]


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both


def _below(top: Image.Image, bottom: Image.Image) -> Image.Image:
    both = Image.new("RGB", (max(top.width, bottom.width), top.height + bottom.height), "white")
    both.paste(top, (0, 0))
    both.paste(bottom, (0, top.height))
    return both
