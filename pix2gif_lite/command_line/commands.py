"""What the commands do. Each takes the parsed options of cli.py; the heavy imports wait until the cheap checks are passed."""

from __future__ import annotations

import argparse
import csv
import io
import time
from pathlib import Path
from typing import Any

from ..presets import DEMO_MOTIONS
from ..request import check_folder, check_motions, choose_device, parse_motions
from .bench_command import bench as bench  # a command too: what it checks fills a file of its own
from .evaluate_command import evaluate as evaluate  # the same
from .train_command import train as train  # and this one

ASSETS = Path(__file__).parent.parent / "assets"
EXAMPLE_IMAGE, EXAMPLE_CAPTION = ASSETS / "example.png", ASSETS / "example.txt"


def generate(args: argparse.Namespace) -> None:
    """Turn a picture and a caption into a GIF."""
    from tqdm import tqdm

    from ..gifs import check_output

    # 1. What can be refused without a model is refused first.
    motions = check_motions(parse_motions(args.motion))
    image = EXAMPLE_IMAGE if args.image is None else args.image
    caption = args.caption
    if caption is None:
        if args.image is not None:
            raise ValueError("There is no caption: say what moves and how, such as --caption 'a red balloon is rising'.")
        caption = EXAMPLE_CAPTION.read_text(encoding="utf-8").strip()
    if not caption.strip():
        raise ValueError(f"The caption {caption!r} is empty: say in a few words what moves and how.")
    from ..media.pictures import open_image

    source = open_image(image)
    check_output(args.out)
    device = choose_device(args.device)
    if args.offload != "none" and device == "cpu":
        raise ValueError(f"--offload {args.offload} keeps weights off a GPU, and there is none: leave it out.")
    form = "{desc}: {percentage:3.0f}%|{bar:24}| {elapsed}"
    with tqdm(total=1.0, desc="importing", bar_format=form, delay=1, leave=False, disable=None) as bar:

        def advance(stage: str, done: float) -> None:
            bar.set_description(stage, refresh=False)
            bar.update(done - bar.n)

        # 2. The model, then the frames, then the file.
        clock = time.perf_counter()
        import torch

        from ..hardware import out_of_memory
        from ..pipeline import ADVICE, Pix2GifPipeline
        from ..result import Clock

        stages = Clock()
        stages.times["import"] = stages.last - clock
        advance("loading", 0.2)
        pipe = Pix2GifPipeline.from_pretrained(args.weights, torch_dtype=getattr(torch, args.dtype))
        with out_of_memory(ADVICE):
            pipe = place_pipeline(pipe, device, args.offload)
        if args.tiling:
            pipe.vae.enable_tiling()
        stages.lap("load")
        advance("drawing", 0.3)
        out = pipe(
            source,
            caption,
            motions,
            steps=args.steps,
            sampler=args.sampler,
            s_T=args.s_T,
            s_I=args.s_I,
            s_M=args.s_M,
            seed=args.seed,
            noise=args.noise,
            detail=args.detail,
            output_size=args.size,
            image_size=args.image_size,
            frames_at_once=args.frames_at_once,
            callback=lambda state: advance("drawing", 0.3 + 0.6 * state["progress"]),
        )
        stages.times |= out.timings
        stages.last = time.perf_counter()
        advance("saving", 0.9)
        path = out.save(args.out, args.fps, args.loop, args.palette)
        stages.lap("save")
        measured = out.measured()
    # 3. What came of it.
    width, height = out.frames[0].size
    print(f"{path}: {len(motions)} frames of {width} x {height} px, {path.stat().st_size / 1024:.0f} KiB")
    print(f"caption: {caption}")
    stages.times["total"] = sum(stages.times.values())
    print("seconds: " + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.times.items()))
    print("frame  motion asked  measured  (px at 256 x 256)")
    for k, (asked, found) in enumerate(zip(motions, measured, strict=True), start=1):
        print(f"{k:5d}  {asked:12g}  {found:8.1f}")


def place_pipeline(pipe: Any, device: str, offload: str) -> Any:
    """The pipeline on a device, whole, or by diffusers' switches one model at a time or one layer at a time."""
    if offload == "none":
        return pipe.to(device)
    {"model": pipe.enable_model_cpu_offload, "layers": pipe.enable_sequential_cpu_offload}[offload](device=device)
    return pipe


