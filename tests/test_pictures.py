"""pictures.py, single pictures: bad files are refused in one sentence, odd ones come out as plain RGB."""

from __future__ import annotations

import io
import os
import re
import struct
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite.media.clips import read_frames
from pix2gif_lite.media.pictures import open_image, open_upload

SIZE = (24, 16)  # width, height


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(np.uint8)


def refuse(path, match: str, kind: type = ValueError) -> None:
    """`open_image` and `read_frames` both refuse `path`, in one sentence that names it."""
    for reader in (open_image, read_frames):
        with pytest.raises(kind, match=match) as caught:
            reader(path)
        text = str(caught.value)
        assert repr(str(path)) in text and text.endswith(".") and "\n" not in text
        assert re.search(r": \w+ ", text)  # what to do


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels: only a reader that decodes would notice that they are missing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunks + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@contextmanager
def ordinary_user():
    """Root may read everything, so a permission is tested as nobody."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_missing_folder_empty_and_not_a_path(tmp_path):
    refuse(tmp_path / "none.png", "no file", FileNotFoundError)
    with pytest.raises(ValueError, match="folder"):
        open_image(tmp_path)
    (tmp_path / "empty.png").write_bytes(b"")
    refuse(tmp_path / "empty.png", "0 bytes")
    for thing in (None, 3, ["a.png"]):
        with pytest.raises(ValueError, match="not a file"):
            open_image(thing)


def test_device_is_refused_instead_of_read_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    refuse(tmp_path / "pipe.png", "device")


def test_file_without_permission(rgb):
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is closed to other users
        os.chmod(folder, 0o755)
        path = Path(folder, "secret.png")
        Image.fromarray(rgb).save(path)
        os.chmod(path, 0)
        with ordinary_user():
            refuse(path, "permission")


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_truncated(tmp_path, kind):
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = tmp_path / f"cut.{kind}"
    Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    for share in (0.02, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        refuse(path, "damaged")


def test_disguised(tmp_path):
    (tmp_path / "text.png").write_text("I am not a picture.\n" * 50)
    refuse(tmp_path / "text.png", "unknown kind")
    (tmp_path / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(never run) print\n")
    refuse(tmp_path / "script.png", "unknown kind")  # Pillow alone would hand it to Ghostscript
    Image.new("RGB", SIZE).save(tmp_path / "rare.pcx")
    refuse(tmp_path / "rare.pcx", "unknown kind")  # Pillow could: each decoder less is one way in less


def test_size_is_judged_from_the_header(tmp_path):
    path = tmp_path / "size.png"
    for (width, height), match in {
        (1, 1): "1 x 1 px.*at least 8 px",
        (100, 7): "100 x 7 px.*at least 8 px",
        (40_000, 40_000): "more than 50,000,000 pixels",
        (9_000, 9_000): "9000 x 9000 px, more than 50,000,000 pixels",
        (10, 4_000): "10 x 4000 px.*crop",
    }.items():
        path.write_bytes(png_header(width, height))
        refuse(path, match)
    path.write_bytes(png_header(64, 64))
    refuse(path, "damaged")  # the same file with a modest size: only now its pixels are missed
    with pytest.raises(ValueError, match="more than 300 pixels"):
        open_image(Image.new("RGB", SIZE), max_pixels=300)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path, orientation):
    """The stored picture is made from the upright one by the inverse of each orientation's rule (EXIF 2.3, 4.6.4)."""
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[:8, 16:], upright[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # row 0 is the visual right side
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("png", "tiff"):
        path = tmp_path / f"turned.{kind}"
        Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
        assert (np.asarray(open_image(path)) == upright).all()


def test_broken_exif_does_not_cost_the_picture(tmp_path, rgb):
    path = tmp_path / "exif.png"
    Image.fromarray(rgb).save(path, exif=b"Exif\0\0" + b"garbage" * 9)
    assert (np.asarray(open_image(path)) == rgb).all()


@pytest.mark.parametrize("kind", ["png", "tiff", "pgm"])
def test_16_bit_is_scaled(tmp_path, kind):
    levels = np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[1], SIZE[0])
    path = tmp_path / f"deep.{kind}"
    Image.fromarray(levels).save(path)
    got = np.asarray(open_image(path)).astype(int)
    assert np.abs(got - (levels / 257.0)[..., None]).max() <= 0.5
    assert got.min() == 0 and got.max() == 255


