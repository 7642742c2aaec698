"""Pairs that training never drew: readable, alone, against the same subject, every pair weighing the same."""

from __future__ import annotations

import json
import math

import pytest
import torch
from test_summary import known_columns

from pix2gif_lite.evaluation.held_out import PAIRS, Cast, Pair, compare, find_casts, held_out_pairs, pairs_markdown, ticks
from pix2gif_lite.evaluation.measuring import measure
from pix2gif_lite.scenery.casting import HELD_OUT_ACTIONS, HELD_OUT_COLOURS
from pix2gif_lite.scenes import endless_scenes, readable, sample_scenes, scenes_where

GROW, RISE, GREEN = Pair("actions", "star", "grow"), Pair("actions", "lantern", "rise"), Pair("colours", "balloon", "green")


@pytest.fixture(scope="module")
def measured():
    return sample_scenes(6, "test")


@pytest.fixture(scope="module")
def casts(measured):
    return find_casts(1, measured)


def test_all_held_out_pairs_are_there_and_training_has_none():
    assert {pair[1:] for pair in PAIRS if pair.kind == "actions"} == HELD_OUT_ACTIONS
    assert {pair[1:] for pair in PAIRS if pair.kind == "colours"} == HELD_OUT_COLOURS and len(PAIRS) == 10
    for scene in sample_scenes(400, "train"):
        assert not any(pair.alone(scene) for pair in PAIRS)


def test_the_scenes_of_a_pair_are_alone_readable_and_the_first(casts):
    assert [cast.pair for cast in casts] == list(PAIRS)
    found = {cast.pair.name: cast for cast in casts}
    assert found["boat, yellow"].unseen == [] and found["boat, yellow"].tried == 25  # at sea the ruler follows waves
    for cast in casts:
        _, subject, other = cast.pair
        assert len(cast.unseen) == (cast.pair.name != "boat, yellow")
        for scene in cast.unseen:
            (actor,) = scene.actors
            assert actor.subject == subject and other in (actor.action, actor.colour)
            assert scene.split == "test_pairs" and readable(scene)
    first = next(s for s in endless_scenes("test_pairs") if GROW.alone(s) and readable(s))
    assert found["star, grow"].unseen == [first]


def test_seen_scenes_are_those_measured_anyway_and_as_many_more_as_are_missing(casts, measured):
    for cast in casts:
        alone = [n for n, scene in enumerate(measured) if [a.subject for a in scene.actors] == [cast.pair.subject]]
        assert cast.rows == (alone if cast.unseen else [])
        assert len(cast.more) == max(0, len(cast.unseen) - len(cast.rows))
        for scene in cast.more:
            assert scene.split == "test" and scene.subjects == (cast.pair.subject,) and scene not in measured
    assert any(cast.rows for cast in casts) and any(cast.more for cast in casts)
    assert ticks(casts) == sum(len(cast.unseen) + len(cast.more) for cast in casts)


def test_a_pair_is_as_much_worse_as_it_is_farther_below_the_ceiling_than_its_own_subject():
    """The ceiling is 31 dB everywhere: see known_columns."""
    found = compare(
        {
            GROW: (known_columns([30.0, 28.0]), known_columns([30.5, 30.5, 30.5, 30.5])),  # 2 dB below, and 0.5
            RISE: (known_columns([26.0]), known_columns([27.0])),  # 5 and 4: a harder subject
            GREEN: (known_columns([29.0, 29.0]), known_columns([28.0, 29.0])),  # 2 and 2.5
        }
    )
    grow, rise, green = found["by_pair"].values()
    assert list(found["by_pair"]) == ["star, grow", "lantern, rise", "balloon, green"]
    assert (grow["gap_db"], grow["same_subject_gap_db"], grow["worse_db"]) == (2, 0.5, 1.5)
    # seen scenes do not spread; 1 and 3 have a standard deviation of sqrt(2), over sqrt(2) scenes
    assert (grow["scenes"], grow["seen_scenes"], grow["worse_db_error"]) == (2, 4, pytest.approx(1))
    assert rise["worse_db"] == 1 and rise["worse_db_error"] is None
    assert green["worse_db"] == -0.5 and green["worse_db_error"] == pytest.approx(0.5)
    assert (found["pairs"], found["scenes"], found["seen_scenes"]) == (3, 5, 7)
    assert found["worse_db"] == pytest.approx(2 / 3) == found["moving_worse_db"]
    spread = math.sqrt(sum((x - 2 / 3) ** 2 for x in (1.5, 1.0, -0.5)) / 2)
    assert found["worse_db_error"] == pytest.approx(spread / math.sqrt(3))
    assert found["actions"]["worse_db"] == 1.25 and found["actions"]["worse_db_error"] == pytest.approx(0.25)
    assert found["colours"]["worse_db"] == -0.5 and found["colours"]["worse_db_error"] is None
    assert found["gap_db"] == pytest.approx((1 + 3 + 5 + 2 + 2) / 5)  # of all scenes alike, as `brief` has it
    json.dumps(found, allow_nan=False)


