"""patches.py: FFmpeg's frames of random GIFs and APNGs are met, and Pillow's where Pillow agrees with FFmpeg."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pix2gif_lite.media.clips import iter_frames, read_frames

SIZE = (24, 16)  # width, height
BACKGROUND = (10, 200, 30)


def lzw(indices: np.ndarray) -> bytes:
    """GIF's compression without compressing: a clear code before the code length would grow beyond 9 bits."""
    codes = [code for k in range(0, indices.size, 250) for code in (256, *indices.ravel()[k : k + 250])] + [257]
    bits = "".join(f"{code:09b}"[::-1] for code in codes)
    data = bytes(int(bits[k : k + 8][::-1], 2) for k in range(0, len(bits), 8))
    blocks = [data[k : k + 255] for k in range(0, len(data), 255)]
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def gif(patches: list[dict], table: np.ndarray | None, background: int = 0, size: tuple[int, int] = SIZE) -> bytes:
    """A GIF89a of such patches: index (h, w), at (x, y), and if wanted disposal, transparent, delay (1/100 s), table."""
    out = b"GIF89a" + struct.pack("<HHBBB", *size, 0 if table is None else 0x87, background, 0)
    out += b"" if table is None else table.astype(np.uint8).tobytes()
    for patch in patches:
        if "disposal" in patch:
            transparent = patch.get("transparent")
            packed = (patch["disposal"] << 2) | (transparent is not None)
            out += b"!\xf9\x04" + struct.pack("<BHBB", packed, patch.get("delay", 10), transparent or 0, 0)
        own = patch.get("table")
        out += b"," + struct.pack("<HHHHB", *patch["at"], *patch["index"].shape[::-1], 0 if own is None else 0x87)
        out += b"" if own is None else own.astype(np.uint8).tobytes()
        out += lzw(patch["index"])
    return out + b";"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def apng(patches: list[dict], size: tuple[int, int] = SIZE, depth: int = 8, colours: int = 6) -> bytes:
    """An APNG of such patches: pixels (h, w, 4), at (x, y), time (numerator, denominator), disposal, blend.

    Depth and colours as IHDR has them: 8 bits of RGBA, or with 16 and 0 greys, big-endian.
    """
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colours, 0, 0, 0))
    out += chunk(b"acTL", struct.pack(">II", len(patches), 0))
    number = 0
    for k, patch in enumerate(patches):
        place = (*patch["pixels"].shape[1::-1], *patch["at"], *patch["time"], patch["disposal"], patch["blend"])
        out += chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *place))
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in patch["pixels"]))
        out += chunk(b"fdAT", struct.pack(">I", number + 1) + data) if k else chunk(b"IDAT", data)
        number += 2 if k else 1
    return out + chunk(b"IEND", b"")


def random_place(rng: np.random.Generator, whole: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) and (x, y) of a rectangle within SIZE."""
    width, height = SIZE if whole else (int(rng.integers(1, SIZE[0] + 1)), int(rng.integers(1, SIZE[1] + 1)))
    return (height, width), (int(rng.integers(SIZE[0] - width + 1)), int(rng.integers(SIZE[1] - height + 1)))


def random_gif(rng: np.random.Generator, disposals: list[int], transparent: float, tables: float, whole: bool) -> bytes:
    """`transparent`, `tables`: share of patches with a transparent colour, a palette of their own."""
    shared = rng.integers(0, 256, (256, 3)) if tables < 1 else None
    patches = []
    for k in range(4):
        shape, at = random_place(rng, whole and k == 0)
        patch = {"index": rng.integers(0, 256, shape), "at": at, "disposal": int(rng.choice(disposals))}
        patch["delay"] = int(rng.choice([0, 1, 2, 7, 50]))
        if rng.random() < transparent:
            patch["transparent"] = int(rng.integers(256))
            patch["index"][rng.random(shape) < 0.4] = patch["transparent"]
        if rng.random() < tables:
            patch["table"] = rng.integers(0, 256, (256, 3))
        patches.append(patch)
    return gif(patches, shared, int(rng.integers(256)))


def on_background(rgba: np.ndarray) -> np.ndarray:
    share = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * share + np.array(BACKGROUND) * (1 - share))


def ours(path: Path, data: bytes) -> tuple[list[np.ndarray], list[int]]:
    path.write_bytes(data)
    pairs = list(iter_frames(path, BACKGROUND))
    return [np.asarray(frame, float) for frame, _ in pairs], [duration for _, duration in pairs]


def ffmpeg(data: bytes, kind: str) -> tuple[list[np.ndarray], list[int]]:
    """FFmpeg's frames, and the times between them, ms."""
    with av.open(io.BytesIO(data), format=kind) as file:
        file.streams.video[0].codec_context.thread_count = 1
        frames = list(file.decode(video=0))
        times = [round(1000 * frame.pts * frame.time_base) for frame in frames]
        return [on_background(frame.to_ndarray(format="rgba")) for frame in frames], np.diff(times).tolist()


