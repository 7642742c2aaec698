"""Training, from a preset to saved weights: first the autoencoder, then the model on its latents (paper section 4.1).

What is learnt is in autoencoder_job.py and model_job.py, how in training_loop.py, from what in training_data.py and
mixture.py. This file only puts them together.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from .autoencoder import build_autoencoder
from .autoencoder_job import AutoencoderJob
from .decoder_job import DecoderJob
from .hardware import choose_precision
from .latent_cache import fingerprint
from .loading import INDEX, PARTS, load_component, save_parts
from .mixture import TrainingData
from .model import Pix2GifModel
from .model_job import ModelJob
from .pair_data import curated, training_frames
from .presets import Preset
from .pretrained import build_components, resolve_weights
from .rehearsal_job import RehearsalJob
from .training_data import PictureSource
from .training_loop import Run, fit

READ_BY = ("residual", "prediction_type", "scale_image_latents")  # what a UNet's output means
FLOW_SIZES = {"flow_width": "flow_width", "text_maps": "flow_text_maps", "widths": "flow_widths"}  # FlowNet's: the preset's
FLOW_SIZES |= {"skips": "flow_skips", "mixing": "flow_mixing", "norm": "flow_norm", "flow_mode": "flow_mode"}
SAMPLING_FIELDS = ("sampler", "sampling_steps", "spacing", "s_T", "s_I", "s_M", "name", "steps", "autoencoder")


def train_autoencoder(
    preset: Preset,
    out: str | Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    init: str | Path | None = None,
    photo_share: float = 0.35,
    photos: str | Path | None = None,
    equivariance: float = 0.25,
    moving_weight: float = 2.0,
    held_out: int = 16,
    decoder_only: bool = False,
    through: str | Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train E and D on drawn frames and crops of photographs; saves `out`/vae. Returns the summary of `fit`.

    steps, minutes  the run ends at whichever comes first (neither: the preset's steps)
    init            "lite" or a folder of weights whose autoencoder to start from
    photo_share     share of photographs, from scikit-image and scikit-learn (0 needs neither) and the folder `photos`:
                    pictures, or curated data, of which frames of the training split are taken
    decoder_only    leave E and the scaling factor as they are: a model trained on its latents stays right
    equivariance    share of samples whose latent is warped; moving_weight, held_out: see `AutoencoderJob`
    through         weights through whose warp E and D learn as well, see `RehearsalJob`; `init` is then theirs unless given
    options         fields of `Run`: resume, callback, callback_every, mixed_precision, batch_size, learning_rate, ...

    The saved scaling factor, 1 / std of the latents, is measured at the end, unless a model learnt to read them already
    (decoder_only, through). Errors: those of `fit`, ValueError for a
    setting out of range, ModuleNotFoundError when the photographs' packages are missing.
    """
    sizes = preset.autoencoder
    photos = training_frames(photos) if photos is not None and curated(photos) else photos
    run = _run(preset, sizes, out, steps, minutes, seed, options)
    init = through if init is None else init
    if init is None:
        with torch.random.fork_rng(devices=[]):  # the caller's random state is left alone
            torch.manual_seed(seed)
            vae = build_autoencoder(preset)
    else:
        vae = load_component(init, "vae")
    source = PictureSource(preset.image_size, seed, photo_share, photos, scenes_a_block=4 * run.batch_size)
    if decoder_only and init is None:
        raise ValueError("decoder_only needs an autoencoder whose E is trained: give init.")
    learning = {"seed": seed, "equivariance": equivariance, "moving_weight": moving_weight, "decoder_only": decoder_only}
    if through is None:
        job = AutoencoderJob(preset, vae, source, held_out=held_out, **learning)
    else:
        parts = {name: load_component(through, name) for name in PARTS if name != "vae"}
        model = Pix2GifModel.from_parts(parts, preset)
        job = RehearsalJob(preset, vae, source, model, parts["tokenizer"], held_out=held_out, **learning)
    settings = {"job": "autoencoder", "autoencoder": _plain(vae.config), "batch_size": run.batch_size, "seed": seed}
    settings |= {"photo_share": photo_share, "photographs": len(source.photos)}
    summary = fit(job, run, settings | learning | {"through": None if through is None else str(through)})

    if not decoder_only and through is None:
        with torch.no_grad():
            pictures = source.batch(range(128)).image
            latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pictures.split(16)])
        vae.register_to_config(scaling_factor=float(1 / latents.std()))
    vae.save_pretrained(Path(out) / "vae")
    return summary | {"scaling_factor": vae.config.scaling_factor}


