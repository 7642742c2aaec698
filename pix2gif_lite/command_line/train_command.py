"""What the command `train` does: it checks its options against each other, then calls training.py."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..distilled import STEPS, TEACHER_STEPS, check_step_counts, parse_counts, smaller
from ..presets import get_preset
from ..request import check_folder, check_mix, choose_device, parse_loss_weights, parse_mix

RUN_OPTIONS = ("mixed_precision", "gradient_checkpointing", "optimizer", "compile", "tensorboard")


def train(args: argparse.Namespace) -> None:
    """Train the model, its autoencoder or its few-step form on drawn scenes, photographs or your own GIFs."""
    # 1. What can be refused without a model is refused first.
    out, preset = Path(args.out), get_preset(args.preset)
    if args.variant:
        preset = preset.with_changes(variant=args.variant)
    if args.perceptual:
        preset = preset.with_changes(perceptual_network=args.perceptual)
    if args.loss:
        preset = preset.with_changes(loss_weights=parse_loss_weights(args.loss, preset.loss_weights))
    autoencoder = args.what == "autoencoder"
    if args.data and not os.path.isdir(args.data):
        what = "pictures" if autoencoder else "curated GIFs"
        raise FileNotFoundError(f"There is no folder {args.data!r}: give one with {what}, or leave --data out.")
    if args.what != "model" and (args.vae or args.variant or args.only or args.loss or (autoencoder and args.scenes)):
        raise ValueError(
            "--vae, --variant, --only and --loss are for `train model`, --scenes not for `train autoencoder`: leave them out."
        )
    if autoencoder and (args.photos or args.large or args.mix):
        raise ValueError("--photos, --large and --mix are not for `train autoencoder`: leave them out.")
    mix = parse_mix(args.mix) if args.mix is not None else None
    if not autoencoder:
        if args.data and mix is None and (args.scenes or args.large or args.photos):
            raise ValueError("With --data the GIFs are all the data: to mix more in, give --mix, such as gifs=0.5,scenes=0.5.")
        check_mix(
            mix,
            {"scenes": args.scenes or 1, "large": args.large or 0, "photos": args.photos or 0, "gifs": int(bool(args.data))},
        )
    if args.what == "decoder" and not args.init:
        raise ValueError("`train decoder` teaches D what a model makes: give --init, the weights of one.")
    if args.what == "turbo" and not args.init:
        raise ValueError("`train turbo` distils weights to a few steps: give --init, such as --init lite.")
    turbo_only = (args.distilled_steps, args.teacher_steps, args.student_channels)
    if any(value is not None for value in turbo_only) and args.what != "turbo":
        raise ValueError("--distilled-steps, --teacher-steps and --student-channels are for `train turbo`: leave them out.")
    counts = STEPS if args.distilled_steps is None else parse_counts(args.distilled_steps)
    if args.decoder_channels is not None and args.what != "decoder":
        raise ValueError("--decoder-channels is for `train decoder`: leave it out.")
    widths = decoder_widths = None
    if args.student_channels is not None:
        widths = parse_counts(args.student_channels, "width", "32,64,96")
        smaller(preset, widths)
    if args.decoder_channels is not None:
        decoder_widths = parse_counts(args.decoder_channels, "width", "48")
        if not decoder_widths or min(decoder_widths) < 1:
            raise ValueError(f"--decoder-channels {args.decoder_channels!r}: give widths above 0, such as 48.")
    teacher_steps = TEACHER_STEPS if args.teacher_steps is None else args.teacher_steps
    check_step_counts(counts, teacher_steps)
    if args.what in ("model", "turbo") and args.photo_share is not None:
        raise ValueError("--photo-share is for `train autoencoder` and `train decoder`: leave it out.")
    if args.through and not autoencoder:
        raise ValueError("--through is for `train autoencoder`: leave it out.")
    if (args.flow_learns or args.pair_photos) and not args.through:
        raise ValueError("--flow-learns and --pair-photos belong to --through W: give it, or leave them out.")
    if args.decoder_only and not (autoencoder and args.init):
        raise ValueError("--decoder-only is for `train autoencoder --init W`: there is no trained encoder to keep.")
    check_folder(out)
    model_only = {"--lora": args.lora, "--cache-text": args.cache_text, "--perceptual": args.perceptual}
    model_only |= {"--push": args.push, "--tokenizer": args.tokenizer, "--text": args.text}
    if given := [flag for flag, value in model_only.items() if value and args.what != "model"]:
        raise ValueError(f"{given[0]} is for `train model`: leave it out.")
    if args.lora and args.only == "warp":
        raise ValueError("--lora adapts the UNet, and --only warp leaves it out: give one of them.")
    if args.cache_text and preset.train_text and args.only != "unet":
        raise ValueError(f"--cache-text: the preset {preset.name} trains its text encoder, so texts change: leave it out.")
    device = choose_device("cpu" if args.cpu else args.device)
    # 2. What needs to look at weights.
    from ..origins.hub import check_push
    from ..origins.starting import kind_of
    from ..pretrained import LITE_WEIGHTS, resolve_weights

    if args.push:
        check_push(args.push)
    for weights in filter(None, (args.vae, args.through, args.text)):
        resolve_weights(weights)
    _, start = kind_of(args.init)
    if start is not None and start.resolve() == out.resolve():
        raise ValueError(f"--init and --out are both {args.out!r}, and its weights would be written over: give another --out.")
    vae = args.vae or (None if args.init else "lite" if preset.name == "lite" and LITE_WEIGHTS.is_dir() else None)
    if not autoencoder and vae is None and args.init is None:
        command = f"pix2gif-lite train autoencoder --preset {preset.name} --out runs/vae"
        raise ValueError(f"The model needs an autoencoder: run `{command}`, then give --vae runs/vae.")
    # 3. The training itself.
    from ..distillation import train_turbo
    from ..hardware import out_of_memory
    from ..learning import samples
    from ..learning.checkpoints import checkpoints
    from ..learning.decoder_training import train_decoder
    from ..learning.training_loop import ADVICE, CHECKPOINTS
    from ..processes import place
    from ..training import train_autoencoder, train_model

    common = {"steps": args.steps, "minutes": args.minutes, "seed": args.seed, "init": args.init, "resume": args.resume}
    common |= {name: getattr(args, name) for name in RUN_OPTIONS} | {
        "callback_every": args.samples_every,
        "cpu": device == "cpu",
    }
    optional = {"batch_size": args.batch_size, "photo_share": args.photo_share, "scenes": args.scenes, "only": args.only}
    optional |= {"photos": args.photos, "large": args.large, "mix": mix, "data": None if autoencoder else args.data}
    optional |= {"micro_batch": args.micro_batch, "lora_rank": args.lora, "cache_text": args.cache_text or None}
    optional |= {"tokenizer": args.tokenizer, "text": args.text}
    common |= {name: value for name, value in optional.items() if value is not None}
    try:
        with out_of_memory(ADVICE):  # also while weights move to the device, and data are encoded
            if autoencoder:
                own = {"photos": args.data or None, "decoder_only": args.decoder_only, "through": args.through}
                own |= {"flow_learns": args.flow_learns, "pair_photos": args.pair_photos}
                summary = train_autoencoder(preset, out, callback=samples.of_autoencoder, **own, **common)
            elif args.what == "decoder":
                summary = train_decoder(preset, out, decoder_channels=decoder_widths, **common)
            elif args.what == "turbo":
                own = {"distilled_steps": counts, "teacher_steps": teacher_steps, "student_channels": widths}
                summary = train_turbo(preset, out, callback=samples.of_model, **own, **common)
            else:
                summary = train_model(preset, out, vae=vae, callback=samples.of_model, **common)
    except KeyboardInterrupt:
        if not checkpoints(out / CHECKPOINTS):  # the data were being encoded
            raise KeyboardInterrupt(f"What is encoded in {out} is kept: the same command goes on.") from None
        raise KeyboardInterrupt(f"The checkpoint in {out} is kept: the same command with --resume goes on.") from None
    if place()[0]:  # of several processes the first one tells
        return
    where = f", samples in {out / samples.FOLDER}" if (out / samples.FOLDER).is_dir() else ""
    print(f"{out}: trained for {summary['steps']} steps{where}")
    for name, value in summary.items():
        print(f"  {name}: {f'{value:.4g}' if isinstance(value, float) else value}")
    if args.push:
        from ..origins.hub import push

        print(f"  on the Hub: {push(out, args.push)}")
