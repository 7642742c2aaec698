"""Training, from a preset to saved weights: first the autoencoder, then the model on its latents (paper section 4.1).

What is learnt is in learning/autoencoder_job.py and model_job.py, how in training_loop.py there, from what in
data/training_data.py and mixture.py. This file only puts them together; the decoder's last lesson is
learning/decoder_training.py's.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from .autoencoder import build_autoencoder
from .cards.card import write_card
from .data.latent_cache import fingerprint
from .data.mixture import TrainingData
from .data.pair_data import curated, training_frames
from .data.text_cache import cache_texts, prompts_of
from .data.training_data import PictureSource
from .hardware import choose_precision, half_on_gpu
from .learning.autoencoder_job import AutoencoderJob
from .learning.lora import merge_lora
from .learning.model_job import ModelJob
from .learning.perceptual_choice import choose_perceptual
from .learning.rehearsal_job import RehearsalJob
from .learning.training_loop import Run, fit
from .model import Pix2GifModel
from .origins.loading import PARTS, load_component, save_parts
from .origins.starting import Start, starting_parts
from .pipeline import Pix2GifPipeline
from .presets import Preset
from .processes import device, on_main, place

SAMPLING_FIELDS = "sampler sampling_steps spacing s_T s_I s_M second_look distilled_steps name steps autoencoder".split()


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
    flow_learns: bool = False,
    pair_photos: float = 0.0,
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
    flow_learns, pair_photos  with `through`, see `RehearsalJob`; what learnt of the model is saved below `out` too
    options         fields of `Run`: resume, callback, callback_every, mixed_precision, batch_size, learning_rate, ...

    The saved scaling factor, 1 / std of the latents, is measured at the end, unless a model learnt to read them already
    (decoder_only, through). Errors: those of `fit`, ValueError for a
    setting out of range, ModuleNotFoundError when the photographs' packages are missing.
    """
    sizes = preset.autoencoder
    photos = training_frames(photos) if photos is not None and curated(photos) else photos
    run = planned_run(preset, sizes, out, steps, minutes, seed, options)
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
        learning |= {"flow_learns": flow_learns, "pair_photos": pair_photos}
        job = RehearsalJob(preset, vae, source, model, parts["tokenizer"], held_out=held_out, **learning)
    settings = {"job": "autoencoder", "autoencoder": _plain(vae.config), "batch_size": run.batch_size, "seed": seed}
    settings |= {"photo_share": photo_share, "photographs": len(source.photos)}
    summary = fit(job, run, settings | learning | {"through": None if through is None else str(through)})

    if not decoder_only and through is None:
        with torch.no_grad():
            pictures = source.batch(range(128)).image
            latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pictures.split(16)])
        vae.register_to_config(scaling_factor=float(1 / latents.std()))
    on_main(lambda: save_parts({"vae": vae} | (parts if through is not None and flow_learns else {}), out))
    return summary | {"scaling_factor": vae.config.scaling_factor}


