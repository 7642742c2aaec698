"""Sizes and detail: with no motion the detail restores the source, with motion it moves along."""

import pytest
import torch
from PIL import Image

from pix2gif_lite.canvas import add_detail, chunks, fit_size, lost_detail, resize, to_tensor, work_size
from pix2gif_lite.scenes import sample_scenes


@pytest.fixture(scope="module")
def picture():
    pixels = sample_scenes(1, seed=3)[0].at(0, 96).image[0].permute(1, 2, 0)
    return Image.fromarray(((pixels + 1) * 127.5).round().to(torch.uint8).numpy())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (128, 128)),
        ((640, 427), (192, 128)),
        ((427, 640), (128, 192)),
        ((300, 20), (512, 128)),
        ((8, 8), (128, 128)),
    ],
)
def test_work_size(size, expected):
    assert work_size(size, 128, 32) == expected


def test_fit_size_and_chunks():
    assert fit_size((640, 320), None) == (640, 320)
    assert fit_size((640, 320), 128) == (128, 64)
    assert fit_size((640, 320), (50, 60)) == (50, 60)
    assert chunks(0, 16) == []
    assert [len(part) for part in chunks(18, 16)] == [9, 9]
    assert [k for part in chunks(35, 16) for k in part] == list(range(35))


def test_without_motion_detail_restores_the_source(picture):
    source = picture.resize((301, 207))
    decoded = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))  # any picture, however bad
    lost = lost_detail(source, decoded)
    restored = add_detail(resize(decoded, source.size), lost, torch.zeros(1, 2, 16, 24))
    torch.testing.assert_close(restored, to_tensor(source), atol=1e-3, rtol=0)


def test_detail_moves_with_the_flow_and_stops_at_the_edge():
    lost = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([1.0, -0.5]).view(1, 2, 1, 1).expand(1, 2, 8, 12)  # cells of 4 px: look 4 px right, 2 px up
    detail = add_detail(torch.zeros_like(lost), lost, flow)
    torch.testing.assert_close(detail[..., 2:, :-4], lost[..., :-2, 4:], atol=1e-4, rtol=0)
    assert detail[..., -4:].abs().max() == detail[..., :2, :].abs().max() == 0


def test_bands_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    frame, lost = torch.randn(2, 1, 3, 50, 40, generator=generator)
    flow = torch.randn(1, 2, 5, 4, generator=generator)
    whole = add_detail(frame, lost, flow)
    monkeypatch.setattr("pix2gif_lite.canvas.BAND_PIXELS", 7 * 40)
    torch.testing.assert_close(add_detail(frame, lost, flow), whole)
