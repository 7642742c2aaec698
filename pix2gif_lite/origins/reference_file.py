"""The reference's file is read without running anything in it, and every name in it is accounted for.

A Lightning `.ckpt` is a pickle: only tensors and plain values are taken out of it. Names that are missing, or that are
nobody's, and shapes that do not fit are listed: weights that stay random, or are left out, would show only in the frames.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..diffusion import alphas_cumprod
from ..presets import PAPER
from .reference_keys import BUFFERS, EMA, PARTS, TEXT, Shapes

SHOWN = 10  # names an error lists
WHOLE = "give a whole checkpoint of the reference's (or Stable Diffusion, but as a folder that diffusers saved)"
OUTSIDE = re.compile(r"cond_stage_model\.transformer\.(?!text_model\.)")  # transformers 5 leaves this name out
Part = TypeVar("Part", bound=nn.Module)


class Checkpoint(NamedTuple):
    """The file and its weights by their names there; they stay on the disk until they are copied."""

    path: Path
    weights: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The weights of one part, by their names without the prefix. ValueError where there are none."""
        found = {
            name[len(prefix) :]: weight
            for name, weight in self.weights.items()
            if name.startswith(prefix) and name not in BUFFERS
        }
        if not found:
            what = "averaged UNet" if prefix == EMA else PARTS[prefix]
            fix = "give use_ema=False for the raw one" if prefix == EMA else WHOLE
            raise ValueError(f"The checkpoint {str(self.path)!r} holds no {what} ({prefix}*): {fix}.")
        return found

    def sizes(self, prefix: str, read: Callable[[Shapes], dict[str, Any]]) -> dict[str, Any]:
        """A part's sizes, read off its shapes. ValueError where a weight that is needed for that is missing."""
        shapes = {name: tuple(weight.shape) for name, weight in self.part(prefix).items()}
        try:
            return read(shapes)
        except KeyError as error:
            missing = str(error.args[0])
        except (IndexError, ValueError) as error:  # a table where a convolution should be
            raise ValueError(f"The shapes of the {PARTS[prefix]} in {str(self.path)!r} are not the reference's.") from error
        raise self.misfit(prefix, missing=[prefix + missing])

    def misfit(self, prefix: str, **problems: list[str]) -> ValueError:
        """The error that lists names by what is wrong with them: how many, and the first ten."""
        said = [
            f"{len(names)} {kind} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
            for kind, names in problems.items()
            if names
        ]
        where = f" in its {PARTS[prefix]}" if prefix in PARTS else ""
        return ValueError(f"The checkpoint {str(self.path)!r} does not fit the reference{where}: {'; '.join(said)}.")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The file's weights, memory-mapped where its kind allows that.

    Raises FileNotFoundError where there is no file, ValueError for one that is no checkpoint, is cut short, or would run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {str(path)!r}: give the reference's .ckpt or .safetensors file.")
    try:
        if path.suffix.lower() == ".safetensors":
            content = load_file(path)
        else:  # one that torch wrote before 1.6 is no zip, and is read as a whole
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # damaged files raise nearly anything
        if refused := re.search(r"\bGLOBAL (\S+)", str(error)):
            raise ValueError(
                f"The checkpoint {str(path)!r} holds more than weights ({refused[1]}), and to open that can run code: on a "
                "machine you trust, load it with torch.load(path, weights_only=False), save its state_dict with "
                "safetensors.torch.save_file and give that file."
            ) from error
        raise ValueError(
            f"{str(path)!r} cannot be read as a checkpoint ({type(error).__name__}): it is cut short or another kind of "
            "file; get it again."
        ) from error
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items()
    ):
        raise ValueError(f"{str(path)!r} holds no state_dict of named weights: give the reference's own checkpoint.")
    return Checkpoint(path, {OUTSIDE.sub(TEXT, name, count=1): weight for name, weight in weights.items()})


def check_whole(checkpoint: Checkpoint) -> None:
    """Refuses names that belong to no part, and weights that were trained on another noise schedule (ValueError)."""
    known = (*PARTS, EMA)
    strange = [name for name in checkpoint.weights if name not in BUFFERS and not name.startswith(known)]
    if strange:
        raise checkpoint.misfit("", unexpected=strange)
    betas, ours = checkpoint.weights.get("betas"), alphas_cumprod(PAPER).double()
    if betas is None:
        return
    theirs = torch.cumprod(1 - betas.double(), dim=0)
    if theirs.shape != ours.shape or not torch.allclose(theirs, ours, rtol=1e-3):
        raise ValueError(
            f"The checkpoint {str(checkpoint.path)!r} was trained on another noise schedule than {PAPER.train_timesteps} "
            f"scaled-linear betas from {PAPER.beta_start} to {PAPER.beta_end}: it is not one of the reference's."
        )


def fill(
    part: Part, weights: Mapping[str, Tensor], checkpoint: Checkpoint, prefix: str, rename: Callable[[str], str] = str
) -> Part:
    """The part, made without weights, with copies of these in its own precision, in eval mode.

    `weights` go by the names of the file, `rename` gives those of ours. ValueError unless both sides have the same names
    and shapes.
    """
    own = part.state_dict()
    theirs = {name: rename(name) for name in own}
    given = {name: weights[key] for name, key in theirs.items() if key in weights}
    for name, weight in given.items():
        if weight.shape == (*own[name].shape, 1, 1):  # where the reference convolves over 1 x 1, ours multiplies
            given[name] = weight[:, :, 0, 0]
    problems = {
        "missing": [prefix + key for key in theirs.values() if key not in weights],
        "unexpected": [prefix + key for key in sorted(weights.keys() - set(theirs.values()))],
        "of another shape": [
            f"{prefix}{theirs[name]}: {tuple(weight.shape)} instead of {tuple(own[name].shape)}"
            for name, weight in given.items()
            if weight.shape != own[name].shape
        ],
    }
    if any(problems.values()):
        raise checkpoint.misfit(prefix, **problems)
    part.load_state_dict({name: weight.to(own[name].dtype, copy=True) for name, weight in given.items()}, assign=True)
    return part.eval()
