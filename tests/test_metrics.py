"""Metrics on cases whose answer is known without them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.metrics import (
    change,
    coherency,
    end_point_error,
    flicker,
    frechet_distance,
    pearson,
    psnr,
    region_mean,
    rmse,
    sharpness,
    ssim,
    stillness,
)
from pix2gif_lite.presets import DEMO_MOTIONS


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def left_half(size: int = 8) -> torch.Tensor:
    where = torch.zeros(1, 1, size, size, dtype=torch.bool)
    where[..., : size // 2] = True
    return where


def test_psnr_of_a_known_error():
    exact = torch.zeros(3, 3, 8, 8)
    # an error of 0.2 in [-1, 1] is 0.1 of the range: 20 dB; of 0.02: 40 dB; none: the cap
    picture = exact + torch.tensor([0.2, 0.02, 0.0]).reshape(3, 1, 1, 1)
    assert_close(psnr(picture, exact), torch.tensor([20.0, 40.0, 100.0]))


def test_psnr_equals_the_formula_on_bytes():
    a, b = torch.randint(0, 256, (2, 4, 3, 16, 16)).double()
    expected = 10 * torch.log10(255**2 / (a - b).square().mean((1, 2, 3)))
    assert_close(psnr(a / 127.5 - 1, b / 127.5 - 1).double(), expected, atol=1e-4, rtol=0)


def test_psnr_of_a_region_sees_the_region_only():
    exact = torch.zeros(1, 3, 8, 8)
    picture = exact.clone()
    picture[..., :4], picture[..., 4:] = 0.2, float("nan")
    assert_close(psnr(picture, exact, left_half()), torch.tensor([20.0]))
    assert psnr(picture, exact, torch.zeros(1, 1, 8, 8, dtype=torch.bool)).isnan().all()


def test_psnr_clamps_what_a_saved_frame_would_clamp():
    assert_close(psnr(torch.full((1, 3, 4, 4), 1.7), torch.ones(1, 3, 4, 4)), torch.tensor([100.0]))


def test_region_mean_averages_channels_and_pixels():
    values = torch.arange(8.0).reshape(1, 2, 2, 2)
    where = torch.tensor([[True, False], [False, False]]).reshape(1, 1, 2, 2)
    assert region_mean(values).item() == 3.5 and region_mean(values, where).item() == 2


def test_pearson_and_rmse_against_numpy():
    asked, measured = torch.randn(2, 5, 8)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(asked.numpy(), measured.numpy(), strict=True)]
    assert_close(pearson(asked, measured), torch.tensor(expected), atol=1e-6, rtol=0)
    assert_close(rmse(asked, measured), (asked.double() - measured.double()).pow(2).mean(1).sqrt())


def test_pearson_of_lines():
    x = torch.tensor([2.0, 5.0, 11.0])
    rows = torch.stack([3 * x + 1, -x, torch.full((3,), 7.0)])
    assert_close(pearson(x.expand(3, 3), rows), torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64))


def test_coherency_of_perfect_halved_and_opposite_gifs():
    asked = torch.tensor(DEMO_MOTIONS).float().expand(4, -1)
    length = asked[0].norm().item()
    assert coherency(asked, asked) == pytest.approx({"pearson": 1, "rmse": 0, "curve_pearson": 1, "curve_l2": 0})
    half = coherency(asked, asked / 2)
    assert half == pytest.approx({"pearson": 1, "rmse": length / 2 / math.sqrt(8), "curve_pearson": 1, "curve_l2": length / 2})


def test_errors_of_single_gifs_cancel_in_the_curve_but_not_in_the_targets():
    asked = torch.tensor(DEMO_MOTIONS).float().expand(2, -1)
    wrong = torch.stack([asked[0] + 3, asked[0] - 3])
    found = coherency(asked, wrong)
    assert found["curve_l2"] == pytest.approx(0) and found["rmse"] == pytest.approx(3)
    flat = coherency(asked, torch.zeros(2, 8))  # a still GIF: what InstructPix2Pix's 23 px in Table 2 is like
    assert flat["pearson"] == 0 and flat["curve_l2"] == pytest.approx(asked[0].norm().item())


def test_end_point_error_of_a_3_4_5_triangle():
    exact = torch.randn(2, 2, 8, 8)
    flow = exact + torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1)
    assert_close(end_point_error(flow, exact), torch.full((2,), 5.0))
    flow[1:, :, :, 4:] = exact[1:, :, :, 4:] + 100
    assert_close(end_point_error(flow, exact, left_half().expand(2, -1, -1, -1)), torch.full((2,), 5.0))


def test_stillness_counts_grey_levels_of_the_still_region():
    source = torch.zeros(1, 3, 8, 8)
    frame = source.clone()
    frame[..., :4], frame[..., 4:] = 2 / 127.5, 0.9
    assert_close(stillness(frame, source, left_half()), torch.tensor([2.0]))


def test_sharpness_falls_with_blur_and_is_a_steps_height():
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 0.8
    # one jump of 0.8 in a row of 8
    assert_close(sharpness(step), torch.tensor([0.8 / math.sqrt(8)]))
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(step, (1, 1, 1, 1), mode="replicate"), 3, 1)
    assert_close(sharpness(blurred), torch.tensor([0.8 / 3 * math.sqrt(3 / 8)]))
    assert sharpness(torch.ones(1, 3, 4, 4)).item() == 0


def test_ssim_of_flat_pictures_is_their_luminance_term():
    # without any variance what is left is (2 a b + c) / (a^2 + b^2 + c), c = 0.01^2, of black as 0 and white as 1
    a, b = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.25)
    expected = (2 * 0.75 * 0.625 + 0.0001) / (0.75**2 + 0.625**2 + 0.0001)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-4)
    assert ssim(a, a).item() == pytest.approx(1) and ssim(a + 1, torch.ones_like(a)).item() == pytest.approx(1)  # clamped


def test_ssim_of_two_middle_greys_is_high():
    # five grey levels apart, on both sides of 0 in [-1, 1], where the formula taken at its word would give -1/3
    a = torch.full((1, 3, 16, 16), 0.02)
    assert ssim(a, -a).item() == pytest.approx((2 * 0.51 * 0.49 + 0.0001) / (0.51**2 + 0.49**2 + 0.0001), abs=1e-3)


def test_ssim_of_a_region_sees_the_region_and_half_a_window_around_it():
    torch.manual_seed(1)
    exact = torch.rand(2, 3, 32, 32) * 2 - 1
    picture = exact.clone()
    picture[1, ..., 20:] = exact[1, ..., 20:].flip(1)
    where = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    where[..., :15] = True  # the window of column 14 ends at column 19
    assert_close(ssim(picture, exact, where), torch.ones(2))
    assert ssim(picture, exact)[1] < 0.8 and ssim(picture, exact, ~where)[1] < 0.5
    whole = torch.ones_like(where)
    assert_close(ssim(picture, exact, whole), ssim(picture, exact))
    assert ssim(picture, exact, ~whole).isnan().all()


def test_ssim_is_torchmetrics_own_and_scikit_images():
    from torchmetrics.functional.image import structural_similarity_index_measure

    rng = np.random.default_rng(0)
    b = rng.uniform(-1, 1, (2, 3, 32, 40)).astype(np.float32)
    a = np.clip(b + rng.normal(0, 0.2, b.shape), -1, 1).astype(np.float32)
    ours = ssim(torch.from_numpy(a), torch.from_numpy(b))
    x, y = (a + 1) / 2, (b + 1) / 2  # both expect pictures without negative values
    theirs = structural_similarity_index_measure(torch.from_numpy(x), torch.from_numpy(y), data_range=1.0, reduction="none")
    assert_close(ours, theirs)
    metrics = pytest.importorskip("skimage.metrics")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1, "channel_axis": 0}
    inside = torch.zeros(2, 1, 32, 40, dtype=torch.bool)
    inside[..., 5:-5, 5:-5] = True  # what lies beyond the edge is another thing there
    ours = ssim(torch.from_numpy(a), torch.from_numpy(b), inside)
    for k in range(2):
        expected = metrics.structural_similarity(x[k], y[k], **options)
        assert ours[k].item() == pytest.approx(expected, abs=1e-5)


def test_ssim_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="4 x 5 px"):
        ssim(torch.zeros(1, 3, 5, 4), torch.zeros(1, 3, 5, 4))
    with pytest.raises(ValueError, match="pictures have shapes"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(2, 3, 8, 8))


def test_change_and_flicker_of_known_steps():
    levels = torch.tensor([[0.0, 10.0, 30.0], [0.0, 0.0, 0.0]]) / 127.5  # steps of 10 and 20 grey levels, and none
    frames = levels[:, :, None, None, None].expand(2, 3, 3, 4, 4).clone()
    assert_close(change(frames), torch.tensor([15.0, 0.0]))
    exact = frames[:1].expand(2, -1, -1, -1, -1)
    assert_close(flicker(frames, exact), torch.tensor([0.0, -15.0]))
    assert_close(flicker(exact, frames), torch.tensor([0.0, 15.0]))
    # only pixels that both neighbours count: the right half leaves in the last frame
    where = torch.ones(2, 3, 1, 4, 4, dtype=torch.bool)
    where[:, 2, :, :, 2:] = False
    assert_close(change(frames, where), torch.tensor([(16 * 10 + 8 * 20) / 24, 0.0]))
    assert change(frames, ~torch.ones_like(where)).isnan().all()
    with pytest.raises(ValueError, match="no neighbour"):
        change(frames[:, :1])


def test_flicker_of_one_frame_that_is_painted_anew_counts_twice():
    frames = torch.zeros(1, 5, 3, 8, 8)
    frames[:, 2] = 6 / 127.5
    assert_close(flicker(frames, torch.zeros_like(frames)), torch.tensor([2 * 6 / 4]))  # two of the four steps


def test_frechet_distance_of_gaussian_clouds_in_closed_form():
    torch.manual_seed(2)
    D = 6
    mean, eye = torch.randn(D), torch.eye(D)
    assert frechet_distance(mean, eye, mean, eye) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(mean, eye, mean + 2, eye) == pytest.approx(4 * D)
    # equal axes: the sum of squared differences of the standard deviations, turned by any rotation
    a, b = torch.rand(D) + 0.5, torch.rand(D) + 0.5
    turn = torch.linalg.qr(torch.randn(D, D)).Q
    clouds = [turn @ torch.diag(deviation**2) @ turn.T for deviation in (a, b)]
    expected = (a - b).square().sum().item()
    assert frechet_distance(mean, clouds[0], mean, clouds[1]) == pytest.approx(expected, rel=1e-5)
    # a cloud without extent: what is left is the other's trace
    assert frechet_distance(mean, 0 * eye, mean, clouds[0]) == pytest.approx(a.square().sum().item(), rel=1e-5)


def test_frechet_distance_of_clouds_that_do_not_share_their_axes():
    # two dimensions: tr (A B)^(1/2) = (tr(A B) + 2 (det A det B)^(1/2))^(1/2)
    A, B = torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([[4.0, -1.0], [-1.0, 1.0]])
    root = math.sqrt((A @ B).trace() + 2 * math.sqrt(A.det() * B.det()))
    expected = 1 + (A.trace() + B.trace()).item() - 2 * root
    found = frechet_distance(torch.zeros(2), A, torch.tensor([0.6, -0.8]), B)
    assert found == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(torch.tensor([0.6, -0.8]), B, torch.zeros(2), A) == pytest.approx(found, rel=1e-9)  # symmetric


def test_frechet_distance_of_fewer_points_than_dimensions_is_finite():
    torch.manual_seed(3)
    x, y = torch.randn(2, 5, 40)
    found = frechet_distance(x.mean(0), x.T.cov(), y.mean(0), y.T.cov())
    assert 0 < found < 200 and frechet_distance(x.mean(0), x.T.cov(), x.mean(0), x.T.cov()) == pytest.approx(0, abs=1e-5)


def test_frechet_distance_refuses_what_is_no_cloud():
    mean, cov = torch.zeros(3), torch.eye(3)
    with pytest.raises(ValueError, match=r"\(3,\), \(3, 3\), \(2,\), \(2, 2\)"):
        frechet_distance(mean, cov, mean[:2], cov[:2, :2])
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(mean, cov, mean, cov * math.nan)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="frames have shapes"):
        flicker(torch.zeros(1, 2, 3, 4, 4), torch.zeros(1, 3, 3, 4, 4))
    with pytest.raises(ValueError, match="pictures have shapes"):
        psnr(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))
    with pytest.raises(ValueError, match="motions have shapes"):
        coherency(torch.zeros(2, 8), torch.zeros(2, 7))
    with pytest.raises(ValueError, match="flows have shapes"):
        end_point_error(torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 4, 4))


def test_psnr_is_scikit_images():
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 1, 3, 16, 16)).astype(np.float32)
    ours = psnr(torch.from_numpy(a), torch.from_numpy(b))
    assert float(ours) == pytest.approx(metrics.peak_signal_noise_ratio(b, a, data_range=2), rel=1e-5)
    where = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    where[..., :8] = True
    half = metrics.peak_signal_noise_ratio(b[..., :8], a[..., :8], data_range=2)
    assert float(psnr(torch.from_numpy(a), torch.from_numpy(b), where)) == pytest.approx(half, rel=1e-5)
