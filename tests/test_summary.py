"""Averages whose answer is known: of everything, of photographs by kind of move."""

from __future__ import annotations

import json
import math

import pytest
import torch

from pix2gif_lite.evaluation import summary
from pix2gif_lite.photos import sample_moved_photos
from pix2gif_lite.presets import DEMO_MOTIONS
from pix2gif_lite.scenes import sample_scenes


def test_the_summary_of_known_columns():
    asked = torch.tensor(DEMO_MOTIONS).float().expand(2, -1)
    frames = {"asked": asked, "measured": asked + 1, "ruler": asked.double(), "flow_error": asked * 0 + 0.5}
    frames["ceiling_measured"] = asked - 0.5
    frames |= {"measured_flow_error": asked * 0 + 0.75, "ruler_flow_error": asked * 0 + 0.25}
    levels = {"": 30.0, "ceiling_": 31.0, "copy_": 20.0, "warp_": 28.0, "detail_": 33.5}
    for prefix, level in levels.items():
        frames |= {prefix + "psnr": asked * 0 + level, prefix + "moving_psnr": level - asked}
        frames[prefix + "still_psnr"] = asked * 0 + 40
        frames[prefix + "seen_psnr"] = level + asked / 2
    # slow frames do not count in the gain
    frames["moving_psnr"] = torch.where(asked < summary.FAST, 0.0, 25.0 - asked)
    frames |= {"stillness": asked * 0 + 2, "ceiling_stillness": asked * 0 + 1, "sharpness": asked * 0 + 0.9}
    frames |= known_changes(2)
    frames |= {"ssim": asked * 0 + 0.9, "ceiling_moving_ssim": asked / asked * 0.8}
    frames["moving_psnr"][0, -1] = math.nan  # a frame in which nothing visible moves
    found = summary.summarise(frames)
    assert found["fidelity"]["gap_db"] == pytest.approx(1) and found["fidelity"]["moving_gain_db"] == pytest.approx(5)
    assert found["fidelity"]["still_gap_db"] == 0 and found["fidelity"]["warp_psnr"] == 28
    assert found["fidelity"]["warp_gap_db"] == 3 == found["fidelity"]["warp_moving_gap_db"]
    assert found["fidelity"]["warp_still_gap_db"] == 0 == found["fidelity"]["detail_still_gap_db"]
    assert found["fidelity"]["detail_gap_db"] == found["fidelity"]["detail_moving_gap_db"] == -2.5
    warped = ("warp_", "detail_")
    unwarped = summary.summarise({name: v for name, v in frames.items() if not name.startswith(warped)})["fidelity"]
    assert unwarped["warp_gap_db"] is unwarped["detail_gap_db"] is None and "warp_psnr" not in unwarped
    assert found["fidelity"]["seen_gap_db"] == pytest.approx(1) and found["fidelity"]["seen_gain_db"] == pytest.approx(10)
    assert found["by_motion"]["8"]["seen_psnr"] == 34 and found["by_motion"]["8"]["copy_seen_psnr"] == 24
    assert found["coherency"]["pearson"] == pytest.approx(1) and found["coherency"]["rmse"] == pytest.approx(1)
    assert found["ceiling"]["rmse"] == 0.5
    assert found["ruler"]["rmse"] == 0 and found["ruler"]["median_error"] == 0
    assert found["flow"]["measured_end_point_error"] == 0.75 and found["flow"]["ruler_end_point_error"] == 0.25
    assert found["flow"]["end_point_error"] == 0.5 and found["by_motion"]["11"]["measured"] == 12
    assert summary.brief(frames)["sharpness"] == pytest.approx(0.9)
    assert found["fidelity"]["ssim"] == pytest.approx(0.9) and found["fidelity"]["ceiling_moving_ssim"] == pytest.approx(0.8)
    assert found["flicker"]["generated"] == 5 and found["flicker"]["exact"] == pytest.approx(2.5)
    assert found["flicker"]["excess"] == pytest.approx(2.5) and found["flicker"]["ceiling_excess"] == pytest.approx(0.5)
    assert found["flicker"]["warped_excess"] == pytest.approx(0.25) and found["flicker"]["warped_ceiling_excess"] == 0
    assert found["flicker"]["still_excess"] == 1 and found["flicker"]["still_ceiling"] is None


