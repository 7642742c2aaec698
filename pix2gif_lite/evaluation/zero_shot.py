"""Zero-shot evaluation (section 4.1, Table 1): generated clips beside real ones, for a folder of captioned videos.

    a video, its frames 0, 3, ... 45 --> a real clip
    frame 0 + caption                --> 16 frames at the paper's 16 motions: a generated clip
    both                             --> FVD of the two clouds; CLIPSim and PIC of each clip; asked against measured motion

A clip that is done is a small file below the output folder, so that a run of hours goes on where it was stopped. What a
network that is not in reach would have measured is None, with the reason. How it reads is zero_shot_report.py's.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..canvas import grey_levels
from ..data.latent_cache import hash_of
from ..distilled import check_distilled
from ..files import write_whole
from ..media.pictures import MIN_SIDE
from ..metrics import coherency
from ..origins.reach import NotInReach
from ..pipeline import Pix2GifPipeline
from ..request import check_motions
from ..sampling import get_sampler
from .fvd import STRIDE, VIDEOS, Cloud, cloud_distance
from .generating import generate
from .measuring import measured_motion
from .network_metrics import I3D, PIC, CLIPSim
from .paper_tables import ZERO_SHOT_MOTIONS as MOTIONS
from .report import provenance
from .video_folders import Video, read_clip, read_folder, shuffled

NETWORKS: dict[str, Callable[..., Any]] = {"fvd": I3D, "clipsim": CLIPSim, "pic": PIC}
DECIDING = ("second_look", "calibrate", "s_I", "s_T", "spacing")  # settings that change frames, not weights
SHOWN = 8  # clips whose frames are kept to be looked at
SHOWN_FRAMES = (0, 5, 10, 15)


def run(
    videos: str | os.PathLike,
    layout: str,
    out: str | os.PathLike,
    weights: str | os.PathLike | Pix2GifPipeline = "lite",
    count: int = VIDEOS,
    annotations: str | os.PathLike | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    device: str = "cpu",
    networks: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure weights on `count` clips of a folder of videos, as Table 1 does; writes zero_shot-<layout>.json into `out`.

    videos, layout, annotations   see `read_folder`; which videos: in an order that is the same on any machine, those that
                                  cannot be read or are too short are left out and listed
    steps, sampler                None: the weights' own defaults
    networks                      "fvd", "clipsim", "pic", called as network_metrics.py's are; None: those in reach

    Returns the dict that the JSON holds: "ours" and "real", each with fvd, clipsim and pic (None: not computed, and
    "not_computed" says why; real clips have no FVD), "coherency" of the generated frames, "curve" and "real_curve" (measured
    motion of frames 1-16, px at 256 x 256), "skipped".
    Raises ValueError for no clips, an unknown sampler, a folder without usable videos, or an `out` with other clips, and
    whatever `read_folder` and loading the weights raise.
    """
    if count < 1:
        raise ValueError(f"{count} clips cannot be measured: give at least 1.")
    if sampler is not None:
        get_sampler(sampler)
    order, out = shuffled(read_folder(videos, layout, annotations)), Path(out)
    _check_readable(order)
    began = time.perf_counter()
    pipe = (weights if isinstance(weights, Pix2GifPipeline) else Pix2GifPipeline.from_pretrained(weights)).to(device)
    check_motions(MOTIONS, pipe.motion_rows)
    c = pipe.config
    check_distilled(c.distilled_steps, c.sampling_steps if steps is None else steps, sampler or c.sampler)
    if networks is None:
        networks, missing = _in_reach(device)
    else:
        missing = {name: "No network was given." for name in NETWORKS if name not in networks}
    settings = {"layout": layout, "steps": steps, "sampler": sampler}
    made = provenance(weights, pipe, settings) | {"motions": list(MOTIONS), "stride": STRIDE, "size": pipe.config.image_size}
    folder, asked = out / f"clips-{layout}", {name: pipe.config[name] for name in DECIDING}
    _begin(
        folder,
        {"weights": _hash(pipe), "videos": _names(order), "networks": sorted(networks), "settings": asked} | _fixed(made),
    )
    clips, skipped = [], {}
    with tqdm(total=count, unit="clip", desc=layout, disable=not progress) as bar:
        for name, done in _clips(order, folder, pipe, networks, steps, sampler):
            if isinstance(done, str):
                skipped[name] = done
                continue
            clips.append(done)
            bar.update()
            if len(clips) == count:
                break
    if not clips:
        raise ValueError(f"None of the {len(order):,} videos can be used. The first: {next(iter(skipped.values()))}")
    results = {
        "made": made | {"videos": len(order)},
        "clips": len(clips),
        "skipped": skipped,
        **summarise(clips, networks, missing),
        "seconds": round(time.perf_counter() - began, 1),
    }
    write_whole(out / f"zero_shot-{layout}.json", (json.dumps(results, indent=1) + "\n").encode())
    return results


