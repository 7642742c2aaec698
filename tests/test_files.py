"""Files are whole or absent, also when the disk is full or the folder is gone."""

import errno
import os

import pytest

from pix2gif_lite import files
from pix2gif_lite.files import temporary_name, write_whole


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.bin"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["a.bin"]
    assert temporary_name(path).parent == tmp_path and temporary_name(path) != temporary_name(path)


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)  # a disk that fills up at the last step
    with pytest.raises(OSError, match=r"Could not write .*a\.bin.* \(No space left on device\): free some space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]
    with pytest.raises(OSError, match="Could not write"):
        write_whole(tmp_path / "missing" / "a.bin", b"new")
