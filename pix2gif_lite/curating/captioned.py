"""What is to be curated and what each clip is called: captions.csv, a text file beside a clip, or TGIF's list of addresses.

A caption file is written by hand or by a spreadsheet, so that what is wrong with it is said with file and line number
before any clip is opened. A clip without a caption is no error: it is left out and listed as such.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..media.clips import find_clips, is_inside

CAPTIONS = "captions.csv"
COLUMNS = ("file", "caption")
MAX_CAPTION = 1000  # characters: CLIP reads some 300, and a longer one is a mistaken quote or another file
MAX_BYTES = 100_000_000  # of a caption file; TGIF's has 14 MB
NO_CAPTION = f"It has no caption: add a line to {CAPTIONS}, or a .txt file of its name."


class Captioned(NamedTuple):
    path: Path
    caption: str
    name: str  # the path in the folder, with "/"


def read_captioned(folder: str | os.PathLike) -> tuple[list[Captioned], dict[str, str]]:
    """The clips below a folder that have a caption, sorted by name, and {name: reason} of those without one.

    A caption stands in `captions.csv` in that folder (UTF-8; a header with the columns file and caption, and others if
    you like; a file may also be a sub-folder of numbered pictures), else in a text file beside the clip: walk.txt for
    walk.gif or the sub-folder walk. Its white space is made single blanks.

    Raises FileNotFoundError if there is no such folder, and ValueError with file and line for a caption file that is not
    UTF-8 or has a wrong header, an empty or too long caption, a wrong number of columns, or a file that is missing, named
    twice or outside of the folder.
    """
    folder = Path(folder)
    clips = {path.relative_to(folder).as_posix(): path for path in find_clips(folder)}
    captions = dict(_rows(folder)) if (folder / CAPTIONS).exists() else {}
    items, dropped = [], {}
    for name in sorted(clips.keys() | captions.keys()):
        path = clips.get(name, folder / name)
        if not _is_text(name):  # no table or report could hold it
            dropped[ascii(name)] = "Its name is not UTF-8: rename it."
        elif caption := captions.get(name) or _beside(path, folder):
            items.append(Captioned(path, caption, name))
        else:
            dropped[name] = NO_CAPTION
    return items, dropped


def read_tsv(path: str | os.PathLike) -> list[tuple[str, str]]:
    """The lines of a file as TGIF's, `url<TAB>caption` in UTF-8, in order.

    TGIF has several captions for some GIFs, so an address may come more than once; each line is a pair of its own. Quotes
    mean nothing, white space in a caption is made single blanks, empty lines are skipped. What an address may be, the
    download judges. Raises FileNotFoundError, and ValueError with file and line for a file that is not UTF-8, a line
    that is no pair, and an empty or too long caption.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}: check the path.")
    rows = []
    for number, line in enumerate(io.StringIO(_text(path), newline=None), start=1):
        place = f"{str(path)!r}, line {number}"
        if not line.strip():
            continue
        url, *captions = line.rstrip("\n").split("\t")
        if len(captions) != 1 or not url.strip():
            raise ValueError(f"{place}: {_short(line)} is no address, tab, caption: write one such pair a line.")
        rows.append((url.strip(), _caption(captions[0], place)))
    if not rows:
        raise ValueError(f"{str(path)!r} holds no line: write an address, a tab and a caption a line.")
    return rows


def _rows(folder: Path) -> Iterator[tuple[str, str]]:
    """The (name, caption) of each row of captions.csv."""
    table = folder / CAPTIONS
    reader = csv.reader(io.StringIO(_text(table), newline=""), strict=True)
    columns, first = None, {}
    while True:
        line = reader.line_num + 1  # where the row begins: a quoted caption may have several lines
        place = f"{str(table)!r}, line {line}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{place}: {error}: put a caption with quotes or commas into double quotes.") from error
        if row is None:
            break
        if not any(cell.strip() for cell in row):
            continue
        if columns is None:
            columns = [cell.strip() for cell in row]
            if any(columns.count(column) != 1 for column in COLUMNS):
                raise ValueError(f"{place}: the header is {_short(','.join(row))}: name the columns file,caption once each.")
            continue
        if len(row) != len(columns):
            counts = f"the header has {len(columns)} columns and this row {len(row)}"
            raise ValueError(f"{place}: {counts}: put a caption with commas into double quotes.")
        cells = dict(zip(columns, row, strict=True))
        name = _name(cells["file"].strip(), folder, place)
        if name in first:
            raise ValueError(f"{place}: {name!r} is named in line {first[name]} already: keep one of the two.")
        first[name] = line
        yield name, _caption(cells["caption"], place)
    if columns is None:
        raise ValueError(f"{str(table)!r}, line 1: there is no header: begin with the line file,caption.")


def _name(text: str, folder: Path, place: str) -> str:
    """The path in the folder of the file that a row names."""
    fault = None
    if not text or "\0" in text:
        fault = "names no file: write its path in the folder"
    elif os.path.isabs(text) or ".." in Path(os.path.normpath(text)).parts or not is_inside(folder / text, folder):
        fault = "leads out of the folder: name a file below it"
    elif not os.path.exists(folder / text) or Path(text) == Path("."):
        fault = "does not exist: correct the name or remove the line"
    elif not os.path.isfile(folder / text) and not os.path.isdir(folder / text):  # a pipe would be waited for
        fault = "is neither a file nor a folder: remove the line"
    if fault:
        raise ValueError(f"{place}: {_short(text)} {fault}.")
    return Path(os.path.normpath(text)).as_posix()


def _beside(path: Path, folder: Path) -> str | None:
    """The caption in the text file beside a clip, or None if there is none."""
    text = path.with_name(path.name + ".txt") if path.is_dir() else path.with_suffix(".txt")
    if not text.is_file() or not is_inside(text, folder):
        return None
    return _caption(_text(text), f"{str(text)!r}, line 1")


def _caption(text: str, place: str) -> str:
    caption = " ".join(text.split())
    if not caption:
        raise ValueError(f"{place}: the caption is empty: say in words what moves, or remove it.")
    if len(caption) > MAX_CAPTION:
        raise ValueError(f"{place}: the caption has {len(caption):,} characters: keep it below {MAX_CAPTION:,}.")
    return caption


def _text(path: Path) -> str:
    """A text file's UTF-8, without a byte-order mark."""
    if not path.is_file():
        raise ValueError(f"{str(path)!r} is no file: give a text file of captions.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MAX_BYTES:,} bytes: split it.")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{str(path)!r}, line {line}: byte {data[error.start]:#04x} is not UTF-8: save it as UTF-8."
        ) from error


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(text: str) -> str:
    """Quoted, at most 60 characters of it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
