"""What a run says while it goes: a JSONL log, TensorBoard's curves beside it, a progress bar."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..files import write_whole

LOG_FILE, TENSORBOARD = "log.jsonl", "tensorboard"
BAR = "{percentage:3.0f}%|{bar:24}|{postfix}"


class Log:
    """`out`/log.jsonl, one line a record, and with `tensorboard` the same numbers in `out`/tensorboard. A context manager.

    A resumed run drops what was logged after its checkpoint, step `start`: it comes again. Only an `active` log writes. A
    number that is not finite (the gradient's norm in a step that fp16 skipped) is null.
    """

    def __init__(self, out: Path, start: int = 0, active: bool = True, tensorboard: bool = False) -> None:
        self.path, self.active, self.curves = out / LOG_FILE, active, None
        if active:
            kept = [line for line in read_log(self.path) if start and line["step"] <= start]
            write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        if active and tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.curves = SummaryWriter(str(out / TENSORBOARD), purge_step=start + 1)

    def add(self, line: dict[str, Any]) -> None:
        """Append one record; it has a "step"."""
        if not self.active:
            return
        line = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in line.items() if self.curves else ():
            if isinstance(value, int | float) and name != "step":
                self.curves.add_scalar(name, value, line["step"])

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self.curves:
            self.curves.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL log; a half-written last line is left out."""
    lines: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def progress_bar(active: bool) -> tqdm:
    """A bar from 0 to 1; one that is not active stays silent."""
    return tqdm(total=1.0, disable=not active, bar_format=BAR)


def progress_line(line: dict[str, Any], progress: float, now: float) -> str:
    """What stands beside the bar: step, loss, speed, memory, time left and the clock's time at the end.

    line        a record of the log
    progress    how much of the run is over, 0 - 1
    now         seconds since the epoch
    """
    speed, memory = line["samples_per_second"], line["memory_bytes"] / 2**30
    text = f"step {line['step']}, loss {line['loss']:.4f}, {speed:.1f} samples/s, {memory:.2f} GiB"
    if not progress:
        return text
    left = line["seconds"] * (1 / progress - 1)
    span = f"{left / 60:.1f} min" if left < 2 * 3600 else f"{left / 3600:.1f} h"
    return f"{text}, {span} left, until {time.strftime('%a %H:%M', time.localtime(now + left))}"


def show(bar: tqdm, line: dict[str, Any], progress: float) -> None:
    """Move the bar."""
    bar.n = progress
    bar.set_postfix_str(progress_line(line, progress, time.time()))
