"""A folder of weights is looked at before it is loaded: what is missing, cut short or no weights at all is named.

Downloads stop half-way, `git clone` leaves pointers in the place of large files, and an index may name shards that never
came. Left alone, these end in a traceback from deep inside a library, or after minutes. Only headers are read here.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

INDEX = "model_index.json"
OURS = ("motion_embedding", "flow_net")  # parts that the index of a Pix2Gif names, be they null, and no other pipeline's does
FOLDERS = ("vae", "tokenizer", "text_encoder", "unet", "motion_embedding", "flow_net", "scheduler")  # all we ever read
CONFIGS = {"scheduler": ("scheduler_config.json",), "tokenizer": ("tokenizer.json", "vocab.json")}  # one of them is needed
WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")  # diffusers' and transformers' names
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
UNFINISHED = (".incomplete", ".part", ".aria2")  # what download programs leave beside a file that is not whole yet
POINTER = b"version https://git-lfs"
AGAIN = "get it again, for example with `hf download OWNER/NAME --local-dir FOLDER`, which goes on where it stopped"


def check_complete(folder: str | Path, parts: Collection[str] | None = None) -> None:
    """Refuses a half-downloaded folder. Only headers are read, no weights, so it takes milliseconds.

    parts  the folders below `folder` that must be whole ("unet", "vae", ...); "" is `folder` itself, one part's own
           folder; None: those of `FOLDERS` that model_index.json names

    Raises FileNotFoundError for what is missing, ValueError for what is cut short, unreadable, a pickle, or the pointer
    that Git LFS puts in the place of weights: one sentence, which names the file and the fix.
    """
    folder = Path(folder)
    for name in named_parts(folder) if parts is None else parts:
        check_part(folder / name if name else folder, name)


def check_part(place: Path, name: str) -> None:
    """`check_complete` of one part, which lies in `place` itself; its name says which files it is made of."""
    if not place.is_dir():
        raise FileNotFoundError(f"There are no weights in {str(place)!r}, the folder is not there: {AGAIN}.")
    configs = configs_of(name)
    config = next((place / choice for choice in configs if (place / choice).is_file()), None)
    if name not in CONFIGS:  # first, since a pickle is refused whatever lies beside it
        for file in _weights(place):
            _check_header(file)
    if config is None:
        raise FileNotFoundError(f"There is no {' or '.join(configs)} in {str(place)!r}: {AGAIN}.")
    read_json(config)
    if config.name == "vocab.json" and not (place / "merges.txt").is_file():
        raise FileNotFoundError(f"There is no merges.txt beside {str(config)!r}: {AGAIN}.")


def configs_of(name: str) -> tuple[str, ...]:
    """The files of which a part's folder must hold one."""
    return CONFIGS.get(name, ("config.json",))


def named_parts(folder: Path) -> list[str]:
    """The parts that a folder's model_index.json says are in it, of those we read.

    Raises FileNotFoundError when there is none, ValueError when it cannot be read.
    """
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no {INDEX}: give a folder that a Pix2GifPipeline was saved to.")
    index = read_json(path)
    return [name for name in FOLDERS if isinstance(index.get(name), list) and index[name][:1] not in ([], [None])]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a folder of weights. Raises ValueError when it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} cannot be used, it is not readable as JSON: {AGAIN}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{str(path)!r} cannot be used, it is no JSON object: {AGAIN}.")
    return values


def _weights(place: Path) -> list[Path]:
    """The files that the weights of one part are in: one, or the shards that an index names."""
    for name in WEIGHTS:
        index = place / f"{name}.index.json"
        if index.is_file():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict) or not shards or any(Path(str(s)).name != s for s in shards.values()):
                raise ValueError(f"{str(index)!r} cannot be used, it names no shards of weights: {AGAIN}.")
            for shard in sorted(set(shards.values())):
                if not (place / shard).is_file():
                    raise FileNotFoundError(f"{str(index)!r} names {shard}, which is not there: {AGAIN}.")
            return [place / shard for shard in sorted(set(shards.values()))]
        if (place / name).is_file():
            return [place / name]

    files = sorted(file.name for file in place.iterdir())
    if pickles := [name for name in files if name.endswith(PICKLES)]:
        raise ValueError(
            f"The weights {str(place / pickles[0])!r} are a pickle, which can run code, and are not opened: "
            "save them as safetensors."
        )
    downloads = place.parent / ".cache" / "huggingface" / "download" / place.name  # where `hf download` works
    if any(name.endswith(UNFINISHED) for name in files) or any(downloads.glob("*.incomplete")):
        raise FileNotFoundError(f"There are no weights in {str(place)!r}, a download stopped half-way: {AGAIN}.")
    if others := [name for name in files if name.endswith(".safetensors")]:
        raise FileNotFoundError(f"There are no weights in {str(place)!r}: it needs {' or '.join(WEIGHTS)}, not {others[0]}.")
    raise FileNotFoundError(f"There are no weights in {str(place)!r}: it needs a .safetensors file.")


def _check_header(file: Path) -> None:
    """ValueError for a file that is no safetensors, or shorter than its header says."""
    from safetensors import SafetensorError, safe_open

    for suffix in UNFINISHED:
        if file.with_name(file.name + suffix).exists():
            raise ValueError(f"The weights {str(file)!r} cannot be used, their download stopped half-way: {AGAIN}.")
    with file.open("rb") as opened:
        if opened.read(len(POINTER)) == POINTER:
            raise ValueError(
                f"The weights {str(file)!r} cannot be used, Git LFS left a pointer in their place: "
                "run `git lfs pull` in that folder."
            )
    try:
        with safe_open(file, framework="np"):  # reads the header and compares it with the file's length
            pass
    except SafetensorError as error:
        what = f"they are cut short or damaged ({error})"
        raise ValueError(f"The weights {str(file)!r} cannot be used, {what}: {AGAIN}.") from error
