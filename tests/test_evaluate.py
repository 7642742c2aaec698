"""The quality table: averages whose answer is known, files that agree with each other, bad input refused."""

from __future__ import annotations

import importlib.util
import json
import math

import pytest
import torch
from PIL import Image

from pix2gif_lite import evaluate, photo_crops
from pix2gif_lite.photos import draw_moved, sample_moved_photos
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
        frames[prefix + "seen_psnr"] = level + asked / 2
    # slow frames do not count in the gain
    frames["moving_psnr"] = torch.where(asked < evaluate.FAST, 0.0, 25.0 - asked)
    frames |= {"stillness": asked * 0 + 2, "ceiling_stillness": asked * 0 + 1, "sharpness": asked * 0 + 0.9}
    frames["moving_psnr"][0, -1] = math.nan  # a frame in which nothing visible moves
    found = evaluate.summarise(frames)
    assert found["fidelity"]["gap_db"] == pytest.approx(1) and found["fidelity"]["moving_gain_db"] == pytest.approx(5)
    assert found["fidelity"]["still_gap_db"] == 0 and found["fidelity"]["warp_psnr"] == 28
    assert found["fidelity"]["seen_gap_db"] == pytest.approx(1) and found["fidelity"]["seen_gain_db"] == pytest.approx(10)
    assert found["by_motion"]["8"]["seen_psnr"] == 34 and found["by_motion"]["8"]["copy_seen_psnr"] == 24
    assert found["coherency"]["pearson"] == pytest.approx(1) and found["coherency"]["rmse"] == pytest.approx(1)
    assert found["ruler"]["rmse"] == 0 and found["ruler"]["median_error"] == 0
    assert found["flow"]["end_point_error"] == 0.5 and found["by_motion"]["11"]["measured"] == 12
    assert evaluate.brief(frames)["sharpness"] == pytest.approx(0.9)


def known_columns(levels: list[float]) -> dict[str, torch.Tensor]:
    """Photographs that are all seen and move everywhere; row n is generated at `levels[n]` dB, 2 px too far at n = 1."""
    asked = torch.tensor(DEMO_MOTIONS).float().expand(len(levels), -1)
    ours, none = asked * 0 + torch.tensor(levels)[:, None], asked * math.nan
    pictures = {"": ours, "ceiling_": asked * 0 + 31, "copy_": asked * 0 + 20}
    frames = {prefix + region + "psnr": v for prefix, v in pictures.items() for region in ("", "moving_", "seen_")}
    frames |= {prefix + "still_psnr": none for prefix in pictures}
    frames |= {"asked": asked, "ruler": asked, "measured": asked + 2.0 * (torch.arange(len(levels)) == 1)[:, None]}
    return frames | {"stillness": none, "ceiling_stillness": none, "sharpness": asked * 0 + 1}


def test_photographs_are_summed_up_together_and_by_kind_of_move():
    photos = sample_moved_photos(2, "test", moves=["pan left"]) + sample_moved_photos(1, "test", moves=["zoom in"])
    found = evaluate.summarise_photos(photos, known_columns([30.0, 28.0, 26.0]))
    assert found["photos"] == 3 and list(found["by_move"]) == ["pan", "zoom"]
    assert found["fidelity"]["seen_gap_db"] == pytest.approx(3) and found["fidelity"]["seen_gain_db"] == pytest.approx(8)
    pan, zoom = found["by_move"].values()
    assert (pan["photos"], pan["seen_gap_db"], pan["seen_gain_db"], pan["rmse"]) == (2, 2, 9, 1)
    assert (zoom["photos"], zoom["seen_gap_db"], zoom["seen_gain_db"], zoom["rmse"]) == (1, 5, 6, 0)
    assert found["fidelity"]["still_psnr"] is None and found["fidelity"]["still_gap_db"] is None  # no region, no figure
    json.dumps(found, allow_nan=False)


def test_without_the_photographs_their_rows_say_why(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "skimage" else find(name, *a))
    photo_crops._shipped.cache_clear()
    try:
        photos, reason = evaluate.moved_photos(2)
    finally:
        photo_crops._shipped.cache_clear()
    assert photos == [] and "skimage is missing" in reason["not_computed"] and "pip install" in reason["not_computed"]


def test_a_report_is_written_and_says_the_same_everywhere(report):
    results, folder = report
    sheets = {"sheet.png", "worst.png", "photos.png"}
    assert {path.name for path in folder.iterdir()} == {"results.json", "results.md", *sheets}
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
    assert "3 scenes of `test` and 3 moved photographs, m = " in text
    for name in sheets:
        with Image.open(folder / name) as sheet:
            assert sheet.width > 10 * TINY.image_size and sheet.height > 3 * TINY.image_size


def test_the_ceiling_of_a_report_is_the_autoencoder_alone(report, pipe):
    results, _ = report
    scenes = sample_scenes(3, "test")
    frame = draw([s for s in scenes for _ in DEMO_MOTIONS], list(DEMO_MOTIONS) * 3, TINY.image_size)
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(frame.image).latent_dist.mode()).sample.clamp(-1, 1)
    expected = -10 * ((decoded - frame.image) / 2).square().mean((1, 2, 3)).log10()
    assert results["fidelity"]["ceiling_psnr"] == pytest.approx(expected.mean().item(), abs=1e-3)


def test_the_ceiling_of_photographs_is_that_of_the_first_of_the_held_out_split(report, pipe):
    results, _ = report
    photos = sample_moved_photos(3, "test")
    frame = draw_moved([p for p in photos for _ in DEMO_MOTIONS], list(DEMO_MOTIONS) * 3, TINY.image_size)
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(frame.image).latent_dist.mode()).sample.clamp(-1, 1)
    error = ((decoded - frame.image) / 2).square().mean(1, keepdim=True)
    expected = [-10 * math.log10(e[~hidden].mean()) for e, hidden in zip(error, frame.occluded, strict=True)]
    section = results["moved_photographs"]
    assert section["fidelity"]["ceiling_seen_psnr"] == pytest.approx(sum(expected) / len(expected), abs=1e-3)
    assert sum(kind["photos"] for kind in section["by_move"].values()) == section["photos"] == 3


def test_bad_input_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="0 scenes"):
        evaluate.run("lite", scenes=0)
    with pytest.raises(ValueError, match="'validation'"):
        evaluate.run("lite", split="validation")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluate.run(str(tmp_path / "nowhere"))


def test_the_drawing_bench_counts_frames():
    assert 1 < evaluate.bench_drawing(size=32, seconds=0.05) < 1e6
