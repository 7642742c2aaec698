"""What the command `evaluate` does: it checks its options against each other, then calls what measures."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..request import check_folder, choose_device


def evaluate(args: argparse.Namespace) -> None:
    """Measure weights on scenes and photographs kept out of training and print the table."""
    if args.out:
        check_folder(Path(args.out))
    if args.videos is not None:
        return _zero_shot(args)
    given = {"--layout": args.layout, "--count": args.count, "--annotations": args.annotations, "--device": args.device}
    if flags := [flag for flag, value in given.items() if value is not None]:
        raise ValueError(f"{flags[0]} belongs to --videos: give it, or leave {flags[0]} out.")
    if args.ablation:
        return _ablation(args)
    given = {"--variants": args.variants, "--seeds": args.seeds, "--samples": args.samples}
    if flags := [flag for flag, value in given.items() if value is not None]:
        raise ValueError(f"{flags[0]} belongs to --ablation: give it, or leave {flags[0]} out.")
    from ..evaluate import run, table

    print(table(run(args.weights, args.out, args.scenes, args.quick, args.steps, args.sampler)))


def _ablation(args: argparse.Namespace) -> None:
    if not args.out:
        raise ValueError("--ablation trains for hours: give --out, the folder that keeps what is done.")
    given = {"--quick": args.quick, "--scenes": args.scenes, "--steps": args.steps, "--sampler": args.sampler}
    if flags := [flag for flag, value in given.items() if value]:
        raise ValueError(f"{flags[0]} is for the weights' own evaluation, not for --ablation: leave one of the two out.")
    from ..evaluation.ablation import NAMES, Budget, run
    from ..evaluation.ablation_pictures import write_report
    from ..evaluation.ablation_report import markdown

    names = NAMES if args.variants is None else tuple(name.strip() for name in args.variants.split(",") if name.strip())
    budget = Budget() if args.samples is None else Budget(samples=args.samples)
    try:
        results = run(args.out, args.seeds or 3, names, budget, start=args.weights)
        print(markdown(results))
        write_report(args.out, results)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done in {args.out} is kept: the same command goes on.") from None


def _zero_shot(args: argparse.Namespace) -> None:
    given = {"--quick": args.quick, "--scenes": args.scenes, "--ablation": args.ablation}
    given |= {"--variants": args.variants, "--seeds": args.seeds, "--samples": args.samples}
    if flags := [flag for flag, value in given.items() if value]:
        raise ValueError(f"{flags[0]} is of no use with --videos: leave one of the two out.")
    if not args.out:
        raise ValueError("--videos takes long: give --out, the folder that keeps what is done.")
    if not args.layout:
        raise ValueError("--videos needs --layout, how the folder is made: ucf101 or msrvtt.")
    device = choose_device(args.device or "auto")
    from ..evaluation.zero_shot import VIDEOS, run
    from ..evaluation.zero_shot_report import write

    how = {"steps": args.steps, "sampler": args.sampler, "device": device}
    try:
        run(args.videos, args.layout, args.out, args.weights, args.count or VIDEOS, args.annotations, **how)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done in {args.out} is kept: the same command goes on.") from None
    print(write(args.out))