def train_model(
    preset: Preset,
    out: str | Path,
    *,
    vae: str | Path | AutoencoderKL | None = None,
    text: str | Path | None = None,
    init: str | Path | None = None,
    held_out: int = 16,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    only: str | None = None,
    lora_rank: int | None = None,
    cache_text: bool = False,
    tokenizer: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Train text encoder, motion embedding, FlowNet and UNet together; saves a pipeline in `out`. Returns `fit`'s summary.

    vae             an autoencoder, or its folder or Hub id (None: the one of `init`); it stays as it is
    text            weights whose text encoder and tokenizer to start from (None: those of `init`): the paper's are CLIP's
    init            what to start from (origins/starting.py): "lite", a folder, a Hub id, Stable Diffusion, InstructPix2Pix, the
                    reference's checkpoint; None: from scratch
    held_out        of each, validation members measured at every callback (0: none)
    steps, minutes  the run ends at whichever comes first (neither: the preset's steps)
    only            "warp" or "unet": train that half alone, see `ModelJob` (None: all)
    lora_rank       train adapters of this rank in place of the UNet's own weights, see learning/lora.py; merged when saved
    cache_text      run the frozen text encoder once over all prompts, see data/text_cache.py
    tokenizer       for the reference's checkpoint, which holds none: a folder or Hub id (None: CLIP's from the Hub)
    options         the data, see `TrainingData`: scenes (4000), targets, latents, photos, data, mix, ...; and
                    fields of `Run`: resume, callback, callback_every, mixed_precision, batch_size, learning_rate, ...

    On a GPU what stays frozen, E, D and CLIP, is held (and saved) in half precision. Several processes (accelerate launch)
    return the same summary; the main one writes. Errors: those of `fit`, `TrainingData` and `starting_parts`.
    """
    preset = choose_perceptual(preset)
    data = chosen_data(preset, seed, options)
    run = planned_run(preset, preset, out, steps, minutes, seed, options)
    if only == "unet" and init is None:
        raise ValueError(
            "only='unet' keeps the warp as it is, and there is none yet: give init, weights whose warp is trained."
        )
    start = starting_parts(init, preset, vae=vae, text=text, seed=seed, unet_stays=only == "warp", tokenizer=tokenizer)
    parts, preset = start.parts, start.preset
    if parts["flow_net"] is not None:  # no weight depends on it: how cells are looked up is the preset's to say
        parts["flow_net"].register_to_config(interpolation=preset.interpolation)
    model, precision = Pix2GifModel.from_parts(parts, preset), choose_precision(run.mixed_precision, run.cpu)
    half = half_on_gpu(precision, run.cpu)
    vae = parts["vae"] = copy.deepcopy(parts["vae"]) if half else parts["vae"]  # the caller's keeps its precision
    frozen = [vae.to(device(run.cpu)), *([] if preset.train_text else [parts["text_encoder"].to(device(run.cpu))])]
    encoding = {"mixed_precision": precision, "progress_bar": run.progress_bar}
    latents, val = data.encode(vae.eval(), out, held_out, bool(preset.loss_weights.get("flow")), **encoding)
    texts = None
    if cache_text:
        prompts = prompts_of(preset, latents, val)
        texts = cache_texts(parts["text_encoder"], parts["tokenizer"], Path(out) / "texts", prompts, **encoding)
    known_by = fingerprint(vae)  # like those of the caches, taken before halves that differ from card to card
    for part in frozen:
        torch.nn.Module.to(part, half)  # None: as it is. diffusers' own `to` warns of layers to keep, even of none
    more = {"lora_rank": lora_rank, "frozen_dtype": half, "texts": texts}
    job = ModelJob(preset, model, parts["tokenizer"], vae, latents, seed, val, only, **more)
    training = {k: v for k, v in asdict(preset).items() if k not in SAMPLING_FIELDS}
    settings = {"job": "model", "preset": _plain(training), "batch_size": run.batch_size, "seed": seed}
    settings |= {"autoencoder": known_by, "only": only, "lora_rank": lora_rank, "text": text and str(text)} | data.settings()
    summary = fit(job, run, settings)
    if lora_rank:
        merge_lora(parts["unet"])
    save_pipeline(start, out, init, summary, settings)
    return summary


def save_pipeline(start: Start, out: str | Path, init: Any, summary: dict[str, Any], settings: dict[str, Any]) -> None:
    """A folder that `Pix2GifPipeline.from_pretrained` takes, with its card; written by the first process alone."""

    def save() -> None:
        save_parts(start.parts, out)
        Pix2GifPipeline.from_components(start.preset, start.parts).save_config(out)
        write_card(out, start.preset, summary, settings | {"vae": start.vae}, kind=start.kind, init=init, place=start.place)

    on_main(save)


def chosen_data(preset: Preset, seed: int, options: dict[str, Any]) -> TrainingData:
    """The data that the options ask for; they are taken out of them."""
    chosen = {name: options.pop(name) for name in TrainingData.OPTIONS if name in options}
    return TrainingData(preset, seed, **chosen)


def planned_run(preset: Preset, rates: Any, out: str | Path, steps, minutes, seed: int, options: dict[str, Any]) -> Run:
    """The run that the preset describes (`rates`: the part with this job's rates), as changed by the options."""
    if steps is None and minutes is None:
        steps = rates.steps
    defaults = {name: getattr(rates, name) for name in ("batch_size", "learning_rate", "warmup_steps")}
    defaults |= {name: getattr(preset, name) for name in ("grad_clip", "weight_decay", "ema_decay")}
    if rates is preset:  # the autoencoder's batches are small and its rate falls
        defaults |= {name: getattr(preset, name) for name in ("lr_start", "lr_schedule", "micro_batch")}
    run = Run(out=out, steps=steps, minutes=minutes, seed=seed, **{**defaults, **options})
    run.split(place(run.cpu)[1])  # connects the processes, and refuses before hours of encoding
    return run


def _plain(values: Any) -> Any:
    """As JSON would have it (tuples become lists), to compare with a checkpoint's; older ones name no `decoder_channels`."""
    plain = {k: v for k, v in dict(values).items() if not k.startswith("_") and k != "scaling_factor"}
    return json.loads(json.dumps({k: v for k, v in plain.items() if k != "decoder_channels" or v is not None}))
