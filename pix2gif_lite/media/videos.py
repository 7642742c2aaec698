"""Videos in: mp4, mov, webm, mkv and avi by PyAV, each frame with its own time, as the time stamps have it.

PyAV itself and not through imageio, which hands out pictures without their time stamps: a mean frame rate would be wrong
for a video whose rate varies, as a phone's or a screen recorder's does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

from PIL import Image

from .pictures import MAX_PIXELS, Limits, check_size, damaged, decode

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
# a playlist renamed .mp4 could make FFmpeg read other files or the network: real containers, and no second file
ONLY = {"format_whitelist": "mov,matroska,avi", "protocol_whitelist": "none"}
MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
QUICKTIME_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # the same container, but no videos
USUAL_RATE = 25  # frames/s, where the file says nothing


def is_video(head: bytes) -> bool:
    """Whether a file that begins with these bytes (12 or more) is a video of a kind read here, whatever its name."""
    quicktime = head[4:8] in QUICKTIME and head[8:12] not in QUICKTIME_PICTURES
    return quicktime or head[:4] == MATROSKA or (head[:4] == b"RIFF" and head[8:11] == b"AVI")


def video_frames(file: BinaryIO, background: tuple[int, int, int], limits: Limits) -> Iterator[tuple[Image.Image, Fraction]]:
    """The frames of an open video file, upright RGB images, and how long each shows, in ms: until the next one's time.

    Raises ModuleNotFoundError without PyAV, RefusedFile if it is cut off, holds no video, or a frame is damaged or too
    large, and nearly anything else on damaged bytes.
    """
    try:
        import av  # slow to import, and only videos need it
    except ImportError as error:
        raise ModuleNotFoundError("A video needs PyAV: run `pip install 'pix2gif-lite[video]'`.") from error
    if _is_cut_off(file):
        raise damaged(limits.name)
    file.seek(0)
    most = {"max_pixels": str(min(MAX_PIXELS, limits.pixels))}  # told to the decoder: a stream may grow on its way
    with av.open(file, options=ONLY | most) as container:
        stream = container.streams.video[0]
        if stream.width and stream.height:  # else the decoder has found none: the first frame will fail, too
            check_size((stream.width, stream.height), limits.name, MAX_PIXELS)
            limits.check(1, stream.width * stream.height)
        stream.codec_context.options = most
        stream.codec_context.thread_count = 1  # many clips are read at once by many processes
        step = 1 / Fraction(stream.average_rate or USUAL_RATE)  # s: where the time stamps say nothing
        shown, start, lasts = None, Fraction(0), step
        for packet in container.demux(stream):
            frames = packet.decode()
            if packet.is_corrupt or any(frame.is_corrupt for frame in frames):  # patched up by the decoder
                raise damaged(limits.name)
            for frame in frames:
                now = start + step if frame.pts is None else frame.pts * frame.time_base
                if shown is not None:
                    now = now if now > start else start + step
                    yield shown, 1000 * (now - start)
                shown, start, lasts = _upright(frame, background), now, frame.duration * frame.time_base or step
        if shown is None:
            raise damaged(limits.name)
        yield shown, 1000 * lasts


def _upright(frame: Any, background: tuple[int, int, int]) -> Image.Image:
    """A decoded frame as an RGB image, turned as the file says (a phone films lying down)."""
    clear = any(component.is_alpha for component in frame.format.components)
    image = Image.fromarray(frame.to_ndarray(format="rgba" if clear else "rgb24"))
    image = decode(image, "a frame", background) if clear else image
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image  # degrees, against the clock


def _is_cut_off(file: BinaryIO) -> bool:
    """Whether an AVI or Matroska file ends before its header says; FFmpeg takes what is left, as of a live stream."""
    file.seek(0)
    kind, size = file.read(4), None
    if kind == b"RIFF":
        size = int.from_bytes(file.read(4), "little")
    elif kind == MATROSKA:
        file.seek(_element_size(file) or 0, os.SEEK_CUR)
        size = _element_size(file) if file.read(4) == SEGMENT else None
    return size is not None and file.tell() + size > file.seek(0, os.SEEK_END)


def _element_size(file: BinaryIO) -> int | None:
    """The size that stands here, in bytes, or None for "unknown" (RFC 8794, section 4)."""
    first = file.read(1)
    rest = 8 - first[0].bit_length()  # as many more bytes as the first one has leading zeros
    marker = 1 << 7 * (rest + 1)
    size = int.from_bytes(first + file.read(rest), "big") - marker
    return None if size == marker - 1 else size
