"""The options of `pix2gif-lite bench`. What the command does is in bench_command.py."""

from __future__ import annotations

import argparse

from ..benchmark.bench_plan import FULL, QUICK
from .options import number


def add_bench(parser: argparse.ArgumentParser) -> None:
    text = "folder for bench.json, bench.md and growth.png; a run that was stopped goes on there"
    parser.add_argument("--out", required=True, metavar="DIR", help=text)
    parser.add_argument("--weights", default="lite", metavar="W", help="lite (shipped), a folder or a Hub id (default: lite)")
    text = "distilled weights of the same model (default: those shipped beside lite, if there are)"
    parser.add_argument("--turbo", metavar="W", help=text)
    text = "below three minutes: fewer steps, scenes and repeats; what is computed from fewer steps is marked"
    parser.add_argument("--quick", action="store_true", help=text)
    text = f"of test, on which each way to make a GIF is judged (default: {FULL.scenes}; quick: {QUICK.scenes})"
    parser.add_argument("--scenes", type=number("scenes", 1, 10_000, True), metavar="N", help=text)
