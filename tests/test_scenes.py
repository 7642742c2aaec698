"""The default data: what it contains, that its flow is exact, that its motion is the paper's measure, that its splits hold."""

from __future__ import annotations

import math
import random

import cv2
import numpy as np
import pytest
import torch
from pretend_gpu import pretend_gpu

from pix2gif_lite.motion import motion_magnitudes
from pix2gif_lite.presets import DEMO_MOTIONS, MOTION_MAX, MOTION_MIN
from pix2gif_lite.scenery.actions import ACTIONS, SUITS
from pix2gif_lite.scenery.captions import PHRASES
from pix2gif_lite.scenery.casting import COLOURS, HELD_OUT_ACTIONS, HELD_OUT_COLOURS, cast
from pix2gif_lite.scenery.subjects import PAINTERS
from pix2gif_lite.scenes import SPLITS, all_captions, amplitude, draw, sample_scenes

MANY = 3000  # scenes over which a split's rule is checked; drawing none of them, this takes a second


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(48, "test")


@pytest.fixture(scope="module")
def rest(scenes):
    return draw(scenes, [0] * len(scenes))


@pytest.fixture(scope="module")
def train():
    return sample_scenes(MANY, "train")


def pairs(scene) -> set:
    """Every subject-action and subject-colour pair in a scene."""
    return {(a.subject, a.action) for a in scene.actors} | {(a.subject, a.colour) for a in scene.actors}


