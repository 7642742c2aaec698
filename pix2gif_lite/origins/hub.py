"""The Hugging Face Hub: only the files that are needed come down, only our own go up, and every failure is one sentence.

The Hub is asked once, within a time limit, what a repository holds (`snapshot_download` would wait for that for ever).
Without an answer a whole copy in the cache is used. Nothing of huggingface_hub's settings is changed for other code.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..reasons import reason
from .completeness import FOLDERS, INDEX, PICKLES, check_complete, check_part, configs_of, named_parts, read_json

KEPT = ("*.json", "*.txt", "*.safetensors")
LEFT = ["*.fp16.*", "*.fp16-*", "*.bf16.*", "*.bf16-*", "*.non_ema.*", "*.non_ema-*", "*/*/*"]  # the same weights again
OF_ONE_PART = ("config.json", "diffusion_pytorch_model*.safetensors*", "model*.safetensors*")  # at a repository's root
OF_A_TOKENIZER = ("tokenizer*.json", "special_tokens_map.json", "vocab.json", "merges.txt")
NEEDED = ("vae", "tokenizer", "text_encoder", "unet")  # of a whole Pix2Gif; the variants may lack the others
CARD = "README.md"
PICTURE = re.compile(r"!\[[^\]]*\]\(([\w.-]+)\)")  # in Markdown


def fetch(hub_id: str, *, part: str | None = None, local_files_only: bool = False, **options: Any) -> Path:
    """A Hub id -> the folder in the cache that holds the files we need of it: safetensors, configs, tokenizer; no pickles.

    part     None: a whole pipeline. "vae": that part alone; the folder returned is the part's own, whether the repository
             is a pipeline with a folder of that name or holds one part at its root (stabilityai/sd-vae-ft-mse)
    options  revision, token, cache_dir; local_files_only: look in the cache alone, as HF_HUB_OFFLINE=1 does

    What is in the cache is not downloaded again, and is used when the Hub does not answer. The Hub has
    HF_HUB_ETAG_TIMEOUT seconds (10) to say what it holds. Raises FileNotFoundError (no network, no such repository, no
    access, not in the cache), ValueError (no safetensors), OSError (no space), each in one sentence.
    """
    from huggingface_hub import HfApi, constants

    if local_files_only:
        return _cached(hub_id, part, options)
    revision, token = options.get("revision"), options.get("token")
    try:
        info = HfApi(token=token).model_info(
            hub_id, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT, files_metadata=True
        )
    except Exception as error:  # requests, httpx and huggingface_hub have no class in common
        try:
            return _cached(hub_id, part, options)
        except (FileNotFoundError, ValueError):  # what the Hub said tells more than that there is no copy
            raise FileNotFoundError(_sentence(hub_id, error)) from error
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return _download(hub_id, part, info.sha, wanted(hub_id, list(sizes), part), sizes, options)


def wanted(hub_id: str, names: list[str], part: str | None = None) -> list[str]:
    """Of the names of all files of a repository, those we need.

    Raises FileNotFoundError when it is not in diffusers' layout, ValueError when its weights are pickles only.
    """
    from huggingface_hub.utils import filter_repo_objects

    configs = [] if part is None else configs_of(part)
    marks = [INDEX] if part is None else [*(f"{part}/{config}" for config in configs), *configs]
    first = next((name for name in marks if name in names), None)
    if first is None:
        raise FileNotFoundError(f"{hub_id!r} on the Hub holds no {marks[-1]}: give a repository in diffusers' layout.")
    depth = first.count("/")
    kept = list(filter_repo_objects(names, allow_patterns=_patterns(part), ignore_patterns=LEFT))
    if part is not None:
        kept = [name for name in kept if name.count("/") == depth]
    pickles = {Path(name).parent for name in names if name.endswith(PICKLES)} if part != "tokenizer" else ()  # has no weights
    for folder in pickles:
        here = [name for name in kept if Path(name).parent == folder]
        if any(name.endswith("config.json") for name in here) and not any(name.endswith(".safetensors") for name in here):
            raise ValueError(
                f"{hub_id!r} on the Hub has the weights of {folder.name or 'its part'} as pickles only, which can run code, "
                "and are not opened: choose a repository with safetensors."
            )
    kept += [CARD] * (part is None and CARD in names)  # it states the licence
    return sorted(kept, key=lambda name: (name != first, name))


def check_push(hub_id: str, token: str | None = None) -> str:
    """The token to push with. ValueError for a name that is none and without a token: said before hours of training."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(hub_id)
    except HFValidationError:
        raise ValueError(f"{hub_id!r} is no name on the Hub: give owner/name.") from None
    token = token or get_token()
    if not token:
        raise ValueError("The Hub needs to know who you are: run `hf auth login`, or set HF_TOKEN to a token that may write.")
    return token