def summarise(clips: Sequence[Mapping[str, Tensor]], networks: Mapping[str, Any], missing: Mapping[str, str]) -> dict[str, Any]:
    """The figures of all clips, from those of each: see `run`."""
    figures: dict[str, dict[str, float | None]] = {"ours": {}, "real": {}}
    reasons = dict(missing)
    for whose, row in figures.items():
        for name in ("clipsim", "pic"):
            row[name] = float(torch.stack([c[f"{whose}.{name}"] for c in clips]).mean()) if name in networks else None
    figures["ours"]["fvd"] = None
    if "fvd" in networks and len(clips) > 1:
        real, ours = Cloud(), Cloud()
        for clip in clips:
            real.add(clip["real.fvd"][None])
            ours.add(clip["ours.fvd"][None])
        figures["ours"]["fvd"] = cloud_distance(real, ours)
    elif "fvd" in networks:
        reasons["fvd"] = "One clip is no cloud: give more."
    measured, moved = (torch.stack([c[f"{whose}.motion"] for c in clips]) for whose in ("ours", "real"))
    asked = torch.tensor([float(m) for m in MOTIONS]).expand_as(measured)
    curves = {"curve": measured.mean(0).tolist(), "real_curve": moved.mean(0).tolist()}
    return {**figures, "coherency": coherency(asked, measured), **curves, "not_computed": reasons}


def _check_readable(videos: Sequence[Video]) -> None:
    """Raises ValueError if no video can be read, before any model is loaded."""
    first = None
    for video in videos:
        try:
            read_clip(video.path, MIN_SIDE)
            return
        except (ValueError, FileNotFoundError) as error:
            first = first or error
    raise ValueError(f"None of the {len(videos):,} videos can be used. The first: {first}") from first


def _in_reach(device: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The networks that can be had, and why the others cannot."""
    networks, missing = {}, {}
    for name, load in NETWORKS.items():
        try:
            networks[name] = load(device=device)
        except NotInReach as error:
            missing[name] = str(error)
    return networks, missing


def _clips(
    order: Sequence[Video], folder: Path, pipe: Pix2GifPipeline, networks: Mapping[str, Any], steps: Any, sampler: Any
) -> Iterator[tuple[str, dict[str, Tensor] | str]]:
    """(name, figures) of each video in order, or (name, why it cannot be used); what is on the disk is not made again."""
    done = 0
    for k, video in enumerate(order):
        path = folder / f"{k:05d}.safetensors"
        if not path.is_file():
            try:
                clip = read_clip(video.path, pipe.config.image_size)
            except (ValueError, FileNotFoundError) as error:
                yield video.name, str(error)
                continue
            write_whole(path, save(_measure(clip, video.caption, k, pipe, networks, steps, sampler, done < SHOWN)))
        figures = load_file(path)
        figures.pop("sheet", None)
        done += 1
        yield video.name, figures


def _measure(
    real: Tensor, caption: str, seed: int, pipe: Pix2GifPipeline, networks: Any, steps: Any, sampler: Any, keep: bool
) -> dict[str, Tensor]:
    """All that is measured of one video's real clip (16, 3, S, S) and the generated one."""
    first = real[:1]
    ours = generate(pipe, first, [caption], MOTIONS, [seed], steps, sampler).image
    figures = {}
    for whose, clip in (("ours", ours), ("real", real)):
        figures[f"{whose}.motion"] = measured_motion(first, clip)
        # The real clip begins with the first frame itself, the generated one does not: it is not compared with itself.
        later = clip if whose == "ours" else clip[1:]
        for name, network in networks.items():
            arguments = {"fvd": (clip[None],), "clipsim": (clip[None], [caption]), "pic": (first, later[None])}[name]
            figures[f"{whose}.{name}"] = network(*arguments)[0].float().cpu().contiguous()
    if keep:
        pictures = torch.stack([real[list(SHOWN_FRAMES)], ours[list(SHOWN_FRAMES)]])
        figures["sheet"] = grey_levels(pictures)
    return figures


def _fixed(made: Mapping[str, Any]) -> dict[str, Any]:
    return {name: made[name] for name in ("layout", "steps", "sampler", "motions", "stride", "size")}


def _begin(folder: Path, settings: dict[str, Any]) -> None:
    """The folder of the clips, new or of the same settings. Raises ValueError where they are others."""
    path = folder / "made.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [name for name, value in settings.items() if before.get(name) != value]:
            raise ValueError(f"The clips in {str(folder)!r} were made with other {', '.join(changed)}: give another --out.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(settings, indent=1) + "\n").encode())


def _names(order: Sequence[Video]) -> str:
    """A short hash of which videos there are, in which order, with which captions."""
    return hashlib.sha256(json.dumps([(video.name, video.caption) for video in order]).encode()).hexdigest()[:16]


def _hash(pipe: Pix2GifPipeline) -> str:
    """A short hash of all weights."""
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
    return hash_of((f"{name}.{key}", value) for name, part in parts.items() for key, value in part.state_dict().items())
