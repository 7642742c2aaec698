"""Sizes and detail: with no motion the detail restores the source, with motion it moves along."""

import numpy as np
import pytest
import torch
import torch.nn.functional as tf
from PIL import Image

from pix2gif_lite import canvas
from pix2gif_lite.canvas import add_detail, chunks, explained, fit_size, lost_detail, resize, to_source, to_tensor, work_size
from pix2gif_lite.metrics import psnr
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.scenes import draw, sample_scenes


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
    assert fit_size((640, 320), (50, 60)) == fit_size((640, 320), [np.int64(50), np.int64(60)]) == (50, 60)
    assert fit_size((640, 320), np.int64(128)) == (128, 64) and all(type(n) is int for n in fit_size((9, 9), np.int64(99)))
    for wrong in (512.0, "512", (50.0, 60), (50, 60, 70), 7, (8, 16385), (50,), torch.zeros(2)):
        with pytest.raises(ValueError, match="give whole sides from 8 to 16384 px"):
            fit_size((640, 320), wrong)
    assert chunks(0, 16) == []
    assert [len(part) for part in chunks(18, 16)] == [9, 9]
    assert [k for part in chunks(35, 16) for k in part] == list(range(35))


def test_arrays_and_tensors_are_pictures_or_refused():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(to_source(grey), to_source(grey[..., None])) and to_source(grey).mode == "RGB"
    colours = np.stack([grey, grey.T, grey + 9], -1)
    assert np.array_equal(to_source(colours), colours)
    opaque = np.concatenate([colours, np.full((8, 8, 1), 255, np.uint8)], -1)
    assert np.array_equal(to_source(opaque), colours)
    tensor = torch.from_numpy(colours).permute(2, 0, 1)
    assert np.array_equal(to_source(tensor / 127.5 - 1), colours)
    for wrong in (colours.transpose(2, 0, 1), np.dstack([colours, colours]), colours / 255, tensor, tensor.int(), tensor / 0.0):
        with pytest.raises(ValueError, match="is no picture: give"):
            to_source(wrong)
    with pytest.raises(ValueError, match="uint8 is no picture: pass floats"):
        motion_magnitude(tensor, tensor)


def test_without_motion_detail_restores_the_source(picture):
    source = picture.resize((301, 207))
    decoded = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))  # any picture, however bad
    lost, still = lost_detail(source, decoded), torch.zeros(1, 2, 16, 24)
    restored = add_detail(resize(decoded, source.size), lost, still, explained(decoded, decoded, still))
    torch.testing.assert_close(restored, to_tensor(source), atol=1e-3, rtol=0)


def test_detail_moves_with_the_flow_and_stops_at_the_edge():
    lost = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([1.0, -0.5]).view(1, 2, 1, 1).expand(1, 2, 8, 12)  # cells of 4 px: look 4 px right, 2 px up
    detail = add_detail(torch.zeros_like(lost), lost, flow, torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(detail[..., 2:, :-4], lost[..., :-2, 4:], atol=1e-4, rtol=0)
    assert detail[..., -4:].abs().max() == detail[..., :2, :].abs().max() == 0


def test_bands_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    frame, lost = torch.randn(2, 1, 3, 50, 40, generator=generator)
    flow, share = torch.randn(1, 2, 5, 4, generator=generator), torch.rand(1, 1, 10, 8, generator=generator)
    whole = add_detail(frame, lost, flow, share)
    monkeypatch.setattr("pix2gif_lite.canvas.BAND_PIXELS", 7 * 40)
    banded = add_detail(frame, lost, flow, share)
    torch.testing.assert_close(banded, whole, atol=1e-4, rtol=0)  # places are rounded another way, of noise in 50 px
    assert (whole - frame).abs().max() > 1
    torch.set_num_threads(2)  # the rows are shared among them, 3 of a band's 7 cannot be
    try:
        assert torch.equal(add_detail(frame, lost, flow, share), banded)
        monkeypatch.setattr("pix2gif_lite.canvas.BAND_PIXELS", 50 * 40)
        assert torch.equal(add_detail(frame, lost, flow, share), whole)
    finally:
        torch.set_num_threads(1)


def test_the_largest_around_is_a_poolings():
    x = torch.randn(2, 1, 7, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(canvas.largest_around(x), tf.max_pool2d(x, 3, stride=1, padding=1))
    assert torch.equal(canvas.largest_around(x[..., :1, :1]), x[..., :1, :1])


def test_a_picture_of_tensors_and_back():
    levels = torch.arange(256, dtype=torch.float32)
    pixels = torch.stack([levels, levels.flip(0), torch.full((256,), 300.0)]).view(3, 16, 16) / 127.5 - 1
    expected = torch.stack([levels, levels.flip(0), torch.full((256,), 255.0)], dim=1).view(16, 16, 3).to(torch.uint8)
    for given in (pixels, pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)):  # and with the channels last
        assert canvas.to_pil(given).tobytes() == expected.numpy().tobytes()


def test_what_the_flow_does_not_explain_gets_no_detail():
    decoded = torch.zeros(1, 3, 32, 32)
    decoded[..., 8:16] = 1.0  # a bar, which moved 8 px to the right
    frame = torch.zeros(1, 3, 32, 32)
    frame[..., 16:24] = 1.0
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0, :, 4:6] = -2.0  # known where the bar is now: 2 cells of 4 px to the left
    share = explained(frame, decoded, flow)[0, 0, 16]
    assert share[18:22].min() == 1  # on the bar
    assert share[:6].min() == share[28:].min() == 1  # far from it
    assert share[9:13].max() == 0  # where it was: the flow looks at the bar, the frame shows the ground


def test_detail_helps_on_exact_frames():
    scenes = sample_scenes(6, "val")
    frames = draw(scenes, [11] * 6, 256)
    flow = tf.avg_pool2d(draw(scenes, [11] * 6, 128).flow, 4) / 4

    def small(x):  # as an autoencoder would have it: 128 px, blurred
        return tf.interpolate(tf.interpolate(x, (64, 64), mode="bicubic", antialias=True), (128, 128), mode="bicubic")

    source, target = draw(scenes, [0] * 6, 256).image, frames.image
    plain, everywhere, ours = [], [], []
    for k in range(6):
        row = slice(k, k + 1)
        decoded, frame = small(source[row]), small(target[row])
        lost, full = source[row] - resize(decoded, (256, 256)), resize(frame, (256, 256))
        plain.append(psnr(full, target[row]))
        everywhere.append(psnr(add_detail(full, lost, flow[row], torch.ones(1, 1, 1, 1)), target[row]))
        ours.append(psnr(add_detail(full, lost, flow[row], explained(frame, decoded, flow[row])), target[row]))
    plain, everywhere, ours = (float(torch.cat(values).mean()) for values in (plain, everywhere, ours))
    assert ours > plain + 1 and ours > everywhere + 1  # dB
