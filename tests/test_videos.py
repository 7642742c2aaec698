"""videos.py: each frame has the time that was encoded, is upright, lies on the background; what is cut off is refused."""

from __future__ import annotations

import io
import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pix2gif_lite.media.clips import iter_frames, read_frames
from pix2gif_lite.media.videos import is_video

SIZE = (64, 48)
KINDS = {  # suffix: container, codec, pixel format
    ".mp4": ("mp4", "libx264", "yuv420p"),
    ".mkv": ("matroska", "libx264", "yuv420p"),
    ".webm": ("webm", "libvpx-vp9", "yuv420p"),
    ".avi": ("avi", "mpeg4", "yuv420p"),
    ".mov": ("mov", "qtrle", "argb"),
}


def block(k: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A grey level of its own for each frame, uint8 (H, W, 3)."""
    return np.full((size[1], size[0], 3), 20 + 8 * k, np.uint8)


def level(frame) -> float:
    return float(np.asarray(frame, float).mean())


def write(path: Path, pictures, times=None, options=None) -> Path:
    """`pictures` as a video; `times` in ms, else 25 frames/s."""
    container, codec, pixel_format = KINDS[path.suffix]
    with av.open(path, "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            if times:
                frame.pts, frame.time_base = times[k], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_has_its_frames_in_order_and_40_ms_each(tmp_path, suffix):
    pictures = [block(k) for k in range(12)]
    if suffix == ".mov":
        pictures = [np.dstack([picture, np.full(SIZE[::-1], 255, np.uint8)]) for picture in pictures]
    path = write(tmp_path / f"a{suffix}", pictures)
    frames, durations = read_frames(path)
    assert durations == [40] * 12
    assert [frame.size for frame in frames] == [SIZE] * 12 and {frame.mode for frame in frames} == {"RGB"}
    assert max(abs(level(frame) - 20 - 8 * k) for k, frame in enumerate(frames)) < 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("first", [0, 700])
def test_times_are_those_of_the_time_stamps(tmp_path, suffix, first):
    """A phone's or a screen's recording: the mean rate would give every frame 112 ms."""
    gaps = [33, 33, 34, 500, 33, 100, 17, 16, 250]
    times = list(np.cumsum([first, *gaps]))
    path = write(tmp_path / f"a{suffix}", [block(k) for k in range(10)], [int(t) for t in times])
    frames, durations = read_frames(path)
    assert durations[:-1] == gaps
    assert max(abs(level(frame) - 20 - 8 * k) for k, frame in enumerate(frames)) < 2  # B-frames come out in their order


def test_times_are_rounded_so_that_they_sum(tmp_path):
    with av.open(tmp_path / "a.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for k in range(30):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(block(k), format="rgb24")))
        file.mux(stream.encode())
    durations = read_frames(tmp_path / "a.mp4")[1]
    assert sum(durations) == 1001 and set(durations) == {33, 34}


@pytest.mark.parametrize(("turn", "quarters"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_a_turned_video_comes_out_upright(tmp_path, turn, quarters):
    """The matrix of ISO/IEC 14496-12, 8.3.2: (0, 1, -1, 0) is what a phone held upright writes, shown turned clockwise."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    data = write(tmp_path / "a.mp4", [picture] * 3).read_bytes()

    def matrix(a, b, c, d):
        return struct.pack(">9i", *(65536 * v for v in (a, b, 0, c, d, 0, 0, 0, 16384)))

    at = data.index(matrix(1, 0, 0, 1), data.index(b"tkhd"))
    (tmp_path / "b.mp4").write_bytes(data[:at] + matrix(*turn) + data[at + 36 :])
    for frame in read_frames(tmp_path / "b.mp4")[0]:
        expected = np.rot90(picture, quarters)
        assert frame.size == expected.shape[1::-1]
        assert np.abs(np.asarray(frame, float) - expected)[4:20, 4:20].max() < 30


def test_transparency_of_a_video_lies_on_the_background(tmp_path):
    picture = np.dstack([block(9), np.zeros(SIZE[::-1], np.uint8)])
    picture[:, 32:, 3] = 255
    path = write(tmp_path / "a.mov", [picture] * 3)
    for background in ((255, 255, 255), (10, 200, 30)):
        frame = np.asarray(read_frames(path, background=background)[0][1], int)
        assert (frame[:, :32] == background).all() and (frame[:, 32:] == 92).all()


WRITTEN = [(suffix, {}) for suffix in KINDS]
WRITTEN += [(suffix, {"movflags": flags}) for suffix in (".mp4", ".mov") for flags in ("faststart", "frag_keyframe+empty_moov")]


@pytest.mark.parametrize(("suffix", "options"), WRITTEN)
def test_what_is_cut_off_is_refused(tmp_path, suffix, options):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 4)).astype(np.uint8)
    path = write(tmp_path / f"a{suffix}", list(pixels if suffix == ".mov" else pixels[..., :3]), options=options)
    assert len(read_frames(path)[0]) == 12
    data = path.read_bytes()
    for share in (0.98, 0.9, 0.6, 0.3, 0.02):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ValueError, match="damaged or of an unknown kind"):
            read_frames(path)


