"""Animations in: a GIF, APNG, WebP, video or folder of numbered pictures comes in frame by frame, or is refused.

What a file is, its first bytes say, not its name. Each frame is what a viewer shows: patches laid on each other,
transparency on a colour, a phone's video upright, for as long as the file says. Frames come one at a time, so that
whoever makes them small at once needs little memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from .patches import gif_patches, lay, png_patches
from .pictures import (
    MAX_PIXELS,
    PICTURE_SUFFIXES,
    WHITE,
    Limits,
    RefusedFile,
    check_background,
    check_size,
    damaged,
    decode,
    judged,
    open_image,
    opened,
    quoted,
)
from .videos import VIDEO_SUFFIXES, is_video, video_frames

MAX_FRAMES = 1000  # of one animation; TGIF's longest GIF has 572
MAX_TOTAL_PIXELS = 200_000_000  # of one animation, all frames: 600 MB in memory
MAX_STREAM_PIXELS = 2_000_000_000  # the same where frames are not kept: some 20 s of decoding
USUAL_TIME = 100  # ms: how long browsers and FFmpeg show a frame that has no time
FOLDER_TIME = 250  # ms: 4 frames/s
MAYBE_SUFFIXES = (".webp", ".png", ".apng", ".avif")  # animations or stills

Shown = tuple[Image.Image, Fraction | float]  # RGB, ms


def read_frames(
    path: str | os.PathLike,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_TOTAL_PIXELS,
    background: tuple[int, int, int] = WHITE,
) -> tuple[list[Image.Image], list[int]]:
    """All frames of `iter_frames` at once: RGB images of one size, and how long each shows, in ms; raises as that does."""
    with closing(iter_frames(path, background, max_frames, max_pixels)) as shown:
        pairs = list(shown)
    return [frame for frame, _ in pairs], [duration for _, duration in pairs]


def iter_frames(
    path: str | os.PathLike,
    background: tuple[int, int, int] = WHITE,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_STREAM_PIXELS,
) -> Iterator[tuple[Image.Image, int]]:
    """The frames of a GIF, APNG, WebP, video or folder of numbered pictures, RGB, and how long each shows, in ms.

    Transparency is laid on `background` (RGB, 0-255). A frame without a time shows for 100 ms (as in browsers), one of a
    video until the next one's time stamp, a picture of a folder for 250 ms. Times are rounded so that they sum to the
    whole. A still picture is one frame. A video needs PyAV.

    Raises FileNotFoundError if there is no such file, and ValueError if it is damaged or of an unknown kind, its size is
    refused (see `open_image`), the frames' sizes differ, a folder holds no pictures or two series of them, or there are
    more than `max_frames` frames or `max_pixels` pixels in all; from the header where that tells, else on the way.
    """
    check_background(background)
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        limits = Limits(quoted(path), max_frames, max_pixels)
        yield from _timed(_folder_frames(Path(path), background, limits), limits)
        return
    with opened(path) as file:
        limits = Limits(quoted(path), max_frames, max_pixels)
        yield from _timed(_guarded(_file_frames(file, background, limits), limits.name), limits)


def _timed(shown: Iterator[Shown], limits: Limits) -> Iterator[tuple[Image.Image, int]]:
    """Frames of one size within the limits, their times rounded at the ends, so that the sum is right."""
    size, pixels, clock = None, 0, Fraction(0)
    for count, (frame, duration) in enumerate(shown, start=1):
        size = size or frame.size
        if frame.size != size:
            raise RefusedFile(f"{limits.name} holds frames of {size} and {frame.size} px: make them one size.")
        pixels += frame.width * frame.height
        limits.check(count, pixels)
        start, clock = clock, clock + Fraction(duration)
        yield frame, round(clock) - round(start)


def _guarded(shown: Iterator[Shown], name: str) -> Iterator[Shown]:
    """The same frames; whatever a decoder raises on damaged bytes becomes the refusal."""
    try:
        yield from shown
    except (RefusedFile, ModuleNotFoundError):
        raise
    except Exception as error:
        raise damaged(name) from error


def _file_frames(file: BinaryIO, background: tuple[int, int, int], limits: Limits) -> Iterator[Shown]:
    if is_video(file.read(12)):
        yield from video_frames(file, background, limits)
        return
    file.seek(0)
    image = judged(file, limits.name, MAX_PIXELS)
    if image.format == "GIF" or (image.format == "PNG" and image.is_animated):
        patches = (gif_patches if image.format == "GIF" else png_patches)(file)
        part = list(islice(patches, limits.frames + 1))  # nothing is decoded yet
        if not part:
            raise damaged(limits.name)
        limits.check(len(part), len(part) * image.width * image.height)
        for canvas, duration in lay(part, file, image):
            yield decode(canvas, limits.name, background), duration or USUAL_TIME
        return
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a phone's JPEG and its depth or gain map
    limits.check(count, count * image.width * image.height)
    for index in range(count):
        image.seek(index)
        check_size(image.size, limits.name, MAX_PIXELS)  # the pages of a TIFF may have sizes of their own
        frame = decode(image, limits.name, background)
        yield frame, image.info.get("duration") or USUAL_TIME


def find_clips(folder: str | os.PathLike) -> list[Path]:
    """The clips below a folder, sorted by their path: animation files, and sub-folders of numbered pictures.

    A GIF and a video are told by their names; a PNG, WebP or AVIF by whether it is animated. A sub-folder is a clip if it
    holds two numbered pictures or more and all of them are stills. Hidden files are left out, and links that lead out of
    the folder; nothing is decoded. Raises FileNotFoundError if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {quoted(folder)}: check the path.")
    found = []
    for here, folders, names in os.walk(folder):  # follows no links to folders
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(here, name) for name in names if not name.startswith(".")]
        clips = {path for path in paths if is_inside(path, folder) and path.is_file() and _is_animation(path)}
        frames = _numbered(paths)
        if Path(here) != folder and len(frames) > 1 and not any(f in clips or not is_inside(f, folder) for f in frames):
            found.append(Path(here))
        found += clips
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def is_inside(path: Path, folder: Path) -> bool:
    """Whether the file that `path` leads to, through links and "..", lies in `folder`."""
    return path.resolve().is_relative_to(folder.resolve())


def _is_animation(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES or suffix == ".gif":
        return True
    if suffix not in MAYBE_SUFFIXES:
        return False
    try:
        with opened(path) as file:
            return getattr(judged(file, quoted(path), MAX_PIXELS), "is_animated", False)
    except RefusedFile:
        return suffix not in PICTURE_SUFFIXES  # damaged: whoever reads it will say so


def _numbered(paths: Iterable[Path]) -> list[Path]:
    """Those of the paths that are pictures with a number in their names, in the order of their numbers."""
    numbered = [p for p in paths if p.suffix.lower() in PICTURE_SUFFIXES and re.search(r"\d", p.stem) and p.name[0] != "."]
    return sorted(numbered, key=lambda p: ([int(n) for n in re.findall(r"\d+", p.stem)], p.name))


def _folder_frames(folder: Path, background: tuple[int, int, int], limits: Limits) -> Iterator[Shown]:
    files = _numbered(folder.iterdir())
    if not files:
        raise RefusedFile(f"The folder {limits.name} holds no numbered pictures: name them 001.png, 002.png, ...")
    series = sorted({re.sub(r"\d+", "#", file.stem) for file in files})
    if len(series) > 1:
        raise RefusedFile(f"The folder {limits.name} holds several series ({', '.join(series)}): put each into a folder.")
    limits.check(len(files), 0)
    for file in files:
        yield open_image(file, background=background), FOLDER_TIME
