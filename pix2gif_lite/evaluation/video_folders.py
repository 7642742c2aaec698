"""Folders of captioned videos as the zero-shot table's data sets lie on a disk: UCF-101 and MSR-VTT.

    UCF-101   <Class>/v_<Class>_g01_c01.avi          the caption is the class name's words: "apply eye makeup"
    MSR-VTT   video0.mp4, video1.mp4, ... and        one caption a video, its first sentence
              videodatainfo.json or a CSV of the 1k test

Nothing is downloaded: both have terms of their own, so whoever evaluates brings the folder.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ..canvas import to_tensor
from ..media.clips import find_clips, is_inside, iter_frames
from ..media.pictures import RefusedFile, check_file, quoted
from .fvd import FRAMES, STRIDE

UCF_NAME = re.compile(r"v_\w+_g\d+_c\d+", re.ASCII)  # of a file: class, group of one scene, clip
MAX_BYTES = 200_000_000  # of an annotation file; MSR-VTT's have 50 MB at most


class Video(NamedTuple):
    path: Path
    caption: str
    name: str  # the path in the folder, with "/"


def read_folder(folder: str | os.PathLike, layout: str, annotations: str | os.PathLike | None = None) -> list[Video]:
    """The videos below a folder with their captions, sorted by name; none is opened.

    layout       "ucf101" or "msrvtt"
    annotations  MSR-VTT: which file tells the captions; None: the JSON files below the folder that hold sentences (only
                 the videos of split "test" where they say splits), without one the CSV files with video_id and sentence

    Raises FileNotFoundError without that folder or file, ValueError for another layout, a folder without such videos, and
    annotations that cannot be read or belong to none of the videos.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"Unknown layout {layout!r}: choose from {', '.join(LAYOUTS)}.")
    if annotations is not None and layout != "msrvtt":
        raise ValueError(f"The annotations {quoted(annotations)} are of no use with layout {layout}: leave them out.")
    folder = Path(folder)
    clips = {path.relative_to(folder).as_posix(): path for path in find_clips(folder)}
    return LAYOUTS[layout](folder, clips, annotations)


def _ucf101(folder: Path, clips: dict[str, Path], annotations: Any = None) -> list[Video]:
    found = [Video(path, class_words(path.parent.name), name) for name, path in clips.items() if UCF_NAME.fullmatch(path.stem)]
    if not found:
        wanted = "<Class>/v_<Class>_g01_c01.avi"
        raise ValueError(f"{quoted(folder)} holds no videos named as UCF-101's: give the folder in which {wanted} lie.")
    return found


def class_words(name: str) -> str:
    """The words of a class name: "ApplyEyeMakeup" is "apply eye makeup"."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)).lower()


def _msrvtt(folder: Path, clips: dict[str, Path], annotations: str | os.PathLike | None = None) -> list[Video]:
    captions = _captions(folder, annotations)
    if not clips:
        raise ValueError(f"{quoted(folder)} holds no videos: give the folder in which video0.mp4 and its like lie.")
    paths: dict[str, tuple[str, Path]] = {}
    for name, path in clips.items():
        paths.setdefault(path.stem, (name, path))
    found = [Video(path, captions[stem], name) for stem, (name, path) in paths.items() if stem in captions]
    if not found:
        first = next(iter(captions))
        raise ValueError(f"None of the {len(captions):,} annotated videos, such as {first!r}, is in {quoted(folder)}.")
    return found


def _captions(folder: Path, annotations: str | os.PathLike | None) -> dict[str, str]:
    """Video id: caption, of the file given, or of those in the folder."""
    if annotations is not None:
        check_file(annotations)
        groups = [[Path(annotations)]]
    else:
        groups = [sorted(p for p in folder.rglob(end) if is_inside(p, folder)) for end in ("*.json", "*.csv")]
    for paths in groups:
        read = [table for path in paths if (table := (_csv if path.suffix.lower() == ".csv" else _json)(path)) is not None]
        tests = [{video: words for video, words in table.captions.items() if video in table.tests} for table in read]
        chosen = tests if any(tests) else [table.captions for table in read]
        if captions := {video: words for table in reversed(chosen) for video, words in table.items()}:
            return captions
    where = quoted(folder if annotations is None else annotations)
    raise ValueError(
        f"{where} tells no captions: put MSR-VTT's JSON (with sentences) or CSV (video_id, sentence) there, or name it."
    )


class _Table(NamedTuple):
    captions: dict[str, str]  # the first sentence of each video
    tests: set[str]  # ids of split "test"


def _json(path: Path) -> _Table | None:
    """MSR-VTT's own file, {"videos": [{video_id, split}], "sentences": [{video_id, caption}]}; None for any other JSON."""
    try:
        data = json.loads(_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{quoted(path)} is no JSON ({error}): download it again or remove it.") from error
    if not isinstance(data, dict) or not isinstance(data.get("sentences"), list):
        return None
    pairs = [(row.get("video_id"), row.get("caption")) for row in data["sentences"] if isinstance(row, dict)]
    videos = data["videos"] if isinstance(data.get("videos"), list) else []
    tests = {str(row.get("video_id")) for row in videos if isinstance(row, dict) and row.get("split") == "test"}
    return _Table(_first(pairs), tests)


def _csv(path: Path) -> _Table | None:
    """The 1k test as retrieval papers have it, a sentence a video; None for a CSV with other columns."""
    rows = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        if not {"video_id", "sentence"} <= set(rows.fieldnames or ()):
            return None
        return _Table(_first((row["video_id"], row["sentence"]) for row in rows), set())
    except csv.Error as error:
        raise ValueError(f"{quoted(path)}, line {rows.line_num}: {error}: download it again or remove it.") from error


def _first(pairs: Any) -> dict[str, str]:
    captions: dict[str, str] = {}
    for video, words in pairs:
        if isinstance(video, str) and isinstance(words, str) and words.split():
            captions.setdefault(video, " ".join(words.split()))
    return captions


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{quoted(path)} has more than {MAX_BYTES:,} bytes: name the annotation file itself.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{quoted(path)} cannot be read as UTF-8 text ({error}): save it anew or remove it.") from error


LAYOUTS: dict[str, Callable[..., list[Video]]] = {"ucf101": _ucf101, "msrvtt": _msrvtt}


def shuffled(videos: Sequence[Video], seed: int = 0) -> list[Video]:
    """The videos in an order that the seed alone decides: the first of them are of all classes, the same on any machine."""
    order = sorted(videos, key=lambda video: video.name)
    random.Random(seed).shuffle(order)
    return order


def read_clip(path: str | os.PathLike, size: int, frames: int = FRAMES, stride: int = STRIDE) -> Tensor:
    """Every `stride`-th frame from the first on, float32 (frames, 3, size, size) in [-1, 1].

    Squeezed to a square by Lanczos, as the paper's training frames are; nothing beyond the last frame needed is decoded.
    Raises RefusedFile for a video that is too short, and as `iter_frames` does.
    """
    return torch.cat([to_tensor(frame) for frame in _frames(path, size, frames, stride)])


def _frames(path: str | os.PathLike, size: int, frames: int, stride: int) -> Iterator[Image.Image]:
    last = stride * (frames - 1)
    with closing(iter_frames(path)) as shown:
        count = 0
        for frame, _ in islice(shown, 0, last + 1, stride):
            yield frame.resize((size, size), Image.Resampling.LANCZOS)
            count += 1
    if count < frames:
        raise RefusedFile(f"{quoted(path)} is too short: {frames} frames, every {stride} of the video, need {last + 1}.")
