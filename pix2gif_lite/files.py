"""Files that are whole or absent: data takes its name only when all of it is on the disk."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def temporary_name(path: Path) -> Path:
    """A name next to `path` that no other file has: in the same folder, so that replacing is one step."""
    return path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")


def write_whole(path: Path, data: bytes) -> None:
    """All of `data` under that name, or nothing: no partial file outlives a full disk or Ctrl-C."""
    temporary = temporary_name(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name without what it names
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"Could not write {str(path)!r} ({reason}): free some space or choose another disk.") from error
    finally:
        temporary.unlink(missing_ok=True)  # nothing left to remove after the replacement
