"""What makes a run survive: the moving average of its weights, and checkpoints that are whole or absent."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

STATE_FILE = "state.pt"
KEPT = 2  # checkpoints kept: if the last one is damaged, the one before it is there
# What older checkpoints do not say, for it went without saying.
AT_FIRST = {"optimizer": "adamw", "lora_rank": None, "decoder_channels": None, "made_share": 0.85}
AT_FIRST_IN_PRESET = {"lr_start": 0.0, "lr_schedule": "cosine", "micro_batch": None}


class EMA:
    """Exponential moving average of every trained parameter; buffers (BatchNorm's statistics) are copied, not averaged.

    The decay grows with the number of updates, min(decay, (1 + n) / (10 + n)), so that the random start is soon
    forgotten. Averages are float32 whatever the weights' dtype.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.parameters = {k: p.detach().float().clone() for k, p in module.named_parameters() if p.requires_grad}
        self.buffers = {k: b.detach().clone() for k, b in module.named_buffers()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's present weights."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = dict(module.named_parameters())
        torch._foreach_lerp_(list(self.parameters.values()), [current[k].float() for k in self.parameters], weight)
        for name, buffer in module.named_buffers():
            self.buffers[name].copy_(buffer)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the averages into the module, for good."""
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, value in {**self.parameters, **self.buffers}.items():
            tensors[name].copy_(value)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[nn.Module]:
        """Inside, the module has the averaged weights and is in eval mode; afterwards its own, bit for bit."""
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        own = {name: tensors[name].detach().clone() for name in [*self.parameters, *self.buffers]}
        training = module.training
        self.copy_to(module.eval())
        try:
            yield module
        finally:
            with torch.no_grad():
                for name, value in own.items():
                    tensors[name].copy_(value)
            module.train(training)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs."""
        return {"updates": self.updates, "parameters": self.parameters, "buffers": self.buffers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved average. Raises KeyError when the names differ."""
        self.updates = state["updates"]
        for mine, saved in ((self.parameters, state["parameters"]), (self.buffers, state["buffers"])):
            if mine.keys() != saved.keys():
                raise KeyError(f"The average holds other weights: {sorted(mine.keys() ^ saved.keys())[:5]}")
            for name in mine:
                mine[name].copy_(saved[name])


def random_states() -> dict[str, Any]:
    """The states of all random generators, as tensors and numbers.

    Those of one process stand for all: samples are keyed by their number and our modules draw nothing, so that nothing in a
    run depends on them; a callback or a user's own module might.
    """
    _, keys, position, has_gauss, gauss = np.random.get_state()
    states = {"torch": torch.get_rng_state(), "python": random.getstate()}
    states["numpy"] = [torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss]
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Undo what happened since `random_states`."""
    torch.set_rng_state(states["torch"].cpu())
    version, values, gauss = states["python"]
    random.setstate((version, tuple(values), gauss))
    keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    if "cuda" in states and torch.cuda.is_available():
        here = states["cuda"][: torch.cuda.device_count()]  # this machine may have fewer
        torch.cuda.set_rng_state_all([state.cpu() for state in here])


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(path.parent for path in folder.glob(f"step-*/{STATE_FILE}"))


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `folder`/step-0000123 and remove all but the last KEPT. A full disk or a kill leaves the older ones whole.

    Everything is written and synced under another name first; renaming a folder is all or nothing. OSError when it
    cannot be written.
    """
    final, temporary = folder / f"step-{step:07d}", folder / f".writing-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".writing-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        temporary.mkdir()
        with open(temporary / STATE_FILE, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise OSError(
            f"Checkpoint {final} could not be written ({error}): free some space and resume; the one before is whole."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The state of the newest checkpoint that can be read. Raises FileNotFoundError when there is none.

    Only tensors and plain values are read back (`weights_only=True`): a checkpoint cannot run code.
    """
    for path in reversed(checkpoints(folder)):
        try:
            return torch.load(path / STATE_FILE, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for a damaged file
            warnings.warn(f"Checkpoint {path} cannot be read ({error}): trying the one before it.", stacklevel=2)
    raise FileNotFoundError(f"No checkpoint in {folder}: start without resume.")


def settings_of(state: dict[str, Any]) -> dict[str, Any]:
    """The settings of a checkpoint's run, also those that there was no choice about when it was written."""
    settings = AT_FIRST | state["settings"]
    return settings | {name: AT_FIRST_IN_PRESET | settings[name] for name in ("preset",) if name in settings}


def pack(job: nn.Module, ema: EMA, optimizer: Any, scaler: Any = None) -> dict[str, Any]:
    """Everything that has a state, as tensors and plain values: trained weights, buffers, averages, moments, RNGs."""
    trained = {name: p.detach() for name, p in job.named_parameters() if p.requires_grad}
    return {
        "job": trained | dict(job.named_buffers()),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else None,
        "random": random_states(),
    }


def unpack(state: dict[str, Any], job: nn.Module, ema: EMA, optimizer: Any, scaler: Any = None) -> None:
    """The inverse of `pack`, into objects of the same make. Raises KeyError when names differ."""
    tensors = {**dict(job.named_parameters()), **dict(job.named_buffers())}
    with torch.no_grad():
        for name, value in state["job"].items():
            tensors[name].copy_(value)
    ema.load_state_dict(state["ema"])
    optimizer.load_state_dict(state["optimizer"])
    _lay_like_weights(getattr(optimizer, "optimizer", optimizer))
    if scaler is not None and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    restore_random_states(state["random"])


def _lay_like_weights(optimizer: Any) -> None:
    """Moments in the memory order of their weights, channels_last on GPUs alone: torch's fused kernels go by memory order.

    bitsandbytes brings its weights into one order, in which its moments are whatever their strides say: left alone.
    """
    if not isinstance(optimizer, torch.optim.AdamW):
        return
    for weight, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                moments[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that Ctrl-C makes non-empty instead of stopping half-way through a step; a second Ctrl-C stops at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # signals only reach the main thread
        return

    def note(number: int, frame: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)
