"""The whole evaluation: files that agree with each other, figures that equal independent ones, bad input refused."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

from pix2gif_lite import evaluate
from pix2gif_lite.evaluation.held_out import pairs_markdown
from pix2gif_lite.evaluation.report import ROWS, look_up
from pix2gif_lite.evaluation.studies_report import studies_markdown
from pix2gif_lite.photos import draw_moved, sample_moved_photos
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import DEMO_MOTIONS, TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import draw, sample_scenes


@pytest.fixture(scope="module")
def pipe():
    return Pix2GifPipeline.from_components(TINY, build_components(TINY, ["a red balloon is rising"] * 20))


@pytest.fixture(scope="module")
def report(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    return evaluate.run(pipe, folder, scenes=2, quick=True, steps=2, progress=False), folder


def test_a_report_is_written_and_says_the_same_everywhere(report):
    results, folder = report
    sheets, figures = {"sheet.png", "worst.png", "photos.png"}, {"asked-measured.png", "steps.png"}
    assert {"results.json", "results.md", *sheets, *figures} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "results.json").read_text()) == results
    text = (folder / "results.md").read_text()
    for label, path, _, _ in ROWS:
        value = look_up(results, path)
        if value is None:  # only what needs somebody else's network
            section, name = path.split(".")
            name = name.removeprefix("moving_").removeprefix("still_")
            assert section == "network_metrics" and name in results[section]["not_computed"]
            assert f"| {label} | not computed: " in text and f"Not computed: {name}: " in text
        else:
            assert isinstance(value, float) and math.isfinite(value), path
            assert f"| {label} | {value:.3f}" in text
    for key in ("psnr", "ceiling_psnr", "still_gap_db", "moving_gain_db"):
        assert key in results["fidelity"]
    assert results["made"]["steps"] == 2 and results["made"]["scenes"] == 2
    assert list(results["by_motion"]) == [f"{m}" for m in DEMO_MOTIONS]
    assert "2 scenes of `test` and 2 moved photographs, m = " in text
    assert studies_markdown(results["studies"]) in text and pairs_markdown(results["test_pairs"]) in text
    pairs = results["test_pairs"]
    assert pairs["pairs"] == pairs["scenes"] == 9 and pairs["not_read"] == {"boat, yellow": 25}
    worse, error = pairs["actions"]["worse_db"], pairs["actions"]["worse_db_error"]
    label = "subject and action never seen together, worse than the same subject seen, whole picture"
    assert f"| {label} | {worse:.3f} +- {error:.3f} dB |" in text
    likeness = results["fidelity"]
    assert likeness["warp_gap_db"] == pytest.approx(likeness["ceiling_psnr"] - likeness["warp_psnr"], abs=1e-4)
    for name in sheets:
        with Image.open(folder / name) as sheet:
            assert sheet.width > 10 * TINY.image_size and sheet.height > 2 * TINY.image_size
    for name in figures:
        with Image.open(folder / name) as figure:
            assert min(figure.size) > 200 and len(figure.convert("RGB").getcolors(1 << 20)) > 10


def test_distilled_weights_are_asked_only_what_they_take_and_the_report_says_so(pipe, tmp_path, capsys):
    parts = {name: getattr(pipe, name) for name in ("vae", "tokenizer", "text_encoder", "motion_embedding", "flow_net", "unet")}
    fast = Pix2GifPipeline.from_components(TINY, parts, distilled_steps=(2, 3), sampling_steps=2)
    for asked in ({"steps": 5}, {"sampler": "euler_ancestral"}):
        with pytest.raises(ValueError, match="were distilled for"):
            evaluate.run(fast, tmp_path / "refused", scenes=1, progress=False, **asked)
    assert not (tmp_path / "refused").exists()
    results = evaluate.run(fast, tmp_path, scenes=1)
    assert "100%" in capsys.readouterr().err.splitlines()[-1]
    assert results["studies"] is None and results["few_steps"]["gap_db"] is None and results["made"]["steps"] == 2
    text = (tmp_path / "results.md").read_text()
    assert "Not computed: these weights were distilled for 2, 3 steps, one sampler and no guidance" in text
    assert "| 5 steps, below 20 steps | not computed | +- 0.3 dB |" in text and "asked in other ways" not in text
    assert math.isfinite(results["fidelity"]["psnr"]) and math.isfinite(results["searched_flow"]["gap_db"])


def test_the_bar_ends_where_it_was_said_to_end(pipe, capsys):
    evaluate.run(pipe, scenes=1, steps=1, studies=False)
    assert "100%" in capsys.readouterr().err.splitlines()[-1]


def test_without_matplotlib_there_are_no_figures_and_the_report_says_why(report, tmp_path):
    results, _ = report
    bare = {**results, "figures": {"not_computed": evaluate.NO_FIGURES}, "studies": None}
    evaluate.write(tmp_path, bare, {})
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md"}
    text = (tmp_path / "results.md").read_text()
    assert "Not computed: figures need matplotlib" in text
    assert "| two actions at once, worse than one, whole picture | not computed |" in text


def test_the_ceiling_of_a_report_is_the_autoencoder_alone(report, pipe):
    results, _ = report
    scenes = sample_scenes(2, "test")
    frame = draw([s for s in scenes for _ in DEMO_MOTIONS], list(DEMO_MOTIONS) * 2, TINY.image_size)
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(frame.image).latent_dist.mode()).sample.clamp(-1, 1)
    expected = -10 * ((decoded - frame.image) / 2).square().mean((1, 2, 3)).log10()
    assert results["fidelity"]["ceiling_psnr"] == pytest.approx(expected.mean().item(), abs=1e-3)


def test_the_ceiling_of_photographs_is_that_of_the_first_of_the_held_out_split(report, pipe):
    results, _ = report
    photos = sample_moved_photos(2, "test")
    frame = draw_moved([p for p in photos for _ in DEMO_MOTIONS], list(DEMO_MOTIONS) * 2, TINY.image_size)
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(frame.image).latent_dist.mode()).sample.clamp(-1, 1)
    error = ((decoded - frame.image) / 2).square().mean(1, keepdim=True)
    expected = [-10 * math.log10(e[~hidden].mean()) for e, hidden in zip(error, frame.occluded, strict=True)]
    section = results["moved_photographs"]
    assert section["fidelity"]["ceiling_seen_psnr"] == pytest.approx(sum(expected) / len(expected), abs=1e-3)
    assert sum(kind["photos"] for kind in section["by_move"].values()) == section["photos"] == 2


@pytest.mark.parametrize(("asked", "measured"), [({}, 200), ({"quick": True}, 40), ({"scenes": 77, "quick": True}, 77)])
def test_as_many_scenes_are_measured_as_are_asked_for_quick_or_not(pipe, monkeypatch, asked, measured):
    class Enough(Exception):
        pass

    def counting(count, split):
        if count:  # 0 asks whether there is such a split
            raise Enough(count)

    monkeypatch.setattr(evaluate, "sample_scenes", counting)
    with pytest.raises(Enough, match=f"^{measured}$"):
        evaluate.run(pipe, progress=False, **asked)


def test_bad_input_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="0 scenes"):
        evaluate.run("lite", scenes=0)
    with pytest.raises(ValueError, match="'validation'"):
        evaluate.run("lite", split="validation")
    with pytest.raises(ValueError, match="'nope'"):  # before the weights, which are not there, are looked for
        evaluate.run(str(tmp_path / "nowhere"), out=tmp_path / "out", sampler="nope")
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluate.run(str(tmp_path / "nowhere"))


def test_the_drawing_bench_counts_frames():
    assert 1 < evaluate.bench_drawing(size=32, seconds=0.05) < 1e6
