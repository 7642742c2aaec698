"""Clouds of features: against NumPy, against distances with a closed form, and seen by a small video network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pix2gif_lite.evaluation.fvd import Cloud, clip_frames, cloud_distance, cloud_of, fvd


def video_network(seed: int = 0) -> nn.Module:
    """A small random network of the kind of I3D: convolutions over space and time, then means."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv3d(3, 8, 3, stride=(1, 2, 2), padding=1), nn.ReLU(), nn.Conv3d(8, 5, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        )  # fmt: skip
    return network.eval()


def seen(clips: torch.Tensor) -> torch.Tensor:
    return NETWORK(clips.transpose(1, 2))


NETWORK = video_network()


def clips(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 8, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def axes(scales: list[float], centre: list[float]) -> torch.Tensor:
    """Points on both sides of a centre along each axis: the covariance is diagonal, 2 s^2 / (2 D - 1) for D axes."""
    points = torch.diag(torch.tensor(scales, dtype=torch.float64))
    return torch.cat([points, -points]) + torch.tensor(centre, dtype=torch.float64)


def test_a_clip_is_every_third_frame():
    assert list(clip_frames(46)) == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45]
    assert clip_frames(500) == clip_frames(46)
    with pytest.raises(ValueError, match="^45 frames are too few.* at least 46"):
        clip_frames(45)


@pytest.mark.parametrize("parts", [1, 2, 7, 30])
def test_a_cloud_adds_up_to_numpys_mean_and_covariance(parts):
    # far from 0: a sum of squares minus the square of a sum would keep 4 digits of these variances
    x = np.random.default_rng(0).normal(size=(30, 4)) * [1, 2, 3, 0] + 1e6
    cloud = Cloud()
    for part in torch.from_numpy(x).split(parts):
        cloud.add(part)
    assert cloud.count == 30
    np.testing.assert_allclose(cloud.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(cloud.covariance, np.cov(x, rowvar=False), rtol=1e-7, atol=1e-8)


def test_clouds_with_a_closed_form():
    a, b = axes([3.0, 1.0, 0.0], [0.0, 0.0, 0.0]), axes([1.0, 4.0, 0.0], [2.0, 0.0, -1.0])
    # roots of the variances: s sqrt(2 / 5); |mean|^2 + sum of squared differences of the roots
    exact = 5 + (2 / 5) * ((3 - 1) ** 2 + (1 - 4) ** 2)
    assert fvd(lambda x: x, a.split(2), [b]) == pytest.approx(exact, rel=1e-9)
    assert fvd(lambda x: x, [b], [a]) == pytest.approx(exact, rel=1e-9)


def test_clouds_that_lean_differently():
    """Covariances C and R C R', R a quarter turn of two axes: they swap, and the distance is twice (s - t)^2 of their roots."""
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    a = axes([2.0, 0.5], [0.0, 0.0])
    b = a @ turn.T
    lean = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)  # any common rotation changes nothing
    exact = (2 / 3) * 2 * (2 - 0.5) ** 2
    assert fvd(lambda x: x, [a], [b]) == pytest.approx(exact, rel=1e-9)
    assert fvd(lambda x: x, [a @ lean.T], [b @ lean.T]) == pytest.approx(exact, rel=1e-9)


def test_identical_clips_have_no_distance_and_a_shift_has_its_square():
    real = clips(6, seed=0)
    step = torch.tensor([1.0, 0.0, -2.0, 0.0, 0.5])
    assert fvd(seen, real.split(4), real.flip(0).split(3)) == pytest.approx(0, abs=1e-9)
    # 1e-6: eigenvalues that should be 0 (six clips span fewer than five axes) are rounding errors
    assert fvd(seen, [real], real.split(2)) < 1e-6
    assert fvd(lambda x: torch.zeros(len(x), 5), [real], [real]) == 0
    assert cloud_distance(cloud_of(seen, [real]), cloud_of(lambda x: seen(x) + step, [real])) == pytest.approx(5.25, abs=1e-4)


def test_only_a_network_that_sees_time_sees_the_order_of_frames():
    real = clips(6, seed=1) * torch.linspace(0.1, 1, 8)[None, :, None, None, None]  # contrast grows
    backwards = real.flip(1)
    assert fvd(lambda x: x.mean(1).flatten(1)[:, :5], [real], [backwards]) < 1e-9
    assert fvd(seen, [real], [backwards]) > 1e-4


def test_what_makes_no_cloud():
    cloud = Cloud()
    with pytest.raises(ValueError, match="without a clip has no mean"):
        cloud.mean  # noqa: B018
    with pytest.raises(ValueError, match=r"shape \(3,\) make no cloud: the network must give \(B, D\)"):
        cloud.add(torch.zeros(3))
    with pytest.raises(ValueError, match="make no cloud"):
        cloud.add(torch.zeros(0, 3))
    cloud.add(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="A cloud of 1 clips has no covariance"):
        cloud.covariance  # noqa: B018
    with pytest.raises(ValueError, match=r"must give \(B, 3\)"):
        cloud.add(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="not finite"):
        cloud.add(torch.tensor([[0.0, float("nan"), 0.0]]))
    assert cloud.count == 1 and cloud.mean.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="A cloud of 1 clips"):
        fvd(lambda x: x, [torch.zeros(1, 3)], [torch.zeros(2, 3)])
