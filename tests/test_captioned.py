"""captioned.py: captions are read from where they may stand, and a faulty caption file is told with file and line."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite.curating.captioned import CAPTIONS, NO_CAPTION, Captioned, read_captioned, read_tsv


def clip(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """a.gif, b.gif and deep/c.webp, a sub-folder of frames; outside of it lies x.gif."""
    folder = tmp_path / "clips"
    for name in ("a.gif", "b.gif", "deep/c.webp"):
        clip(folder / name)
    for k in (1, 2):
        (folder / "walk").mkdir(exist_ok=True)
        Image.fromarray(np.full((12, 16, 3), 90 * k, np.uint8)).save(folder / "walk" / f"{k}.png")
    clip(tmp_path / "x.gif")
    return folder


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / CAPTIONS
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_then_text_beside_then_dropped(folder):
    write(folder, 'who,caption,file\nme,"a red kite,\n  rising",./deep/../deep/c.webp\n\nme,"it ""walks""",walk/\n')
    (folder / "a.txt").write_text("\ufeffa ball\tis  rolling\n\n", encoding="utf-8")
    (folder / "walk.txt").write_text("not asked, as the table has it")
    items, dropped = read_captioned(str(folder))
    assert items == [
        Captioned(folder / "a.gif", "a ball is rolling", "a.gif"),
        Captioned(folder / "deep" / "c.webp", "a red kite, rising", "deep/c.webp"),
        Captioned(folder / "walk", 'it "walks"', "walk"),
    ]
    assert dropped == {"b.gif": NO_CAPTION}


def test_text_beside_a_folder_of_frames_and_no_captions_at_all(folder):
    assert read_captioned(folder) == ([], dict.fromkeys(["a.gif", "b.gif", "deep/c.webp", "walk"], NO_CAPTION))
    (folder / "walk.txt").write_text("someone is walking")
    (folder / "deep" / "c.txt").write_text("un café", encoding="utf-8")
    items, dropped = read_captioned(folder)
    assert [(item.name, item.caption) for item in items] == [("deep/c.webp", "un café"), ("walk", "someone is walking")]
    assert list(dropped) == ["a.gif", "b.gif"]
    empty = folder.parent / "empty"
    empty.mkdir()
    assert read_captioned(empty) == ([], {})
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_captioned(folder / "none")


def test_what_the_csv_module_and_spreadsheets_write(folder):
    rows = [("a.gif", 'a "big", red\r\nball'), ("b.gif", "un globo está subiendo")]
    for encoding, terminator in (("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-8", "\r")):
        with open(folder / CAPTIONS, "w", newline="", encoding=encoding) as file:
            csv.writer(file, lineterminator=terminator).writerows([("file", "caption"), *rows])
        items, _ = read_captioned(folder)
        assert [(item.name, item.caption) for item in items] == [(name, " ".join(text.split())) for name, text in rows]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "no header"),
        ("\n\n", 1, "no header"),
        ("a.gif,a ball\n", 1, "'a.gif,a ball': name the columns file,caption"),
        ("\nfile;caption\na.gif;a ball\n", 2, "'file;caption': name the columns"),
        ("file,caption,caption\na.gif,a,b\n", 1, "once each"),
        ("file,caption\na.gif,a ball\nnone.gif,a ball\n", 3, "'none.gif' does not exist"),
        ("file,caption\na.gif,a ball\n\n./a.gif,a kite\n", 4, "'a.gif' is named in line 2 already"),
        ('file,caption\na.gif,"a\nb\nc"\nb.gif,x\na.gif,y\n', 6, "'a.gif' is named in line 2 already"),
        ("file,caption\na.gif, \t\n", 2, "caption is empty"),
        ("file,caption\n,a ball\n", 2, "'' names no file"),
        ("file,caption\na.gif\n", 2, "the header has 2 columns and this row 1"),
        ("file,caption\na.gif,a ball, rising\n", 2, "2 columns and this row 3: put a caption with commas into double"),
        ('file,caption\na.gif,a\nb.gif,"a ball\n', 3, "unexpected end of data"),
        ('file,caption\na.gif,"a" ball\n', 2, "double quotes"),
        ("file,caption\n../x.gif,a ball\n", 2, "'../x.gif' leads out of the folder"),
        ("file,caption\n../clips/a.gif,a ball\n", 2, "leads out of the folder"),
        ("file,caption\ndeep/../../x.gif,a ball\n", 2, "leads out of the folder"),
        ("file,caption\n/etc/passwd,a ball\n", 2, "'/etc/passwd' leads out of the folder"),
        ("file,caption\n.,a ball\n", 2, "does not exist"),
        ("file,caption\na\0.gif,a ball\n", 2, "names no file|line contains NUL"),  # the csv of Python 3.10 refuses it
        (f"file,caption\n{'a' * 300}.gif,a ball\n", 2, r"'a{57}\.\.\.' does not exist|'a{56}\.\.\.' does not exist"),
        (f"file,caption\na.gif,{'a ball ' * 200}\n", 2, "1,399 characters"),
        (f"file,caption\na.gif,{'a ball ' * 40_000}\n", 2, "field larger than field limit"),
        (b"file,caption\na.gif,a ball\nb.gif,un caf\xe9\n", 3, "byte 0xe9 is not UTF-8: save it as UTF-8"),
        ("file,caption\na.gif,a ball\n".encode("utf-16"), 1, "byte 0xff is not UTF-8"),
    ],
)
def test_faulty_tables(folder, text, line, said):
    path = write(folder, text)
    with pytest.raises(ValueError, match=re.escape(f"{str(path)!r}, line {line}: ") + f".*({said})") as caught:
        read_captioned(folder)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "said"), [(b" \n", "empty"), (b"caf\xe9", "not UTF-8"), (b"a" * 1001, "1,001 characters")])