def train_model(
    preset: Preset,
    out: str | Path,
    *,
    vae: str | Path | AutoencoderKL | None = None,
    init: str | Path | None = None,
    held_out: int = 16,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    only: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train text encoder, motion embedding, FlowNet and UNet together; saves each below `out`. Returns `fit`'s summary.

    vae             an autoencoder, or the folder of one (None: the one of `init`); it stays as it is
    init            "lite" or a folder of weights to start from, of the preset's sizes and variant
    held_out        of each, validation members measured at every callback (0: none)
    steps, minutes  the run ends at whichever comes first (neither: the preset's steps)
    only            "warp" or "unet": train that half alone, see `ModelJob` (None: all)
    options         the data, see `TrainingData`: scenes (4000), targets, latents, photos, data, mix, ...; and
                    fields of `Run`: resume, callback, callback_every, mixed_precision, batch_size, learning_rate, ...

    Errors: those of `fit` and `TrainingData`, ValueError when no autoencoder is given.
    """
    data = _data(preset, seed, options)
    run = _run(preset, preset, out, steps, minutes, seed, options)
    if vae is None and init is None:
        raise ValueError("The model needs an autoencoder: give vae, the folder that train_autoencoder saved.")
    if only == "unet" and init is None:
        raise ValueError(
            "only='unet' keeps the warp as it is, and there is none yet: give init, weights whose warp is trained."
        )
    if not isinstance(vae, AutoencoderKL):
        vae = load_component(init if vae is None else vae, "vae")
    if init is None:
        parts = build_components(preset, seed=seed)
    else:
        parts = {name: load_component(init, name) for name in PARTS if name != "vae"}
        _check_init(init, parts["flow_net"], preset, unet_stays=only == "warp")
        if parts["flow_net"] is not None:  # WNet has no weights: how it looks up is the preset's to say
            parts["flow_net"].register_to_config(interpolation=preset.interpolation)
    model = Pix2GifModel.from_parts(parts, preset)

    precision = choose_precision(run.mixed_precision, run.cpu)
    latents, val = data.encode(vae.eval(), out, held_out, mixed_precision=precision, progress_bar=run.progress_bar)
    job = ModelJob(preset, model, parts["tokenizer"], vae, latents, seed, val, only)
    training = {k: v for k, v in asdict(preset).items() if k not in SAMPLING_FIELDS}
    settings = {"job": "model", "preset": _plain(training), "batch_size": run.batch_size, "seed": seed}
    settings |= {"autoencoder": fingerprint(vae), "only": only}
    summary = fit(job, run, settings | data.settings())
    save_parts({**parts, "vae": vae}, out)
    return summary


def train_decoder(
    preset: Preset,
    out: str | Path,
    init: str | Path,
    *,
    photo_share: float = 0.15,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Train D of the weights `init` on what their model makes (`DecoderJob`); saves all parts below `out`. `fit`'s summary.

    photo_share     of still photographs beside the data, as in `train_autoencoder`
    options         as in `train_model`
    """
    data = _data(preset, seed, options)
    run = _run(preset, preset.autoencoder, out, steps, minutes, seed, options)
    parts = {name: load_component(init, name) for name in PARTS}
    _check_init(init, parts["flow_net"], preset, unet_stays=True)
    vae, precision = parts["vae"], choose_precision(run.mixed_precision, run.cpu)
    latents, _ = data.encode(vae.eval(), out, mixed_precision=precision, progress_bar=run.progress_bar)
    stills = PictureSource(preset.image_size, seed, 1.0) if photo_share else None
    model = Pix2GifModel.from_parts(parts, preset)
    drawn = data.members()
    job = DecoderJob(
        preset, model, parts["tokenizer"], vae, latents, drawn, stills, photo_share, seed=seed, families=data.families
    )
    settings = {"job": "decoder", "autoencoder": fingerprint(vae), "batch_size": run.batch_size, "seed": seed}
    summary = fit(job, run, settings | {"photo_share": photo_share} | data.settings())
    save_parts(parts, out)
    return summary


def _check_init(init: str | Path, flow_net: Any, preset: Preset, unet_stays: bool) -> None:
    """ValueError where weights do not fit the preset: another FlowNet, or a UNet that stays and would be read otherwise."""
    for name, field in FLOW_SIZES.items() if flow_net is not None else ():
        found, wanted = _plain({name: flow_net.config[name]})[name], _plain({name: getattr(preset, field)})[name]
        if found != wanted:
            raise ValueError(
                f"The FlowNet of {str(init)!r} has {name}={found}, the preset {field}={wanted}: change the preset."
            )
    index = Path(resolve_weights(init)) / INDEX
    if unet_stays and index.is_file():
        saved = json.loads(index.read_text(encoding="utf-8"))
        for name in READ_BY:
            wanted = getattr(preset, name)
            if saved.get(name, wanted) != wanted:
                raise ValueError(
                    f"The UNet of {str(init)!r} was trained with {name}={saved[name]}, the preset has {wanted}: it "
                    "stays as it is here, so change the preset."
                )


def _data(preset: Preset, seed: int, options: dict[str, Any]) -> TrainingData:
    """The data that the options ask for; they are taken out of them."""
    chosen = {name: options.pop(name) for name in TrainingData.OPTIONS if name in options}
    return TrainingData(preset, seed, **chosen)


def _run(preset: Preset, rates: Any, out: str | Path, steps, minutes, seed: int, options: dict[str, Any]) -> Run:
    """The run that the preset describes (`rates`: the part with this job's rates), as changed by the options."""
    if steps is None and minutes is None:
        steps = rates.steps
    defaults = {name: getattr(rates, name) for name in ("batch_size", "learning_rate", "warmup_steps")}
    defaults |= {name: getattr(preset, name) for name in ("grad_clip", "weight_decay", "ema_decay")}
    return Run(out=out, steps=steps, minutes=minutes, seed=seed, **{**defaults, **options})


def _plain(values: Any) -> Any:
    """As JSON would have it (tuples become lists), to compare with what a checkpoint holds."""
    return json.loads(json.dumps({k: v for k, v in dict(values).items() if not k.startswith("_") and k != "scaling_factor"}))
