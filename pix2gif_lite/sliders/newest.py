"""One thread, one slot: of all that is asked for while it works, only the newest is done next.

A slider asks for something at every pixel it is dragged. Whoever did all of it would lag behind, and whoever did it in the
slider's own callback would freeze the page.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from ..hardware import let_helpers_go

LINGER = 5  # s a thread waits for more before it ends: starting one costs more than waiting, and none is to be left behind


class Superseded(Exception):
    """Raised inside a piece of work whose result nobody waits for any more."""


class Newest:
    """`work(item, check)` runs in the thread, one item at a time. The thread ends when it had nothing to do
    for `LINGER` seconds.

    It calls `check(seconds=0)` now and then, which raises `Superseded` when a newer item waits, or comes within that many
    seconds, or when `stop()` was called; letting that pass ends the work quietly. Another error is printed, and the next
    item is done all the same. `changed(busy)` is called when the first of several items comes and when nothing is left to
    do; it must not wait for another thread.
    """

    def __init__(self, work: Callable[[Any, Callable[..., None]], None], changed: Callable[[bool], None] | None = None) -> None:
        self.work, self.changed = work, changed or (lambda busy: None)
        self._turn = threading.Condition()
        self._slot: list[Any] = []  # at most one item
        self._working = self._stopped = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Is anything being done or waiting?"""
        with self._turn:
            return self._working or bool(self._slot)

    @property
    def waiting(self) -> bool:
        """Is there something newer to do?"""
        with self._turn:
            return bool(self._slot)

    def submit(self, item: Any) -> None:
        """Do this next, instead of whatever waits or is being done."""
        let_helpers_go()  # of a cell that has computed before, and does not now
        with self._turn:
            if not self.busy:
                self.changed(True)
            self._slot = [item]
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._turn.notify_all()

    def stop(self) -> bool:
        """Give up what is being done and what waits. Returns whether there was anything."""
        with self._turn:
            dropped = self.busy
            if self._slot and not self._working:
                self.changed(False)
            self._slot, self._stopped = [], self._working
            self._turn.notify_all()
            return dropped

    def wait(self, seconds: float = 120) -> None:
        """Return when nothing is left to do. Raises TimeoutError after that many seconds."""
        with self._turn:
            if not self._turn.wait_for(lambda: not self.busy, seconds):
                raise TimeoutError(f"Still at work after {seconds:g} s: stop it, or wait longer.")

    def _check(self, seconds: float = 0) -> None:
        with self._turn:
            if self._turn.wait_for(lambda: self._slot or self._stopped, seconds):
                raise Superseded

    def _run(self) -> None:
        while True:
            with self._turn:
                if not self._turn.wait_for(lambda: self._slot, LINGER):
                    self._thread = None  # under the lock: `submit` starts another one
                    return
                item, self._working, self._stopped = self._slot.pop(), True, False
            try:
                self.work(item, self._check)
            except Superseded:
                pass
            except Exception:  # the next item must find the thread alive
                traceback.print_exc()
            finally:
                let_helpers_go()
                with self._turn:
                    self._working = False
                    self._turn.notify_all()  # first: they wake when the lock is free, whatever `changed` may raise
                    if not self._slot:
                        self.changed(False)