def test_faulty_text_beside_a_clip(folder, data, said):
    (folder / "b.txt").write_bytes(data)
    with pytest.raises(ValueError, match=rf"clips/b\.txt', line 1: .*{said}"):
        read_captioned(folder)


def test_links_that_lead_out(folder):
    (folder / "link.gif").symlink_to(folder.parent / "x.gif")
    (folder.parent / "secret.txt").write_text("not yours")
    (folder / "a.txt").symlink_to(folder.parent / "secret.txt")
    items, dropped = read_captioned(folder)
    assert items == [] and "link.gif" not in dropped and dropped["a.gif"] == NO_CAPTION
    write(folder, "file,caption\nlink.gif,a ball\n")
    with pytest.raises(ValueError, match=r"line 2: 'link\.gif' leads out of the folder"):
        read_captioned(folder)


def test_a_name_that_no_table_can_hold(folder):
    clip(folder / os.fsdecode(b"caf\xe9.gif"))
    _, dropped = read_captioned(folder)
    assert dropped[r"'caf\udce9.gif'"] == "Its name is not UTF-8: rename it."


def test_tsv_as_tgif_writes_it(tmp_path):
    path = tmp_path / "tgif.tsv"
    text = '\ufeffhttps://e.org/1.gif\ta man says "hi\n'
    text += "https://e.org/2.gif\t a  cat\x0bjumps \r\n\nhttps://e.org/1.gif\ta man"
    path.write_bytes(text.encode())
    assert read_tsv(path) == [
        ("https://e.org/1.gif", 'a man says "hi'),
        ("https://e.org/2.gif", "a cat jumps"),
        ("https://e.org/1.gif", "a man"),  # several captions of one GIF are several lines, all kept
    ]


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"https://e.org/1.gif\ta\nhttps://e.org/2.gif a cat\n", 2, "no address, tab, caption"),
        (b"https://e.org/1.gif\ta\tb\n", 1, "no address, tab, caption"),
        (b"\t a cat\n", 1, "no address, tab, caption"),
        (b"\nhttps://e.org/1.gif\t \n", 2, "caption is empty"),
        (b"https://e.org/1.gif\ta cat\n" * 3 + b"https://e.org/2.gif\tcaf\xe9\n", 4, "byte 0xe9 is not UTF-8"),
        (b"u\t" + b"a" * 1001, 1, "1,001 characters"),
    ],
)
def test_faulty_tsv(tmp_path, data, line, said):
    path = tmp_path / "bad.tsv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(f"{str(path)!r}, line {line}: ") + f".*{said}"):
        read_tsv(path)


def test_tsv_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_tsv(tmp_path / "none.tsv")
    with pytest.raises(ValueError, match="is no file"):
        read_tsv(tmp_path)
    (tmp_path / "empty.tsv").write_bytes(b"\n\n")
    with pytest.raises(ValueError, match="holds no line"):
        read_tsv(tmp_path / "empty.tsv")
    with open(tmp_path / "huge.tsv", "wb") as file:
        file.truncate(100_000_001)  # a hole: no bytes on the disk
    with pytest.raises(ValueError, match="more than 100,000,000 bytes"):
        read_tsv(tmp_path / "huge.tsv")


def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe.gif")
    (folder / "captions.csv").write_text("file,caption\npipe.gif,nobody writes into it\n")
    with pytest.raises(ValueError, match=r"captions.csv', line 2: 'pipe.gif' is neither a file nor a folder: remove the line"):
        read_captioned(folder)
