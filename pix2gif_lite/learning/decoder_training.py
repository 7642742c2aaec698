"""D taught by what a model makes, or a smaller D in its place: E, and with it every latent, stays as it is.

What is learnt is in decoder_job.py, how in training_loop.py, from what in mixture.py; this file puts them together as
training.py does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..autoencoder import with_smaller_decoder
from ..data.latent_cache import fingerprint
from ..data.training_data import PictureSource
from ..hardware import choose_precision
from ..model import Pix2GifModel
from ..origins.starting import starting_parts
from ..presets import Preset
from ..processes import device
from ..training import chosen_data, planned_run, save_pipeline
from .decoder_job import DecoderJob
from .training_loop import fit


def train_decoder(
    preset: Preset,
    out: str | Path,
    init: str | Path,
    *,
    decoder_channels: Sequence[int] | None = None,
    photo_share: float = 0.15,
    made_share: float = 0.85,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Train D of the weights `init` on what their model makes (`DecoderJob`); saves all parts below `out`. `fit`'s summary.

    decoder_channels   widths of a smaller D, the finest first, such as (48,) for lite's; None: theirs, which is trained on
    photo_share     of still photographs beside the data, as in `train_autoencoder`
    made_share      of the pairs of the data whose latent is the model's, and not E's; each costs a run of the model
    options         as in `train_model`

    Errors: those of `fit`, `TrainingData`, `starting_parts` and `with_smaller_decoder`.
    """
    data = chosen_data(preset, seed, options)
    run = planned_run(preset, preset.autoencoder, out, steps, minutes, seed, options)
    start = starting_parts(init, preset, unet_stays=True)
    parts, preset = start.parts, start.preset
    if decoder_channels is not None:
        parts["vae"] = with_smaller_decoder(parts["vae"], decoder_channels)
    vae, precision = parts["vae"].to(device(run.cpu)), choose_precision(run.mixed_precision, run.cpu)
    latents, _ = data.encode(vae.eval(), out, mixed_precision=precision, progress_bar=run.progress_bar)
    stills = PictureSource(preset.image_size, seed, 1.0) if photo_share else None
    model = Pix2GifModel.from_parts(parts, preset)
    shares, more = {"photo_share": photo_share, "made_share": made_share}, {"seed": seed, "families": data.families}
    job = DecoderJob(preset, model, parts["tokenizer"], vae, latents, data.members(), stills, **shares, **more)
    settings = {"job": "decoder", "autoencoder": fingerprint(vae), "batch_size": run.batch_size, "seed": seed}
    settings |= {"decoder_channels": None if decoder_channels is None else list(decoder_channels)} | shares | data.settings()
    summary = fit(job, run, settings)
    save_pipeline(start, out, init, summary, settings)
    return summary
