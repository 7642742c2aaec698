"""Videos made for tests: of given frames, and a pan over a picture that is a formula, in the layouts of UCF-101 and MSR-VTT."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from made_clips import texture


def write_video(path: Path, frames: int, step: int = 1, seed: int = 3, size: tuple[int, int] = (80, 60)) -> Path:
    """`frames` frames of (width, height) px, each `step` px to the right of the one before, `level(k)` bright in a corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    container, codec = ("avi", "mpeg4") if path.suffix == ".avi" else ("mp4", "libx264")
    (width, height), ground = size, texture(seed=seed)
    with av.open(path, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for k in range(frames):
            left = (ground.shape[1] - width - step * k) % (ground.shape[1] - width)
            picture = np.repeat(ground[:height, left : left + width, None], 3, axis=2)
            picture[: height // 2, : height // 2] = level(k)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path


def video(frames: Sequence[np.ndarray], name: str, codec: str) -> bytes:
    """The bytes of a file of that name, whose suffix says its kind: uint8 frames (H, W, 3), ten a second."""
    with tempfile.TemporaryDirectory() as folder:
        with av.open(str(Path(folder, name)), "w") as file:
            stream = file.add_stream(codec, rate=10)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            file.mux(stream.encode())
        return Path(folder, name).read_bytes()


def level(k: int) -> int:
    """Grey level of the corner of frame k: tells which one it is, up to frame 54."""
    return 20 + 4 * k % 220
