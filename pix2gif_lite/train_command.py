"""What the command `train` does: it checks its options against each other, then calls training.py."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .presets import get_preset
from .request import check_folder, check_mix, parse_loss_weights, parse_mix


def train(args: argparse.Namespace) -> None:
    """Train the model, or its autoencoder, on drawn scenes, photographs or your own GIFs."""
    # 1. What can be refused without a model is refused first.
    out, preset = Path(args.out), get_preset(args.preset)
    if args.variant:
        preset = preset.with_changes(variant=args.variant)
    if args.loss:
        preset = preset.with_changes(loss_weights=parse_loss_weights(args.loss, preset.loss_weights))
    autoencoder = args.what == "autoencoder"
    if args.data and not os.path.isdir(args.data):
        what = "pictures" if autoencoder else "curated GIFs"
        raise FileNotFoundError(f"There is no folder {args.data!r}: give one with {what}, or leave --data out.")
    if args.what != "model" and (args.vae or args.variant or args.only or args.loss or (autoencoder and args.scenes)):
        raise ValueError("--vae, --variant, --scenes, --only and --loss are for `train model`: leave them out.")
    if autoencoder and (args.photos or args.mix):
        raise ValueError("--photos and --mix are for `train model` and `train decoder`: leave them out.")
    mix = parse_mix(args.mix) if args.mix is not None else None
    if not autoencoder:
        if args.data and mix is None and (args.scenes or args.photos):
            raise ValueError("With --data the GIFs are all the data: to mix more in, give --mix, such as gifs=0.5,scenes=0.5.")
        check_mix(mix, {"scenes": args.scenes or 1, "photos": args.photos or 0, "gifs": int(bool(args.data))})
    if args.what == "decoder" and not args.init:
        raise ValueError("`train decoder` teaches D what a model makes: give --init, the weights of one.")
    if args.through and not autoencoder:
        raise ValueError("--through is for `train autoencoder`: leave it out.")
    if args.decoder_only and not (autoencoder and args.init):
        raise ValueError("--decoder-only is for `train autoencoder --init W`: there is no trained encoder to keep.")
    check_folder(out)
    # 2. What needs to look at weights.
    from .pretrained import LITE_WEIGHTS, resolve_weights

    for weights in filter(None, (args.vae, args.init, args.through)):
        resolve_weights(weights)
    vae = args.vae or args.init or ("lite" if preset.name == "lite" and LITE_WEIGHTS.is_dir() else None)
    if not autoencoder and vae is None:
        command = f"pix2gif-lite train autoencoder --preset {preset.name} --out runs/vae"
        raise ValueError(f"The model needs an autoencoder: run `{command}`, then give --vae runs/vae.")
    # 3. The training itself.
    from . import samples
    from .training import train_autoencoder, train_decoder, train_model

    common = {
        "steps": args.steps,
        "minutes": args.minutes,
        "seed": args.seed,
        "init": args.init,
        "resume": args.resume,
        "mixed_precision": args.mixed_precision,
        "cpu": args.cpu,
        "callback_every": args.samples_every,
    }
    optional = {"batch_size": args.batch_size, "photo_share": args.photo_share, "scenes": args.scenes, "only": args.only}
    optional |= {"photos": args.photos, "mix": mix, "data": None if autoencoder else args.data}
    common |= {name: value for name, value in optional.items() if value is not None}
    try:
        if autoencoder:
            own = {"photos": args.data or None, "decoder_only": args.decoder_only, "through": args.through}
            summary = train_autoencoder(preset, out, callback=samples.of_autoencoder, **own, **common)
        elif args.what == "decoder":
            summary = train_decoder(preset, out, **common)
        else:
            summary = train_model(preset, out, vae=vae, callback=samples.of_model, **common)
        if not autoencoder:
            samples.whole_pipeline(preset, out).save_config(out)  # now the folder is one that --weights takes
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"The checkpoint in {out} is kept: the same command with --resume goes on.") from None
    where = f", samples in {out / samples.FOLDER}" if (out / samples.FOLDER).is_dir() else ""
    print(f"{out}: trained for {summary['steps']} steps{where}")
    for name, value in summary.items():
        print(f"  {name}: {f'{value:.4g}' if isinstance(value, float) else value}")
