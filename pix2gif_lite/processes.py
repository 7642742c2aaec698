"""The processes of one training: which of them this is, work split between them, and what they agree on.

`accelerate launch` and `torchrun` start the same program several times. What needs no learning, such as encoding the data,
is shared out: each process does every n-th piece, and all go on together when the last piece is done. A piece that fails
in one process stops the others too, within the time of one piece. A program that runs alone notices nothing of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from statistics import fmean as mean
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import gather, gather_object
from tqdm import tqdm

from .reasons import Failed

Piece = TypeVar("Piece")
COUNTED_BY = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # torchrun, accelerate; mpirun's
PATIENCE = timedelta(days=1)  # the longest that a piece may take elsewhere: torch's own limit is 10 minutes on GPUs


def on_cpus(cpu: bool = False) -> bool:
    """Whether the processes compute on CPUs: they are told to, or there is nothing else.

    accelerate has to be told in the second case too: else each of several processes takes itself for the only one.
    """
    return cpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" or not torch.accelerator.is_available()


def place(cpu: bool = False) -> tuple[int, int]:
    """This process's number, from 0, and how many there are: (0, 1) for a program that runs alone.

    The first call connects the processes, so that all have to make it: gloo on CPUs (`cpu`: as `Run.cpu`), NCCL on GPUs.
    """
    if not dist.is_initialized() and max(int(os.environ.get(name) or 1) for name in COUNTED_BY) < 2:
        return 0, 1
    state = PartialState(cpu=on_cpus(cpu))
    return state.process_index, state.num_processes


def device(cpu: bool = False) -> torch.device:
    """Where this process computes, with `cpu` as `Run.cpu`: the device that accelerate will choose."""
    if on_cpus(cpu):
        return torch.device("cpu")
    return PartialState().device if place(cpu)[1] > 1 else torch.accelerator.current_accelerator()


def share_out(
    pieces: Sequence[Piece],
    do: Callable[[Piece], Any],
    done: Callable[[Piece], bool] = lambda piece: False,
    label: str = "",
    unit: str = "shard",
    progress_bar: bool = False,
) -> None:
    """`do(piece)` once for each piece that is not done, the k-th of them by process k % n; returns when all are done.

    All processes call this with the same pieces. Only the first looks at what is `done`: the others start while some of it
    is being written.

    Raises what `do` raised where it did, Failed (a RuntimeError) in the other processes, also where a process was killed.
    """
    rank, count = place()
    if count == 1:
        missing = [piece for piece in pieces if not done(piece)]
        for piece in tqdm(missing, desc=label, unit=unit, disable=not (progress_bar and missing)):
            do(piece)
        return
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        numbers = [[k for k, piece in enumerate(pieces) if not done(piece)] if rank == 0 else None]
        _together(dist.broadcast_object_list, numbers, src=0, group=group)
        missing = [pieces[k] for k in numbers[0]]
        with tqdm(total=len(missing), desc=label, unit=unit, disable=not (progress_bar and missing and rank == 0)) as bar:
            for first in range(0, len(missing), count):
                _round(missing[first : first + count], do, rank, count, group)
                bar.update(len(missing[first : first + count]))
    finally:
        dist.destroy_process_group(group)


def on_main(do: Callable[[], Any]) -> None:
    """`do()` in the first process alone, such as saving; all go on when it is done. Errors: those of `share_out`."""
    share_out([None], lambda _: do())


def agree(elapsed: float, interrupted: bool) -> tuple[float, bool]:
    """The longest time (s) that any process has seen and whether any was interrupted: so all stop at the same step."""
    rank, count = place()
    if count == 1:
        return elapsed, interrupted
    seen = gather(torch.tensor([[elapsed, float(interrupted)]], device=PartialState().device))
    return float(seen[:, 0].max()), bool(seen[:, 1].any())


def mean_terms(terms: Mapping[str, torch.Tensor | float]) -> dict[str, float]:
    """The mean of each term over the processes that have it: of equal shares, that of the whole batch."""
    values = {name: float(value) for name, value in terms.items()}
    if place()[1] == 1:
        return values
    every = gather_object([values])
    names = dict.fromkeys(name for some in every for name in some)  # in the order of the first that has them
    return {name: mean(some[name] for some in every if name in some) for name in names}


def _round(pieces: Sequence[Piece], do: Callable[[Piece], Any], rank: int, count: int, group: Any) -> None:
    """At most one piece a process, and then all hear how it went."""
    failure, said = None, None
    try:
        for piece in pieces[rank : rank + 1]:
            do(piece)
    except Exception as error:  # whatever it is, the others have to hear of it before it is raised
        failure, said = error, f"{type(error).__name__}: {error}"
    heard: list[str | None] = [None] * count
    try:
        _together(dist.all_gather_object, heard, said, group=group)
    finally:
        if failure is not None:
            raise failure
    for other, sentence in enumerate(heard):
        if sentence is not None:
            raise Failed(f"Process {other} of {count} failed ({sentence}): what is done is kept, start all of them again.")


def _together(collective: Callable[..., Any], *args: Any, **options: Any) -> None:
    """A call that all processes make. Failed in one sentence where one of them is gone."""
    try:
        collective(*args, **options)
    except RuntimeError as error:  # gloo's: a connection was closed
        raise Failed("Another process of this run has ended: what is done is kept, start all again.") from error