def push(folder: str | Path, hub_id: str, *, token: str | None = None, private: bool = False) -> str:
    """A folder of Pix2Gif weights and its card to the Hub: makes the repository where there is none. Its page's address.

    Only model_index.json, README.md with the pictures it shows, and the parts go up: no checkpoints, logs or samples.
    `token`: None is the one that `hf auth login` or HF_TOKEN left. The folder is looked at before anything is made. Raises
    FileNotFoundError or ValueError for a folder that is no whole Pix2Gif, a name that is none, a missing token; OSError
    when the Hub says no.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError

    folder, token = Path(folder), check_push(hub_id, token)
    parts = named_parts(folder)
    if read_json(folder / INDEX).get("_class_name") != "Pix2GifPipeline" or not set(NEEDED) <= set(parts):
        raise ValueError(f"{str(folder)!r} holds no whole Pix2Gif: give a folder that training or save_pretrained wrote.")
    check_complete(folder, parts)
    api = HfApi(token=token)
    try:
        try:  # the only call with a time limit: a Hub that does not answer is noticed here
            api.model_info(hub_id, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except RepositoryNotFoundError:  # to be made
            pass
        page = api.create_repo(hub_id, private=private, exist_ok=True)
        allowed = [INDEX, CARD, *_pictures(folder), *(f"{name}/{pattern}" for name in parts for pattern in KEPT)]
        api.upload_folder(
            repo_id=hub_id,
            folder_path=folder,
            allow_patterns=allowed,
            ignore_patterns=list(LEFT),
            commit_message="Weights of Pix2Gif Lite",
        )
    except Exception as error:  # requests, httpx and huggingface_hub have no class in common
        raise OSError(f"{str(folder)!r} could not be put on the Hub as {hub_id!r} ({_reason(error)[0]}).") from error
    return str(page)


def _pictures(folder: Path) -> list[str]:
    """The pictures beside the card that it shows."""
    card = folder / CARD
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return [name for name in PICTURE.findall(text) if (folder / name).is_file()]


def _patterns(part: str | None) -> list[str]:
    if part is None:
        return [INDEX, *(f"{folder}/{pattern}" for folder in FOLDERS for pattern in KEPT)]
    return [*(f"{part}/{pattern}" for pattern in KEPT), *(OF_A_TOKENIZER if part == "tokenizer" else OF_ONE_PART)]


def _download(
    hub_id: str, part: str | None, sha: str, names: list[str], sizes: dict[str, int], options: dict[str, Any]
) -> Path:
    """The first name at the revision asked for, the others at the commit that this one turned out to be."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    revision, token, cache_dir = (options.get(name) for name in ("revision", "token", "cache_dir"))
    known = {"revision": sha, "cache_dir": cache_dir}
    missing = [name for name in names if not isinstance(try_to_load_from_cache(hub_id, name, **known), str)]
    cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser().absolute()
    disk = next(place for place in (cache, *cache.parents) if place.is_dir())
    needed, free = sum(sizes[name] for name in missing), shutil.disk_usage(disk).free
    if needed > free:
        raise OSError(
            f"{hub_id!r} needs {needed / 1e9:.1f} GB more in {str(cache)!r}, where {free / 1e9:.1f} GB are free: "
            "free some space, or set HF_HOME to another disk."
        )
    try:
        if missing:  # hf_hub_download would try six times for a minute each: here one answer is asked for first
            url = hf_hub_url(hub_id, missing[0], revision=revision)
            get_hf_file_metadata(url, token=token, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        file = Path(hf_hub_download(hub_id, names[0], **options))
        commit = file.parents[names[0].count("/")]  # the cache has a folder for each
        for name in names[1:]:
            hf_hub_download(hub_id, name, **{**options, "revision": commit.name})
    except Exception as error:  # requests, httpx and huggingface_hub have no class in common
        raise FileNotFoundError(_sentence(hub_id, error)) from error
    return _place(commit, part)


def _cached(hub_id: str, part: str | None, options: dict[str, Any]) -> Path:
    """The copy in the cache. Raises FileNotFoundError when there is none, or only a part of it."""
    from huggingface_hub import snapshot_download

    options = {name: value for name, value in options.items() if name != "token"}
    try:
        folder = snapshot_download(
            hub_id, local_files_only=True, allow_patterns=_patterns(part), ignore_patterns=LEFT, **options
        )
        return _place(Path(folder), part)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"The weights {hub_id!r} are no local folder, and no whole copy is in the Hub's cache: "
            f"run `hf download {hub_id}` where there is a network."
        ) from error


def _place(commit: Path, part: str | None) -> Path:
    """The folder that was asked for, of a copy in the cache, found whole."""
    if part is None:
        check_complete(commit)
        return commit
    place = commit / part if (commit / part).is_dir() else commit
    check_part(place, part)
    return place


def _sentence(hub_id: str, error: Exception) -> str:
    why, unreachable = _reason(error)
    hint = f"; or run `hf download {hub_id} --local-dir FOLDER` where there is a network, and give that folder" * unreachable
    return f"The weights {hub_id!r} are no local folder and cannot be had from the Hub ({why}){hint}."


def _reason(error: Exception) -> tuple[str, bool]:
    """Why the Hub failed and what to do, and whether it is a matter of the network: then there is another way."""
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

    told = {
        GatedRepoError: "its owner wants terms accepted: accept them on its page, then run `hf auth login`",
        RepositoryNotFoundError: "there is no such repository, or it is private: check the name, or run `hf auth login`",
        RevisionNotFoundError: "it has no such revision: check its name",
    }
    status = None
    for each in _causes(error):
        if known := next((told[kind] for kind in told if isinstance(each, kind)), None):
            return known, False
        if isinstance(each, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, and there is no whole copy in the cache: unset it", True
        if "Timeout" in type(each).__name__:  # of requests or httpx, whichever huggingface_hub is built on
            return "it did not answer in time: try again, with HF_HUB_ETAG_TIMEOUT=60 on a slow line", True
        if isinstance(each, OSError) and each.errno == errno.ENOSPC:
            return "the disk is full: free some space, or set HF_HOME to another disk", False
        if "JSONDecode" in type(each).__name__:  # a page to log in to the network, a proxy's apology
            return "what answers in its place is no Hub: check the network and HF_ENDPOINT", True
        status = status or getattr(getattr(each, "response", None), "status_code", None)
    if status in (401, 403):
        return "access is refused: run `hf auth login` with a token that may do this", False
    if status is not None:
        return f"it answered with status {status}: try again later", True
    if any("Connect" in type(each).__name__ for each in _causes(error)):
        return "there is no connection to it: check the network", True
    return reason(error).rstrip("."), True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
