"""The card of the shipped weights: words that people write, figures that the results write.

The card is Markdown with marks in it. What stands between a mark and its end is never typed: it is written anew from
results.json, ablation.json and bench.json, which lie beside the weights, so that no figure in it can be older than what was
measured.

    <!-- results:quality --> ... <!-- end -->                  a block: table, list, sentence; card_blocks.py has them
    <!-- results:value a.b .2f -->1.23<!-- end -->             in a sentence: results["a"]["b"]; `a.b - c.d` is a difference
    <!-- results:picture x.webp What it shows --> ... <!-- end -->              the picture, once it is there
    <!-- bench:speed --> ... <!-- end -->, <!-- bench:value gif_s .2f --> ...   the same of the benchmark, bench.json

    python -m pix2gif_lite.cards.shipped_card pix2gif_lite/weights/lite [--from DIR ...] [--also README.md]

`--from` first copies what the card needs from folders that `evaluate --out` and `bench --out` wrote: the JSON, pictures as
WebP. In what the JSON says of how it was made, folders are cut down to their last name: where they lie is nobody's business.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..evaluation.report import look_up
from ..files import write_whole
from ..origins.hub import CARD
from .card import TAGS
from .card_blocks import BLOCKS, NOT_YET, Sources

RESULTS, ABLATION, BENCH = "results.json", "ablation.json", "bench.json"
SMALL = 900_000  # bytes of all files beside the safetensors, which the wheel and every clone carry
QUALITIES = (85, 75, 65)  # of lossy WebP: the best at which all is SMALL
MARK = re.compile(r"<!-- ((?:results|bench):[^\n]*?|end) -->")
VALUE = re.compile(r"(?P<of>bench:)?value (?P<path>[\w.]+)(?: - (?P<minus>[\w.]+))?(?: (?P<format>[-+,.\w%]+))?")
PICTURE = re.compile(r"picture (?P<name>[\w-]+\.webp) (?P<alt>[^\[\]]+)")
HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
MEASURED = (  # for the front matter: the Hub's kind of metric, what it is, path in the results
    ("psnr", "PSNR against the exact frame, dB", "fidelity.psnr"),
    ("psnr", "the same of the exact frame through E and D, dB", "fidelity.ceiling_psnr"),
    ("ssim", "SSIM against the exact frame", "fidelity.ssim"),
    ("pearson", "asked against measured motion, Pearson a GIF", "coherency.pearson"),
    ("rmse", "asked against measured motion, RMSE a GIF, px at 256 x 256", "coherency.rmse"),
)


def fill(text: str, sources: Sources) -> str:
    """The text with everything between marks written anew. Doing it twice changes nothing more.

    Raises ValueError, with the number of the line, for a mark without an end or an end without a mark, a name that is not
    in BLOCKS, and a value that begins a line (Markdown would take the whole line for HTML).
    """
    parts: list[str] = []
    place, opened = 0, None
    for mark in MARK.finditer(text):
        line = text.count("\n", 0, mark.start()) + 1
        if (mark[1] == "end") is (opened is None):
            why = "no block is open" if opened is None else f"the block {opened!r} has no end yet"
            raise ValueError(f"Line {line} has {mark[0]}, but {why}: remove the one or write the other.")
        if opened is None:
            parts.append(text[place : mark.end()])
            opened = mark[1].removeprefix("results:")
            if opened.removeprefix("bench:").startswith("value ") and text[: mark.start()].endswith("\n"):
                raise ValueError(f"Line {line} begins with a value, and Markdown would take it for HTML: put a word before it.")
        else:
            try:
                parts += [_content(opened, sources), mark[0]]
            except ValueError as error:
                raise ValueError(f"The block that ends in line {line}: {error}") from None
            opened = None
        place = mark.end()
    if opened is not None:
        raise ValueError(f"The block {opened!r} has no end: write <!-- end --> after it.")
    return "".join(parts) + text[place:]


def _content(what: str, sources: Sources) -> str:
    """What belongs between a mark and its end."""
    if asked := VALUE.fullmatch(what):
        known = (sources.bench or {}) if asked["of"] else {**sources.results, "ablation": sources.ablation}
        numbers = [look_up(known, path) for path in (asked["path"], asked["minus"]) if path]
        if None in numbers:
            return "not computed"
        return format(numbers[0] - numbers[1] if asked["minus"] else numbers[0], asked["format"] or "")
    if asked := PICTURE.fullmatch(what):
        there = asked["name"] in sources.pictures
        return f"\n\n![{asked['alt']}]({asked['name']})\n\n" if there else f"\n\n{NOT_YET}: {asked['name']}.\n\n"
    if what not in BLOCKS:
        raise ValueError(f"there is no block {what!r}: choose from {', '.join(BLOCKS)}, value PATH, picture NAME.webp TEXT.")
    return f"\n\n{BLOCKS[what](sources).strip()}\n\n"


def header(results: dict[str, Any], name: str) -> str:
    """The front matter as the Hub reads it, YAML between dashes, with the measured figures of the model `name` as its index."""
    from huggingface_hub import EvalResult, ModelCardData

    scenes = {"task_type": "image-to-video", "dataset_type": "drawn-scenes", "dataset_name": "Pix2Gif Lite's drawn scenes"}
    found = [
        EvalResult(
            **scenes,
            dataset_split=results["made"]["split"],
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for kind, name, path in MEASURED
        if (value := look_up(results, path)) is not None
    ]
    about = {"library_name": "diffusers", "pipeline_tag": "image-to-video", "language": "en", "tags": TAGS}
    data = ModelCardData(license="apache-2.0", model_name=name, eval_results=found or None, **about)
    return f"---\n{data.to_yaml()}\n---\n"


def card_text(text: str, sources: Sources) -> str:
    """The whole card anew: front matter and blocks. `text` is the card as it is, its first heading the model's name."""
    heading = re.search(r"^# ([^:\n]+)", text, re.M)
    return header(sources.results, heading[1].strip() if heading else "Pix2Gif Lite") + fill(HEADER.sub("", text), sources)


