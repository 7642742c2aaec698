"""The paper's ablation (section 4.3, Table 2) at our scale: each variant trained anew on one budget, then measured.

    variants x seeds --> train_model on one set of latents --> frames at s_I = 1.4 ... 2.0 --> motion coherency, fidelity

As the paper's variants all start from CLIP and Stable Diffusion, ours share E, D and the text encoder of the shipped weights,
which trains along; M, FNet and UNet start from random weights. Unlike CLIP, that text encoder grew up in the full model, beside
c_M, where number words had little to say: a start that suits Base less than the others. The budget is equal in samples, not in
seconds: a variant without FNet takes about 0.6 of the time. The UNet is narrower than lite's: it learns more in the same time,
and is measured in half of it (docs/history.md). What every variant is compared with is a copy of the source (the
floor) and the exact frame through E and D (the ceiling). All have the paper's WNet, without weights, and no exact flow to learn
from, but for the settings that compare lite's own with them.

A run is written to ablation.json when it is measured, so that the same command goes on where it was stopped; within a
run, training goes on from its last checkpoint. How the numbers read is ablation_report.py's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..data.latent_cache import fingerprint, hash_of
from ..files import write_whole
from ..learning.checkpoints import checkpoints
from ..learning.training_loop import CHECKPOINTS, SUMMARY_FILE
from ..metrics import coherency
from ..origins.completeness import INDEX, read_json
from ..origins.loading import load_component
from ..pipeline import Pix2GifPipeline
from ..presets import LITE, Preset
from ..scenes import sample_scenes
from ..training import train_model
from .generating import Drawn, Scales, drawn, generate_for, through_autoencoder
from .measuring import fidelity, flow_error, measured_motion
from .report import made_here

ABLATION_FILE = "ablation.json"
MOTIONS = (2, 4, 6, 8, 11, 14, 17, 19)  # the paper's list for this table
SCALES = (1.0, 1.4, 1.6, 1.8, 2.0)  # of s_I; 1 is lite's own, the others are the paper's
STEPS = 5  # of lite's sampler: guided in one step, a frame is all extrapolation
CHECKPOINT_EVERY = 100  # steps of a run: no more is lost when it is stopped
# What an ablation.json had that does not say so; of D, which it did not name either, nothing is known.
UNSAID = {"s_T": "1", "steps": "unknown", "unet": list(LITE.unet_channels)}
OURS = ("flow", "outline")  # loss terms that the paper has not
FROM_SOURCE = 0.33  # s where there is no z_W: how far a frame's latent is from its source's, root mean square over the latents
# What settings change.
PAPERS_WARP = LITE.with_changes(
    unet_channels=(32, 64, 96, 96), flow_subcells=0, flow_bodies=0, calibrate=False, second_look=0.0,
    loss_weights=LITE.loss_weights | dict.fromkeys(OURS, 0.0),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One thing to train: how the preset is changed."""

    name: str
    label: str
    changes: dict[str, Any] = field(default_factory=dict)

    def of(self, preset: Preset) -> Preset:
        """The preset with the changes; loss weights are merged."""
        weights = preset.loss_weights | self.changes.get("loss_weights", {})
        return preset.with_changes(**{**self.changes, "loss_weights": weights})


SETTINGS = (
    Setting("base", "Base: the motion in words alone", {"variant": "base", "residual": FROM_SOURCE}),
    Setting("motion-embed", "Motion-embed: c_M added to the text", {"variant": "motion-embed", "residual": FROM_SOURCE}),
    Setting("warp", "Warp: the UNet sees z_W alone", {"variant": "warp"}),
    Setting("warp-add", "Warp-add: z_W + E(c_I)", {"variant": "warp-add"}),
    Setting("warp-concat", "Warp-concat: z_W beside E(c_I)", {"variant": "warp-concat"}),
    Setting("full", "full: Warp-concat with L_P", {"variant": "full"}),
    # Ours: where paper and code disagree.
    Setting("source", "full, L_P against the source (Eq. 7)", {"perceptual_target": "source"}),
    Setting("absolute", "full, the flow as absolute places (the authors' code)", {"flow_mode": "absolute", "flow_subcells": 0}),
    Setting("paper-losses", "full, the paper's losses: L_P against the source, no L_W",
            {"perceptual_target": "source", "loss_weights": {"warp": 0.0}}),
    Setting("subcell", "full, WNet learns to look between cells (ours)", {"flow_subcells": LITE.flow_subcells}),
    Setting("flow-loss", "the same, F and O learn from the exact flow too, L_F and L_O (ours, the shipped warp)",
            {"flow_subcells": LITE.flow_subcells, "flow_bodies": LITE.flow_bodies, "calibrate": LITE.calibrate,
             "loss_weights": {name: LITE.loss_weights[name] for name in OURS}}),
)  # fmt: skip
NAMES = tuple(setting.name for setting in SETTINGS)


