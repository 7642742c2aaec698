"""`pix2gif-lite`: the command line. Here are its exit codes and the options of generate, curate, scenes and info; those of
train, evaluate and bench, and what all of them do, are in command_line/.

Exit codes: 0 done, 1 training diverged, memory ran out, or a compiler or another process failed, 2 bad input (one sentence on
stderr, nothing written), 130 stopped by Ctrl-C.
Nothing heavy is imported before a command runs, so `--help` answers at once.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence

from . import __version__
from .command_line import commands
from .command_line.bench_options import add_bench
from .command_line.evaluate_options import add_evaluate
from .command_line.options import Parser, add_device, add_slider, number
from .command_line.train_options import add_train
from .presets import DEMO_MOTIONS, MOTION_MAX, MOTION_MIN, SLIDERS
from .reasons import Failed

MOTIONS = ",".join(str(m) for m in DEMO_MOTIONS)
OWN_WARNINGS = "Motion |The caption |The data |The perceptual "  # how those that are ours begin
DATA_SPLITS = ("train", "val", "test", "test_pairs", "test_open")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="pix2gif-lite",
        description="A picture and a caption become a GIF: Pix2Gif's motion-guided diffusion, small enough for a laptop.",
        epilog=f"Example: pix2gif-lite generate --image my.png --caption 'a red balloon is rising' --motion {MOTIONS}",
    )
    parser.add_argument("--version", action="version", version=f"pix2gif-lite {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for name, add in {
        "generate": add_generate,
        "train": add_train,
        "curate": add_curate,
        "scenes": add_scenes,
        "evaluate": add_evaluate,
        "bench": add_bench,
        "info": add_info,
    }.items():
        text = str(getattr(commands, name).__doc__).splitlines()[0]
        add(subparsers.add_parser(name, help=text[0].lower() + text[1:].rstrip("."), description=text))
    return parser


def add_generate(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what to make")
    what.add_argument("--image", metavar="FILE", help="the picture to move, any size (default: a picture that comes along)")
    what.add_argument("--caption", metavar="TEXT", help="what moves and how, such as 'a red balloon is rising'")
    what.add_argument(
        "--motion",
        default=MOTIONS,
        metavar="LIST",
        help="one number a frame: how far things have moved, in pixels at 256 x 256; "
        f"{MOTION_MIN}-{MOTION_MAX} was trained with, 0 is the picture itself, fractions are fine (default: {MOTIONS})",
    )
    what.add_argument("--weights", default="lite", metavar="W", help="lite (shipped), a folder or a Hub id (default: lite)")
    file = parser.add_argument_group("the file")
    file.add_argument("--out", default="out.gif", metavar="FILE", help=".gif, .webp or .mp4 (default: out.gif)")
    add_slider(file, "--fps", "fps", SLIDERS["fps"].default, f"{SLIDERS['fps'].default:g}")
    file.add_argument("--loop", choices=("forward", "pingpong", "none"), default="forward", help="(default: forward)")
    file.add_argument(
        "--palette", choices=("auto", "global", "frame"), default="auto", help="of a GIF: one, or one a frame (default: auto)"
    )
    file.add_argument(
        "--size", type=number("size", 8, 16384, True), metavar="PX", help="longest side of the frames (default: the picture's)"
    )
    file.add_argument("--no-detail", dest="detail", action="store_false", help="leave out what the autoencoder loses")
    how = parser.add_argument_group("how")
    add_slider(how, "--steps", "steps", None, "the weights' own")
    how.add_argument("--sampler", metavar="NAME", help="dpmpp_2m or euler_ancestral (default: the weights' own)")
    add_slider(how, "--s-T", "s_T", None, "the weights' own")
    add_slider(how, "--s-I", "s_I", None, "the weights' own")
    add_slider(how, "--s-M", "s_M", None, "none, the paper's formula")
    how.add_argument("--noise", default="shared", metavar="KIND", help="shared by all frames, or independent (default: shared)")
    add_slider(how, "--seed", "seed", 0, "0")
    add_device(how)
    big = parser.add_argument_group("large weights and large pictures")
    big.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="(default: float32)")
    text = "short side that the models work at (default: the weights' own, at which motion is followed best)"
    big.add_argument("--image-size", type=number("image-size", 32, 4096, True), metavar="PX", help=text)
    text = "frames in one call of the UNet (default: 16)"
    big.add_argument("--frames-at-once", type=number("frames-at-once", 1, 256, True), default=16, metavar="N", help=text)
    text = "keep weights off the GPU but for the model, or the layer, that computes (default: none)"
    big.add_argument("--offload", choices=("none", "model", "layers"), default="none", help=text)
    big.add_argument("--tiling", action="store_true", help="decode large pictures in tiles")


def add_curate(parser: argparse.ArgumentParser) -> None:
    text = "a folder of animations with captions (captions.csv, or a .txt each), or a .tsv of addresses and captions as TGIF's"
    parser.add_argument("source", metavar="FOLDER_OR_TSV", help=text)
    parser.add_argument("--out", required=True, metavar="DATA", help="folder for pairs and report; it holds this source alone")
    text = "of a clip's pairs: uniform over the integer motions, or random as the paper's (default: uniform)"
    parser.add_argument("--draw", choices=("uniform", "random"), default="uniform", help=text)
    for flag, default, text in (("--low", MOTION_MIN, "smallest"), ("--high", MOTION_MAX, "largest")):
        text = f"{text} motion that is kept, px at 256 x 256 (default: {default})"
        parser.add_argument(flag, type=number(flag[2:], 0.01, 256), default=default, metavar="N", help=text)
    text = "pairs drawn from a clip (default: 10)"
    parser.add_argument("--most", type=number("most", 1, 1e6, True), default=10, metavar="N", help=text)
    parser.add_argument("--flip", action="store_true", help="add each pair mirrored, left and right swapped in its caption")
    text = "colour under transparent parts (default: FFFFFF)"
    parser.add_argument("--background", default="FFFFFF", metavar="RRGGBB", help=text)
    add_slider(parser, "--seed", "seed", 0, "0", "which pairs are drawn, and the split")
    parser.add_argument("--workers", type=number("workers", 1, 4096, True), metavar="N", help="processes (default: one a core)")
    parser.add_argument("--scheduler", metavar="ADDR", help="of a Dask cluster, tcp://...; local: one on this machine")


def add_scenes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="PATH", help="FILE.png: one sheet; else a folder for GIFs")
    parser.add_argument("--count", type=number("count", 1, 100_000, True), default=64, metavar="N", help="(default: 64)")
    parser.add_argument("--split", choices=DATA_SPLITS, default="train", help="(default: train)")
    parser.add_argument("--size", type=number("size", 32, 1024, True), default=128, metavar="PX", help="(default: 128)")
    add_slider(parser, "--seed", "seed", 0, "0", "which scenes are drawn")


def add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="lite", metavar="W", help="lite (shipped), a folder or a Hub id (default: lite)")


def _join_negatives(arguments: Sequence[str]) -> list[str]:
    """ "--motion -3,4" as "--motion=-3,4": argparse takes the number for an option and says so, misleadingly."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.match(r"-[\d.]", argument):
            joined[-1] += "=" + argument
        else:
            joined.append(argument)
    return joined


def _note(message: Warning | str, *_: object) -> None:
    print(f"Note: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (None: this process's) and return its exit code."""
    try:
        args = build_parser().parse_args(_join_negatives(sys.argv[1:] if argv is None else argv))
        with warnings.catch_warnings():
            warnings.showwarning = _note  # put back by catch_warnings
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, message=OWN_WARNINGS)
            getattr(commands, args.command)(args)
    except SystemExit as stop:  # --help, --version
        return int(stop.code or 0)
    except KeyboardInterrupt as stop:
        print(f"Stopped. {stop}".strip(), file=sys.stderr)
        return 130
    except (FloatingPointError, MemoryError, Failed) as error:
        return _refuse(error, 1)
    except (ValueError, OSError, ImportError) as error:
        return _refuse(error, 2)
    return 0


def _refuse(error: Exception, code: int) -> int:
    if isinstance(error, OSError) and error.strerror:  # raised by the system, not by us: "[Errno 28] No space ..."
        where = f" ({error.filename})" if error.filename else ""
        error = OSError(f"The system refused: {error.strerror}{where}.")
    print(" ".join(str(error).split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
