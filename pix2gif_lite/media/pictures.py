"""The border for files from strangers: a picture comes in as plain RGB, or is refused. (`clips.py` does so for animations.)

A file may be missing, damaged, disguised or a decompression bomb, so its size is judged from the header before a pixel
is decoded, and each refusal is one sentence that names the file and says what to do. What passes is 8-bit RGB and
upright, so that no other file of this project needs to know about EXIF, palettes, alpha or bit depths.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

MIN_SIDE = 8  # px
MAX_ASPECT = 16  # long side / short side: a longer strip would become an enormous work picture
MAX_PIXELS = 50_000_000  # of one picture: 150 MB in memory
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")  # not EPS: opening one runs Ghostscript
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
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


class Limits(NamedTuple):
    """How much one animation may hold; `name` is for the refusal."""

    name: str
    frames: int
    pixels: int  # all frames together

    def check(self, frames: int, pixels: int) -> None:
        """Raises RefusedFile for more frames, or more pixels in all of them, than allowed."""
        if frames > self.frames or pixels > self.pixels:
            limit = f"{self.frames} frames or {self.pixels:,} pixels in all"
            raise RefusedFile(f"{self.name} has more than {limit}: shorten it or scale it down.")


def open_image(
    source: str | os.PathLike | Image.Image, max_pixels: int = MAX_PIXELS, background: tuple[int, int, int] = WHITE
) -> Image.Image:
    """A picture as a new, upright 8-bit RGB image: EXIF rotation applied, transparency laid on `background` (RGB,
    0-255), 16-bit scaled, the first frame of an animated file (the current one of an image that is already open).

    Raises FileNotFoundError if the file is missing, and ValueError if it is no readable picture, has a side below 8 px,
    sides more than 16 : 1, or more than `max_pixels` (told from the header, before decoding), or `background` is no colour.
    """
    check_background(background)
    if isinstance(source, Image.Image):
        check_size(source.size, "the picture given", max_pixels)
        return decode(source, "the picture given", background)
    with opened(source) as file:
        return decode(judged(file, quoted(source), max_pixels), quoted(source), background)


def open_upload(data: bytes, name: str) -> tuple[Image.Image, list[str]]:
    """A picture that came as the bytes of a file, as `open_image` opens one, without touching the disk.

    Returns it with what had to be decided, in sentences: of an animation the first frame is taken, transparent parts are
    laid on white. `name` is for the refusals. Raises ValueError as `open_image` does.
    """
    if not data:
        raise _empty(repr(name))
    image = judged(io.BytesIO(data), repr(name), MAX_PIXELS)
    picture, remarks = decode(image, repr(name)), []
    if getattr(image, "is_animated", False) and image.format != "MPO":
        remarks.append(f"{name} is animated: its first frame is taken.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        remarks.append(f"{name} is transparent in places: it is laid on white.")
    return picture, remarks


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """The file behind `path`, open for reading. Raises as `check_file` does, and RefusedFile if it may not be read."""
    check_file(path)
    try:
        file = open(path, "rb")
    except OSError as error:
        raise RefusedFile(f"{quoted(path)} cannot be read ({error.strerror}): check its permissions.") from error
    with file:
        yield file


def judged(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """The picture in an open file, its header read and judged, nothing decoded yet."""
    Image.init()  # so that OPEN lists every decoder this build of Pillow has
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, which are judged below, and of damage, which shows in decoding
            image = Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN])
    except Image.DecompressionBombError as error:  # above Pillow's own limit the header's size is not handed out
        raise RefusedFile(f"{name} has more than {max_pixels:,} pixels: scale it down first.") from error
    except Exception as error:
        raise damaged(name) from error
    check_size(image.size, name, max_pixels)
    return image


def check_file(path: str | os.PathLike) -> None:
    """Raises FileNotFoundError or RefusedFile unless `path` is a file with something in it."""
    if not isinstance(path, (str, os.PathLike)):  # an int would be taken for an open file's number
        raise RefusedFile(f"{path!r} is not a file: give a path or a PIL image.")
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {quoted(path)}: check the path.")
    if not os.path.isfile(path):
        raise RefusedFile(f"{quoted(path)} is a folder or a device: give the path of one picture or animation file.")
    if os.path.getsize(path) == 0:
        raise _empty(quoted(path))


def check_background(colour: tuple[int, int, int]) -> None:
    """Raises ValueError unless it is an RGB colour of 0-255."""
    if len(colour) != 3 or not all(0 <= level <= 255 and level == int(level) for level in colour):
        raise ValueError(f"The background is {colour!r}: give red, green and blue from 0 to 255.")


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raises RefusedFile for a picture of (width, height) px that is too small, too large or too long."""
    short, long = min(size), max(size)
    text = f"{name} is {size[0]} x {size[1]} px"
    if short < MIN_SIDE:
        raise RefusedFile(f"{text}: use a picture of at least {MIN_SIDE} px a side.")
    if short * long > max_pixels:
        raise RefusedFile(f"{text}, more than {max_pixels:,} pixels: scale it down first.")
    if long > MAX_ASPECT * short:
        raise RefusedFile(f"{text}, a strip of more than {MAX_ASPECT} : 1: crop it.")


def decode(image: Image.Image, name: str, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """A new upright RGB image of the frame `image` stands at."""
    try:
        image.load()
        orientation = None
        with suppress(Exception):  # broken EXIF is no reason to refuse a good picture
            orientation = image.getexif().get(0x0112)
        image = to_8_bit(image)
        if image.has_transparency_data:
            above = image.convert("RGBA")
            image = Image.new("RGB", image.size, background)
            image.paste(above, mask=above.getchannel("A"))
        image = image.convert("RGB")
        return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
    except Exception as error:  # decoders raise nearly anything on damaged bytes, MemoryError and SyntaxError included
        raise damaged(name) from error


def to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float greys to 0-255, where Pillow's own conversion clips them to white; any other image as it is."""
    if image.mode[0] not in "IF":  # "I", "I;16", "I;16B", "F"
        return image
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.rint(np.arange(65536) / 257).astype(np.uint8)[values])
    values = np.nan_to_num(values.astype(np.float32))
    tops = (1, 255, 65535) if image.mode == "F" else (65535,)  # the white of the file, by its brightest value
    top = next((top for top in tops if values.max() <= top), values.max())
    return Image.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))


def quoted(path: str | os.PathLike) -> str:
    return repr(os.fspath(path))


def _empty(name: str) -> RefusedFile:
    return RefusedFile(f"{name} is empty (0 bytes): copy or download it again.")


def damaged(name: str) -> RefusedFile:
    return RefusedFile(f"{name} is damaged or of an unknown kind: open it in a viewer and save it again as PNG, GIF or MP4.")
