"""The border for files from strangers: pictures and animations come in as plain RGB frames, or are refused.

A file may be missing, damaged, disguised or a decompression bomb, so its size is judged from the header before a pixel
is decoded, and each refusal is one sentence that names the file and says what to do. What passes is 8-bit RGB and
upright, so that no other file of this project needs to know about EXIF, palettes, alpha or bit depths.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

MIN_SIDE = 8  # px
MAX_ASPECT = 16  # long side / short side: a longer strip would become an enormous work picture
MAX_PIXELS = 50_000_000  # of one picture: 150 MB in memory
MAX_FRAMES = 1000  # of one animation; TGIF's longest GIF has 572
MAX_TOTAL_PIXELS = 200_000_000  # of one animation, all frames: 600 MB in memory
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")  # not EPS: opening one runs Ghostscript
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
# a playlist renamed .mp4 could make FFmpeg read other files or the network: real containers and local files only
VIDEO_OPTIONS = {"format_whitelist": "mov,matroska,avi", "protocol_whitelist": "file"}
WHITE = (255, 255, 255)

_TURNS = {  # EXIF orientation -> what puts the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class RefusedFile(ValueError):
    """A picture or video that will not be opened; the sentence names it and says what to do."""


def open_image(
    source: str | os.PathLike | Image.Image, max_pixels: int = MAX_PIXELS, background: tuple[int, int, int] = WHITE
) -> Image.Image:
    """A picture as a new, upright 8-bit RGB image: EXIF rotation applied, transparency laid on `background` (RGB,
    0-255), 16-bit scaled, the first frame of an animated file (the current one of an image that is already open).

    Raises FileNotFoundError if the file is missing, and ValueError if it is no readable picture, has a side below 8 px,
    sides more than 16 : 1, or more than `max_pixels` (told from the header, before decoding).
    """
    if isinstance(source, Image.Image):
        _check_size(source.size, "the picture given", max_pixels)
        return _decode(source, "the picture given", background)
    with _opened(source, max_pixels) as image:
        return _decode(image, _quoted(source), background)


def open_upload(data: bytes, name: str) -> tuple[Image.Image, list[str]]:
    """A picture that came as the bytes of a file, as `open_image` opens one, without touching the disk.

    Returns it with what had to be decided, in sentences: of an animation the first frame is taken, transparent parts are
    laid on white. `name` is for the refusals. Raises ValueError as `open_image` does.
    """
    if not data:
        raise _empty(repr(name))
    image = _judged(io.BytesIO(data), repr(name), MAX_PIXELS)
    picture, remarks = _decode(image, repr(name)), []
    if getattr(image, "is_animated", False) and image.format != "MPO":
        remarks.append(f"{name} is animated: its first frame is taken.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        remarks.append(f"{name} is transparent in places: it is laid on white.")
    return picture, remarks


def read_frames(
    path: str | os.PathLike, max_frames: int = MAX_FRAMES, max_pixels: int = MAX_TOTAL_PIXELS
) -> tuple[list[Image.Image], list[int]]:
    """The RGB frames of a GIF, APNG, WebP, video or folder of numbered pictures, and how long each shows, in ms.

    A GIF frame without a duration shows for 100 ms (as in browsers), a picture of a folder for 250 ms (4 frames/s).
    `max_pixels` counts all frames together. Raises as `open_image` does, and ValueError if a limit is passed, a folder
    holds no pictures or the sizes differ.
    """
    if os.path.isdir(path):
        pairs = _folder_frames(Path(path))
    elif Path(path).suffix.lower() in VIDEO_SUFFIXES:
        pairs = _video_frames(path)
    else:
        pairs = _picture_frames(path)
    frames: list[Image.Image] = []
    durations, pixels = [], 0
    for frame, duration in pairs:
        pixels += frame.width * frame.height
        if len(frames) == max_frames or pixels > max_pixels:
            limit = f"{max_frames} frames or {max_pixels:,} pixels in all"
            raise RefusedFile(f"{_quoted(path)} has more than {limit}: shorten it or scale it down.")
        if frames and frame.size != frames[0].size:
            raise RefusedFile(f"{_quoted(path)} holds frames of {frames[0].size} and {frame.size} px: make them one size.")
        frames.append(frame)
        durations.append(duration)
    return frames, durations


def _picture_frames(path: str | os.PathLike) -> Iterator[tuple[Image.Image, int]]:
    with _opened(path, MAX_PIXELS) as image:
        first = 1 if image.info.get("default_image") else 0  # an APNG may carry a cover that is not part of it
        for index in itertools.count(first):
            try:
                image.seek(index)
            except EOFError:
                return
            except Exception as error:
                raise _damaged(_quoted(path)) from error
            _check_size(image.size, _quoted(path), MAX_PIXELS)  # a later frame of a GIF may enlarge the screen
            frame = _decode(image, _quoted(path))
            yield frame, round(image.info.get("duration") or 100)
            if image.format == "MPO":  # a phone's JPEG: the rest is a depth or gain map
                return


def _folder_frames(folder: Path) -> Iterator[tuple[Image.Image, int]]:
    files = [f for f in folder.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES and re.search(r"\d", f.stem)]
    if not files:
        raise RefusedFile(f"The folder {_quoted(folder)} holds no numbered pictures: name them 001.png, 002.png, ...")
    for file in sorted(files, key=lambda f: [int(n) for n in re.findall(r"\d+", f.stem)]):
        yield open_image(file), 250


def _video_frames(path: str | os.PathLike) -> Iterator[tuple[Image.Image, int]]:
    import imageio.v3 as iio  # slow to import, and only videos need it

    _check_file(path)
    try:
        with iio.imopen(path, "r", plugin="pyav", options=VIDEO_OPTIONS) as video:
            height, width = video.properties().shape[1:3]
            _check_size((width, height), _quoted(path), MAX_PIXELS)
            step = 1000 / float(video.metadata().get("fps") or 25)  # ms
            for index, pixels in enumerate(video.iter()):
                yield Image.fromarray(pixels), round((index + 1) * step) - round(index * step)
    except RefusedFile:
        raise
    except Exception as error:
        raise _damaged(_quoted(path)) from error


@contextmanager
def _opened(path: str | os.PathLike, max_pixels: int) -> Iterator[Image.Image]:
    """The file behind `path` as a PIL image, its header read and judged, nothing decoded yet."""
    _check_file(path)
    try:
        file = open(path, "rb")
    except OSError as error:
        raise RefusedFile(f"{_quoted(path)} cannot be read ({error.strerror}): check its permissions.") from error
    with file:
        yield _judged(file, _quoted(path), max_pixels)


def _judged(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """The picture in an open file, its header read and judged, nothing decoded yet."""
    Image.init()  # so that OPEN lists every decoder this build of Pillow has
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged below, by our own limit
            image = Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN])
    except Image.DecompressionBombError as error:  # above Pillow's own limit the header's size is not handed out
        raise RefusedFile(f"{name} has more than {max_pixels:,} pixels: scale it down first.") from error
    except Exception as error:
        raise _damaged(name) from error
    _check_size(image.size, name, max_pixels)
    return image


def _check_file(path: str | os.PathLike) -> None:
    """Raises FileNotFoundError or RefusedFile unless `path` is a file with something in it."""
    if not isinstance(path, (str, os.PathLike)):  # an int would be taken for an open file's number
        raise RefusedFile(f"{path!r} is not a file: give a path or a PIL image.")
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {_quoted(path)}: check the path.")
    if not os.path.isfile(path):
        raise RefusedFile(f"{_quoted(path)} is a folder or a device: give the path of one picture or animation file.")
    if os.path.getsize(path) == 0:
        raise _empty(_quoted(path))


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raises RefusedFile for a picture of (width, height) px that is too small, too large or too long."""
    short, long = min(size), max(size)
    text = f"{name} is {size[0]} x {size[1]} px"
    if short < MIN_SIDE:
        raise RefusedFile(f"{text}: use a picture of at least {MIN_SIDE} px a side.")
    if short * long > max_pixels:
        raise RefusedFile(f"{text}, more than {max_pixels:,} pixels: scale it down first.")
    if long > MAX_ASPECT * short:
        raise RefusedFile(f"{text}, a strip of more than {MAX_ASPECT} : 1: crop it.")