def warped(source: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """source(p + flow(p)), cubic, by OpenCV: independent of this project's own warp."""
    y, x = np.mgrid[: flow.shape[1], : flow.shape[2]].astype(np.float32)
    return cv2.remap(source, x + flow[0], y + flow[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


# ------------------------------------------------------------------------------------------------------------- contents


def test_there_is_as_much_to_see_as_promised(train):
    actors = [actor for scene in train for actor in scene.actors]
    assert len({a.subject for a in actors}) >= 14
    assert len({a.action for a in actors} - {None}) >= 9
    assert len({a.colour for a in actors}) >= 8
    assert len({scene.backdrop for scene in train}) >= 6
    assert {len(scene.actors) for scene in train} == {1, 2}


def test_the_tables_name_each_other():
    assert set(SUITS) == set(PAINTERS)
    assert {action for actions in SUITS.values() for action in actions} == set(ACTIONS) == set(PHRASES) - {"still"}
    assert {a for pair in HELD_OUT_ACTIONS for a in pair} <= set(SUITS) | set(ACTIONS)
    assert {a for pair in HELD_OUT_COLOURS for a in pair} <= set(SUITS) | set(COLOURS)


def test_a_caption_names_every_actor_and_has_several_wordings(train):
    for scene in train:
        for actor in scene.actors:
            assert f"{actor.colour} {actor.subject}" in scene.caption
        assert "{" not in scene.caption and "  " not in scene.caption and scene.caption == scene.caption.strip()
    rising = {s.caption.replace(s.actors[0].colour, "") for s in train if [a.action for a in s.actors] == ["rise"]}
    assert len(rising) > 20
    assert all_captions(5) == [scene.caption for scene in train[:5]]


def test_a_direction_that_a_caption_names_is_the_actors(train):
    opposite = {"left": " to the right", "right": " to the left"}
    checked = 0
    for scene in train:
        (first, *others) = scene.actors
        if not others and first.way in opposite:
            assert opposite[first.way] not in scene.caption
            checked += f" to the {first.way}" in scene.caption
    assert checked > 100


def test_an_actors_rest_and_largest_motion_stay_inside_the_picture(train):
    shifts = {name for name, row in ACTIONS.items() if row.kind == "shift"}
    for actor in (a for scene in train[:500] for a in scene.actors if a.action in shifts):
        dx, dy = actor.direction
        for step in (0.0, MOTION_MAX / 256):
            assert -0.12 < actor.x + dx * step - 0.5 * actor.size and actor.x + dx * step + 0.5 * actor.size < 1.12
            assert -0.12 < actor.y + dy * step - 0.5 * actor.size and actor.y + dy * step + 0.5 * actor.size < 1.12


# --------------------------------------------------------------------------------------------------------------- splits


def test_a_scene_depends_on_split_seed_and_index_alone():
    few, more = sample_scenes(3, "val", seed=7), sample_scenes(6, "val", seed=7)
    assert few == more[:3]
    assert few != sample_scenes(3, "val", seed=8) and few != sample_scenes(3, "test", seed=7)
    again = sample_scenes(3, "val", seed=7)
    assert torch.equal(draw(few, [5, 9, 13]).image, draw(again, [5, 9, 13]).image)


@pytest.mark.parametrize("split", ["train", "val", "test", "test_open"])
def test_pairs_kept_for_the_end_are_never_drawn_before(split, train, scenes):
    drawn = {"train": train, "test": scenes}.get(split) or sample_scenes(30, split)
    assert not any(pairs(scene) & (HELD_OUT_ACTIONS | HELD_OUT_COLOURS) for scene in drawn)


def test_the_rule_that_casts_val_and_test_never_draws_a_held_out_pair():
    # sample_scenes redraws what Lucas-Kanade misreads, which is slow; the rule itself is quick to check over thousands.
    held_out = HELD_OUT_ACTIONS | HELD_OUT_COLOURS
    for split in ("val", "test", "test_open", "test_pairs"):
        for seed in range(MANY):
            _, actors = cast(random.Random(f"{split} {seed}"), split)
            drawn = {(a.subject, a.action) for a in actors} | {(a.subject, a.colour) for a in actors}
            assert bool(drawn & held_out) == (split == "test_pairs"), (split, seed)
            assert any(a.action and ACTIONS[a.action].open for a in actors) == (split == "test_open"), (split, seed)


def test_test_pairs_is_made_of_held_out_pairs_and_has_them_all():
    drawn = [pairs(scene) & (HELD_OUT_ACTIONS | HELD_OUT_COLOURS) for scene in sample_scenes(MANY, "test_pairs")]
    assert all(drawn) and set().union(*drawn) == HELD_OUT_ACTIONS | HELD_OUT_COLOURS


def test_open_captions_are_in_train_and_test_open_only(train, scenes):
    assert 0.02 < np.mean([scene.open for scene in train]) < 0.12
    assert all(scene.open for scene in sample_scenes(20, "test_open"))
    assert not any(scene.open for scene in scenes)
    ways = (" to the ", "is rising", "is falling", "drifts")
    assert not any(way in scene.caption for scene in sample_scenes(20, "test_open") for way in ways)


def test_unknown_splits_and_impossible_motions_are_refused(scenes):
    with pytest.raises(ValueError, match="'validation'.*" + ", ".join(SPLITS)):
        sample_scenes(1, "validation")
    for motion in (-1, 31, math.nan, math.inf):
        with pytest.raises(ValueError, match="between 0 and 30"):
            draw(scenes[:1], [motion])
    with pytest.raises(ValueError, match="2 scenes need as many motions, got 1"):
        draw(scenes[:2], [3])


# --------------------------------------------------------------------------------------------------------- frames, flow


def test_only_chosen_subjects_and_actions():
    chosen = dict(subjects=["fish", "balloon"], actions=["rise", "swim"])
    few, more = (sample_scenes(count, "train", 3, **chosen) for count in (3, 8))
    assert few == more[:3] and len({scene.index for scene in more}) == 8
    assert {a.subject for s in more for a in s.actors} == {"fish", "balloon"}
    assert {a.action for s in more for a in s.actors} == {"rise", "swim"}
    (held_out,) = sample_scenes(1, "val", **chosen)
    assert held_out.split == "val" and set(held_out.subjects) <= {"fish", "balloon"}
    with pytest.raises(ValueError, match="Unknown subject 'fsh': choose from balloon"):
        sample_scenes(1, subjects=["fsh"])
    with pytest.raises(ValueError, match="Unknown action 'glide'"):
        sample_scenes(1, actions=["glide"])
    with pytest.raises(ValueError, match="Split train has no scenes"):
        sample_scenes(1, subjects=["windmill"], actions=["swim"])


def test_motion_0_is_the_rest_frame(scenes, rest):
    assert not rest.flow.any() and not rest.occluded.any()
    alone = scenes[3].at(0)
    assert torch.equal(alone.image[0], rest.image[3])
    # and the picture does not jump when the motion starts
    assert (scenes[3].at(0.01).image - alone.image).abs().max() < 0.05


def test_a_batch_draws_what_each_scene_draws_alone(scenes):
    motions = [2, 6, 19, 11.5]
    batch = draw(scenes[:4], motions)
    for k, (scene, m) in enumerate(zip(scenes, motions, strict=False)):
        alone = scene.at(m)
        # patches lie elsewhere in a batch, so coordinates round differently; a mask may differ on an edge's very pixel
        assert (alone.image[0] - batch.image[k]).abs().max() < 1e-3
        assert (alone.flow[0] - batch.flow[k]).abs().amax(0).gt(1e-3).sum() <= 4
        assert (alone.occluded[0] != batch.occluded[k]).sum() <= 4


def test_a_gpu_draws_what_the_cpu_draws(scenes):
    some = [*{actor.subject: scene for scene in scenes for actor in scene.actors}.values()]
    here = draw(some, [8] * len(some), 64)
    with pretend_gpu() as gpu:
        there = draw(some, [8] * len(some), 64, device=gpu)
    for name, ours, theirs in zip(here._fields, here, there, strict=True):
        assert theirs.device.type == "cuda", name
        assert torch.equal(theirs.held, ours), name


@pytest.mark.parametrize("size", [32, 96, 200])
def test_any_size(scenes, size):
    small, large = draw(scenes[:6], [8] * 6, size), draw(scenes[:6], [8] * 6, 128)
    assert small.image.shape == (6, 3, size, size) and small.flow.shape == (6, 2, size, size)
    assert small.occluded.shape == small.moving.shape == (6, 1, size, size)
    assert small.image.min() >= -1 and small.image.max() <= 1
    # flow is in pixels of its own frame
    longest = [frame.flow.norm(dim=1).amax((1, 2)) / frame.flow.shape[-1] for frame in (small, large)]
    torch.testing.assert_close(*longest, rtol=0.15, atol=0.005)
    # the same picture but for its sharpness
    difference = torch.nn.functional.interpolate(large.image, size=(size, size), mode="area") - small.image
    assert difference.abs().mean() < 0.05


@pytest.mark.parametrize("m", [2, 6, 11, 19])
def test_the_rest_frame_warped_by_the_exact_flow_is_the_frame(scenes, rest, m):
    frame = draw(scenes, [m] * len(scenes))
    quality, moved = [], []
    for k in range(len(scenes)):
        source, target = (t[k].permute(1, 2, 0).numpy() for t in (rest.image, frame.image))
        seen = ~frame.occluded[k, 0].numpy()
        error = (warped(source, frame.flow[k].numpy()) - target)[seen]
        quality.append(-10 * np.log10(np.mean((error / 2) ** 2)))
        moved.append(-10 * np.log10(np.mean(((source - target)[seen] / 2) ** 2)))
    assert min(quality) >= 30, np.argmin(quality)
    assert np.mean(quality) > np.mean(moved) + 10  # and it is the flow that does it


def test_nothing_changes_outside_the_moving_region(scenes, rest):
    frame = draw(scenes, [13] * len(scenes))
    # An edge's soft pixel may lie just outside, and a tip thinner than a pixel covers none by half.
    still = torch.nn.functional.max_pool2d(frame.moving.float(), 3, 1, 1) == 0
    changed = ((frame.image - rest.image).abs().amax(1, keepdim=True) > 1e-3) & still
    assert changed.sum((1, 2, 3)).max() <= 8 and changed.sum() < 2e-4 * still.sum()
    assert not (frame.flow * ~frame.moving).any() and not (frame.occluded & ~frame.moving).any()
    assert 0.02 < frame.moving.float().mean() < 0.4


# --------------------------------------------------------------------------------------------------------------- motion


def test_drawn_motion_is_what_lucas_kanade_measures(scenes, rest):
    asked = np.arange(MOTION_MIN, MOTION_MAX + 1)
    measured = []
    for k, scene in enumerate(scenes):
        measured.append(motion_magnitudes(rest.image[k], draw([scene] * len(asked), asked).image))
    error = np.array(measured) - asked
    assert np.median(np.abs(error)) <= 0.3
    assert np.sqrt((error**2).mean(1)).mean() <= 0.6


def test_more_motion_is_measured_as_more(scenes, rest):
    for k in range(0, len(scenes), 4):
        measured = motion_magnitudes(rest.image[k], draw([scenes[k]] * len(DEMO_MOTIONS), DEMO_MOTIONS).image)
        assert (np.diff(measured) > 0).all(), scenes[k].caption


def test_calibration_is_monotone_and_starts_at_0(scenes):
    for scene in scenes[:12]:
        amplitudes = [amplitude(scene, m) for m in range(MOTION_MAX + 1)]
        assert amplitudes[0] == 0 and (np.diff(amplitudes) > 0).all()
