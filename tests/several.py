"""Processes that can be killed, or that know of each other as torchrun's do: forked from a server that has imported all."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pix2gif_lite import pretrained, text
from pix2gif_lite.hardware import matrix_rate

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pix2gif_lite.training"])


def start(target: Callable[..., None], *args: Any) -> BaseProcess:
    """A process that calls target(*args), a function of a test's file, on one thread, as tests do."""
    process = CONTEXT.Process(target=_alone, args=(target, args), daemon=True)
    process.start()
    return process


def together(target: Callable[..., None], count: int, folder: Path, *args: Any, seconds: float = 120) -> list[int | None]:
    """target(rank, *args) in `count` processes that meet in a file of `folder`. Their exit codes; None: had not ended."""
    meeting = folder / f"meeting-{time.monotonic_ns()}"
    group = [start(_member, target, rank, count, meeting, args) for rank in range(count)]
    ends = time.monotonic() + seconds
    for process in group:
        process.join(max(0.0, ends - time.monotonic()))
    codes = [process.exitcode for process in group]
    for process in group:
        process.kill()
    return codes


def hurry() -> None:
    """In this process: one thread, a matrix rate from one product or two in place of 0.3 s of them, and each tokenizer once.

    Every training ends with that measurement, and tests train some hundred times. How exact it is no test asks. Most of them
    begin with a tokenizer, trained on the same few sentences each time.
    """
    torch.set_num_threads(1)
    matrix_rate.__defaults__ = ("no", 0.02)  # mixed_precision, seconds
    pretrained.train_tokenizer = lambda texts, *sizes: copy.deepcopy(_trained(tuple(texts), *sizes))


_trained = functools.cache(text.train_tokenizer)


def _alone(target: Callable[..., None], args: tuple) -> None:
    hurry()
    target(*args)


def _member(target: Callable[..., None], rank: int, count: int, meeting: Path, args: tuple) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    target(rank, *args)
    dist.destroy_process_group()
