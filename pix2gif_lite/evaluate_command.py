"""What the command `evaluate` does: it checks its options against each other, then calls evaluate.py or ablation.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from .request import check_folder


def evaluate(args: argparse.Namespace) -> None:
    """Measure weights on scenes and photographs kept out of training and print the table."""
    if args.out:
        check_folder(Path(args.out))
    if args.ablation:
        return _ablation(args)
    given = {"--variants": args.variants, "--seeds": args.seeds, "--samples": args.samples}
    if flags := [flag for flag, value in given.items() if value is not None]:
        raise ValueError(f"{flags[0]} belongs to --ablation: give it, or leave {flags[0]} out.")
    from .evaluate import run, table

    print(table(run(args.weights, args.out, args.scenes or 200, args.quick, args.steps, args.sampler)))


def _ablation(args: argparse.Namespace) -> None:
    if not args.out:
        raise ValueError("--ablation trains for hours: give --out, the folder that keeps what is done.")
    given = {"--quick": args.quick, "--scenes": args.scenes, "--steps": args.steps, "--sampler": args.sampler}
    if flags := [flag for flag, value in given.items() if value]:
        raise ValueError(f"{flags[0]} is for the weights' own evaluation, not for --ablation: leave one of the two out.")
    from .ablation import NAMES, Budget, run
    from .ablation_report import table

    names = NAMES if args.variants is None else tuple(name.strip() for name in args.variants.split(",") if name.strip())
    budget = Budget() if args.samples is None else Budget(samples=args.samples)
    try:
        results = run(args.out, args.seeds or 3, names, budget, start=args.weights)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done in {args.out} is kept: the same command goes on.") from None
    print(table(results))
