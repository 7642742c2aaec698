"""The benchmark: medians and counts by hand, and one whole small run, which must add up. How fast it is, no test says."""

from __future__ import annotations

import copy
import json

import psutil
import pytest
import torch
from PIL import Image

from pix2gif_lite.bench import load, parts_apart, ratios, run
from pix2gif_lite.benchmark import bench_timing
from pix2gif_lite.benchmark.bench_cold import _run, peak_memory
from pix2gif_lite.benchmark.bench_growth import spread_motions
from pix2gif_lite.benchmark.bench_live import over, slider_moves
from pix2gif_lite.benchmark.bench_plan import Plan
from pix2gif_lite.benchmark.bench_report import bench_markdown
from pix2gif_lite.benchmark.bench_timing import Timed, operations, slope, timed
from pix2gif_lite.cli import main
from pix2gif_lite.origins.loading import PARTS
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.reasons import Failed

SMALL = Plan(
    scenes=1,
    repeats=1,
    slow_repeats=1,
    short=(1, 2),
    quality_steps=2,
    moves=2,
    rounds=1,
    starts=1,
    training_steps=3,
    clips=1,
    clip_frames=4,
    frames=(1, 2),
    pixels=(32, 64),
    steps=(1, 2),
    growth_frames=1,
)


@pytest.fixture(scope="module")
def folders(pipe, tmp_path_factory):
    """The weights, and the same ones said to be distilled to 2 and 1 steps."""
    place = tmp_path_factory.mktemp("weights")
    pipe.save_pretrained(place / "slow")
    parts = {name: getattr(pipe, name) for name in PARTS}
    how = {"distilled_steps": (1, 2), "sampling_steps": 1}
    Pix2GifPipeline.from_components(TINY, parts, **how).save_pretrained(place / "fast")
    return place


@pytest.fixture(scope="module")
def whole(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "new"
    return run(folders / "slow", out, folders / "fast", plan=SMALL, progress=False), out


def test_medians_after_a_warm_up(monkeypatch):
    now, calls = [0.0], []
    monkeypatch.setattr(bench_timing.time, "perf_counter", lambda: now[0])

    def work(n: int) -> None:
        calls.append(n)
        now[0] += {1: 50, 2: 7, 3: 5, 4: 90}[len(calls)]

    assert timed(work, 12, repeats=3) == Timed(7, 3, 0) and calls == [12] * 4  # of 7, 5 and 90


def test_a_long_run_from_two_short_ones(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bench_timing.time, "perf_counter", lambda: now[0])
    a = torch.ones(2, 3)

    def work(n: int) -> None:
        now[0] += 3 + 2 * n
        for _ in range(n):
            a @ torch.ones(3, 5)
        torch.ones(4, 4) @ torch.ones(4, 4)

    assert timed(work, 100, 1, (1, 4)) == Timed(203, 1, 100 * 2 * 2 * 3 * 5 + 2 * 4**3, (1, 4))
    with pytest.raises(ValueError, match=r"\(4, 4\) cannot stand for 100 steps"):
        timed(work, 100, 1, (4, 4))


def test_attention_and_convolutions_are_counted():
    q = torch.ones(2, 4, 10, 8)
    assert operations(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q)) == 2 * (2 * 2 * 4 * 10 * 10 * 8)
    conv = torch.nn.Conv2d(3, 5, 3, padding=1)
    assert operations(lambda: conv(torch.ones(1, 3, 6, 7))) == 2 * 3 * 5 * 9 * 6 * 7


def test_the_slope_is_the_power():
    assert slope([1, 2, 8], [3, 12, 192]) == pytest.approx(2)
    assert slope([1, 10], [5, 5]) == pytest.approx(0)
    for x, y in (([1], [1]), ([2, 2], [1, 3]), ([1, 2], [0, 1]), ([1, 2], [1])):
        with pytest.raises(ValueError, match="No slope"):
            slope(x, y)


@pytest.mark.parametrize("frames", [1, 2, 64])
def test_motions_that_grow_are_all_different(frames):
    motions = spread_motions(frames)
    assert len(set(motions)) == frames and min(motions) == 2 and max(motions) <= 20


