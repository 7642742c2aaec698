"""parallel.py with workers that really die: by a signal of their own, or by one from outside while they work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pix2gif_lite.curating import parallel
from pix2gif_lite.curating.parallel import Died, check_scheduler, over_jobs


def square(number: int) -> int:
    return number**2


def deadly(number: int, trail: Path) -> int:
    """Leaves a trace that it was begun, and dies of 3."""
    with open(trail / f"{number}", "a") as file:
        file.write("begun\n")
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


def slow(number: int, trail: Path, seconds: float) -> tuple[int, int]:
    with open(trail / f"{number}", "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return number, os.getpid()


def wrong(number: int) -> int:
    raise ValueError(f"no {number}")


def lines(path: Path) -> list[str]:
    return path.read_text().split()


def kill_one(pids: list[int], trail: Path, results: list[tuple[str, int]]) -> int | None:
    """Kill a process that is at work on a job nobody has told yet, and return the job; None if there is none."""
    told = {number for _, number in results}
    for pid in pids:
        at_work = [int(file.name) for file in trail.iterdir() if int(file.name) not in told and str(pid) in lines(file)]
        if at_work:
            os.kill(pid, signal.SIGKILL)
            return at_work[0]
    return None


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_job_comes_back_once(workers):
    jobs = {f"job-{k}": (k,) for k in range(7)}
    assert sorted(over_jobs(square, jobs, workers)) == [(f"job-{k}", k * k) for k in range(7)]
    assert list(over_jobs(square, {}, workers)) == []


def test_a_job_that_kills_its_workers_is_given_up_and_the_others_go_on(tmp_path):
    results = list(over_jobs(deadly, {f"{k}": (k, tmp_path) for k in range(8)}, 2))
    assert sorted(key for key, _ in results) == [f"{k}" for k in range(8)]
    assert {key: value for key, value in results if key != "3"} == {f"{k}": -k for k in range(8) if k != 3}
    died = dict(results)["3"]
    assert isinstance(died, Died) and "killed" in died.reason
    assert len(lines(tmp_path / "3")) == 3  # among others, then twice alone


def test_what_a_killed_process_had_in_hand_is_done_again(tmp_path):
    jobs = {f"{k}": (k, tmp_path, 0.3) for k in range(10)}
    results, lost = [], None
    for key, (number, pid) in over_jobs(slow, jobs, 2):
        results.append((key, number))
        if lost is None:
            lost = kill_one([p.pid for p in multiprocessing.active_children() if p.pid != pid], tmp_path, results)
    assert sorted(results) == [(f"{k}", k) for k in range(10)]
    assert lost is not None and len(set(lines(tmp_path / f"{lost}"))) > 1  # begun by two processes, told once


def test_an_exception_of_the_function_is_raised_and_no_process_stays():
    before = {p.pid for p in multiprocessing.active_children()}
    with pytest.raises(ValueError, match="no 1"):
        list(over_jobs(wrong, {"a": (1,)}, 1))
    assert {p.pid for p in multiprocessing.active_children()} <= before


def test_closing_early_leaves_no_process():
    before = {p.pid for p in multiprocessing.active_children()}
    results = over_jobs(square, {f"{k}": (k,) for k in range(50)}, 1)
    next(results)
    results.close()
    assert {p.pid for p in multiprocessing.active_children()} <= before


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from pix2gif_lite.curating.parallel import over_jobs\nprint(list(over_jobs(pow, {'a': (2, 3)}, 1)))\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and '__name__ == "__main__"' in done.stderr.splitlines()[-1]


def test_a_killed_dask_workers_jobs_are_done_again(tmp_path):
    import distributed

    jobs = {f"{k}": (k, tmp_path, 0.4) for k in range(10)}
    results, lost = [], None
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pids = {worker.pid for worker in cluster.workers.values()}
        assert len(pids) == 2
        for key, (number, pid) in over_jobs(slow, jobs, scheduler=cluster.scheduler_address):
            results.append((key, number))
            if lost is None:
                lost = kill_one(sorted(pids - {pid}), tmp_path, results)
    assert sorted(results) == [(f"{k}", k) for k in range(10)]
    assert lost is not None and len(set(lines(tmp_path / f"{lost}"))) > 1


def test_a_local_dask_cluster_does_the_same():
    assert sorted(over_jobs(square, {f"job-{k}": (k,) for k in range(5)}, 1, "local")) == [
        (f"job-{k}", k * k) for k in range(5)
    ]
    with pytest.raises(ValueError, match="no 1"):
        list(over_jobs(wrong, {"a": (1,)}, 1, "local"))


def test_dask_too_gives_up_only_what_kills(tmp_path):
    import dask

    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):  # two deaths instead of four: the test is shorter
        results = dict(over_jobs(deadly, {f"{k}": (k, tmp_path) for k in range(6)}, 1, "local"))
    assert {key: value for key, value in results.items() if key != "3"} == {f"{k}": -k for k in range(6) if k != 3}
    assert isinstance(results["3"], Died) and len(lines(tmp_path / "3")) == 4  # twice among others, twice alone


def test_what_is_no_scheduler_is_refused(monkeypatch):
    monkeypatch.setattr(parallel, "CONNECTING", 1)
    with pytest.raises(ValueError, match="'here' is no address"):
        check_scheduler("here")
    check_scheduler(None)
    check_scheduler("local")
    with pytest.raises(ValueError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9: start one"):
        list(over_jobs(square, {"a": (1,)}, 1, "tcp://127.0.0.1:9"))
