"""Curated pairs of frames as a torch Dataset: what `pix2gif-lite curate` wrote is read back as pictures, captions and motions.

DATA/pairs.parquet has a row a pair, its frames are files below DATA. The table is plain parquet, so that `datasets` reads it as
well: `load_dataset("parquet", data_files="DATA/pairs.parquet")`. This file knows nothing of models or latents.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..media.pictures import open_image

TABLE = "pairs.parquet"
COLUMNS = ("source", "target", "caption", "motion", "motion_px", "gif", "split")
PAIR_SPLITS = ("train", "val")


class PairDataset(Dataset):
    """The pairs of DATA/pairs.parquet in one split, in the table's order.

    Item k is a dict: "source" and "target", float32 (3, size, size) in [-1, 1]; "caption"; "motion", the integer of the table
    (px at 256 x 256, truncated); "motion_px", the float it was truncated from; "gif", where the frames come from.

    `frames` lists each frame of these pairs once, `source` and `target` hold their numbers in it, `key` is a hash of the table.

    Raises FileNotFoundError for a missing table or frame, ValueError for a table that cannot be read, lacks a column or has a
    row that no model could learn from, an unknown split or a size that is not positive, ModuleNotFoundError without pyarrow.
    """

    def __init__(self, data: str | Path, split: str = "train", size: int = 128) -> None:
        if split not in PAIR_SPLITS:
            raise ValueError(f"Unknown split {split!r}: choose {' or '.join(PAIR_SPLITS)}.")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"The size is {size!r}: give a whole number of pixels, such as 128.")
        self.data, self.split, self.size = Path(data), split, size
        self.key, rows = _read_table(self.data)
        self._keep([row for row in rows if row["split"] == split])
        lost = [path for path in self.frames if not path.is_file()]
        if lost:
            raise FileNotFoundError(
                f"{len(lost)} of {len(self.frames)} frames of {str(self.data)!r} are missing, such as {str(lost[0])!r}: curate "
                "again, or copy the whole folder."
            )

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        names = sorted({row[end] for row in rows for end in ("source", "target")})
        number = {name: k for k, name in enumerate(names)}
        self.rows, self.frames = rows, [self.data / name for name in names]
        self.source, self.target = ([number[row[end]] for row in rows] for end in ("source", "target"))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        ends = {"source": self.picture(self.source[index]), "target": self.picture(self.target[index])}
        return ends | {name: row[name] for name in ("caption", "motion", "motion_px", "gif")}

    def picture(self, frame: int, size: int | None = None) -> Tensor:
        """Frame number `frame` of `frames`, float32 (3, size, size) in [-1, 1], resized by Lanczos (None: `self.size`)."""
        image, side = open_image(self.frames[frame]), size or self.size
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1)

    def spread(self, count: int) -> PairDataset:
        """At most `count` of the pairs, evenly spaced over the table."""
        chosen = sorted({int((k + 0.5) * len(self) / count) for k in range(count)}) if count < len(self) else range(len(self))
        fewer = copy.copy(self)
        fewer._keep([self.rows[k] for k in chosen])
        return fewer


def curated(folder: str | Path) -> bool:
    """Whether `folder` is what `pix2gif-lite curate` writes: there is a table of pairs."""
    return (Path(folder) / TABLE).is_file()


def training_frames(folder: str | Path, most: int = 2000) -> Sequence[Path]:
    """Frames of the training split of a curated folder, at most `most`, evenly spaced: the autoencoder's own pictures of it.

    ValueError where that split is empty; other errors are `PairDataset`'s.
    """
    frames = PairDataset(folder, "train").frames
    if not frames:
        raise no_pairs(folder)
    return [frames[int(k)] for k in np.linspace(0, len(frames) - 1, min(most, len(frames)))]


def no_pairs(folder: str | Path) -> ValueError:
    """What to say of curated data without a pair to train on."""
    return ValueError(f"The data {str(folder)!r} have no pairs in split train: curate more GIFs, or fewer of them into val.")


def _read_table(data: Path) -> tuple[str, list[dict[str, Any]]]:
    """The hash of the table and its rows."""
    path = data / TABLE
    if not path.is_file():
        raise FileNotFoundError(f"There is no {str(path)!r}: give a folder that `pix2gif-lite curate FOLDER --out DATA` wrote.")
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Curated pairs need pyarrow: run `pip install 'pix2gif-lite[data]'`.") from error
    try:
        absent = [name for name in COLUMNS if name not in parquet.read_schema(path).names]
        if absent:
            raise ValueError(f"{str(path)!r} has no column {', '.join(absent)}: curate again.")
        rows = parquet.read_table(path, columns=list(COLUMNS)).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as parquet: curate again.") from error
    for k, row in enumerate(rows):
        fault = _fault(row)
        if fault:
            raise ValueError(f"Row {k} of {str(path)!r} {fault}: mend it or leave it out.")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16], rows


def _fault(row: dict[str, Any]) -> str | None:
    """What is wrong with a row, if anything."""
    for end in ("source", "target"):
        name = row[end]
        if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
            return f"names the frame {name!r}, which is not below the folder"
    if not isinstance(row["caption"], str) or not row["caption"].strip():
        return "has no caption"
    for name, kind in (("motion", int), ("motion_px", (int, float))):
        if not isinstance(row[name], kind) or not 0 <= row[name] < math.inf:
            return f"has the {name} {row[name]!r}, not a number from 0"
    return None
