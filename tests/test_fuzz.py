"""2,000 broken files, and those with a name: each is read within the limits or refused in a sentence, and leaves no trace.

They are read in a process of their own, which shows that no decoder crashes it, and whose memory is not hidden by that of
other tests.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

CASES = 2000
LIMITS = {"max_frames": 50, "max_pixels": 2_000_000}
MEMORY = 200  # MB: how much the process may grow


def good_files() -> dict[str, bytes]:
    """Small animations of a bright square that moves, with and without transparency."""
    from made_videos import video

    frames = []
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 60, (24, 32, 4)).astype(np.uint8)
        pixels[..., 3] = 255
        pixels[6:14, 4 * k : 4 * k + 8, :3] = 250
        frames.append(pixels)
    plain = [Image.fromarray(frame).convert("RGB") for frame in frames]
    holed = [Image.fromarray(np.where(frame[..., :1] > 60, frame, 0)) for frame in frames]
    files = {
        "plain.gif": (plain, {}),
        "holed.gif": (holed, {"disposal": 2, "comment": b"hello"}),
        "lossy.webp": (plain, {"quality": 60}),
        "holed.webp": (holed, {"lossless": True}),
        "plain.png": (plain, {}),
        "holed.png": (holed, {"disposal": 1, "blend": 1}),
    }
    found = {}
    for name, (images, options) in files.items():
        file = io.BytesIO()
        images[0].save(file, Path(name).suffix[1:], save_all=True, append_images=images[1:], duration=90, **options)
        found[name] = file.getvalue()
    for name, codec in (("h264.mp4", "libx264"), ("mpeg4.mp4", "mpeg4"), ("vp9.webm", "libvpx-vp9"), ("mjpeg.avi", "mjpeg")):
        found[name] = video([frame[..., :3] for frame in frames], name, codec)
    return found


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three faults, as bad disks, bad programs and bad people make them."""
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 33))
        what = rng.integers(8)
        if what == 0:  # a bit
            data = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        elif what == 1:  # some bytes
            data = data[:at] + rng.bytes(length) + data[at + length :]
        elif what == 2:  # left out
            data = data[:at] + data[at + length :]
        elif what == 3:  # put in
            data = data[:at] + rng.bytes(length) + data[at:]
        elif what == 4:  # cut off
            data = data[: at + 1]
        elif what == 5:  # a number near the start, where sizes and counts stand
            at = int(rng.integers(min(len(data), 80)))
            number = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            packed = struct.pack(str(rng.choice(["<I", ">I"])), number)[: int(rng.integers(1, 5))]
            data = data[:at] + packed + data[at + len(packed) :]
        elif what == 6:  # a piece twice
            data = data[: at + length] + data[at:]
        else:  # all ones or all zeros
            data = data[:at] + bytes([int(rng.choice([0, 255]))]) * min(4, len(data) - at) + data[at + 4 :]
    return data


def with_checksums(data: bytes) -> bytes:
    """A PNG's chunks with their checksums set right, so that faults get past them."""
    at, out = 8, data[:8]
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return out + data[at:]