def test_everything_is_on_the_disk(whole):
    results, out = whole
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "bench.md", "growth.png"]
    assert results["sittings"] == 1 and " sittings" not in (out / "bench.md").read_text()
    assert " s in 2 sittings." in bench_markdown({**results, "sittings": 2})
    assert json.loads((out / "bench.json").read_text()) == json.loads(json.dumps(results, allow_nan=False))
    assert Image.open(out / "growth.png").width > 900
    lines = (out / "bench.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("| the reference's recipe"))
    assert f"| 100 | 3 | {results['reference_s']:.3f} * |" in line and "at 2 steps" in line
    assert any("a straight line through runs of 1 and 2 steps" in line for line in lines)
    assert any(line.startswith("| one move of the slider, a picture of 256 px") and "<= 30 ms" in line for line in lines)
    felt = {line.split(" | ")[0]: line.split(" | ")[1] for line in lines if line.startswith("| ")}
    assert felt["| times as fast as the reference's recipe"] == f"{results['ratio_reference']:.0f} *"
    assert felt["| below our 100 steps, whole picture"] == f"{results['gap_100_db']:.2f} dB *"
    assert felt["| a GIF of 8 frames, the fastest of ours"] == f"{results['gif_s']:.3f} s"


def test_the_ratios_are_those_of_the_rows(whole):
    results, _ = whole
    by = {row["key"]: row for row in results["rows"]}
    assert results["reference_s"] == by["reference"]["seconds"]
    assert results["diffusers_s"] == min(by["diffusers"]["seconds"], by["diffusers_batched"]["seconds"])
    assert results["gif_s"] == min(by[key]["seconds"] for key in ("ours", "distilled_2", "distilled_1"))
    assert results["ratio_reference"] == results["reference_s"] / results["gif_s"]
    assert results["ratio_diffusers"] == results["diffusers_s"] / results["gif_s"]
    assert results["ratio_reference_same_weights"] == results["reference_s"] / by["ours"]["seconds"]
    assert results["gap_100_db"] == by["ours_100"]["psnr"] - by[results["fastest"]]["psnr"]
    assert results["rmse_above_100"] == by[results["fastest"]]["rmse"] - by["ours_100"]["rmse"]
    for row in results["rows"]:
        if row["seconds"]:
            assert row["share"] == pytest.approx(row["operations"] / row["seconds"] / results["matrix_rate"])


def test_what_rests_on_fewer_steps_is_said(whole):
    results = whole[0]
    every = {name for name in results if name.endswith("_s") or name.startswith(("ratio_", "gap_", "rmse_"))}
    assert len(every) == 9 and set(results["estimated"]) == every - {"gif_s"}
    rows = [{**row, "extrapolated": None, "quality_steps": row["quality_steps"] and row["steps"]} for row in results["rows"]]
    assert ratios(rows)["estimated"] == []
    rows[0]["extrapolated"] = [1, 3]  # the reference's
    assert ratios(rows)["estimated"] == ["reference_s", "ratio_reference", "ratio_reference_same_weights"]
    short = {row["key"] for row in results["rows"] if row["extrapolated"]}  # steps in an interval do not cost the same
    assert short == {"reference", "diffusers", "diffusers_batched", "ours_guided", "ours_100", "ours_12", "ours_12_guided"}


def test_without_distilled_weights_ours_is_the_fastest(whole):
    rows = [{**row, "seconds": None} if row["key"].startswith("distilled") else row for row in whole[0]["rows"]]
    assert ratios(rows)["fastest"] == "ours"


def test_what_is_counted_adds_up(pipe, whole):
    by = {row["key"]: row for row in whole[0]["rows"]}
    x, t, text = torch.zeros(8, 12, 16, 16), torch.zeros(8), torch.zeros(8, 77, 256)
    with torch.no_grad():
        unet = operations(lambda: pipe.unet(x, t, text))
        flow = operations(lambda: pipe.model.warp(x[:, :4], text))
        shared = operations(lambda: pipe.model.warp(x[:1, :4].expand(8, -1, -1, -1), text))  # one picture, 8 frames
    assert by["ours_100"]["operations"] - by["ours_12"]["operations"] == 88 * unet
    assert by["ours_12_guided"]["operations"] - by["ours_12"]["operations"] == 24 * unet + flow + shared
    ahead = by["reference"]["operations"] - by["ours_guided"]["operations"]
    assert ahead > 99 * 3 * flow  # and the picture, 8 times
    assert by["distilled_2"]["operations"] - by["distilled_1"]["operations"] == unet


def test_quality_is_told_of_every_row_that_makes_pictures(whole):
    by = {row["key"]: row for row in whole[0]["rows"]}
    assert {key for key, row in by.items() if row["psnr"] is None} == {"diffusers", "diffusers_batched", "distilled_4"}
    assert "random weights" in by["diffusers"]["note"] and "take 1, 2 steps" in by["distilled_4"]["note"]
    assert by["reference"]["psnr"] == by["ours_guided"]["psnr"] and by["reference"]["quality_steps"] == 2
    told = {key: by[key]["quality_steps"] for key in ("ours_12", "ours_12_interval", "distilled_1")}
    assert told == {"ours_12": 2, "ours_12_interval": 12, "distilled_1": 1}


def test_what_a_user_waits_for(whole):
    results, _ = whole
    assert results["slider_ms"] == results["slider"]["256"]["ms"] > 0 and results["slider"]["own"]["moves"] == 2
    assert ("256_undistilled" in results["slider"]) == (results["fastest"] != "ours")
    start = results["start"]
    assert 0 < start["import_s"] < start["python_s"] < start["first_gif_s"]
    assert 100e6 < start["peak_bytes"] < 4e9
    assert results["curation"]["pairs"] == 4 * 3 / 2 and results["curation"]["error"] < 1e-3
    for name in ("frames", "pixels", "steps"):
        x, seconds, power = (results["growth"][name][key] for key in ("x", "seconds", "slope"))
        assert power == pytest.approx(slope([n**2 for n in x] if name == "pixels" else x, seconds))


def test_the_peak_is_at_least_what_is_taken_now():
    assert peak_memory() >= 0.98 * psutil.Process().memory_info().rss


def test_a_process_that_fails_says_why():
    with pytest.raises(Failed, match="ended with 3: no such luck"):
        _run("import sys; print('no such luck', file=sys.stderr); sys.exit(3)")


@pytest.mark.parametrize("moves", [0, 21])
def test_moves_are_of_different_motions(pipe, picture, moves):
    with pytest.raises(ValueError, match=f"{moves} moves cannot be timed: give 1 to 20"):
        slider_moves(pipe, picture, "a balloon", moves)


def test_several_rounds_are_one_figure():
    rounds = [{"ms": ms, "slowest_ms": 2 * ms, "first_ms": 9, "bytes": 5, "moves": 20} for ms in (30, 90, 28)]
    assert over(rounds) == {"ms": 30, "slowest_ms": 180, "first_ms": 9, "bytes": 5, "moves": 60}


def test_weights_that_are_the_wrong_kind(folders):
    with pytest.raises(ValueError, match="are distilled weights.*--turbo"):
        load(folders / "fast", None)
    with pytest.raises(ValueError, match="no distilled weights: give a folder that `pix2gif-lite train turbo` wrote"):
        load(folders / "slow", folders / "slow")
    with pytest.raises(ValueError, match="0 scenes"):
        run(folders / "slow", scenes=0)


@pytest.mark.parametrize(
    ("place", "apart"),
    [
        ("text_encoder", ["text encoder"]),
        ("motion_embedding", ["motion embedding"]),
        ("flow_net", ["FlowNet"]),
        ("vae.encoder", ["E"]),
        ("vae.decoder", []),  # D is trained apart, and the UNet is what distillation changes
        ("unet", []),
    ],
)
def test_the_parts_in_which_a_turbo_differs_from_its_teacher_are_named(pipe, place, apart):
    name, _, inside = place.partition(".")
    parts = {name: getattr(pipe, name) for name in PARTS}
    parts[name] = copy.deepcopy(parts[name])
    weight = next(iter(parts[name].get_submodule(inside).parameters()))
    with torch.no_grad():
        weight[(0,) * weight.ndim] += 1e-3
    assert parts_apart(pipe, Pix2GifPipeline.from_components(TINY, parts)) == apart


def test_distilled_weights_of_another_model_are_refused(folders, pipe, tmp_path):
    parts = {name: getattr(pipe, name) for name in PARTS} | {"flow_net": copy.deepcopy(pipe.flow_net)}
    with torch.no_grad():
        parts["flow_net"].predict_flow0[0].weight.mul_(2)
    Pix2GifPipeline.from_components(TINY, parts, distilled_steps=(1, 2), sampling_steps=1).save_pretrained(tmp_path / "fast")
    said = (
        r"'.*fast' were distilled from another model than '.*slow' \(not equal: FlowNet\): give distilled weights of this model"
    )
    with pytest.raises(ValueError, match=said):
        run(folders / "slow", None, tmp_path / "fast", plan=SMALL, progress=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--out"),
        (["--out", "/proc/bench"], "Cannot write into '/proc'"),
        (["--out", "OUT", "--scenes", "0"], "scenes is '0'"),
        (["--out", "OUT", "--weights", "no-such"], "'no-such'"),
        (["--out", "OUT", "--turbo", "no-such"], "'no-such'"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_written(options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *options]) == 2
    text, error = capsys.readouterr()
    assert words in error and error.count("\n") == 1 and text == ""
    assert list(tmp_path.iterdir()) == []
