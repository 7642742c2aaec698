"""What a training run looks like on the way: sample pictures and GIFs, drawn by the averaged weights at every callback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..pipeline import Pix2GifPipeline
from ..presets import DEMO_MOTIONS
from ..scenes import draw, sample_scenes
from ..sheets import contact_sheet

FOLDER, PICTURES = "samples", 3
MOST_STEPS = 20  # of denoising: a look on the way, not a measurement


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


@torch.no_grad()
def of_model(state: dict[str, Any]) -> None:
    """GIFs of held-out pictures, as D gives them back, through the pipeline: step-N-0.gif, ... Without any, of drawn scenes."""
    job = state["job"]
    training = job.training
    job.eval()
    try:
        model = job.model
        parts = {name: getattr(model, name) for name in ("text_encoder", "motion_embedding", "flow_net", "unet")}
        pipe = Pix2GifPipeline.from_components(job.preset, {**parts, "vae": job.vae, "tokenizer": job.tokenizer})
        steps = min(job.preset.sampling_steps, MOST_STEPS)
        for k, (source, caption) in enumerate(_held_out(job)):
            with job.running():
                frames = pipe(source, caption, [0, *DEMO_MOTIONS], steps=steps, detail=False, quiet=True)
            frames.save(_place(state, f"-{k}.gif"), loop="pingpong")
    finally:
        job.train(training)


def _held_out(job: Any) -> list[tuple[torch.Tensor, str]]:
    """Pictures (3, S, S) and captions, from each held-out set in turn."""
    if job.held_out_sets is None:
        return [(scene.at(0, job.preset.image_size).image[0], scene.caption) for scene in sample_scenes(PICTURES, "val")]
    sets = list(job.held_out_sets.sets.values())
    chosen = []
    for k in range(PICTURES):
        latents = sets[k % len(sets)]
        entry = k // len(sets) % len(latents.captions)
        z = latents.source[[entry]].to(job.vae.device, job.vae.dtype)
        chosen.append((job.vae.decode(z).sample[0].float().clamp(-1, 1).cpu(), latents.captions[entry]))
    return chosen
