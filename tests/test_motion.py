"""motion.py against shifts known by construction, hand-counted vectors and the algorithm's limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite.motion import (
    dense_flow,
    find_corners,
    mean_moving_length,
    motion_magnitude,
    motion_magnitudes,
    pair_magnitudes,
    to_gray,
    track,
)


def texture(size: int, dx: float = 0, dy: float = 0) -> np.ndarray:
    """A smooth uint8 RGB picture that is a formula, so that it can be drawn at any size and shifted by any amount (px
    at 256): no interpolation is involved."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) * 256 / size
    rng = np.random.default_rng(3)
    field = np.zeros((size, size))
    for _ in range(60):
        fx, fy = rng.normal(0, 0.12, 2)
        field += np.sin(fx * (x - dx) + fy * (y - dy) + rng.uniform(0, 6.28))
    grey = np.clip(128 + 14 * field, 0, 255)
    return np.rint(np.stack([grey, grey * 0.8, 255 - grey], -1)).astype(np.uint8)


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, -4), (3, 4), (-7.5, 2), (12, 5)])
def test_known_shift_is_measured(dx, dy):
    measured = motion_magnitude(texture(256), texture(256, dx, dy))
    assert abs(measured - np.hypot(dx, dy)) < 0.3


def test_the_largest_motion_of_the_paper():
    """At 20 px some corners leave the picture and are found elsewhere; the mean of Alg. 1 pays for them."""
    source, target = texture(256), texture(256, -12, 16)
    corners = find_corners(to_gray(source))
    vectors, found = track(to_gray(source), to_gray(target), corners)
    np.testing.assert_allclose(np.median(vectors[found], axis=0), [-12, 16], atol=0.05)
    assert 0.8 < found.mean() < 1
    assert motion_magnitude(source, target) == pytest.approx(20, rel=0.05)


def test_still_and_featureless_pictures_give_zero():
    flat = np.full((256, 256, 3), 90, np.uint8)
    assert motion_magnitude(texture(256), texture(256)) == 0.0
    assert find_corners(to_gray(flat)).shape == (0, 2)
    assert motion_magnitude(flat, texture(256)) == 0.0


def test_only_vectors_longer_than_one_pixel_count():
    assert mean_moving_length(np.array([[1.0, 0], [0, 2], [3, 4]])) == 3.5  # (2 + 5) / 2: exactly 1 px is still
    assert mean_moving_length(np.array([[0.6, 0.8], [0, 0]])) == 0.0
    assert mean_moving_length(np.zeros((0, 2))) == 0.0
    assert motion_magnitude(texture(256), texture(256, 0.7)) == 0.0
    assert motion_magnitude(texture(256), texture(256, 1.4)) == pytest.approx(1.4, abs=0.1)


def test_still_background_does_not_dilute_the_motion():
    source, target = texture(256), texture(256)
    target[64:192, 64:192] = texture(256, 6, 0)[64:192, 64:192]
    vectors, found = track(to_gray(source), to_gray(target), find_corners(to_gray(source)))
    lengths = np.hypot(*vectors[found].T)
    assert (lengths < 1).sum() > 20  # many corners stand still, and yet:
    assert motion_magnitude(source, target) == pytest.approx(6, abs=1)


def test_size_and_aspect_do_not_change_the_measure():
    expected = np.hypot(6, 3)
    for size in (128, 192, 512):
        assert abs(motion_magnitude(texture(size), texture(size, 6, 3)) - expected) < 0.3
    square = [Image.fromarray(texture(256, *shift)) for shift in ((0, 0), (6, 3))]
    wide = [image.resize((512, 256), Image.Resampling.BICUBIC) for image in square]
    assert abs(motion_magnitude(*wide) - expected) < 0.3


def test_order_of_the_corners_does_not_matter():
    a, b = to_gray(texture(256)), to_gray(texture(256, 5, 1))
    corners = find_corners(a)
    assert 50 < len(corners) <= 100 and corners.dtype == np.float32
    gaps = np.linalg.norm(corners[:, None] - corners[None], axis=2) + 1e9 * np.eye(len(corners))
    assert gaps.min() >= 7
    order = np.random.default_rng(0).permutation(len(corners))
    vectors, found = track(a, b, corners)
    shuffled, shuffled_found = track(a, b, corners[order])
    np.testing.assert_allclose(shuffled, vectors[order], atol=1e-5)
    assert (shuffled_found == found[order]).all()


def test_many_targets_equal_one_by_one():
    targets = [texture(256, m) for m in (0, 2, 5, 9)]
    together = motion_magnitudes(texture(256), targets)
    assert together.tolist() == [motion_magnitude(texture(256), target) for target in targets]
    assert together[0] == 0 and (np.diff(together) > 1.5).all()
    assert motion_magnitudes(texture(256), []).shape == (0,)


def test_all_pairs_equal_one_by_one():
    frames = [texture(200, m) for m in (0, 3, 3, 7, 12)]
    i, j, m = pair_magnitudes(frames)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(a, b) for a in range(5) for b in range(a + 1, 5)]
    np.testing.assert_allclose(m, [motion_magnitude(frames[a], frames[b]) for a, b in zip(i, j, strict=True)], atol=1e-3)
    np.testing.assert_allclose(m, [3, 3, 7, 12, 0, 4, 9, 4, 9, 5], atol=0.3)  # the differences of the shifts
    assert m.dtype == np.float64
    for few in ([], frames[:1]):
        assert all(len(column) == 0 for column in pair_magnitudes(few))
    assert pair_magnitudes(iter(frames))[2].tolist() == m.tolist()


def test_pil_array_and_tensor_are_the_same_picture():
    pixels = texture(128)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
    from_array = to_gray(pixels)
    assert from_array.shape == (256, 256) and from_array.dtype == np.uint8
    assert (to_gray(tensor) == from_array).all()
    assert (to_gray(Image.fromarray(pixels)) == from_array).all()
    soft = pixels // 2 + 64  # nothing is clipped, so that colour first or grey first is the same
    reference = Image.fromarray(soft).resize((256, 256), Image.Resampling.LANCZOS).convert("L")
    difference = np.abs(to_gray(soft).astype(int) - np.asarray(reference))
    assert difference.max() <= 2 and difference.mean() < 0.5  # roundings before and after the filter
    assert to_gray(pixels, None).shape == (128, 128)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match=r"float64 array of shape \(8, 8, 3\).*uint8"):
        to_gray(np.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\)"):
        to_gray(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="NaN"):
        to_gray(torch.full((3, 8, 8), float("nan")))


def test_dense_flow_is_forward_in_pixels_of_the_picture():
    flow = dense_flow(texture(256), texture(256, 5, -3))
    assert flow.shape == (2, 256, 256) and flow.dtype == np.float32
    assert np.median(flow[0]) == pytest.approx(5, abs=0.2) and np.median(flow[1]) == pytest.approx(-3, abs=0.2)
    small = dense_flow(texture(128), texture(128, 5, -3))
    assert np.median(small[0]) == pytest.approx(2.5, abs=0.2)
    with pytest.raises(ValueError, match="128 x 128 and 256 x 256"):
        dense_flow(texture(128), texture(256))
    with pytest.raises(ValueError, match="8 x 8"):
        dense_flow(texture(8), texture(8))