@dataclass(frozen=True)
class Budget:
    """What every run gets."""

    samples: int = 6_000
    batch_size: int = 12
    learning_rate: float = 1.5e-3
    warmup_steps: int = 50
    scenes: int = 4000  # that the latents are made from, 4 frames each
    test_scenes: int = 24


def run(
    out: str | os.PathLike,
    seeds: int = 3,
    names: Sequence[str] = NAMES,
    budget: Budget | None = None,
    preset: Preset = PAPERS_WARP,
    start: str | os.PathLike = "lite",
    progress: bool = True,
) -> dict[str, Any]:
    """Train and measure the settings `names`, with each of `seeds` seeds, one seed of all before the next. Returns the JSON.

    What `out` holds already is kept: runs that are measured are not repeated, one that was stopped goes on. `start`: the
    weights whose autoencoder and text encoder all start from.

    Raises ValueError for an unknown name, less than one seed, or a folder whose runs had another budget or start.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise ValueError(f"Unknown variant {(unknown or [''])[0]!r}: choose from {', '.join(NAMES)}.")
    if seeds < 1:
        raise ValueError(f"{seeds} seeds are none: give at least 1.")
    budget, out = Budget() if budget is None else budget, Path(out)
    results = _begin(out, budget, preset, start)
    out.mkdir(parents=True, exist_ok=True)
    todo = [(setting, seed) for seed in range(seeds) for setting in SETTINGS if setting.name in names]
    with tqdm(total=len(todo), unit="run", desc="ablation", disable=not progress) as bar:
        for setting, seed in todo:
            bar.set_postfix_str(f"{setting.name}, seed {seed}")
            row = results["runs"].setdefault(setting.name, {})
            if str(seed) not in row:
                folder = out / f"{setting.name}-{seed}"
                row[str(seed)] = _one(setting.of(preset), seed, folder, budget, start, out / "latents")
                if "floor" not in results:
                    pipe = Pix2GifPipeline.from_pretrained(folder)  # any will do: all have this autoencoder
                    results["floor"], results["ceiling"] = references(pipe, budget.test_scenes)
                write_whole(out / ABLATION_FILE, (json.dumps(results, indent=1) + "\n").encode())
            bar.update()
    return results


def _begin(out: Path, budget: Budget, preset: Preset, start: Any) -> dict[str, Any]:
    """What ablation.json holds, or a new one. ValueError where its runs were others."""
    vae = load_component(start, "vae")
    decoder = ((name, value) for name, value in vae.state_dict().items() if name.startswith(("decoder", "post_quant")))
    made = {"preset": preset.name, "autoencoder": fingerprint(vae), "decoder": hash_of(decoder), "budget": asdict(budget)}
    made |= {"text": fingerprint(load_component(start, "text_encoder")), "unet": list(preset.unet_channels)}
    made |= {"motions": list(MOTIONS), "scales": list(SCALES), "s_T": "as s_I", "steps": STEPS}
    if not (out / ABLATION_FILE).is_file():
        return {"made": made | made_here(), "runs": {}}
    results = json.loads((out / ABLATION_FILE).read_text(encoding="utf-8"))
    old = {**made, **UNSAID, **results["made"]}
    if changed := [name for name, value in made.items() if old[name] != value]:
        raise ValueError(f"The runs in {out} were made with another {', '.join(changed)}: give a new folder.")
    return results


def _one(preset: Preset, seed: int, folder: Path, budget: Budget, start: Any, latents: Path) -> dict[str, Any]:
    """One run: trained, or trained on, or found trained; then measured at every s_I."""
    rates = {name: getattr(budget, name) for name in ("batch_size", "learning_rate", "warmup_steps", "scenes")}
    resume = bool(checkpoints(folder / CHECKPOINTS))
    began, here = time.perf_counter(), made_here()
    made = {name: here[name] for name in ("date", "machine", "commit")}
    options = {"latents": latents, "data_seed": 0, "checkpoint_every": CHECKPOINT_EVERY, "progress_bar": False, **rates}
    steps, summary = budget.samples // budget.batch_size, {}
    if (folder / SUMMARY_FILE).is_file() and (folder / INDEX).is_file():  # the index is saved last
        summary = read_json(folder / SUMMARY_FILE)
    if summary.get("steps") != steps:
        summary = train_model(preset, folder, vae=start, text=start, steps=steps, seed=seed, resume=resume, **options)
    pipe = Pix2GifPipeline.from_pretrained(folder)
    kept = ("steps", "samples", "seconds", "parameters", "val_loss", "val_warp", "val_perceptual", "val_copy")
    trained = {name: summary[name] for name in kept if name in summary}
    trained["samples_per_second"] = summary["samples"] / summary["seconds"]  # fit's is of what it did since it went on
    by_scale = {f"{s_I:g}": measure_at(pipe, budget.test_scenes, s_I) for s_I in SCALES}
    return {"made": made, "trained": trained, "s_I": by_scale, "seconds": round(time.perf_counter() - began, 1)}


@lru_cache(maxsize=1)
def _test_parts(scenes: int, size: int) -> list[Drawn]:
    """The first scenes of `test`, drawn once for all that is measured on them: 75 MB for 24 of 128 px."""
    return list(drawn(sample_scenes(scenes, "test"), MOTIONS, size))


def measure_at(pipe: Pix2GifPipeline, scenes: int, s_I: float) -> dict[str, Any]:
    """Motion coherency and fidelity of a model's frames at one s_I, on the first scenes of `test`.

    s_T is s_I: none + s_I (full - none). With s_T = 1 more s_I would lead away from the caption, as the paper's 7.5 does not.
    """
    columns: dict[str, list[Tensor]] = {}
    for part in _test_parts(scenes, pipe.config.image_size):
        made = generate_for(pipe, part, MOTIONS, STEPS, scales=Scales(s_I, s_I))
        values = {"measured": measured_motion(part.source, made.image), **fidelity(made.image, part.exact)}
        if made.warped is not None:
            values["flow_error"] = flow_error(made.flow, part.exact)
        _add(columns, values)
    return _summary(columns)


def references(pipe: Pix2GifPipeline, scenes: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The floor, a copy of the source, and the ceiling, the exact frame through E and D, measured as a model's frames are."""
    floor: dict[str, list[Tensor]] = {}
    ceiling: dict[str, list[Tensor]] = {}
    for part in _test_parts(scenes, pipe.config.image_size):
        for columns, frames in ((floor, part.copies), (ceiling, through_autoencoder(pipe, part.exact.image))):
            _add(columns, {"measured": measured_motion(part.source, frames), **fidelity(frames, part.exact)})
    return _summary(floor), _summary(ceiling)


def _add(columns: dict[str, list[Tensor]], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        columns.setdefault(name, []).append(value.reshape(-1, len(MOTIONS)))


def _summary(columns: dict[str, list[Tensor]]) -> dict[str, Any]:
    """Means over scenes and motions; `curve` is the measured motion, averaged over scenes, for each that was asked for."""
    frames = {name: torch.cat(parts) for name, parts in columns.items()}
    measured = frames.pop("measured")
    asked = torch.tensor([float(m) for m in MOTIONS]).expand_as(measured)
    means = {name: float(values.nanmean()) for name, values in frames.items()}
    return {**coherency(asked, measured), "curve": measured.mean(0).tolist(), **means}
