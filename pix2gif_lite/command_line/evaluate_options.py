"""The options of `pix2gif-lite evaluate`. What the command does is in evaluate_command.py."""

from __future__ import annotations

import argparse

from .options import add_slider, number


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="lite", metavar="W", help="lite (shipped), a folder or a Hub id (default: lite)")
    parser.add_argument("--quick", action="store_true", help="fewer scenes: minutes, not a quarter of an hour")
    parser.add_argument("--scenes", type=number("scenes", 1, 10_000, True), metavar="N", help="(default: 200; with --quick 40)")
    parser.add_argument("--out", metavar="DIR", help="folder for results.json, the table and sheets of pictures")
    add_slider(parser, "--steps", "steps", None, "the weights' own")
    parser.add_argument("--sampler", metavar="NAME", help="dpmpp_2m or euler_ancestral (default: the weights' own)")
    ablation = parser.add_argument_group("the paper's ablation: variants trained anew and compared")
    text = "train and measure the variants of section 4.3 below --out, then report on them there; goes on where it stopped"
    ablation.add_argument("--ablation", action="store_true", help=text)
    text = (
        "which, by comma (default: all): base, motion-embed, warp, warp-add, warp-concat, full; source, absolute, paper-losses,"
        " subcell, flow-loss"
    )
    ablation.add_argument("--variants", metavar="LIST", help=text)
    ablation.add_argument("--seeds", type=number("seeds", 1, 100, True), metavar="N", help="runs of each (default: 3)")
    text = "training samples a run (default: 6000; a run then takes about 8 minutes on two cores)"
    ablation.add_argument("--samples", type=number("samples", 16, 1e9, True), metavar="N", help=text)
    videos = parser.add_argument_group("the paper's zero-shot table: generated clips beside a folder of real ones")
    text = "measure FVD, CLIPSim and PIC on this folder of videos, and write Table 1 into --out; goes on where it stopped"
    videos.add_argument("--videos", metavar="DIR", help=text)
    videos.add_argument("--layout", metavar="NAME", help="how the folder is made: ucf101 or msrvtt")
    videos.add_argument("--count", type=number("count", 1, 1e6, True), metavar="N", help="clips (default: 2048)")
    text = "msrvtt: the JSON or CSV with the captions (default: those that lie in the folder)"
    videos.add_argument("--annotations", metavar="FILE", help=text)
    videos.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:1, mps, ... (default: auto)")
