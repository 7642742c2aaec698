"""PNGs that are packed here: Pillow reads the picture back, and they are not larger than what it would have written."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite.media.png import packed


@pytest.mark.parametrize("size", [(96, 64), (1, 1), (1, 9), (9, 1), (257, 3)])
def test_pillow_reads_the_picture_back(size):
    levels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(packed(Image.fromarray(levels))))
    image.verify()  # the checksums of its chunks
    image = Image.open(io.BytesIO(packed(Image.fromarray(levels))))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", size)
    assert np.array_equal(np.asarray(image), levels)


def test_a_drawn_picture_is_packed_well(picture):
    file = io.BytesIO()
    picture.save(file, "png", compress_level=1)
    ours = packed(picture)
    assert len(ours) < 1.1 * len(file.getvalue()) < 0.5 * len(picture.tobytes())
    assert struct.unpack(">I", ours[-8 - 4 : -8]) == (0,) and ours.endswith(struct.pack(">I", zlib.crc32(b"IEND")))


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="mode L"):
        packed(Image.new("L", (8, 8)))
