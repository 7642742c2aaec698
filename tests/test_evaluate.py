"""The quality table: averages whose answer is known, files that agree with each other, bad input refused."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

from pix2gif_lite import evaluate
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import DEMO_MOTIONS, TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.report import ROWS, look_up
from pix2gif_lite.scenes import draw, sample_scenes


@pytest.fixture(scope="module")
def pipe():
    return Pix2GifPipeline.from_components(TINY, build_components(TINY, ["a red balloon is rising"] * 20))


@pytest.fixture(scope="module")
def report(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return evaluate.run(pipe, folder / "new" / "folder", scenes=3, steps=2, progress=False), folder / "new" / "folder"


def test_the_summary_of_known_columns():
    asked = torch.tensor(DEMO_MOTIONS).float().expand(2, -1)
    frames = {"asked": asked, "measured": asked + 1, "ruler": asked.double(), "flow_error": asked * 0 + 0.5}
    levels = {"": 30.0, "ceiling_": 31.0, "copy_": 20.0, "warp_": 28.0}
    for prefix, level in levels.items():
        frames |= {prefix + "psnr": asked * 0 + level, prefix + "moving_psnr": level - asked}
        frames[prefix + "still_psnr"] = asked * 0 + 40
    # slow frames do not count in the gain
    frames["moving_psnr"] = torch.where(asked < evaluate.FAST, 0.0, 25.0 - asked)
    frames |= {"stillness": asked * 0 + 2, "ceiling_stillness": asked * 0 + 1, "sharpness": asked * 0 + 0.9}
    frames["moving_psnr"][0, -1] = math.nan  # a frame in which nothing visible moves
    found = evaluate.summarise(frames)
    assert found["fidelity"]["gap_db"] == pytest.approx(1) and found["fidelity"]["moving_gain_db"] == pytest.approx(5)
    assert found["fidelity"]["still_gap_db"] == 0 and found["fidelity"]["warp_psnr"] == 28
    assert found["coherency"]["pearson"] == pytest.approx(1) and found["coherency"]["rmse"] == pytest.approx(1)
    assert found["ruler"]["rmse"] == 0 and found["ruler"]["median_error"] == 0
    assert found["flow"]["end_point_error"] == 0.5 and found["by_motion"]["11"]["measured"] == 12
    assert evaluate.brief(frames)["sharpness"] == pytest.approx(0.9)


def test_a_report_is_written_and_says_the_same_everywhere(report):
    results, folder = report
    assert {path.name for path in folder.iterdir()} == {"results.json", "results.md", "sheet.png", "worst.png"}
    assert json.loads((folder / "results.json").read_text()) == results
    text = (folder / "results.md").read_text()
    for label, path, _, _ in ROWS:
        value = look_up(results, path)
        assert isinstance(value, float) and math.isfinite(value), path
        assert f"| {label} | {value:.3f}" in text
    for key in ("psnr", "ceiling_psnr", "still_gap_db", "moving_gain_db"):
        assert key in results["fidelity"]
    assert results["made"]["steps"] == 2 and results["made"]["scenes"] == 3
    assert list(results["by_motion"]) == [f"{m}" for m in DEMO_MOTIONS]
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width > 10 * TINY.image_size and sheet.height > 3 * TINY.image_size


def test_the_ceiling_of_a_report_is_the_autoencoder_alone(report, pipe):
    results, _ = report
    scenes = sample_scenes(3, "test")
    frame = draw([s for s in scenes for _ in DEMO_MOTIONS], list(DEMO_MOTIONS) * 3, TINY.image_size)
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(frame.image).latent_dist.mode()).sample.clamp(-1, 1)
    expected = -10 * ((decoded - frame.image) / 2).square().mean((1, 2, 3)).log10()
    assert results["fidelity"]["ceiling_psnr"] == pytest.approx(expected.mean().item(), abs=1e-3)


def test_bad_input_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="0 scenes"):
        evaluate.run("lite", scenes=0)
    with pytest.raises(ValueError, match="'validation'"):
        evaluate.run("lite", split="validation")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluate.run(str(tmp_path / "nowhere"))


def test_the_drawing_bench_counts_frames():
    assert 1 < evaluate.bench_drawing(size=32, seconds=0.05) < 1e6