def _decode(image: Image.Image, name: str, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """A new upright RGB image of the frame `image` stands at."""
    try:
        image.load()
        orientation = None
        with suppress(Exception):  # broken EXIF is no reason to refuse a good picture
            orientation = image.getexif().get(0x0112)
        if image.mode[0] in "IF":  # "I", "I;16", "I;16B", "F"
            image = _to_8_bit(image)
        if image.has_transparency_data:
            above = image.convert("RGBA")
            image = Image.new("RGB", image.size, background)
            image.paste(above, mask=above.getchannel("A"))
        image = image.convert("RGB")
        return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
    except Exception as error:  # decoders raise nearly anything on damaged bytes, MemoryError and SyntaxError included
        raise _damaged(name) from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float greys to 0-255; Pillow's own conversion clips them to white."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.rint(np.arange(65536) / 257).astype(np.uint8)[values])
    values = np.nan_to_num(values.astype(np.float32))
    tops = (1, 255, 65535) if image.mode == "F" else (65535,)  # the white of the file, by its brightest value
    top = next((top for top in tops if values.max() <= top), values.max())
    return Image.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))


def _quoted(path: str | os.PathLike) -> str:
    return repr(os.fspath(path))


def _empty(name: str) -> RefusedFile:
    return RefusedFile(f"{name} is empty (0 bytes): copy or download it again.")


def _damaged(name: str) -> RefusedFile:
    return RefusedFile(f"{name} is damaged or of an unknown kind: open it in a viewer and save it again as PNG, GIF or MP4.")
