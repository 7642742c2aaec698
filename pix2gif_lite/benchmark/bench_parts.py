"""What a benchmark has measured so far, on the disk: stopped and started again, it goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..files import write_whole

PARTS = "bench-parts.json"  # beside the results, until they are whole


class Parts:
    """The parts in `folder`, each measured once and written down at once (None: kept in memory alone).

    settings   JSON values that decide what is measured: ValueError where the folder's parts had others
    sittings   how many runs these parts are of, this one among them
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any]) -> None:
        self.path = None if folder is None else folder / PARTS
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))  # lists, as they are read back
        self.sittings, self._done, self._before, self._began = 1, {}, 0.0, time.perf_counter()
        if self.path is not None and self.path.is_file():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if changed := [name for name, value in self.settings.items() if found["settings"].get(name) != value]:
                raise ValueError(
                    f"The unfinished benchmark in {str(folder)!r} has another {', '.join(changed)}: give another folder,"
                    f" or remove {PARTS} from it to begin anew."
                )
            self.sittings, self._done, self._before = found["sittings"] + 1, found["parts"], found["seconds"]

    @property
    def seconds(self) -> float:
        """How long all sittings took together, up to now; of an earlier one up to its last part."""
        return self._before + time.perf_counter() - self._began

    def get(self, name: str, measure: Callable[[], Any]) -> Any:
        """The part of that name, as JSON has it; measured if it is not there yet."""
        if name not in self._done:
            self._done[name] = json.loads(json.dumps(measure()))
            if self.path is not None:
                state = {"settings": self.settings, "sittings": self.sittings, "seconds": self.seconds, "parts": self._done}
                write_whole(self.path, (json.dumps(state, indent=1) + "\n").encode())
        return self._done[name]

    def end(self) -> None:
        """The results are whole: what they were put together from is no longer needed."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