def lying_gif(count: int, size: tuple[int, int]) -> bytes:
    """A GIF of `count` one-pixel patches on a screen of that size."""
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + (b"!\xf9\x04\0\x05\0\0\0," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0") * count + b";"


def lying_webp(side: int) -> bytes:
    """An animated WebP whose canvas claims `side` x `side` px."""
    frame = io.BytesIO()
    Image.new("RGB", (16, 16)).save(frame, "webp")
    edge = (side - 1).to_bytes(3, "little")
    small = struct.pack("<I", 15)[:3]
    patch = b"\0" * 6 + small * 2 + b"\x64\0\0\0" + frame.getvalue()[12:]
    chunks = b"VP8X" + struct.pack("<IB3x", 10, 2) + edge * 2 + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    chunks += (b"ANMF" + struct.pack("<I", len(patch)) + patch) * 2
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def named_files(good: dict[str, bytes]) -> dict[str, tuple[str, bytes, str]]:
    """What the fault is: the file's name, its bytes, and a word of the refusal or the number of frames."""
    still = io.BytesIO()
    Image.new("RGB", (32, 24)).save(still, "gif")
    return {
        "zero-byte": ("a.gif", b"", "0 bytes"),
        "truncated": ("a.gif", good["plain.gif"][:700], "damaged"),
        "one-frame": ("a.gif", still.getvalue(), "1"),
        "1 x 1": ("a.gif", lying_gif(2, (1, 1)), "1 x 1 px"),
        "10,000-frame": ("a.gif", lying_gif(10_000, (500, 500)), "more than 1000 frames"),
        "30,000 x 30,000": ("a.gif", lying_gif(2, (30_000, 30_000)), "more than 50,000,000 pixels"),
        "12,000 x 12,000": ("a.gif", lying_gif(2, (12_000, 12_000)), "more than 50,000,000 pixels"),
        "WebP of 12,000 x 12,000": ("a.webp", lying_webp(12_000), "more than 50,000,000 pixels"),
        "WebP of 16,383 x 16,383": ("a.webp", lying_webp(16_383), "more than 50,000,000 pixels"),
        "honest WebP": ("a.webp", lying_webp(16), "2"),
        "text named mp4": ("a.mp4", b"I am no video.\n" * 99, "damaged or of an unknown kind"),
        "mp4 named gif": ("a.gif", good["h264.mp4"], "4"),
        "png named gif": ("a.gif", good["plain.png"], "4"),
        "gif named mp4": ("a.mp4", good["plain.gif"], "4"),
        "zeros": ("a.webm", b"\0" * 5000, "damaged or of an unknown kind"),
    }


def peak() -> float:
    """The most memory that this process has had, MB. (`resource` would count what its parent had when it was started.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def read(folder: Path, name: str, data: bytes, **limits: int) -> str:
    """How many frames the file has, or the refusal; anything else is what the test looks for, and begins with "!"."""
    from pix2gif_lite.media.clips import read_frames

    path = folder / name
    path.write_bytes(data)
    before = os.listdir("/proc/self/fd")
    try:
        frames, durations = read_frames(path, **limits)
        fine = 0 < len(frames) <= limits.get("max_frames", 1000) and len({frame.size for frame in frames}) == 1
        pixels = len(frames) * frames[0].width * frames[0].height
        fine &= pixels <= limits.get("max_pixels", pixels) and len(durations) == len(frames) and min(durations) >= 0
        outcome = str(len(frames)) if fine else f"! {len(frames)} frames of {frames[0].size} px, {durations}"
    except (ValueError, FileNotFoundError) as error:
        outcome = str(error).replace(repr(str(path)), "<the file>")
        fine = "<the file>" in outcome and outcome.endswith(".") and ": " in outcome and "\n" not in outcome
        outcome = outcome if fine else f"! {type(error)}: {error}"
    except BaseException as error:
        outcome = f"! {type(error)}: {error}"
    if os.listdir("/proc/self/fd") != before:
        outcome = f"! a file is left open after {outcome}"
    if os.listdir(folder) != [name]:
        outcome = f"! {os.listdir(folder)} are left after {outcome}"
    path.unlink()
    return outcome


def main() -> None:
    """All cases, in the process of their own; prints what became of them as JSON."""
    good = good_files()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        unharmed = {name: read(folder, name, data, **LIMITS) for name, data in good.items()}
        start = peak()
        named = {fault: read(folder, name, data) for fault, (name, data, _) in named_files(good).items()}
        cases = []
        for seed in range(CASES):
            rng = np.random.default_rng(seed)
            name = list(good)[seed % len(good)]
            data = mutate(good[name], rng)
            if name.endswith(".png") and rng.random() < 0.7:
                data = with_checksums(data)
            cases.append((name, read(folder, name, data, **LIMITS)))
    print(json.dumps({"unharmed": unharmed, "named": named, "cases": cases, "grown": peak() - start}))


def test_broken_files():
    command = [sys.executable, "-W", "always", __file__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""  # nor a flood of warnings
    found = json.loads(done.stdout)
    assert set(found["unharmed"].values()) == {"4"}
    for fault, (_, _, expected) in named_files(good_files()).items():
        outcome = found["named"][fault]
        assert outcome == expected if expected.isdigit() else expected in outcome, f"{fault}: {outcome}"
    assert len(found["cases"]) == CASES
    assert [case for case in found["cases"] if case[1].startswith("!")] == []
    read_ones = Counter(name for name, outcome in found["cases"] if outcome.isdigit())
    assert all(2 < read_ones[name] < 190 for name in found["unharmed"]), read_ones  # of 200 each: faults of every kind
    assert found["grown"] < MEMORY


if __name__ == "__main__":
    main()
