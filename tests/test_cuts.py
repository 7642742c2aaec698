"""cuts.py on cuts, pans, fades and noise that are made, and on the cuts of a real clip."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from made_clips import pan, texture

from pix2gif_lite.curating.cuts import FOLLOWED, likeness, same_scene, there_and_back


def lit(grays, lights) -> list[np.ndarray]:
    return [np.rint(gray * light).astype(np.uint8) for gray, light in zip(grays, lights, strict=True)]


def cuts(grays) -> list[int]:
    return [k for k in range(len(grays) - 1) if not same_scene(grays[k], grays[k + 1])]


def test_a_hard_cut_is_found_where_it_is():
    assert cuts(pan(3, 5) + pan(3, 4, seed=8) + pan(-2, 3, seed=5)) == [4, 8]


def share_that_returns(gray_a, gray_b) -> float:
    return there_and_back(gray_a, gray_b)[0].mean()


@pytest.mark.parametrize("step", [0, 1.5, 10, 20])
def test_a_pan_is_no_cut_even_a_fast_one(step):
    shares = [share_that_returns(*pan(step, 2, seed)) for seed in (3, 5, 8)]
    assert min(shares) > 1.5 * FOLLOWED
    assert cuts(pan(step, 4)) == []


def test_pictures_that_have_nothing_in_common_are_not_one_scene():
    shares = [share_that_returns(texture(seed=a), texture(seed=b)) for a in range(4) for b in range(4) if a != b]
    assert max(shares) < FOLLOWED
    assert share_that_returns(texture(), texture()) == 1


def test_corners_that_stand_still_are_told_from_those_that_move():
    source, target = texture(), texture()
    target[:, :128] = texture(6)[:, :128]
    returned, moved = there_and_back(source, target)
    assert len(returned) == len(moved) and 0.3 < moved.mean() < 0.7
    assert returned[~moved].all() and returned[moved].mean() > 0.6


def test_noise_and_a_change_of_light_are_no_cut():
    rng = np.random.default_rng(0)
    noisy = [np.clip(frame + rng.normal(0, 20, frame.shape), 0, 255).astype(np.uint8) for frame in pan(2, 4)]
    assert cuts(noisy) == []
    assert cuts(lit(pan(2, 4), (1, 0.9, 0.8, 0.9))) == []


def test_the_ends_of_a_slow_dissolve_are_not_one_scene_though_all_neighbours_are():
    first, second = pan(1, 20), pan(1, 20, seed=8)
    mixed = [cv2.addWeighted(a, 1 - k / 19, b, k / 19, 0) for k, (a, b) in enumerate(zip(first, second, strict=True))]
    assert cuts(mixed) == []
    assert not same_scene(mixed[0], mixed[-1])
    assert same_scene(first[0], first[-1])  # the same distance without the dissolve


def test_a_fade_through_black_ends_the_scene_in_the_dark():
    lights = [1, 0.95, 0.9, 0.85, 0.8, 0.5, 0.2, 0, 0, 0.2, 0.5, 0.8, 0.85, 0.9, 0.95, 1]
    found = cuts(lit(pan(1, 16), lights))
    assert {7, 8} <= set(found)  # from black to anything
    assert min(found) >= 4 and max(found) <= 10


def test_a_logo_over_both_scenes_does_not_hide_the_cut():
    def with_logo(gray):
        gray = gray.copy()
        for thickness, level in ((6, 0), (2, 255)):
            cv2.putText(gray, "watermark", (20, 235), cv2.FONT_HERSHEY_SIMPLEX, 0.8, level, thickness)
        return gray

    frames = [with_logo(frame) for frame in pan(2, 3) + pan(2, 3, seed=8)]
    assert cuts(frames) == [2]


def test_nothing_can_be_followed_from_a_picture_without_corners():
    flat = np.full((256, 256), 80, np.uint8)
    returned, moved = there_and_back(flat, texture())
    assert returned.shape == moved.shape == (0,)
    assert not same_scene(flat, texture()) and not same_scene(flat, flat)


def test_likeness_is_numpys_correlation_of_the_means_of_blocks():
    a, b = texture(), texture(9)
    small = [gray.reshape(64, 4, 64, 4).mean((1, 3)).ravel() for gray in (a, b)]
    assert likeness(a, b) == pytest.approx(np.corrcoef(small)[0, 1], abs=0.01)  # OpenCV rounds the means
    assert likeness(a, a) == pytest.approx(1) and likeness(a, np.full_like(a, 7)) == 0
