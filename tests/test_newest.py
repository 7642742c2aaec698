"""One thread, one slot: the newest is done, what nobody waits for is given up, and an error does not end the thread."""

from __future__ import annotations

import threading

import pytest

from pix2gif_lite.sliders import newest as module
from pix2gif_lite.sliders.newest import Newest


class Gate:
    """Work that stops at a gate until it is let through, and then asks whether it is still wanted."""

    def __init__(self) -> None:
        self.begun, self.go, self.done, self.told = threading.Event(), threading.Event(), [], []
        self.newest = Newest(self.work, self.told.append)

    def work(self, item, check):
        self.begun.set()
        assert self.go.wait(30)
        check()
        self.done.append(item)

    def begin(self, item):
        self.begun.clear(), self.go.clear()
        self.newest.submit(item)
        assert self.begun.wait(30)

    def finish(self):
        self.go.set()
        self.newest.wait(30)


def test_of_what_comes_meanwhile_only_the_newest_is_done():
    gate = Gate()
    gate.begin(1)
    gate.newest.submit(2)
    gate.newest.submit(3)
    assert gate.newest.waiting and gate.newest.busy
    gate.finish()
    assert gate.done == [3] and not gate.newest.busy
    assert gate.told == [True, False]  # once busy, once idle, whatever came between


def test_stop_gives_up_what_is_done_and_what_waits():
    gate = Gate()
    gate.begin(1)
    gate.newest.submit(2)
    assert gate.newest.stop() is True
    with pytest.raises(TimeoutError, match="Still at work after 0.05 s"):
        gate.newest.wait(0.05)
    gate.finish()
    assert gate.done == [] and gate.told == [True, False]
    gate.begin(3)  # still usable, and the old stop is forgotten
    gate.finish()
    assert gate.done == [3]
    assert gate.newest.stop() is False  # nothing to stop
    assert gate.told == [True, False, True, False]


def test_an_error_is_printed_and_the_next_item_is_done(capsys):
    done = []

    def work(item, check):
        if item == "bad":
            raise RuntimeError("out of paint")
        done.append(item)

    newest = Newest(work)
    for item in ("bad", "good", "bad", "better"):
        newest.submit(item)
        newest.wait(30)
    assert done == ["good", "better"] and capsys.readouterr().err.count("RuntimeError: out of paint") == 2


def test_no_thread_is_left_behind(monkeypatch):
    monkeypatch.setattr(module, "LINGER", 0.01)
    done, before = [], set(threading.enumerate())
    newest = Newest(lambda item, check: done.append((item, threading.current_thread())))
    for item in (1, 2):
        newest.submit(item)
        newest.wait(30)
        for thread in set(threading.enumerate()) - before:
            thread.join(30)
        assert set(threading.enumerate()) == before  # and yet the next item is done
    (_, first), (_, second) = done
    assert [item for item, _ in done] == [1, 2] and first is not second


def test_a_thread_waits_a_moment_for_more():
    threads = []
    newest = Newest(lambda item, check: threads.append(threading.current_thread()))
    for item in range(3):
        newest.submit(item)
        newest.wait(30)
    assert len(threads) == 3 and len(set(threads)) == 1


def test_a_check_may_wait_for_something_newer():
    entered, done = threading.Event(), []

    def work(item, check):
        entered.set()
        check(30 if item == "old" else 0)
        done.append(item)

    newest = Newest(work)
    newest.submit("old")
    assert entered.wait(30)
    newest.submit("new")  # at once, not after 30 s
    newest.wait(25)
    assert done == ["new"]
