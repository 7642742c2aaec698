"""The options of `pix2gif-lite train`. What they mean together is checked in train_command.py."""

from __future__ import annotations

import argparse

from ..distilled import STEPS, TEACHER_STEPS
from ..presets import PRESETS, VARIANTS
from .options import add_slider, number

INIT = (
    "weights to start from: lite, a folder, a Hub id; Stable Diffusion v1.5 or InstructPix2Pix as diffusers keeps them, or the "
    "reference's .ckpt (default: from scratch)"
)


def add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", choices=("model", "autoencoder", "decoder", "turbo"), default="model", help="(default: model)"
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), default="lite", help="sizes and rates (default: lite)")
    parser.add_argument("--variant", choices=VARIANTS, help="the paper's ablation (default: the preset's)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for weights, log, checkpoints and samples")
    parser.add_argument("--data", metavar="DIR", help="what `curate` wrote; autoencoder: also a folder of pictures")
    text = "model: a trained autoencoder, folder or Hub id (default: of --init; for lite, the shipped)"
    parser.add_argument("--vae", metavar="DIR", help=text)
    text = "model: weights of ours whose text encoder and tokenizer to start from (default: those of --init)"
    parser.add_argument("--text", metavar="W", help=text)
    parser.add_argument("--init", metavar="W", help=INIT)
    text = "model: for the reference's .ckpt, which holds none (default: CLIP ViT-L/14's, from the Hub)"
    parser.add_argument("--tokenizer", metavar="DIR", help=text)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, to the bit")
    end = parser.add_argument_group("how long: whichever comes first")
    end.add_argument("--minutes", type=number("minutes", 0.01, 1e6), metavar="N")
    end.add_argument("--steps", type=number("steps", 1, 1e9, True), metavar="N", help="(default: the preset's; turbo: 2000)")
    how = parser.add_argument_group("how")
    how.add_argument("--scenes", type=number("scenes", 1, 1e6, True), metavar="N", help="all but autoencoder: how many scenes")
    how.add_argument("--photos", type=number("photos", 1, 1e6, True), metavar="N", help="the same: how many moved photographs")
    text = "the same: how many scenes of what turns, leans and grows alone"
    how.add_argument("--large", type=number("large", 1, 1e6, True), metavar="N", help=text)
    how.add_argument(
        "--mix",
        metavar="NAME=W,...",
        help="the same: share of samples from scenes, large, photos, gifs (default: with --data gifs=1; else "
        "scenes=0.65,large=0.35,photos=0.35 of what there is)",
    )
    how.add_argument("--only", choices=("warp", "unet"), help="model: train this half alone; the warp learns faster so")
    how.add_argument("--loss", metavar="NAME=W,...", help="model: weights of loss terms, such as warp=0.3,perceptual=0.01")
    how.add_argument(
        "--photo-share", type=number("photo-share", 0, 1), metavar="N", help="autoencoder, decoder: share of photographs"
    )
    how.add_argument("--decoder-only", action="store_true", help="autoencoder: train D alone, so that latents stay as they are")
    how.add_argument("--through", metavar="W", help="autoencoder: learn what the warp of these weights makes, too")
    how.add_argument("--flow-learns", action="store_true", help="with --through: FNet, M and the text encoder learn along")
    text = "with --through: share of its pairs that are moved photographs (default: 0)"
    how.add_argument("--pair-photos", type=number("pair-photos", 0, 1), default=0.0, metavar="N", help=text)
    text = f"turbo: what the weights will be sampled in (default: {','.join(map(str, STEPS))})"
    how.add_argument("--distilled-steps", metavar="N,...", help=text)
    text = f"turbo: steps that the weights of --init take to show where to end (default: {TEACHER_STEPS})"
    how.add_argument("--teacher-steps", type=number("teacher-steps", 2, 999, True), metavar="N", help=text)
    text = "decoder: widths of a smaller D, the finest first, such as 48 for lite (default: the D of --init, trained on)"
    how.add_argument("--decoder-channels", metavar="N,...", help=text)
    text = "turbo: widths of a smaller UNet, the finest first, such as 32,64,96 (default: a copy of the UNet of --init)"
    how.add_argument("--student-channels", metavar="N,...", help=text)
    how.add_argument("--batch-size", type=number("batch-size", 1, 65536, True), metavar="N", help="(default: the preset's)")
    how.add_argument("--samples-every", type=number("samples-every", 1, 1e9, True), default=500, metavar="STEPS")
    add_slider(how, "--seed", "seed", 0, "0", "first weights, data, order of samples and noise")
    add_scale(parser.add_argument_group("what a GPU needs"))
    parser.add_argument("--push", metavar="OWNER/NAME", help="put the finished weights on the Hub, with their card")


def add_scale(group: argparse._ArgumentGroup) -> None:
    """What makes a model of the paper's size fit a device, and use it well."""
    group.add_argument("--mixed-precision", choices=("auto", "no", "fp16", "bf16"), default="auto")
    text = "which of several GPUs is CUDA_VISIBLE_DEVICES' to say, or accelerate launch's (default: auto)"
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help=text)
    group.add_argument("--cpu", action="store_true", help="the same as --device cpu")
    text = "samples a device at once; a batch is accumulated from them (default: the preset's)"
    group.add_argument("--micro-batch", type=number("micro-batch", 1, 65536, True), metavar="N", help=text)
    text = "compute activations again instead of keeping them: a third slower, far less memory"
    group.add_argument("--gradient-checkpointing", action="store_true", help=text)
    text = "adamw8bit (bitsandbytes) keeps a quarter of the optimiser's memory (default: adamw)"
    group.add_argument("--optimizer", choices=("adamw", "adamw8bit"), default="adamw", help=text)
    text = "model: train low-rank adapters of this rank in place of the UNet's own weights; 16 fits a 15 GiB card"
    group.add_argument("--lora", type=number("lora", 1, 1024, True), metavar="RANK", help=text)
    text = "model: run the frozen text encoder once over all prompts (118 kB of disk a prompt at the paper's scale)"
    group.add_argument("--cache-text", action="store_true", help=text)
    text = "model: what L_P looks with; auto: vgg19 where torchvision and its weights can be had (default: the preset's)"
    group.add_argument("--perceptual", choices=("auto", "vgg19", "decoder"), help=text)
    group.add_argument("--compile", action="store_true", help="torch.compile the UNet: minutes at the start, faster afterwards")
    group.add_argument("--tensorboard", action="store_true", help="curves for tensorboard beside log.jsonl")