def test_a_matroska_stream_of_unknown_length_is_read(tmp_path):
    """As browsers record it: the size of the segment is all ones."""
    data = write(tmp_path / "a.mkv", [block(k) for k in range(6)]).read_bytes()
    at = data.index(b"\x18\x53\x80\x67") + 4
    assert data[at] == 1  # a size of 8 bytes
    (tmp_path / "b.mkv").write_bytes(data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 :])
    assert len(read_frames(tmp_path / "b.mkv")[0]) == 6


def test_size_is_judged_from_the_header(tmp_path):
    large = write(tmp_path / "a.mp4", [np.zeros((400, 400, 3), np.uint8)] * 2)
    with pytest.raises(ValueError, match="has more than 1000 frames or 159,999 pixels in all"):
        next(iter_frames(large, max_pixels=159_999))
    with pytest.raises(ValueError, match="64 x 2 px: use a picture of at least 8 px"):
        read_frames(write(tmp_path / "b.mp4", [np.zeros((2, 64, 3), np.uint8)] * 2))


def test_a_stream_that_grows_on_its_way_is_not_followed(tmp_path):
    """VP9 may change its size from one picture to the next: the second file's packets go on in the first one's stream."""
    small = write(tmp_path / "a.webm", [np.zeros((48, 64, 3), np.uint8)] * 2)
    large = write(tmp_path / "b.webm", [np.zeros((480, 640, 3), np.uint8)] * 2)
    with av.open(tmp_path / "c.webm", "w") as out:
        with av.open(small) as one, av.open(large) as two:
            stream, shift = out.add_stream_from_template(one.streams.video[0]), 0
            for source in (one, two):
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        out.mux(packet)
                shift += 80
    assert len(read_frames(large)[0]) == 2
    with pytest.raises(ValueError, match="damaged"):
        read_frames(tmp_path / "c.webm", max_pixels=200_000)  # FFmpeg's decoder would make room for 640 x 480
    with pytest.raises(ValueError, match=r"frames of \(64, 48\) and \(640, 480\) px"):
        read_frames(tmp_path / "c.webm")


def test_a_file_without_pictures(tmp_path):
    with av.open(tmp_path / "a.mp4", "w") as file:
        stream = file.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(ValueError, match="damaged or of an unknown kind"):
        read_frames(tmp_path / "a.mp4")


def test_kinds_are_told_by_their_first_bytes(tmp_path):
    for suffix in KINDS:
        picture = np.zeros((48, 64, 4 if suffix == ".mov" else 3), np.uint8)
        assert is_video(write(tmp_path / f"a{suffix}", [picture]).read_bytes()[:12])
    for kind in ("png", "gif", "webp", "jpeg", "bmp", "tiff", "avif"):
        file = io.BytesIO()
        Image.new("RGB", SIZE).save(file, kind)
        assert not is_video(file.getvalue()[:12])
    assert not is_video(b"") and not is_video(b"RIFF")


def test_without_pyav_it_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", [block(0)] * 2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match=r"PyAV: run `pip install 'pix2gif-lite\[video\]'`"):
        read_frames(path)