def test_scenes_without_the_region_do_not_count_and_a_pair_without_any_has_no_figure():
    unseen, seen = known_columns([30.0, 29.0]), known_columns([30.0, 30.0])
    unseen["moving_psnr"] = unseen["moving_psnr"].clone()
    unseen["moving_psnr"][0] = math.nan
    found = compare({GROW: (unseen, seen), RISE: (known_columns([30.0]), seen | {"moving_psnr": seen["psnr"] * math.nan})})
    assert (
        found["by_pair"]["star, grow"]["moving_worse_db"] == 1 and found["by_pair"]["lantern, rise"]["moving_worse_db"] is None
    )
    assert found["moving_worse_db"] == 1 and found["moving_worse_db_error"] is None
    assert found["colours"] == {"pairs": 0, "scenes": 0}
    json.dumps(found, allow_nan=False)


def test_a_pair_stands_beside_its_action_by_other_subjects_and_says_how_its_flow_was():
    """Second scene of known_columns: 2 px too far."""
    unseen, seen, alike = known_columns([30.0, 28.0]), known_columns([30.5]), known_columns([29.0, 28.0, 27.0])
    unseen["flow_error"], seen["flow_error"] = unseen["asked"] * 0 + 0.5, seen["asked"] * 0 + 0.25
    grow, rise = compare({GROW: (unseen, seen, alike), RISE: (unseen, seen)})["by_pair"].values()
    assert (grow["same_action_gap_db"], grow["moving_same_action_gap_db"], grow["same_action_scenes"]) == (3, 3, 3)
    assert (grow["rmse"], grow["same_subject_rmse"]) == (1, 0)
    assert (grow["flow_error"], grow["same_subject_flow_error"]) == (0.5, 0.25)
    assert (rise["same_action_gap_db"], rise["same_action_scenes"]) == (None, 0)
    (without_a_warp,) = compare({RISE: (known_columns([26.0]), known_columns([27.0]))})["by_pair"].values()
    assert without_a_warp["flow_error"] is without_a_warp["same_subject_flow_error"] is None


def test_the_same_action_is_that_of_one_actor_alone(casts, measured):
    assert any(cast.alike for cast in casts)
    for cast in casts:
        acts = [n for n, scene in enumerate(measured) if [actor.action for actor in scene.actors] == [cast.pair.other]]
        assert cast.alike == (acts if cast.pair.kind == "actions" else [])


def test_what_is_measured_is_each_pairs_own_scenes(pipe, casts, measured):
    some = [cast for cast in casts if cast.pair.name in ("butterfly, drift", "boat, yellow")]
    some += [cast for cast in casts if cast.rows][:1]
    told = []
    frames = measure(pipe, measured, steps=1)
    found = held_out_pairs(pipe, some, frames, steps=1, tick=told.append)
    assert sum(told) == ticks(some) and found["not_read"] == {"boat, yellow": 25}
    last = some[-1]
    rows = found["by_pair"][last.pair.name]
    seen = (frames["ceiling_psnr"] - frames["psnr"])[last.rows].mean(1)
    assert rows["seen_scenes"] == len(last.rows) + len(last.more) and not last.more
    assert rows["same_subject_gap_db"] == pytest.approx(seen.mean().item(), abs=1e-4)
    alone = measure(pipe, last.unseen, steps=1)
    assert rows["gap_db"] == pytest.approx((alone["ceiling_psnr"] - alone["psnr"]).mean().item(), abs=1e-4)
    assert rows["worse_db"] == pytest.approx(rows["gap_db"] - rows["same_subject_gap_db"])


def test_without_scenes_measured_before_all_seen_ones_are_drawn(pipe):
    (star,) = scenes_where(1, "test_pairs", GROW.alone, "of a growing star")
    (seen,) = scenes_where(1, "test", lambda scene: scene.subjects == ("star",), "of a star")
    found = held_out_pairs(pipe, [Cast(GROW, [star], 1, [], [seen])], {}, steps=1)
    assert (found["scenes"], found["seen_scenes"], found["not_read"]) == (1, 1, {})
    assert torch.isfinite(torch.tensor(found["worse_db"]))


def test_the_table_of_pairs_says_how_they_were_compared():
    section = compare({GROW: (known_columns([30.0, 28.0]), known_columns([30.5, 30.5])), RISE: (known_columns([26.0]),) * 2})
    text = pairs_markdown(section | {"not_read": {"boat, yellow": 200}})
    lines = text.splitlines()
    assert "2 pairs" in lines[0] and "3 scenes of `test_pairs`" in lines[0] and "3 scenes of `test` with" in lines[0]
    assert lines[0].endswith("The ruler reads no scene of: boat, yellow (200 scenes tried).")
    assert lines[-2:] == [
        "| star, grow | 2 | 2 | 2.00 | 0.50 | - | 1.50 +- 1.00 | 1.50 +- 1.00 | - | - |",
        "| lantern, rise | 1 | 1 | 5.00 | 5.00 | - | 0.00 | 0.00 | - | - |",
    ]
    assert "tried" not in pairs_markdown(section | {"not_read": {}})
