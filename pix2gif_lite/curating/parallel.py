"""One pure function over many jobs, on all cores of this machine or on a Dask cluster, where workers may die.

A job is a key and the function's arguments. Each comes back once, in any order. What a dead worker had in hand is done
again; a job that kills its workers comes back as `Died`, and the others go on. Nobody but the caller writes anything.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Any, NamedTuple

import cv2

from ..reasons import Failed

DEATHS = 2  # workers that a job, alone with them, may kill before it is given up
IN_HAND = 2  # jobs a worker: one it works on, one that waits for it
CONNECTING = 10  # s: for the scheduler to answer


class Died(NamedTuple):
    """A job whose workers died: there is no result."""

    reason: str


Jobs = Mapping[str, tuple]
Results = Iterator[tuple[str, Any]]


def over_jobs(function: Callable, jobs: Jobs, workers: int | None = None, scheduler: str | None = None) -> Results:
    """(key, function(*arguments) or Died) of every job, each once, as they are done.

    `workers`: processes (default: one a core; 0: none but this one, for debugging, where a crash is the caller's).
    `scheduler`: the address of a Dask scheduler, "tcp://...", whose workers know this package and the files by the same
    paths; or "local", for a cluster of `workers` processes on this machine. The function and its arguments are pickled.
    An exception that the function raises ends it all and is raised here; so does closing the iterator. Raises ValueError
    if there is no scheduler at the address, ModuleNotFoundError without Dask, and Failed, a RuntimeError, if no worker starts.
    """
    workers = os.cpu_count() or 1 if workers is None else workers
    if scheduler is not None:
        yield from _over_dask(function, jobs, scheduler, workers)
    elif workers == 0:
        for key, arguments in jobs.items():
            yield key, function(*arguments)
    else:
        yield from _over_processes(function, jobs, min(workers, max(1, len(jobs))))


def check_scheduler(scheduler: str | None) -> None:
    """Raises ModuleNotFoundError if Dask is wanted and missing, ValueError for what is no address or does not answer."""
    if scheduler is None:
        return
    if scheduler != "local" and "://" not in scheduler:
        raise ValueError(f"The scheduler {scheduler!r} is no address: give one such as tcp://10.0.0.1:8786, or local.")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError("A scheduler needs Dask: run `pip install 'pix2gif-lite[scale]'`.") from error
    if scheduler != "local":
        _connected(scheduler).close()


def _alone_on_a_core(function: Callable, arguments: tuple) -> Any:
    """What a worker runs. OpenCV's own threads would fight with the other workers for the cores."""
    cv2.setNumThreads(1)
    return function(*arguments)


# ----------------------------------------------------------------------------------------------- processes of this machine


def _over_processes(function: Callable, jobs: Jobs, workers: int) -> Results:
    """When one process dies, the pool breaks and does not tell whose fault it was. So whatever was in hand is suspect, and
    is done again one at a time with a single worker: there a death is the job's own."""
    waiting, suspects, deaths = deque(jobs), deque(), dict.fromkeys(jobs, 0)
    started = False
    while waiting or suspects:
        queue, count, in_hand = (suspects, 1, 1) if suspects else (waiting, workers, IN_HAND * workers)
        running: dict[Future, str] = {}
        pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _ignore_ctrl_c)
        try:
            if not started:
                _check_start(pool)
                started = True
            while queue or running:
                while queue and len(running) < in_hand:
                    running[pool.submit(_alone_on_a_core, function, jobs[queue[0]])] = queue[0]
                    queue.popleft()  # only now: submitting to a broken pool raises
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            for future, key in running.items():
                if future.done() and not future.exception():
                    yield key, future.result()
                elif queue is suspects and deaths[key] + 1 >= DEATHS:
                    yield key, Died(f"Its worker was killed, {DEATHS} times when it had one to itself.")
                else:
                    deaths[key] += queue is suspects
                    suspects.append(key)
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent that stops


def _check_start(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        text = 'No worker process starts: in a script, call this under `if __name__ == "__main__":`, or give workers=0.'
        raise Failed(text) from error


# ---------------------------------------------------------------------------------------------------------------------- Dask


def _connected(scheduler: str) -> Any:
    from distributed import Client

    try:
        return Client(scheduler, timeout=CONNECTING)
    except OSError as error:
        message = f"No Dask scheduler answers at {scheduler}: start one with `dask scheduler`, or give local."
        raise ValueError(message) from error


def _over_dask(function: Callable, jobs: Jobs, scheduler: str, workers: int) -> Results:
    """Dask itself gives a dead worker's tasks to another one. It says KilledWorker of all that several dead ones had in
    hand, guilty or not; so those come last, one at a time."""
    check_scheduler(scheduler)
    from distributed import KilledWorker, LocalCluster, as_completed

    with ExitStack() as stack:
        if scheduler == "local":
            options = {"n_workers": max(1, workers), "threads_per_worker": 1, "dashboard_address": None}
            scheduler = stack.enter_context(LocalCluster(processes=True, **options)).scheduler_address
        client = stack.enter_context(_connected(scheduler))

        def fill(running: as_completed, waiting: deque[str], alone: bool) -> None:
            in_hand = 1 if alone else IN_HAND * max(1, sum(client.nthreads().values()))  # workers come and go
            while waiting and running.count() < in_hand:
                key = waiting.popleft()
                future = client.submit(_alone_on_a_core, function, jobs[key], key=uuid.uuid4().hex)  # nobody else's result
                keys[future.key] = key
                running.add(future)

        keys: dict[str, str] = {}
        suspects: deque[str] = deque()
        for waiting, alone in ((deque(jobs), False), (suspects, True)):
            running = as_completed()
            fill(running, waiting, alone)
            for future in running:
                key, error = keys.pop(future.key), future.exception()
                if error is None:
                    yield key, future.result()
                elif not isinstance(error, KilledWorker):
                    raise error
                elif alone:
                    yield key, Died("Its workers were killed, several in a row when it was alone with them.")
                else:
                    suspects.append(key)
                future.release()  # the cluster may forget the result
                fill(running, waiting, alone)