def as_webp(path: Path, quality: int) -> bytes:
    """A picture as WebP: charts, which shrink well so, without loss, everything else lossy, quality 0 to 100."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    files = [io.BytesIO(), io.BytesIO()]
    for file, options in zip(files, ({"lossless": True}, {"quality": quality}), strict=True):
        picture.save(file, "webp", method=6, **options)
    exact, lossy = (file.getvalue() for file in files)
    return exact if len(exact) <= 2 * len(lossy) else lossy


def update(folder: str | Path, others: Sequence[str | Path] = (), also: Sequence[str | Path] = ()) -> list[Path]:
    """Copy what the card in `folder` needs from `others`, then write the card anew. Returns the files that changed.

    others   folders with results.json, ablation.json or bench.json in them; the pictures that the card names are taken as
             PNG or WebP, where several folders have one, from the last
    also     other Markdown files with marks in them (figures alone: a picture lies beside the card)

    Everything is worked out before anything is written. Raises FileNotFoundError where a folder holds neither JSON or
    there is no card, ValueError for JSON that `evaluate` did not write, marks that do not fit, and more than SMALL bytes.
    """
    folder, others = Path(folder), [Path(other) for other in others]
    text = _text(folder / CARD)
    copied = _copies(folder, text, others, QUALITIES[0])
    jsons = {name: _json(folder / name, copied.get(folder / name)) for name in (RESULTS, ABLATION, BENCH)}
    if jsons[RESULTS] is None:
        raise FileNotFoundError(f"There is no {RESULTS} in {str(folder)!r}: give --from, what `evaluate --out` made.")
    pictures = frozenset(path.name for path in (*folder.glob("*.webp"), *copied) if path.suffix == ".webp")
    sources = Sources(jsons[RESULTS], jsons[ABLATION], pictures, jsons[BENCH])
    written = {folder / CARD: card_text(text, sources).encode()}
    filled = {path: fill(_text(path), sources).encode() for path in map(Path, also)}

    stale = [path.with_suffix(".png") for path in copied if path.suffix == ".webp" and path.with_suffix(".png").is_file()]
    there = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".safetensors"} - {*stale}
    for quality in QUALITIES:
        new = (copied if quality == QUALITIES[0] else _copies(folder, text, others, quality)) | written
        size = sum(path.stat().st_size for path in there - new.keys()) + sum(map(len, new.values()))
        if size <= SMALL:
            break
    else:
        raise ValueError(f"{size:,} bytes would lie beside the weights, {SMALL:,} may: take a picture out of the card.")
    changed = {path: data for path, data in (new | filled).items() if not path.is_file() or path.read_bytes() != data}
    for path, data in changed.items():
        write_whole(path, data)
    for path in stale:
        path.unlink()
    return list(changed)


def _copies(folder: Path, card: str, others: Sequence[Path], quality: int) -> dict[Path, bytes]:
    """What is to be copied: the place in `folder` -> what will be there."""
    found: dict[Path, bytes] = {}
    for other in others:
        jsons = [other / name for name in (RESULTS, ABLATION, BENCH) if (other / name).is_file()]
        if not jsons:
            names = f"neither {RESULTS} nor {ABLATION} nor {BENCH}"
            raise FileNotFoundError(f"{str(other)!r} holds {names}: give what `evaluate --out` or `bench --out` made.")
        found |= {folder / path.name: _without_places(path.read_bytes()) for path in jsons}
        for name in re.findall(r"<!-- results:picture ([\w-]+)\.webp ", card):
            for path in (other / f"{name}.png", other / f"{name}.webp"):
                if path.is_file():  # WebP as it is: to lose twice would show
                    found[folder / f"{name}.webp"] = as_webp(path, quality) if path.suffix == ".png" else path.read_bytes()
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"There is no {str(path)!r}: give a folder with a card in it, or a Markdown file.")
    return path.read_text(encoding="utf-8")


def _without_places(data: bytes) -> bytes:
    """JSON whose `made` names no folder by where it lies, only by its last name; what is no such JSON as it is."""
    try:
        made = json.loads(data)["made"]
        told = {name: made[name] for name in ("command", "weights", "turbo") if isinstance(made.get(name), str)}
        words = {name: shlex.split(text) if name == "command" else [text] for name, text in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError):  # refused, where it matters, when it is read
        return data
    for name, text in told.items():
        short = [Path(word).name if Path(word).is_absolute() else word for word in words[name]]
        if short != words[name]:
            brief = shlex.join(short) if name == "command" else short[0]
            data = data.replace(json.dumps(text).encode(), json.dumps(brief).encode())
    return data


def _json(path: Path, data: bytes | None) -> dict[str, Any] | None:
    """A JSON object, from `data` where there are any, else from the file; None where there is neither."""
    if data is None and not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes() if data is None else data)
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON ({error}): make it again.") from None
    if not isinstance(found, dict) or "made" not in found:
        raise ValueError(
            f"{path.name} does not say how it was made, so neither `evaluate` nor `bench` wrote it: make it again."
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: fill a card, and say which files changed."""
    parser = argparse.ArgumentParser(
        prog="python -m pix2gif_lite.cards.shipped_card", description="Write a card's figures anew."
    )
    parser.add_argument("folder", help="the weights' folder, with the card README.md in it")
    text = "copy the JSON and the card's pictures from there first; several folders may be given"
    parser.add_argument("--from", dest="others", nargs="+", default=[], metavar="DIR", help=text)
    parser.add_argument("--also", nargs="+", default=[], metavar="FILE", help="fill the marks of these Markdown files too")
    asked = parser.parse_args(arguments)
    try:
        changed = update(asked.folder, asked.others, asked.also)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print("\n".join(map(str, changed)) or "Nothing changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
