"""The guidance formulas at their edges, and which conditions training drops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.guidance import (
    BRANCHES,
    branch_weights,
    drop,
    drop_masks,
    guidance_interval,
    guide,
    needed_predictions,
)
from pix2gif_lite.presets import LITE, PAPER

SCALES = (0, 0.3, 1, 1.8, 7.5, 1000)


def predictions(dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return {name: torch.randn(3, 4, 8, 8, generator=g, dtype=torch.float64).to(dtype) for name in BRANCHES}


@pytest.mark.parametrize(("s_I", "s_T"), list(itertools.product(SCALES, SCALES)))
def test_three_predictions_follow_the_formula(s_I, s_T):
    e = predictions()
    expected = e["none"] + s_I * (e["image"] - e["none"]) + s_T * (e["full"] - e["image"])
    assert_close(guide(e, s_I, s_T), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("s_I", "s_T", "s_M"), list(itertools.product(SCALES, SCALES, SCALES)))
def test_four_predictions_follow_the_formula(s_I, s_T, s_M):
    e = predictions()
    expected = e["none"] + s_I * (e["image"] - e["none"])
    expected = expected + s_T * (e["text"] - e["image"]) + s_M * (e["full"] - e["text"])
    assert_close(guide(e, s_I, s_T, s_M), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("scales", "branch"),
    [
        ((0, 0), "none"),
        ((1, 0), "image"),
        ((1, 1), "full"),
        ((0, 0, 0), "none"),
        ((1, 0, 0), "image"),
        ((1, 1, 0), "text"),
        ((1, 1, 1), "full"),
    ],
)
def test_the_corners_are_one_prediction_to_the_bit(scales, branch, dtype):
    e = predictions(dtype)
    assert needed_predictions(*scales) == (branch,)
    assert torch.equal(guide(e, *scales), e[branch])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("scales", list(itertools.product((0, 0.999, 1, 1.001, 20), (0, 1, 20), (None, 0, 1, 5))))
def test_type_and_shape_never_flip(scales, dtype):
    out = guide(predictions(dtype), *scales)
    assert isinstance(out, torch.Tensor) and out.shape == (3, 4, 8, 8) and out.dtype == dtype


def test_no_jump_near_one():
    e = predictions()
    for s_M in (None, 1):
        assert_close(guide(e, 1, 1 + 1e-9, s_M), guide(e, 1, 1, s_M), rtol=1e-6, atol=1e-6)


def test_large_scales_in_half_precision_add_up_in_float32():
    e = {name: 1 + 0.01 * prediction for name, prediction in predictions(torch.float16).items()}
    exact = guide({name: prediction.double() for name, prediction in e.items()}, 1.8, 20, 5)
    assert_close(guide(e, 1.8, 20, 5).double(), exact, rtol=2**-11, atol=1e-6)  # one rounding, at the end


@pytest.mark.parametrize("scales", list(itertools.product(SCALES, SCALES, (None, 0, 1, 3))))
def test_only_the_needed_predictions_are_read(scales):
    e, needed = predictions(), needed_predictions(*scales)
    assert_close(guide({name: e[name] for name in needed}, *scales), guide(e, *scales), rtol=0, atol=0)
    for name in needed:  # and each of them matters
        assert not torch.equal(guide({**e, name: e[name] + 1}, *scales), guide(e, *scales))
    assert sum(branch_weights(*scales).values()) == pytest.approx(1)


def test_drop_frequencies():
    n = 40_000
    text, image, motion = drop_masks(range(n), 0, LITE)
    assert text.dtype == image.dtype == motion.dtype == torch.bool and text.shape == image.shape == motion.shape == (n,)
    for mask, rate in [
        (text & ~image, 0.05),
        (image & ~text, 0.05),
        (text & image, 0.05),
        (motion & text & image, 0.025),
        (motion & text & ~image, 0.025),
        (motion & ~text, 0.03 * 0.85),
    ]:
        assert mask.double().mean().item() == pytest.approx(rate, abs=4 * math.sqrt(rate / n))  # four sigmas
    assert not (motion & image & ~text).any()
    assert not drop_masks(range(2000), 0, PAPER).motion.any()


def test_masks_depend_on_seed_and_index_alone():
    whole = drop_masks(range(1000), 7, LITE)
    for part in torch.randperm(1000, generator=torch.Generator().manual_seed(0)).split(33):
        for mask, expected in zip(drop_masks(part.tolist(), 7, LITE), whole, strict=True):
            assert torch.equal(mask, expected[part])
    assert not torch.equal(drop_masks(range(1000), 8, LITE).text, whole.text)
    assert drop_masks([], 7, LITE).text.shape == (0,)


def test_rates_of_zero_and_one():
    never = LITE.with_changes(drop_text=0, drop_image=0, drop_both=0, drop_motion=0)
    assert not any(mask.any() for mask in drop_masks(range(500), 0, never))
    always = LITE.with_changes(drop_text=0, drop_image=0, drop_both=1, drop_motion_with_text=1)
    assert all(mask.all() for mask in drop_masks(range(500), 0, always))


def test_drop_replaces_the_dropped_and_nothing_else():
    latents, ids = torch.linspace(1, 2, 48).view(3, 4, 2, 2), torch.arange(12).view(3, 4)
    dropped = torch.tensor([False, True, False])
    assert torch.equal(drop(latents, dropped)[1], torch.zeros(4, 2, 2))
    assert torch.equal(drop(latents, dropped)[::2], latents[::2])
    assert drop(ids, dropped, torch.tensor([9, 9, 9, 0])).tolist() == [[0, 1, 2, 3], [9, 9, 9, 0], [8, 9, 10, 11]]


def test_guidance_interval_is_open_below_and_closed_above():
    assert [guidance_interval(sigma, 0.2, 5.0) for sigma in (0.1, 0.2, 0.21, 5.0, 5.1)] == [0, 0, 1, 1, 0]
