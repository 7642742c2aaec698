"""Animations out: frames to GIF, WebP or mp4, with loops and palettes. (`media/clips.py` reads them back.)

Writing is atomic: an animation is encoded in memory and takes its name only when all of it is on the disk. Times are in
ms, rounded so that they sum to what was asked.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from .files import temporary_name, write_whole
from .media.clips import read_frames
from .media.pictures import open_image

__all__ = ["check_output", "choose_palette", "encode_animation", "loop_frames", "open_image", "read_frames", "save_animation"]

OUTPUT_SUFFIXES = (".gif", ".webp", ".mp4")
LOOPS = ("forward", "pingpong", "none")
PALETTES = ("auto", "global", "frame")
MOST_TICKS = 65_535  # a second, in an mp4
MIN_FPS, MAX_FPS = 0.1, 50  # browsers slow down a GIF that holds a frame for less than 20 ms
NO_PYAV = "An mp4 needs PyAV: run `pip install 'pix2gif-lite[video]'`."
STILL_LEVELS, STILL_SHARE, PALETTE_GAIN = 4, 0.1, 1.0  # the rule of `choose_palette`: grey levels, share, dB
PALETTE_PIXELS, MEASURED_PIXELS = 4_000_000, 200_000  # seen by the global palette and by the choice: every k-th of more


def check_output(path: str | os.PathLike) -> Path:
    """The path, if an animation can be written there; asked before any model runs.

    Raises ValueError for a suffix other than .gif, .webp and .mp4 or a place that cannot be written,
    FileNotFoundError if the folder does not exist, and ModuleNotFoundError for an mp4 without PyAV.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise ValueError(f"Cannot tell the format of {str(path)!r}: end its name in {', '.join(OUTPUT_SUFFIXES)}.")
    if path.suffix.lower() == ".mp4" and importlib.util.find_spec("av") is None:
        raise ModuleNotFoundError(NO_PYAV)
    if not os.path.exists(path.parent):
        raise FileNotFoundError(f"The folder {str(path.parent)!r} does not exist: create it or choose another.")
    if os.path.isdir(path):
        raise ValueError(f"{str(path)!r} is a folder: give the name of a file in it.")
    probe = temporary_name(path)
    try:  # permissions alone do not tell: the disk may be read-only, the name too long
        probe.touch(exist_ok=False)
        probe.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"Cannot write {str(path)!r} ({reason}): choose another folder or name.") from error
    return path


def loop_frames(frames: Sequence, loop: str = "forward") -> list:
    """The frames of one turn: as they are, or for "pingpong" there and back without showing either end twice."""
    if loop not in LOOPS:
        raise ValueError(f"Unknown loop {loop!r}: choose one of {', '.join(LOOPS)}.")
    return [*frames, *frames[-2:0:-1]] if loop == "pingpong" else list(frames)


def save_animation(
    frames: Sequence[Image.Image],
    path: str | os.PathLike,
    fps: float = 4,
    loop: str = "forward",
    palette: str = "auto",
) -> Path:
    """Write PIL frames of one size as .gif, .webp or .mp4 (by suffix) and return the path; see `encode_animation`.

    Raises ValueError as `check_output` does or for a bad argument, OSError if the disk is full.
    """
    path = check_output(path)
    write_whole(path, encode_animation(frames, path.suffix, fps, loop, palette))
    return path


def encode_animation(
    frames: Sequence[Image.Image], suffix: str, fps: float = 4, loop: str = "forward", palette: str = "auto"
) -> bytes:
    """PIL frames of one size as the bytes of a ".gif", ".webp" or ".mp4" file at `fps` frames/s, 0.1-50.

    `loop` "none" plays once; an mp4 holds one turn whatever the loop. `palette` (GIF only): "global" is one palette for
    all frames, "frame" one for each, "auto" asks `choose_palette`. Frame times are multiples of 10 ms that sum to
    len / fps; identical neighbours may be merged into one frame of their summed time. An mp4 of odd size gains a row or
    column of edge pixels, and needs PyAV. Raises ValueError for a bad argument.
    """
    if suffix.lower() not in OUTPUT_SUFFIXES:
        raise ValueError(f"Unknown format {suffix!r}: choose one of {', '.join(OUTPUT_SUFFIXES)}.")
    if not MIN_FPS <= fps <= MAX_FPS:  # False for NaN too
        raise ValueError(f"fps is {fps}: choose a number from {MIN_FPS} to {MAX_FPS}.")
    if palette not in PALETTES:
        raise ValueError(f"Unknown palette {palette!r}: choose one of {', '.join(PALETTES)}.")
    frames = [frame.convert("RGB") for frame in loop_frames(frames, loop)]
    if not frames:
        raise ValueError("There are no frames to save: pass at least one picture.")
    if len({frame.size for frame in frames}) > 1:
        raise ValueError(f"The frames have sizes {sorted({f.size for f in frames})}: resize them to one.")
    ends = [10 * round(100 * k / fps) for k in range(len(frames) + 1)]  # rounded at the ends, so that the sum is exact
    timing = {"duration": [b - a for a, b in itertools.pairwise(ends)], "loop": 1 if loop == "none" else 0}
    if suffix.lower() == ".gif":
        return _encode_gif(frames, timing, palette)
    if suffix.lower() == ".webp":
        return _encode(frames, "WEBP", quality=90, **timing)
    return _encode_mp4(frames, fps)