def pillow(data: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(on_background(np.asarray(image.convert("RGBA"), float)))
        return frames


def far(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return max(np.abs(x - y).max() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("tables", [0, 0.4, 1])
@pytest.mark.parametrize("whole", [True, False])
def test_random_gifs_look_as_in_ffmpeg(tmp_path, tables, whole):
    rng = np.random.default_rng(0)
    agreed = 0
    for _ in range(60):
        data = random_gif(rng, [0, 1, 2, 3], 0.5, tables, whole)
        frames, durations = ours(tmp_path / "a.gif", data)
        expected, times = ffmpeg(data, "gif")
        assert far(frames, expected) == 0 and durations[:-1] == times
        theirs = pillow(data)
        if far(theirs, expected) == 0:
            agreed += 1
            assert far(frames, theirs) == 0
    assert 0 < agreed < 60


@pytest.mark.parametrize("disposals", [[0, 1], [2]])
def test_gifs_as_programs_write_them_look_as_in_ffmpeg_and_pillow(tmp_path, disposals):
    """Patches over what was there, or frames that are all cleared and all have a transparent colour."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        data = random_gif(rng, disposals, 1 if disposals == [2] else 0.5, 0.4, whole=True)
        frames, _ = ours(tmp_path / "a.gif", data)
        assert far(frames, ffmpeg(data, "gif")[0]) == 0 and far(frames, pillow(data)) == 0


@pytest.mark.parametrize("alphas", [[0, 255], [0, 60, 128, 255]])
def test_random_apngs_look_as_in_ffmpeg(tmp_path, alphas):
    rng = np.random.default_rng(2)
    for case in range(120):
        patches = []
        for k in range(5):
            shape, at = random_place(rng, k == 0)
            pixels = rng.integers(0, 256, (*shape, 4)).astype(np.uint8)
            pixels[..., 3] = rng.choice(alphas, shape)
            time = (int(rng.integers(1, 20)), int(rng.choice([0, 10, 100, 1000])))
            disposal = int(rng.integers(3 if case % 2 else 2))
            patches.append({"pixels": pixels, "at": at, "time": time, "disposal": disposal, "blend": int(rng.integers(2))})
        data = apng(patches)
        frames, durations = ours(tmp_path / "a.png", data)
        expected, times = ffmpeg(data, "apng")
        assert far(frames, expected) <= 2 and durations[:-1] == times  # blended in 8 bits, by other roundings
        if alphas == [0, 255] and case % 2 == 0:
            assert far(frames, pillow(data)) <= 1


def by_hand(canvas: np.ndarray, patch: dict, table: np.ndarray) -> np.ndarray:
    (height, width), (x, y) = patch["index"].shape, patch["at"]
    seen = canvas.copy()
    seen[y : y + height, x : x + width] = table[patch["index"]]
    return seen


def test_a_gif_without_graphic_control(tmp_path):
    """As GIF87a: patches stay, for 100 ms each. (FFmpeg 8 takes such patches for one.)"""
    rng = np.random.default_rng(3)
    table = rng.integers(0, 256, (256, 3))
    patches = [{"index": rng.integers(0, 256, shape), "at": at} for shape, at in (((16, 24), (0, 0)), ((5, 7), (3, 9)))]
    frames, durations = ours(tmp_path / "a.gif", gif(patches, table))
    first = by_hand(np.zeros((16, 24, 3)), patches[0], table)
    assert far(frames, [first, by_hand(first, patches[1], table)]) == 0 and durations == [100, 100]


def test_a_patch_that_reaches_beyond_the_screen_is_clipped_and_a_larger_one_refused(tmp_path):
    rng = np.random.default_rng(4)
    table = rng.integers(0, 256, (256, 3))
    patches = [{"index": rng.integers(0, 256, shape), "at": at} for shape, at in (((16, 24), (0, 0)), ((8, 8), (20, 12)))]
    frames, _ = ours(tmp_path / "a.gif", gif(patches, table))
    expected = by_hand(np.zeros((16, 24, 3)), patches[0], table)
    expected[12:, 20:] = table[patches[1]["index"][:4, :4]]
    assert far(frames[1:], [expected]) == 0
    patches[1]["at"] = (0, 0)
    patches[1]["index"] = rng.integers(0, 256, (17, 8))
    with pytest.raises(ValueError, match="damaged"):
        ours(tmp_path / "a.gif", gif(patches, table))


def test_a_screen_of_nothing_is_as_large_as_its_first_patch(tmp_path):
    patches = [{"index": np.full((16, 24), 3), "at": (0, 0)}] * 2
    frames, _ = ours(tmp_path / "a.gif", gif(patches, np.arange(768).reshape(256, 3) % 256, size=(0, 0)))
    assert [frame.shape for frame in frames] == [(16, 24, 3)] * 2 and (frames[1] == (9, 10, 11)).all()


def test_small_palettes_grey_ones_and_interlacing(tmp_path):
    rng = np.random.default_rng(5)
    for colours in (2, 4, 16):
        for palette in (rng.integers(0, 256, 3 * colours).tolist(), [level for level in range(colours) for _ in "RGB"]):
            frames = [Image.fromarray(rng.integers(0, colours, (16, 24)).astype(np.uint8)) for _ in range(3)]
            for frame in frames:
                frame.putpalette(palette)
            for interlace in (0, 1):
                file = io.BytesIO()
                frames[0].save(file, "gif", save_all=True, append_images=frames[1:], interlace=interlace, disposal=1)
                got, _ = ours(tmp_path / "a.gif", file.getvalue())
                assert far(got, [np.asarray(frame.convert("RGB"), float) for frame in frames]) == 0


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1"])
def test_apngs_of_other_modes(tmp_path, mode):
    levels = np.random.default_rng(7).integers(0, 256, (3, 16, 24)).astype(np.uint8)
    images = [Image.fromarray(level).convert(mode) for level in levels]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=50)
    frames, durations = read_frames(tmp_path / "a.png")
    assert durations == [50] * 3
    for frame, image in zip(frames, images, strict=True):
        assert (np.asarray(frame) == np.asarray(image.convert("RGB"))).all()


def test_an_apng_of_16_bit_greys(tmp_path):
    levels = np.random.default_rng(8).integers(0, 65536, (3, 16, 24))
    patches = [{"pixels": level.astype(">u2"), "at": (0, 0), "time": (1, 10), "disposal": 0, "blend": 0} for level in levels]
    frames, _ = ours(tmp_path / "a.png", apng(patches, depth=16, colours=0))
    assert far(frames, [level[..., None] / 257 for level in levels]) <= 0.5


def test_an_apng_is_turned_as_its_exif_says(tmp_path):
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :12] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    images = [Image.fromarray(pixels // (k + 1)) for k in range(3)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], exif=exif)
    for k, frame in enumerate(read_frames(tmp_path / "a.png")[0]):
        assert (np.asarray(frame) == np.rot90(pixels // (k + 1), -1)).all()


def test_a_cut_or_inconsistent_file_is_refused(tmp_path):
    rng = np.random.default_rng(6)
    patch = {
        "pixels": rng.integers(0, 256, (16, 24, 4)).astype(np.uint8),
        "at": (0, 0),
        "time": (1, 10),
        "disposal": 0,
        "blend": 1,
    }
    good = apng([patch] * 3)
    whole, _ = ours(tmp_path / "a.png", good)
    assert len(whole) == 3
    last = good.rindex(b"fcTL") - 4
    faults = {
        "cut before the last patch": good[:last],
        "the last patch left out": good[:last] + good[-12:],
        "a bit turned over in the last patch": good[:-30] + bytes([good[-30] ^ 1]) + good[-29:],
        "a patch beyond the canvas": apng([patch, patch | {"pixels": np.zeros((16, 25, 4), np.uint8)}]),
        "a patch of nothing": apng([patch, patch | {"pixels": np.zeros((0, 24, 4), np.uint8)}]),
    }
    for fault, data in faults.items():
        with pytest.raises(ValueError, match="damaged"):
            print(fault, len(ours(tmp_path / "a.png", data)))
    data = random_gif(rng, [0, 1], 0, 0, True)
    for unfinished in (data[:-1], data[:-2]):  # only the terminators are missing
        assert len(ours(tmp_path / "a.gif", unfinished)[0]) == 4
    for cut in range(len(data) - 60, len(data) - 2, 3):
        with pytest.raises(ValueError, match="damaged"):
            ours(tmp_path / "a.gif", data[:cut])
