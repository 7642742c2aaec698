"""A curation's folder: each clip's frames and record are written as they come, so that a second run redoes nothing.

A record takes its name after its frames, so where there is one the clip is done. It lies under the clip's content and the
settings: a changed file or setting is another clip to do. Nothing here knows who did the work, or of the whole data.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..pairs import ClipPairs, CurationSettings, Dropped, Pair, frame_name

WORK, FRAMES, DOWNLOADS, TABLE, REPORT = "work", "frames", "downloads", "pairs.parquet", "report.json"
MARK = "made-by-curate"  # an empty file in work/: this folder is a curation's, and may be swept
OUR_FRAME = re.compile(r"(\.[0-9a-f]{8}-)?[0-9a-f]{16}-[0-9a-f]{6}-\d{4,}(-flip)?\.webp")  # and what a killed writer left
OUR_RECORDS = re.compile(r"[0-9a-f]{12}")


def frame_path(key: str, look: str, index: int, flipped: bool = False) -> str:
    """Where a frame lies, relative to the data's folder: 256 shards by the clip's key. `look`: `of_a_frame` of the settings.

    A frame never changes under its name, so a table that is there stays right while another curation is on its way.
    """
    return _named(key, look, frame_name(index, flipped))


def _named(key: str, look: str, name: str) -> str:
    return f"{FRAMES}/{key[:2]}/{key}-{look}-{name}.webp"


class Store:
    """The records and frames of one curation in the folder `out`, under the settings of a clip.

    Raises FileExistsError if `out` holds things that no curation made.
    """

    def __init__(self, out: Path, settings: CurationSettings) -> None:
        self.out, self.flips = out, (False, True) if settings.flip else (False,)
        self.records, self.look = out / WORK / settings.of_a_clip(), settings.of_a_frame()
        ours = [out / WORK / MARK, out / DOWNLOADS / "index.sqlite"]
        if out.is_dir() and any(out.iterdir()) and not any(path.exists() for path in ours):
            raise FileExistsError(f"The folder {str(out)!r} is not empty and holds no curation: give a new one.")

    def known(self, key: str) -> dict[str, Any] | None:
        """The record of a clip that is done, its frames there; else None."""
        try:
            record = json.loads(self._record(key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        whole = all((self.out / frame).is_file() for frame in self.frames_of(key, record))
        return record if whole else None

    def keep(self, key: str, result: ClipPairs | Dropped) -> dict[str, Any]:
        """Write what a clip gave, its frames first, and return its record."""
        if isinstance(result, Dropped):
            record: dict[str, Any] = {"dropped": result.reason}
        else:
            for name, data in result.files.items():
                self._write(self.out / _named(key, self.look, name), data)
            record = {name: value for name, value in vars(result).items() if name != "files"}
        self._write(self.out / WORK / MARK, b"")
        self._write(self._record(key), json.dumps(record, separators=(",", ":")).encode())
        return record

    def frames_of(self, key: str, record: dict[str, Any]) -> set[str]:
        """The paths of a clip's frames, relative to the data's folder."""
        indices = {index for pair in record.get("pairs", ()) for index in pair[:2]}
        return {frame_path(key, self.look, index, flipped) for index in indices for flipped in self.flips}

    def clips(self) -> set[str]:
        """The keys of the clips that the data hold now, before this curation."""
        try:
            lines = json.loads((self.out / REPORT).read_bytes())["files"]
        except (FileNotFoundError, ValueError, KeyError):
            return set()
        return {line["gif"] for line in lines if "gif" in line}

    def sweep(self, used: Iterable[str]) -> None:
        """Remove frames that are not `used` any more and the records of other settings, which lose theirs by that."""
        used = {self.out / frame for frame in used}
        for shard in sorted((self.out / FRAMES).glob("[0-9a-f][0-9a-f]")):
            for file in sorted(shard.iterdir()):
                if file not in used and OUR_FRAME.fullmatch(file.name):
                    file.unlink()
            if not any(shard.iterdir()):
                shard.rmdir()
        for folder in sorted((self.out / WORK).iterdir()) if (self.out / WORK).is_dir() else ():
            if folder != self.records and OUR_RECORDS.fullmatch(folder.name):
                shutil.rmtree(folder)

    def forget(self) -> None:
        """Remove the records of a curation that gave nothing, and folders that are empty then; not if there is a table."""
        if (self.out / TABLE).exists():
            return
        shutil.rmtree(self.records, ignore_errors=True)
        work = self.out / WORK
        if work.is_dir() and [path.name for path in work.iterdir()] == [MARK]:
            (work / MARK).unlink()
        for folder in (self.out / WORK, self.out):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _record(self, key: str) -> Path:
        return self.records / key[:2] / f"{key}.json"

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def pairs_of(record: dict[str, Any]) -> list[Pair]:
    """The drawn pairs of a record."""
    return [Pair(*pair) for pair in record.get("pairs", ())]
