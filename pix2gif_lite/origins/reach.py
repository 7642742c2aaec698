"""Networks that somebody else must bring: they are in reach, or one sentence says what is missing.

An evaluation goes on without them. So whatever goes wrong on the way to one (no package, a package built for another torch,
no network, a silent server, a damaged file) ends in one kind of error, within seconds.
"""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from urllib.error import HTTPError, URLError

import torch

from ..reasons import reason

TIMEOUT = 10.0  # seconds that a server may say nothing; urllib and torch.hub would wait for ever


class NotInReach(OSError):
    """A metric cannot be computed here: the text names the package or the weights that are missing, and what to do."""


@contextmanager
def package(name: str) -> Iterator[None]:
    """What is imported inside belongs to the package of that name. Raises NotInReach where that fails, for any reason."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # one that was built for another torch raises RuntimeError, on a second try AttributeError
        raise NotInReach(f"package not in reach: {name} ({reason(error)}): run `pip install 'pix2gif-lite[eval]'`") from error


@contextmanager
def weights(advice: str = "") -> Iterator[None]:
    """Weights are fetched and loaded inside. Raises NotInReach, which ends in the advice, where that fails.

    Meanwhile no server may be silent for longer than TIMEOUT seconds, and what the packages print goes to stderr.
    """
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except MemoryError:
        raise
    except Exception as error:  # no network, no space, a damaged file, a page in its place
        parts = (f"weights not in reach: {_why(error)}", advice)
        raise NotInReach(": ".join(part for part in parts if part)) from error
    finally:
        socket.setdefaulttimeout(patience)


def checkpoints() -> Path:
    """The folder where torch.hub, and torchvision with it, keep the files they download."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _why(error: Exception) -> str:
    """What happened, where the error's own words tell little, or advise to load what must not be loaded."""
    if isinstance(error, HTTPError):
        return f"the server answers with status {error.code}"
    if isinstance(error, URLError):
        return f"there is no connection ({error.reason})"
    if isinstance(error, pickle.UnpicklingError):
        return "the file is damaged, or holds more than tensors"
    return reason(error).rstrip(".")