def test_float_and_32_bit_greys():
    ramp = np.linspace(0, 1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE[1], SIZE[0])
    expected = (ramp * 255)[..., None]
    for scale in (1, 255, 65535):
        assert np.abs(np.asarray(open_image(Image.fromarray(ramp * scale))) - expected).max() <= 0.51
    assert np.abs(np.asarray(open_image(Image.fromarray((ramp * 65535).astype(np.int32)))) - expected).max() <= 0.51
    assert np.asarray(open_image(Image.fromarray(ramp * 0))).max() == 0
    holed = ramp.copy()
    holed[0, 0] = np.nan
    assert np.asarray(open_image(Image.fromarray(holed)))[0, 0].tolist() == [0, 0, 0]


def test_transparency_lies_on_the_background(tmp_path, rgb):
    alpha = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    alpha[:, 8:16], alpha[:, 16:] = 128, 255
    share = alpha[..., None] / 255
    grey = rgb[..., 0]
    pictures = {
        "RGBA": (Image.fromarray(np.dstack([rgb, alpha])), rgb),
        "LA": (Image.fromarray(np.dstack([grey, alpha])), grey[..., None].repeat(3, 2)),
    }
    for mode, (image, colours) in pictures.items():
        assert image.mode == mode
        image.save(tmp_path / f"{mode}.png")
        for background in ((255, 255, 255), (10, 200, 30)):
            expected = colours * share + np.array(background) * (1 - share)
            got = np.asarray(open_image(tmp_path / f"{mode}.png", background=background))
            assert np.abs(got - expected).max() <= 1
    assert (np.asarray(open_image(tmp_path / "RGBA.png"))[:, :8] == 255).all()


def test_palette_with_transparency(tmp_path):
    indices = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    indices[:, 12:] = 1
    image = Image.new("P", SIZE)
    image.putdata(indices.ravel().tolist())
    image.putpalette([200, 10, 10, 10, 10, 200])
    for kind in ("png", "gif"):
        image.save(tmp_path / f"palette.{kind}", transparency=0)
        got = np.asarray(open_image(tmp_path / f"palette.{kind}"))
        assert (got[:, :12] == 255).all() and (got[:, 12:] == (10, 10, 200)).all()


def test_other_modes(tmp_path, rgb):
    bits = Image.fromarray(rgb[..., 0]).point(lambda level: 255 * (level > 127)).convert("1")
    bits.save(tmp_path / "bits.png")
    assert (np.asarray(open_image(tmp_path / "bits.png")) == np.where(rgb[..., :1] > 127, 255, 0)).all()
    inks = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    inks[:, :12, 0] = 255  # all cyan: no red left
    Image.fromarray(inks, mode="CMYK").save(tmp_path / "inks.tiff")
    got = np.asarray(open_image(tmp_path / "inks.tiff"))
    assert (got[:, :12] == (0, 255, 255)).all() and (got[:, 12:] == 255).all()


def test_first_frame_of_an_animated_file(tmp_path):
    frames = [Image.new("RGB", SIZE, colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for kind in ("gif", "png", "webp"):
        path = tmp_path / f"two.{kind}"
        options = {"lossless": True} if kind == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
        assert open_image(path).getpixel((3, 3)) == (255, 0, 0)


def test_an_open_image_is_not_changed(rgb):
    image = Image.fromarray(rgb)
    result = open_image(image)
    result.putpixel((0, 0), (1, 2, 3))
    assert (np.asarray(image) == rgb).all()
    assert result.mode == "RGB" and result.size == SIZE


def test_the_bytes_of_a_file_are_opened_as_the_file_is(tmp_path, rgb):
    seen = Image.fromarray(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]))  # an alpha channel, nothing transparent
    clear = Image.fromarray(np.dstack([rgb, np.arange(rgb[..., 0].size).reshape(rgb.shape[:2]) % 256]).astype(np.uint8))
    for image, said in (
        (Image.fromarray(rgb), []),
        (seen, []),
        (clear, ["a.png is transparent in places: it is laid on white."]),
    ):
        image.save(tmp_path / "a.png")
        picture, remarks = open_upload((tmp_path / "a.png").read_bytes(), "a.png")
        assert (np.asarray(picture) == np.asarray(open_image(tmp_path / "a.png"))).all() and remarks == said
    file = io.BytesIO()
    Image.new("RGB", SIZE, "red").save(file, "gif", save_all=True, append_images=[Image.new("RGB", SIZE, "blue")])
    picture, remarks = open_upload(file.getvalue(), "two.gif")
    assert picture.getpixel((3, 3)) == (255, 0, 0) and remarks == ["two.gif is animated: its first frame is taken."]
    for data in (b"", b"text", png_header(20_000, 20_000), png_header(9_000, 9_000), file.getvalue()[:30]):
        with pytest.raises(ValueError, match="'b.png'.*: "):
            open_upload(data, "b.png")
