"""What a training run looks like on the way: sample pictures and GIFs, drawn by the averaged weights at every callback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .loading import PARTS, load_component
from .pipeline import Pix2GifPipeline
from .presets import DEMO_MOTIONS, Preset
from .scenes import draw, sample_scenes
from .sheets import contact_sheet

FOLDER, SCENES = "samples", 3


def _place(state: dict[str, Any], suffix: str) -> Path:
    folder = Path(state["out"]) / FOLDER
    folder.mkdir(exist_ok=True)
    return folder / f"step-{state['step']:07d}{suffix}"


@torch.no_grad()
def of_autoencoder(state: dict[str, Any]) -> None:
    """Validation scenes above what E and D make of them: step-N.png."""
    job = state["job"]
    pictures = draw(sample_scenes(8, "val"), [0] * 8, job.image_size).image
    vae = job.vae
    decoded = vae.decode(vae.encode(pictures.to(vae.device)).latent_dist.mode()).sample
    contact_sheet([list(pictures), list(decoded.float().cpu())]).save(_place(state, ".png"))


def of_model(state: dict[str, Any]) -> None:
    """GIFs of validation scenes through the pipeline: step-N-0.gif, ..."""
    job = state["job"]
    training = job.training
    job.eval()
    try:
        model = job.model
        parts = {name: getattr(model, name) for name in ("text_encoder", "motion_embedding", "flow_net", "unet")}
        pipe = Pix2GifPipeline.from_components(job.preset, {**parts, "vae": job.vae, "tokenizer": job.tokenizer})
        for k, scene in enumerate(sample_scenes(SCENES, "val")):
            source = scene.at(0, job.preset.image_size).image
            pipe(source, scene.caption, [0, *DEMO_MOTIONS], detail=False).save(_place(state, f"-{k}.gif"), loop="pingpong")
    finally:
        job.train(training)


def whole_pipeline(preset: Preset, out: Path) -> Pix2GifPipeline:
    """The pipeline of the parts that a finished run of the model left in `out`."""
    return Pix2GifPipeline.from_components(preset, {name: load_component(out, name) for name in PARTS})
