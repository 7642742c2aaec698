"""The studies: each row is what the pipeline makes when it is asked that way, on scenes of the kind that is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pix2gif_lite.evaluation import studies
from pix2gif_lite.evaluation.generating import Scales, through_autoencoder
from pix2gif_lite.evaluation.studies import KINDS, Asked, Plan, Way
from pix2gif_lite.presets import DEMO_MOTIONS
from pix2gif_lite.scenes import sample_scenes, scenes_where

SMALL = Plan(
    scenes=2,
    casts=2,
    steps=(1, 3),
    s_I=(1.0, 1.8),
    s_T=(1.0, 7.5),
    motion=((1.0, None), (1.0, 1.0), (1.0, 2.0), (2.0, 2.0)),
    noise_steps=4,
    scales=(1.0, 1.4),
)


@pytest.fixture(scope="module")
def run(pipe):
    before, told = studies.QUICK, []
    studies.QUICK = SMALL
    try:
        return studies.run_studies(pipe, quick=True, tick=told.append), sum(told), studies.total(quick=True)
    finally:
        studies.QUICK = before


def levels(picture: torch.Tensor) -> np.ndarray:
    return (picture.permute(1, 2, 0).numpy() + 1) * 127.5


def dB(error: np.ndarray) -> float:
    return -10 * np.log10((error**2).mean() / 255**2)


def asked_one_by_one(pipe, **how) -> list[list[np.ndarray]]:
    """Grey levels of the GIFs of the first two scenes of `test`, by two calls of the pipeline."""
    gifs = []
    for scene in sample_scenes(2, "test"):
        source = scene.at(0, 64).image[0]
        out = pipe(source, scene.caption, DEMO_MOTIONS, seed=scene.index, detail=False, **how)
        gifs.append([np.asarray(frame, float) for frame in out.frames])
    return gifs


def test_every_picture_is_ticked_and_all_of_it_is_json(run):
    found, ticked, total = run
    assert ticked == total
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["made"]["scenes"] == 2 and found["made"]["motions"] == list(DEMO_MOTIONS)
    assert [(r["sampler"], r["steps"]) for r in found["steps"]] == [
        (sampler, n) for sampler in ("dpmpp_2m", "euler_ancestral") for n in SMALL.steps
    ]
    assert [(r["s_I"], r["s_T"]) for r in found["guidance"]] == [(1, 1), (1, 7.5), (1.8, 1), (1.8, 7.5)]
    assert [(r["s_T"], r["s_M"]) for r in found["motion_guidance"]] == list(SMALL.motion)
    assert [(r["s_I"], r["s_T"]) for r in found["coherency"]] == [(1, 1), (1.4, 1.4)]
    assert [r["noise"] for r in found["noise"]] == ["shared", "independent"] * 2


@pytest.mark.parametrize(
    ("study", "settings"),
    [
        ("guidance", {"s_I": 1.8, "s_T": 7.5}),
        ("motion_guidance", {"s_T": 2.0, "s_M": 2.0}),
        ("steps", {"steps": 3, "sampler": "euler_ancestral"}),
        ("noise", {"noise": "independent", "steps": 4, "sampler": "dpmpp_2m"}),
    ],
)
def test_a_row_is_what_the_pipeline_makes_when_asked_that_way(pipe, run, study, settings):
    (row,) = [r for r in run[0][study] if all(r[key] == value for key, value in settings.items())]
    gifs = asked_one_by_one(pipe, **settings)
    exact = [[levels(scene.at(m, 64).image[0]) for m in DEMO_MOTIONS] for scene in sample_scenes(2, "test")]
    expected = np.mean([dB(a - b) for gif, true in zip(gifs, exact, strict=True) for a, b in zip(gif, true, strict=True)])
    assert row["psnr"] == pytest.approx(expected, abs=0.05)  # the pipeline rounds to grey levels
    ours, true = (np.mean([np.abs(np.diff(gif, axis=0)).mean() for gif in each]) for each in (gifs, exact))
    assert row["flicker"] == pytest.approx(ours - true, abs=0.1)


def test_a_change_is_the_difference_to_the_weights_own_way_with_its_error(run):
    found = run[0]
    own = found["noise"][0]
    assert {key: own[key] for key in found["own"]} == found["own"]
    rows = [row for name in ("noise", "motion_guidance", "guidance", "steps") for row in found[name]]
    for row in rows:
        assert row["psnr_change"] == pytest.approx(row["psnr"] - own["psnr"], abs=1e-4)
        if {key: row[key] for key in found["own"]} == found["own"]:
            assert row["psnr_change"] == row["psnr_change_error"] == 0
    assert any(row["psnr_change_error"] > 0 for row in rows)


def test_the_error_of_a_change_by_hand(pipe):
    asked = Asked(pipe, 3)
    way = asked.own._replace(scales=Scales(1.0, 4.0))
    asked._known = {asked.own: {"psnr": torch.tensor([30.0, 31.0, 32.0])}, way: {"psnr": torch.tensor([31.0, 31.0, 31.0])}}
    row = asked.row(way)  # changes of 1, 0 and -1
    assert (row["psnr_change"], row["psnr"], row["s_T"]) == (0, 31, 4) and row["psnr_change_error"] == pytest.approx(3**-0.5)


def test_coherency_is_of_the_averaged_curve_too(pipe):
    """Two GIFs, one 1 px too far and one 1 px too short everywhere: the errors cancel in the curve, and not in a GIF."""
    asked = Asked(pipe, 2)
    curve = torch.tensor([float(m) for m in DEMO_MOTIONS])
    asked._known = {asked.own: {"measured": torch.stack([curve + 1, curve - 1])}}
    found = asked.coherency(asked.own)
    assert found["curve_l2"] == pytest.approx(0, abs=1e-6) and found["rmse"] == pytest.approx(1)
    asked._known = {asked.own: {"measured": torch.stack([curve + 1, curve + 2])}}
    assert asked.coherency(asked.own)["curve_l2"] == pytest.approx(1.5 * len(curve) ** 0.5)


def test_the_rows_of_coherency_are_measured_as_those_of_guidance(run):
    own, raised = run[0]["coherency"]
    (same,) = [r for r in run[0]["guidance"] if (r["s_I"], r["s_T"]) == (1, 1)]
    assert {key: own[key] for key in same} == pytest.approx(same)
    assert raised["curve_l2"] > 0 and -1 <= raised["curve_pearson"] <= 1 and raised["psnr"] != own["psnr"]


def test_guidance_that_weighs_one_prediction_is_no_guidance(run):
    paper, one, two, *_ = run[0]["motion_guidance"]
    skip = {"s_M", "psnr_change_error"}
    assert {k: v for k, v in paper.items() if k not in skip} == pytest.approx({k: v for k, v in one.items() if k not in skip})
    assert two["psnr"] != one["psnr"]


def test_frames_with_a_noise_of_their_own_change_where_nothing_moves(run):
    shared, independent, *_ = run[0]["noise"]
    assert independent["still_flicker"] > shared["still_flicker"] + 0.1


def test_a_gap_is_what_is_missing_to_the_autoencoder_alone(pipe):
    asked = Asked(pipe, 2)
    own = asked.columns(asked.own)
    (part,) = asked.parts
    ceiling = through_autoencoder(pipe, part.exact.image)
    for n in range(2):
        rows = range(n * len(DEMO_MOTIONS), (n + 1) * len(DEMO_MOTIONS))
        best = np.mean([dB(levels(ceiling[k]) - levels(part.exact.image[k])) for k in rows])
        assert own["gap_db"][n].item() == pytest.approx(best - own["psnr"][n].item(), abs=1e-3)
        moving = [part.exact.moving[k, 0].numpy() for k in rows]
        best = np.mean([dB((levels(ceiling[k]) - levels(part.exact.image[k]))[at]) for k, at in zip(rows, moving, strict=True)])
        assert own["moving_gap_db"][n].item() == pytest.approx(best - own["moving_psnr"][n].item(), abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_of_a_kind_have_the_actors_it_names_and_are_of_the_split(kind):
    chosen = scenes_where(2, "test", KINDS[kind], "none")
    acting = {"one": [1], "beside": [0, 1], "two": [1, 1]}[kind]
    for scene in chosen:
        assert sorted(bool(actor.action) for actor in scene.actors) == acting
        assert not {"roll", "spin", "swing", "rock", "sway", "grow"} & {actor.action for actor in scene.actors}
    if chosen[0].index < 40:  # the same scene as without a choice
        assert sample_scenes(chosen[0].index + 1, "test")[-1] == chosen[0]


def test_a_kind_that_a_split_does_not_have_is_named(monkeypatch):
    monkeypatch.setattr("pix2gif_lite.scenes.SEARCHED", 50)
    with pytest.raises(ValueError, match="Split train has no scenes with three actors."):
        scenes_where(1, "train", lambda scene: len(scene.actors) == 3, "with three actors")


def test_what_two_actions_cost_is_the_difference_of_the_gaps(pipe, run):
    two = run[0]["two_actions"]
    assert two["worse_db"] == pytest.approx(two["two"]["gap_db"] - two["one"]["gap_db"])
    assert two["moving_worse_db"] == pytest.approx(two["two"]["moving_gap_db"] - two["one"]["moving_gap_db"])
    for region in ("", "moving_"):
        one, both = (two[kind][region + "gap_db_error"] for kind in ("one", "two"))
        assert two[region + "worse_db_error"] == pytest.approx((one**2 + both**2) ** 0.5)
    scenes = scenes_where(2, "test", KINDS["two"], "none")
    errors = []
    for scene in scenes:
        out = pipe(scene.at(0, 64).image[0], scene.caption, DEMO_MOTIONS, seed=scene.index, detail=False)
        errors += [dB(np.asarray(f) - levels(scene.at(m, 64).image[0])) for f, m in zip(out.frames, DEMO_MOTIONS, strict=True)]
    assert two["two"]["psnr"] == pytest.approx(np.mean(errors), abs=0.05)
    assert two["two"]["flow_error"] > 0 and two["scenes"] == 2


def test_a_gif_is_timed_with_the_steps_asked_for(pipe, monkeypatch):
    asked, calls = Asked(pipe, 1), []
    monkeypatch.setattr(type(pipe), "__call__", lambda self, *args, **how: calls.append((args[2], how)))
    for steps, times in ((1, 6), (3, 2), (50, 1)):
        calls.clear()
        assert 0 < studies.seconds_a_gif(pipe, asked.parts[0], Way(steps, "euler_ancestral", Scales(1.0, 2.0))) < 1
        assert len(calls) == times and calls[0][0] == DEMO_MOTIONS
        assert {key: calls[0][1][key] for key in ("steps", "sampler", "s_T", "s_M")} == {
            "steps": steps, "sampler": "euler_ancestral", "s_T": 2.0, "s_M": None
        }  # fmt: skip
