"""What readers see: targets met and missed, where figures come from, and a sheet with the right pictures in it."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import torch

from pix2gif_lite.data.mixture import FAMILIES
from pix2gif_lite.evaluation.generating import drawn
from pix2gif_lite.evaluation.report import ROWS, SHEET_MOTIONS, commit_of, look_up, provenance, sheet, table
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.sheets import as_picture


@pytest.fixture(scope="module")
def pipe():
    return Pix2GifPipeline.from_components(TINY, build_components(TINY, ["a red balloon is rising"] * 20))


def test_look_up_walks_a_path_and_stops_where_there_is_none():
    results = {"a": {"b": 1.5}, "c": None}
    assert look_up(results, "a.b") == 1.5
    assert look_up(results, "a.x") is None and look_up(results, "c.d") is None and look_up(results, "a.b.c") is None


def test_the_table_marks_targets_met_and_missed(pipe):
    results = {
        "fidelity": {"gap_db": 1.0, "moving_gap_db": 1.0001, "moving_gain_db": 8.0, "psnr": 30.0},
        "coherency": {"pearson": 0.97},
        "network_metrics": {"lpips": None, "pic": 0.875, "not_computed": {"lpips": "weights not in reach: no route: put x"}},
        "test_pairs": {"actions": {"worse_db": 1.2, "worse_db_error": 0.25}, "colours": {"worse_db": 0.5}},
        "studies": {"two_actions": {"worse_db": 1.9}},
        "photographs": {"psnr": None, "not_computed": "no cats here"},
        "moved_photographs": {
            "photos": 5,
            "fidelity": {"ceiling_seen_psnr": 25.9, "seen_gap_db": 3.0, "seen_gain_db": 3.9, "warp_seen_psnr": 21.0},
            "coherency": {"pearson": 0.95, "rmse": 1.25},
        },
        "made": provenance("lite", pipe, {"scenes": 3, "split": "test", "steps": None, "sampler": None}),
        "by_motion": {"2": {}, "4": {}},
        "seconds": 12.3,
    }
    text = table(results)
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines()}
    assert len([line for line in text.splitlines() if line.startswith("|")]) == len(ROWS) + 2
    assert lines["generated, below E/D alone, whole picture"].endswith("| 1.000 dB | <= 1 dB | met |")
    assert lines["generated, below E/D alone, moving region"].endswith("| 1.000 dB | <= 1 dB | **missed** |")
    assert lines["generated, above a copy of the source, moving region, m >= 8"].endswith("| >= 8 dB | met |")
    assert lines["asked against measured motion, Pearson a GIF"].endswith("| 0.970 | >= 0.995 | **missed** |")
    assert lines["generated, whole picture"].endswith("| 30.000 dB |  |  |")
    assert lines["E/D alone, photographs kept out of training"].endswith("| not computed | >= 26 dB |  |")
    seen = "photographs: E/D alone where the frame shows what the source shows"
    assert lines[seen].endswith("| 25.900 dB | >= 26 dB | **missed** |")
    assert lines["photographs: generated, below E/D alone"].endswith("| 3.000 dB | <= 3 dB | met |")
    assert lines["photographs: above standing still, m >= 8"].endswith("| 3.900 dB | >= 4 dB | **missed** |")
    assert lines["photographs: asked against measured, Pearson a GIF"].endswith("| 0.950 | >= 0.95 | met |")
    assert lines["photographs: asked against measured, RMSE a GIF"].endswith("| 1.250 px |  |  |")
    assert lines["photographs: warp alone"].endswith("| 21.000 dB |  |  |")
    assert lines["photographs: the ruler's RMSE"].endswith("| not computed |  |  |")
    assert "3 scenes of `test` and 5 moved photographs, m = 2, 4; dpmpp_2m, 4 steps." in text
    for region in ("", " moving region,", " still region,"):
        assert lines[f"generated,{region} LPIPS"].endswith("| not computed: weights not in reach |  |  |")
    assert lines["generated, PIC"].endswith("| 0.875 |  |  |") and lines["generated, CLIPSim"].endswith(
        "| not computed |  |  |"
    )
    pairs = "subject and {} never seen together, worse than the same subject seen, whole picture"
    assert lines[pairs.format("action")].endswith("| 1.200 +- 0.250 dB | <= 1 dB | **missed** |")
    assert lines[pairs.format("colour")].endswith("| 0.500 dB | <= 1 dB | met |")
    assert lines["two actions at once, worse than one, whole picture"].endswith("| 1.900 dB | <= 2 dB | met |")
    tail = "\n\nNot computed: lpips: weights not in reach: no route: put x\n\nNot computed: no cats here\n"
    assert text.endswith(tail)


def test_without_photographs_their_rows_are_not_computed_and_the_reason_stands_once(pipe):
    absent = {"psnr": None, "not_computed": "no cats here"}
    results = {
        "photographs": absent,
        "moved_photographs": {"not_computed": "no cats here"},
        "by_motion": {"2": {}},
        "seconds": 1,
    }
    results["made"] = provenance("lite", pipe, {"scenes": 3, "split": "test", "steps": None, "sampler": None})
    text = table(results)
    rows = [line for line in text.splitlines() if line.startswith("| photographs: ")]
    assert len(rows) == 8 and all("| not computed |" in row and "met |" not in row for row in rows)
    assert text.count("Not computed: no cats here") == 1 and "3 scenes of `test`, m = 2; dpmpp_2m" in text


def test_provenance_says_what_ran_where(pipe):
    made = provenance(pipe, pipe, {"scenes": 1, "split": "val", "steps": 7, "sampler": None})
    assert made["weights"] == "in memory" and made["steps"] == 7 and made["sampler"] == TINY.sampler
    assert made["torch"] == torch.__version__ and made["machine"] and made["date"].endswith("UTC")


def test_a_changed_tree_is_told_from_a_commit(tmp_path):
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True, text=True).stdout

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("1\n")
    assert commit_of(package) is None  # no repository
    git("init", "-q")
    assert commit_of(package) is None  # one that does not know the package: a virtual environment inside of it
    git("add", "package")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "--short", "HEAD").strip()
    assert len(commit) >= 7 and commit_of(package) == commit
    (tmp_path / "elsewhere").write_text("what does not run")
    assert commit_of(package) == commit
    (package / "__init__.py").write_text("2\n")
    assert commit_of(package) == f"{commit} + changes"
    (package / "__init__.py").write_text("1\n")
    assert commit_of(package) == commit
    (package / "new.py").write_text("3\n")  # a file that git does not know runs all the same
    assert commit_of(package) == f"{commit} + changes"
    assert commit_of(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sheet_shows_the_source_and_the_exact_frames_where_it_says(pipe, name):
    scenes = FAMILIES[name].sample(2, "test", 0)
    image = np.asarray(sheet(pipe, scenes, steps=1, family=FAMILIES[name]))
    (part,) = drawn(scenes, SHEET_MOTIONS, TINY.image_size, FAMILIES[name])
    side = TINY.image_size
    step = side + 4
    assert image.shape[1] == 4 + 10 * step
    last = image[-step:-4]  # the second scene's row of pictures
    for column, picture in [(0, part.source[1]), *((1 + 3 * k, part.exact.image[3 + k]) for k in range(3))]:
        left = 4 + column * step
        assert np.abs(last[:, left : left + side].astype(int) - np.asarray(as_picture(picture))).max() <= 1