def curate(args: argparse.Namespace) -> None:
    """Turn a folder of animations, or a list of their addresses, into pairs of frames to train on."""
    from ..curating import curation
    from ..pairs import CurationSettings
    from ..request import parse_colour

    chosen = {name: getattr(args, name) for name in ("low", "high", "most", "draw", "flip", "seed")}
    settings = CurationSettings(background=parse_colour(args.background), **chosen)
    try:
        counts = curation.curate(args.source, args.out, settings, args.workers, args.scheduler)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"What is done in {args.out} is kept: the same command goes on.") from None
    print(f"{args.out}: {counts['pairs']} pairs, {counts['train']} to train and {counts['val']} to validate with")
    print(f"  {counts['kept']} of {counts['files']} files kept, {counts['dropped']} dropped: report.json says why")
    if counts["left"]:
        print(f"  {counts['left']} clips of an earlier curation are not in {args.source} and left the data")


def scenes(args: argparse.Namespace) -> None:
    """Draw the default data: a contact sheet, or a folder of GIFs with captions and exact motion."""
    out = Path(args.out)
    sheet = out.suffix.lower() in (".png", ".jpg", ".webp")
    if sheet and not out.parent.is_dir():
        raise FileNotFoundError(f"The folder {str(out.parent)!r} does not exist: create it or choose another.")
    check_folder(out.parent if sheet else out)
    if not sheet and out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"The folder {args.out!r} is not empty: give a new one.")
    from tqdm import tqdm

    from ..files import write_whole
    from ..gifs import save_animation
    from ..scenes import draw, sample_scenes

    chosen = sample_scenes(args.count, args.split, args.seed)
    bar = tqdm(chosen, unit="scene", delay=2, leave=False, disable=None)
    if sheet:
        from ..sheets import contact_sheet

        pictures = [draw([scene], [0], args.size).image for scene in bar]
        columns = max(1, round(len(pictures) ** 0.5))
        rows = [pictures[k : k + columns] for k in range(0, len(pictures), columns)]
        file = io.BytesIO()
        contact_sheet(rows, size=args.size).save(file, format={".jpg": "JPEG"}.get(out.suffix.lower(), out.suffix[1:]))
        write_whole(out, file.getvalue())
        print(f"{out}: {len(pictures)} scenes of {args.split}")
        return
    from ..canvas import to_pil

    out.mkdir(parents=True, exist_ok=True)
    motions = (0, *DEMO_MOTIONS)
    table = io.StringIO()
    lines = csv.writer(table)
    lines.writerow(["file", "caption", "motions"])
    for k, scene in enumerate(bar):
        frames = draw([scene] * len(motions), motions, args.size).image
        path = save_animation([to_pil(frame) for frame in frames], out / f"{k:05d}.gif", loop="pingpong")
        lines.writerow([path.name, scene.caption, " ".join(str(m) for m in motions)])
    write_whole(out / "captions.csv", table.getvalue().encode())
    print(f"{out}: {len(chosen)} GIFs of {args.split}; captions.csv holds captions and the motion of each frame")


def info(args: argparse.Namespace) -> None:
    """Print versions, device, weights and sizes."""
    from ..pretrained import resolve_weights

    place = resolve_weights(args.weights)
    import platform

    import diffusers
    import torch
    import transformers

    from .. import __version__
    from ..origins.hub import fetch
    from ..origins.loading import load_parts

    rows: dict[str, Any] = {"pix2gif-lite": __version__, "python": platform.python_version(), "torch": torch.__version__}
    rows |= {"diffusers": diffusers.__version__, "transformers": transformers.__version__}
    rows |= {"device": f"{choose_device('auto')}, {torch.get_num_threads()} threads", "weights": place}
    folder = Path(place) if Path(place).is_dir() else fetch(place)
    parts, index = load_parts(str(folder))
    files = [file for name in parts for file in (folder / name).glob("*.safetensors")]
    rows["on disk"] = f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB in {len(files)} safetensors files"
    for name, part in parts.items():
        if hasattr(part, "parameters"):
            rows[name] = f"{sum(p.numel() for p in part.parameters()) / 1e6:.2f} M parameters"
        else:
            rows[name] = f"{len(part)} entries"
    for name in ("preset", "variant", "image_size", "sampler", "sampling_steps", "prediction_type"):
        rows[name] = index.get(name, "?")
    rows["licence"] = "Apache-2.0, the program's; README.md beside the weights says theirs"
    for name, value in rows.items():
        print(f"{name:18}{value}")
