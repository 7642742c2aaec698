"""Files in, data to train on out: the whole job of section 3.1, on all cores, stopped and resumed at will.

Each listed file is a line of the report: kept with its counts, or dropped with its reason. Files of the same bytes are one
clip, curated once, with one caption or several. All output is written by this process, and none of it depends on the order
in which clips are done, so that the same files and seed give the same bytes on any number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..files import write_whole
from ..pairs import DEFAULTS, CurationSettings, Dropped, curate_clip
from ..request import check_folder
from .addresses import Allow, is_public
from .captioned import read_captioned, read_tsv
from .curation_report import draw_report, report_of
from .curation_store import DOWNLOADS, REPORT, TABLE, Store, frame_path, pairs_of
from .download import Fate, fetch_all
from .duplicates import content_key, near_duplicates, split_by_group
from .mirroring import flip_caption
from .parallel import Died, check_scheduler, over_jobs
from .public_web import LIMITS, Limits

PACKAGES = ("pyarrow", "imagehash", "matplotlib", "av")


@dataclass
class Listed:
    """One line of the source: a file with its caption, and what became of it."""

    name: str  # as the report calls it: the path in the folder, or the URL
    caption: str
    path: Path | None = None
    key: str | None = None  # the clip, once its bytes are read
    reason: str | None = None  # why it is dropped


def curate(
    source: str | os.PathLike,
    out: str | os.PathLike,
    settings: CurationSettings = DEFAULTS,
    workers: int | None = None,
    scheduler: str | None = None,
    progress_bar: bool = True,
    limits: Limits = LIMITS,
    allow: Allow = is_public,
) -> dict[str, Any]:
    """Curate a folder of captioned clips, or a .tsv file of URLs and captions, into the folder `out`; returns its counts.

    It writes frames/<shard>/<id>.webp, pairs.parquet (source, target: paths relative to `out`; caption; motion: m
    truncated; motion_px; gif: the clip's key; split: train or val), report.json and report.png. Downloads lie in
    downloads/, finished clips in work/, and the same call goes on where one was stopped, or does what was added since.
    The data are those of this source alone: clips of an earlier call that it does not have leave (counted as "left").

    `workers` and `scheduler` as `over_jobs` takes them; `limits` and `allow` as `fetch_all`. Raises ValueError,
    FileNotFoundError or FileExistsError for a source or place that will not do and ModuleNotFoundError for a missing
    package, before any work; ValueError if no clip gives a pair, and then leaves nothing but the downloads.
    """
    source, out = Path(source), Path(out)
    check(source, out, scheduler)
    store = Store(out, settings)
    fates: list[Fate] = []
    if source.is_dir():
        clips, dropped = read_captioned(source)
        listed = [Listed(clip.name, clip.caption, Path(clip.path)) for clip in clips]
        listed += [Listed(name, "", reason=reason) for name, reason in dropped.items()]
    else:
        rows = read_tsv(source)
        fates = fetch_all(dict.fromkeys(url for url, _ in rows), out / DOWNLOADS, limits, progress_bar, allow=allow)
        files = {fate.url: fate.path for fate in fates}
        reasons = {fate.url: None if fate.path else fate.status for fate in fates}
        listed = [Listed(url, caption, files[url], reason=reasons[url]) for url, caption in rows]
    listed.sort(key=lambda one: (one.name, one.caption))
    identify(listed)
    records = do_clips(listed, store, settings, workers, scheduler, progress_bar)
    kept = {key: record for key, record in records.items() if "pairs" in record}
    if not kept:
        store.forget()
        raise ValueError(f"None of the {len(listed)} clips in {str(source)!r} gives a pair of frames{_first_reason(listed)}")
    groups = near_duplicates({key: record["hashes"] for key, record in kept.items()})
    sides = split_by_group(groups, settings.seed, settings.val_share)
    rows = rows_of(listed, kept, sides, settings)
    report = report_of(source, settings, listed, kept, groups, sides, rows, fates)
    picture = draw_report(out, settings, kept, rows)
    before = store.clips()
    write_whole(out / REPORT, report.encode())
    write_whole(out / "report.png", picture)
    write_whole(out / TABLE, parquet(rows))
    used = {row[column] for row in rows for column in ("source", "target")}
    store.sweep(used)
    in_val = sum(row["split"] == "val" for row in rows)
    names = sum(one.reason is None for one in listed)
    counts = {"files": len(listed), "kept": names, "dropped": len(listed) - names, "clips": len(kept), "frames": len(used)}
    counts |= {"pairs": len(rows), "train": len(rows) - in_val, "val": in_val}
    return counts | {"left": len(before - kept.keys())}  # clips that the data held before


def check(source: Path, out: Path, scheduler: str | None = None) -> None:
    """Raises, before any work, for what `curate` cannot work with."""
    if not source.exists():
        raise FileNotFoundError(f"There is no {str(source)!r}: give a folder of animations with captions, or a .tsv file.")
    if not source.is_dir() and source.suffix.lower() != ".tsv":
        raise ValueError(f"{str(source)!r} is no folder: give one of animations with captions, or a .tsv of URLs and captions.")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{str(out)!r} lies in {str(source)!r}, whose files are read: choose a folder outside of it.")
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ModuleNotFoundError(f"Curating needs {' and '.join(missing)}: run `pip install 'pix2gif-lite[data]'`.")
    check_scheduler(scheduler)
    check_folder(out)


def identify(listed: Sequence[Listed]) -> None:
    """Give each file the key of its bytes; a copy of one with the same caption is dropped."""
    readable = [one for one in listed if one.reason is None]
    with ThreadPoolExecutor() as pool:
        for one, key in zip(readable, pool.map(_key_or_reason, [one.path for one in readable]), strict=True):
            one.key, one.reason = key
    first: dict[tuple[str, str], str] = {}
    for one in listed:
        if one.reason is None:
            same = first.get((one.key, one.caption))
            if same is not None:
                one.reason = f"It has the same bytes and caption as {same!r}."
            else:
                first[one.key, one.caption] = one.name


def do_clips(
    listed: Sequence[Listed],
    store: Store,
    settings: CurationSettings,
    workers: int | None,
    scheduler: str | None,
    progress_bar: bool,
) -> dict[str, dict[str, Any]]:
    """The record of each clip, sorted by key, those that are not known yet done now; the reasons go to the listed files."""
    named: dict[str, Listed] = {one.key: one for one in reversed(listed) if one.reason is None}
    records = {key: record for key in named if (record := store.known(key))}
    todo = {key: (named[key].path.absolute(), settings) for key in sorted(named) if key not in records}
    bar = tqdm(total=len(named), initial=len(records), unit="clip", desc="curate", disable=not progress_bar)
    with bar, closing(over_jobs(curate_clip, todo, workers, scheduler)) as results:
        for key, result in results:
            if isinstance(result, Died) or (isinstance(result, Dropped) and result.passing):
                records[key] = {"dropped": result.reason}  # not remembered: the machine may have been short of memory
            else:
                records[key] = store.keep(key, result)
            bar.update()
    for one in listed:
        if one.reason is None:
            one.reason = records[one.key].get("dropped")
    return dict(sorted(records.items()))


def rows_of(
    listed: Iterable[Listed], kept: dict[str, dict[str, Any]], sides: dict[str, str], settings: CurationSettings
) -> list[dict[str, Any]]:
    """The table's rows, sorted by clip and frames: each drawn pair with each caption of its clip, mirrored too if asked."""
    captions: dict[str, list[str]] = {}
    for one in listed:
        if one.reason is None:
            captions.setdefault(one.key, []).append(one.caption)
    rows = []
    for key, record in kept.items():
        for caption in captions[key]:
            for pair in pairs_of(record):
                for flipped in (False, True) if settings.flip else (False,):
                    source, target = (frame_path(key, settings.of_a_frame(), index, flipped) for index in pair[:2])
                    words = flip_caption(caption) if flipped else caption
                    row = {"source": source, "target": target, "caption": words, "motion": pair.motion, "motion_px": pair.m}
                    rows.append(row | {"gif": key, "split": sides[key]})
    return sorted(rows, key=lambda row: (row["gif"], row["source"], row["target"], row["caption"]))


def parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows as the bytes of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    kinds = {"source": text, "target": text, "caption": text, "motion": pa.int32(), "motion_px": pa.float64()}
    kinds |= {"gif": text, "split": text}
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def _key_or_reason(path: Path) -> tuple[str | None, str | None]:
    try:
        return content_key(path), None
    except OSError as error:
        return None, f"It cannot be read ({error.strerror}): check its permissions."


def _first_reason(listed: Sequence[Listed]) -> str:
    return f"; {listed[0].name!r}, for one: {listed[0].reason}" if listed else ": it holds none."