def known_changes(count: int) -> dict[str, torch.Tensor]:
    """Columns of `changes`: the first GIF's 1 above the second's where they differ, NaN where nothing stands still."""
    rows = torch.arange(count).flip(0)[:, None].float()
    known = {"change": 4.5 + rows, "ceiling_change": 2.5 + rows, "exact_change": 2.0 + rows}
    known |= {"still_change": 1 + 0 * rows, "ceiling_still_change": rows * math.nan, "exact_still_change": 0 * rows}
    return known | {
        "warped_change": 0 * rows + 1.5,
        "ceiling_warped_change": rows * 0 + 1.25,
        "exact_warped_change": rows * 0 + 1.25,
    }


def known_columns(levels: list[float]) -> dict[str, torch.Tensor]:
    """Photographs that are all seen and move everywhere; row n is generated at `levels[n]` dB, 2 px too far at n = 1."""
    asked = torch.tensor(DEMO_MOTIONS).float().expand(len(levels), -1)
    ours, none = asked * 0 + torch.tensor(levels)[:, None], asked * math.nan
    pictures = {"": ours, "ceiling_": asked * 0 + 31, "copy_": asked * 0 + 20}
    frames = {prefix + region + "psnr": v for prefix, v in pictures.items() for region in ("", "moving_", "seen_")}
    frames |= {prefix + "still_psnr": none for prefix in pictures}
    frames |= {
        "asked": asked,
        "ruler": asked,
        "ceiling_measured": asked + 0.5,
        "measured": asked + 2.0 * (torch.arange(len(levels)) == 1)[:, None],
    }
    frames |= known_changes(len(levels))
    return frames | {"stillness": none, "ceiling_stillness": none, "sharpness": asked * 0 + 1}


def test_photographs_are_summed_up_together_and_by_kind_of_move():
    photos = sample_moved_photos(2, "test", moves=["pan left"]) + sample_moved_photos(1, "test", moves=["zoom in"])
    found = summary.summarise_photos(photos, known_columns([30.0, 28.0, 26.0]))
    assert found["photos"] == 3 and list(found["by_move"]) == ["pan", "zoom"]
    assert found["fidelity"]["seen_gap_db"] == pytest.approx(3) and found["fidelity"]["seen_gain_db"] == pytest.approx(8)
    pan, zoom = found["by_move"].values()
    assert (pan["photos"], pan["seen_gap_db"], pan["seen_gain_db"], pan["rmse"]) == (2, 2, 9, 1)
    assert (zoom["photos"], zoom["seen_gap_db"], zoom["seen_gain_db"], zoom["rmse"]) == (1, 5, 6, 0)
    assert found["fidelity"]["still_psnr"] is None and found["fidelity"]["still_gap_db"] is None  # no region, no figure
    json.dumps(found, allow_nan=False)


def test_scenes_are_summed_up_by_what_their_one_actor_does():
    scenes = sample_scenes(6, "test")
    frames = known_columns([30.0, 28.0, 26.0, 30.0, 30.0, 30.0]) | {"flow_error": torch.full((6, len(DEMO_MOTIONS)), 0.5)}
    found = summary.summarise_actions(scenes, frames)
    assert list(found) == sorted(found) and sum(row["scenes"] for row in found.values()) == 6
    for name, row in found.items():
        some = [n for n, s in enumerate(scenes) if (s.actors[0].action if len(s.actors) == 1 else "two subjects") == name]
        gaps = [(1, 3, 5, 1, 1, 1)[n] for n in some]
        assert row["gap_db"] == row["moving_gap_db"] == pytest.approx(sum(gaps) / len(some)) and row["still_gap_db"] is None
        assert row["rmse"] == pytest.approx(2 * (1 in some) / len(some)) and row["flow_error"] == 0.5 == row["ceiling_rmse"]
    without_a_warp = summary.summarise_actions(scenes, known_columns([30.0] * 6))
    assert {row["flow_error"] for row in without_a_warp.values()} == {None}
    json.dumps(found, allow_nan=False)


def test_the_mean_of_nothing_is_nothing():
    assert summary.mean(None) is None and summary.mean(torch.tensor([math.nan])) is None
    assert summary.mean(torch.tensor([math.nan, 1.0, 4.0])) == 2.5


def test_the_standard_error_is_the_spread_over_the_root_of_how_many():
    assert summary.standard_error(torch.tensor([1.0, 3.0])) == pytest.approx(1)
    assert summary.standard_error(torch.tensor([0.0, 1.0, 2.0, 3.0])) == pytest.approx(math.sqrt(5 / 3) / 2)
    assert summary.standard_error(torch.tensor([1.0])) is None and summary.standard_error(torch.tensor([])) is None
