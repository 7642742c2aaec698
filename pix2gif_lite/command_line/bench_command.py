"""What the command `bench` does: it checks its folder, then calls what measures."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..request import check_folder


def bench(args: argparse.Namespace) -> None:
    """Time every way to make a GIF beside the reference's recipe and diffusers, and what else a user waits for."""
    check_folder(Path(args.out))
    from ..pretrained import resolve_weights

    for weights in (args.weights, args.turbo):
        if weights is not None:
            resolve_weights(weights)
    from ..bench import run
    from ..benchmark.bench_report import bench_markdown

    try:
        print(bench_markdown(run(args.weights, args.out, args.turbo, args.quick, args.scenes)))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is measured in {args.out} is kept: the same command goes on.") from None