def choose_palette(frames: Sequence[Image.Image]) -> str:
    """The better of "global" and "frame" for these RGB frames, by measurement: what "auto" does for a GIF.

    A palette for each frame is closer to the picture, but shifts the colours of what stands still: it flickers, and the
    file grows. So "frame" needs both: less than 10% of the pixels stand still from one frame to the next (within 4 grey
    levels), and its PSNR is at least 1 dB better. Measured on 200,000 pixels, as a palette for each frame is slow.
    """
    frames = [Image.fromarray(pixels) for pixels in _thinned(frames, MEASURED_PIXELS)]
    arrays = [np.asarray(frame, np.int16) for frame in frames]
    still = [np.mean(np.abs(a - b).max(axis=2) <= STILL_LEVELS) for a, b in itertools.pairwise(arrays)]
    if not still or np.mean(still) >= STILL_SHARE:
        return "global"
    shared, own = (
        sum(np.mean((a - np.asarray(q.convert("RGB"), np.int16)) ** 2.0) for a, q in zip(arrays, images, strict=True))
        for images in (_with_global_palette(frames), _with_own_palettes(frames))
    )  # squared errors
    gain = 10 * math.log10(max(shared, 1e-6) / max(own, 1e-6))  # dB
    return "frame" if gain >= PALETTE_GAIN else "global"


def _thinned(frames: Sequence[Image.Image], pixels: int) -> list[np.ndarray]:
    """uint8 (h, w, 3) for each frame, every k-th pixel each way, so that all of them have about that many at most."""
    step = math.ceil(math.sqrt(sum(frame.width * frame.height for frame in frames) / pixels))
    return [np.ascontiguousarray(np.asarray(frame)[::step, ::step]) for frame in frames]


def _with_global_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    sheet = Image.fromarray(np.concatenate(_thinned(frames, PALETTE_PIXELS)))
    found = sheet.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).getpalette()
    colours = dict.fromkeys(zip(found[::3], found[1::3], found[2::3], strict=True))  # each once: Pillow writes doubles slowly
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for colour in colours for level in colour])
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _with_own_palettes(frames: Sequence[Image.Image]) -> list[Image.Image]:
    return [f.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for f in frames]


def _encode_gif(frames: list[Image.Image], timing: dict, palette: str) -> bytes:
    if timing["loop"] == 1:  # in a GIF, playing once is having no loop extension
        timing = {"duration": timing["duration"]}
    if (choose_palette(frames) if palette == "auto" else palette) == "frame":
        return _encode(_with_own_palettes(frames), "GIF", **timing)
    frames = _with_global_palette(frames)
    table = bytes(frames[0].getpalette())  # handed over so that it is stored once and not with every frame
    return _encode(frames, "GIF", palette=table, optimize=False, **timing)


def _encode(frames: list[Image.Image], kind: str, **options) -> bytes:
    file = io.BytesIO()
    frames[0].save(file, format=kind, save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


def _encode_mp4(frames: list[Image.Image], fps: float) -> bytes:
    try:
        import av
    except ImportError as error:
        raise ModuleNotFoundError(NO_PYAV) from error
    width, height = frames[0].size
    odd = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p needs even sides
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as video:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = video.add_stream(codec, Fraction(fps).limit_denominator(MOST_TICKS))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for frame in frames:
            pixels = np.pad(np.asarray(frame), odd, mode="edge")
            video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        video.mux(stream.encode(None))  # what the encoder still holds
    return file.getvalue()
