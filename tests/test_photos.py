"""Moved photographs: the flow is exact, the motion is the paper's measure, the words say which way, the splits hold."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite.data.photo_crops import Crop
from pix2gif_lite.data.photo_moves import MOVES, OPPOSITE, backward, describe_move, forward
from pix2gif_lite.data.training_data import HELD_OUT_PHOTOGRAPHS, PHOTOGRAPHS, load_photographs
from pix2gif_lite.motion import motion_magnitudes
from pix2gif_lite.photos import NODES, MovedPhoto, amplitude_photo, draw_moved, sample_moved_photos
from pix2gif_lite.scenes import Scene

SHIPPED, HELD_OUT = ({name.split("/")[-1] for _, name in files} for files in (PHOTOGRAPHS, HELD_OUT_PHOTOGRAPHS))


@pytest.fixture(scope="module")
def test_photos():
    return sample_moved_photos(16, "test")


@pytest.fixture(scope="module")
def train_photos():
    return sample_moved_photos(40, "train")


@pytest.fixture(scope="module")
def dots() -> np.ndarray:
    """A smooth random picture, 384 x 384, that a crop of 256 in its middle has 64 px of all round."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    return cv2.resize(noise, (384, 384), interpolation=cv2.INTER_CUBIC)


def middle(picture: np.ndarray, move: str, **changes) -> MovedPhoto:
    crop = Crop("dots", 256, 64, 64, (False, False, False), None, picture)
    return MovedPhoto("test", 0, 0, replace(crop, **changes), move, "")


def dB(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(4 / max(float(np.mean((a - b) ** 2)), 1e-12))


def grid() -> tuple[torch.Tensor, torch.Tensor]:
    axis = torch.linspace(-0.48, 0.48, 25, dtype=torch.float64)
    return torch.meshgrid(axis, axis, indexing="xy")


# ----------------------------------------------------------------------------------------------------------- the moves


@pytest.mark.parametrize("move", MOVES)
def test_a_move_is_undone_exactly_and_never_folds(move):
    x, y = grid()
    for amplitude in (0.0, 1.0, 20.0, float(NODES[-1])):
        a = torch.tensor(amplitude, dtype=torch.float64)
        there = forward(move, x, y, a)
        back = backward(move, *there, a)
        assert torch.allclose(back[0], x, atol=1e-9) and torch.allclose(back[1], y, atol=1e-9)
        h = 1e-6  # by differences: the area around each point keeps its orientation
        (ax, ay), (bx, by) = backward(move, x + h, y, a), backward(move, x, y + h, a)
        cx, cy = backward(move, x, y, a)
        assert (((ax - cx) * (by - cy) - (bx - cx) * (ay - cy)) / h**2).min() > 0.005
        if amplitude == 20:  # nominally the mean over the picture
            assert torch.hypot(there[0] - x, there[1] - y).mean() * 256 == pytest.approx(20, rel=0.35)


@pytest.mark.parametrize(
    ("move", "start", "end"),
    [  # 25.6 px is a tenth of the picture; y points down
        ("pan left", (0.0, 0.0), (0.1, 0.0)),
        ("pan right", (0.0, 0.0), (-0.1, 0.0)),
        ("pan up", (0.0, 0.0), (0.0, 0.1)),
        ("pan down", (0.0, 0.0), (0.0, -0.1)),
        ("drift left", (0.0, 0.0), (-0.1, 0.0)),
        ("drift down", (0.0, 0.0), (0.0, 0.1)),
        ("zoom in", (0.3826, 0.0), (0.4826, 0.0)),
        ("zoom out", (0.0, -0.3826), (0.0, -0.2826)),
        ("turn clockwise", (0.3826, 0.0), (0.3826 * math.cos(0.1 / 0.3826), 0.3826 * math.sin(0.1 / 0.3826))),
        ("turn counterclockwise", (0.0, -0.3826), (-0.3826 * math.sin(0.1 / 0.3826), -0.3826 * math.cos(0.1 / 0.3826))),
        ("sway left", (0.0, -0.5), (-0.2, -0.5)),
        ("sway right", (0.1, 0.5), (0.1, 0.5)),
        ("slide left", (0.0, 0.5), (0.1 / 0.65, 0.5)),
        ("slide right", (0.0, -0.5), (-0.03 / 0.65, -0.5)),
        ("ripple", (0.0, 0.0), (0.0, 0.0)),
        ("ripple", (0.0, 0.25), (0.1 / 0.958, 0.25 + 0.1 / 0.958 * math.sin(2 * math.pi * 0.1 / 0.958))),
        ("breathe", (0.5, 0.2), (0.5, 0.2)),
    ],
)
def test_where_a_point_goes_by_hand(move, start, end):
    x, y = forward(move, torch.tensor([start[0]]), torch.tensor([start[1]]), 25.6)
    assert (float(x), float(y)) == pytest.approx(end, abs=2e-3)


def test_captions_say_the_way_and_only_that_way():
    rng = random.Random(0)
    texts = {name: {describe_move(rng, name) for _ in range(120)} for name in MOVES}
    for name, (kind, way) in MOVES.items():
        assert len(texts[name]) >= 4
        for text in texts[name]:
            words = text.replace(",", "").split()
            assert "{" not in text and "  " not in text
            if way in ("left", "right", "up", "down"):
                assert way in words and OPPOSITE[way] not in words
            if kind == "turn":  # the camera turns against what it sees
                assert (OPPOSITE[way] if "camera" in words else way) in words
                assert (way if "camera" in words else OPPOSITE[way]) not in words
            if kind in ("pan", "slide"):
                assert "camera" in words or "panning" in words
            if kind in ("sway", "drift", "ripple", "breathe"):
                assert "camera" not in words
    everything = [text for several in texts.values() for text in several]
    assert len(everything) == len(set(everything))  # no caption means two things
    assert "the camera pans to the left" in texts["pan left"] and "ripples run through the picture" in texts["ripple"]


# --------------------------------------------------------------------------------------------------------- frames, flow


def test_a_pan_to_the_left_moves_everything_right_and_shows_what_is_there(dots):
    frame = draw_moved([middle(dots, "pan left")] * 2, [0, 16], 128)
    source, moved = frame.image
    assert torch.allclose(moved[:, :, 8:], source[:, :, :-8], atol=1e-4)  # 16 px at 256 are 8 at 128
    photo = cv2.resize(dots, (192, 192), interpolation=cv2.INTER_AREA)[32:160, 24:32]  # the 8 columns left of the crop
    assert np.abs((moved[:, :, :8].permute(1, 2, 0).numpy() + 1) * 127.5 - photo).max() < 1
    assert torch.allclose(frame.flow[1, 0], torch.tensor(-8.0)) and not frame.flow[1, 1].any() and not frame.flow[0].any()
    assert frame.occluded[1, 0, :, :8].all() and not frame.occluded[1, 0, :, 8:].any() and not frame.occluded[0].any()
    assert frame.moving[1].all() and not frame.moving[0].any()


def test_the_source_is_the_crop(test_photos):
    pictures = dict(zip([name.split("/")[-1] for _, name in HELD_OUT_PHOTOGRAPHS], load_photographs(HELD_OUT_PHOTOGRAPHS)))  # noqa: B905
    scales = set()
    for photo in test_photos[:8]:
        crop = photo.crop
        cut = pictures[crop.photo][crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
        cut = cv2.resize(cut, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1
        source = photo.at(0).image[0].permute(1, 2, 0).numpy()
        assert dB(source, cut) > (50 if crop.side >= 256 else 40)  # at 128, two texels a pixel have to be invented
        scales.add(crop.side >= 256)
    assert scales == {True, False}


def test_where_the_photograph_ends_it_is_mirrored(dots):
    whole = middle(dots, "pan right", side=384, top=0, left=0)
    source, moved = draw_moved([whole] * 2, [0, 16], 192).image
    assert torch.allclose(moved[:, :, :-12], source[:, :, 12:], atol=1e-4)
    assert torch.allclose(moved[:, :, -12:], source[:, :, -12:].flip(2), atol=1e-3)


def test_the_flow_explains_every_frame(test_photos, train_photos):
    photos = [*test_photos, *train_photos[:24]]
    assert any(isinstance(p.crop.picture, Scene) for p in photos)
    source = draw_moved(photos, [0] * len(photos)).image.permute(0, 2, 3, 1).numpy()
    y, x = np.mgrid[:128, :128].astype(np.float32)
    quality, seen = [], []
    for m in (3, 9, 19):
        frame = draw_moved(photos, [m] * len(photos))
        for k in range(len(photos)):
            flow, shown = frame.flow[k].numpy(), ~frame.occluded[k, 0].numpy()
            warped = cv2.remap(source[k], x + flow[0], y + flow[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            quality.append(dB(warped[shown], frame.image[k].permute(1, 2, 0).numpy()[shown]))
            seen.append(shown.mean())
    assert min(quality) >= 30 and np.median(quality) > 38, np.sort(quality)[:5]
    assert min(seen) > 0.4 and np.mean(seen) > 0.85


def test_zooming_is_zero_in_the_centre_and_linear(dots):
    flow = middle(dots, "zoom in").at(12, 128).flow[0].double()
    assert flow[:, 63:65, 63:65].abs().max() < 0.1 and torch.allclose(flow, -flow.flip(1, 2), atol=1e-4)
    axis = torch.arange(128, dtype=torch.float64) - 63.5
    slope = flow[0, 0, 0] / axis[0]
    assert slope < 0  # what is shown comes from nearer the centre
    assert torch.allclose(flow[0], (slope * axis).expand(128, 128), atol=1e-4)
    assert torch.allclose(flow[1], (slope * axis)[:, None].expand(128, 128), atol=1e-4)


def test_near_things_move_more_than_far_ones_and_breathing_ends_at_the_edges(dots):
    slide, breathe = (middle(dots, move).at(12, 128) for move in ("slide right", "breathe"))
    rows = slide.flow[0, 0].mean(1)
    assert rows[0] / rows[-1] == pytest.approx(0.3, abs=0.01) and rows[0] > 0 and not slide.flow[0, 1].any()
    edge = torch.cat([breathe.flow[0][:, 0].flatten(), breathe.flow[0][:, :, -1].flatten()])
    assert edge.abs().max() < 1 < breathe.flow.abs().max() / 2 and not breathe.occluded.any()


@pytest.mark.parametrize(("move", "mirrored"), [(name, name.replace("left", "right")) for name in MOVES if "left" in name] + [
    ("turn clockwise", "turn counterclockwise"), ("zoom in", "zoom in"), ("breathe", "breathe"),
])  # fmt: skip
def test_a_mirrored_picture_moves_the_other_way(dots, move, mirrored):
    photo = middle(dots, move)
    other = replace(middle(dots, mirrored, flips=(False, True, False)), gains=photo.gains)
    a, b = photo.at(10), other.at(10)
    assert torch.allclose(a.image, b.image.flip(3), atol=1e-3)
    assert torch.allclose(a.flow[:, 0], -b.flow[:, 0].flip(2), atol=1e-3)
    assert a.flow.abs().max() > 2


def test_a_photo_is_the_same_at_other_sizes(dots):
    photo = middle(dots, "sway left")
    small, large = photo.at(10, 64), photo.at(10, 256)
    shrunk = torch.nn.functional.avg_pool2d(large.image, 4)
    assert dB(small.image.numpy(), shrunk.numpy()) > 35
    assert torch.allclose(4 * small.flow, torch.nn.functional.avg_pool2d(large.flow, 4), atol=1e-3)


def test_targets_share_their_source_and_do_not_depend_on_the_batch(train_photos):
    few = train_photos[:6]
    together = draw_moved([p for p in few for _ in range(3)], [0, 5, 13] * 6)
    for k, photo in enumerate(few):
        alone = photo.at(13)
        assert torch.allclose(together.image[3 * k + 2], alone.image[0], atol=1e-5)
        assert torch.equal(together.flow[3 * k + 2], alone.flow[0])
        assert torch.equal(together.image[3 * k], photo.at(0).image[0]) or photo.photo == "scene"


# --------------------------------------------------------------------------------------------------------------- motion


def test_the_motion_is_the_papers_measure(test_photos):
    motions = np.array([2, 4, 6, 8, 11, 13, 16, 19])
    errors = []
    for photo in test_photos:
        images = draw_moved([photo] * 9, [0, *motions]).image
        errors.append(motion_magnitudes(images[0], list(images[1:])) - motions)
    errors = np.array(errors)
    assert np.median(np.abs(errors)) <= 0.3
    each = np.sqrt((errors**2).mean(1))  # over the frames of one GIF
    assert np.median(each) <= 0.6 and each.max() <= 1.5


def test_amplitudes_grow_with_the_motion_and_a_pan_needs_no_calibration(train_photos, dots):
    for photo in train_photos[:10]:
        reach = [amplitude_photo(photo, m) for m in (0, 1, 2, 5, 10, 20, 30)]
        assert reach == sorted(reach) and reach[0] == 0 and reach[-1] < NODES[-1]
    assert amplitude_photo(middle(dots, "pan up"), 7.5) == pytest.approx(7.5, abs=1e-4)


# --------------------------------------------------------------------------------------------------------------- splits


def test_photo_i_depends_on_split_seed_and_index_alone(train_photos):
    few = sample_moved_photos(3, "train")
    assert few == train_photos[:3]
    assert torch.equal(draw_moved(few, [4, 9, 14]).image, draw_moved(train_photos[:3], [4, 9, 14]).image)
    assert few != sample_moved_photos(3, "train", seed=1)
    assert [p.crop for p in few] != [p.crop for p in sample_moved_photos(3, "val")]
    assert sample_moved_photos(0) == []


def test_held_out_photographs_are_in_test_only(train_photos, test_photos):
    assert {p.photo for p in test_photos} == HELD_OUT
    assert {p.photo for p in train_photos} <= SHIPPED | {"scene"}
    assert 0.15 < np.mean([p.photo == "scene" for p in train_photos]) < 0.5
    assert all(p.crop.picture.split == "train" for p in train_photos if p.photo == "scene")
    assert {p.photo for p in sample_moved_photos(6, "val")} <= SHIPPED
    assert {p.crop.flips for p in test_photos} == {(False, False, False)} and {p.crop.colours for p in test_photos} == {None}


def test_all_kinds_of_moves_come_up(train_photos):
    assert {MOVES[p.move].kind for p in train_photos} == {move.kind for move in MOVES.values()}
    assert {p.move for p in sample_moved_photos(4, moves=["zoom in", "drift up"])} == {"zoom in", "drift up"}


# ------------------------------------------------------------------------------------------------------- your own, errors


def test_your_own_pictures(tmp_path, dots):
    Image.fromarray(dots).save(tmp_path / "b.png")
    Image.fromarray(dots[..., 0]).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    assert {p.photo for p in sample_moved_photos(8, photos=tmp_path)} == {"a.png", "b.png"}
    given = sample_moved_photos(4, photos=[Image.fromarray(dots), dots[..., 0], tmp_path / "b.png"])
    assert {p.photo for p in given} <= {"photo 0", "photo 1", "b.png"}
    large = cv2.resize(dots[150:182, 150:182, 0], (300, 200), interpolation=cv2.INTER_CUBIC)
    grey = sample_moved_photos(1, "test", photos=[large])[0].at(0).image
    assert torch.equal(grey[:, 0], grey[:, 1])  # as photographed: not tinted


def test_nothing_asked_for_is_nothing_drawn():
    frame = draw_moved([], [], 32)
    assert frame.image.shape == (0, 3, 32, 32) and frame.flow.shape == (0, 2, 32, 32)
    assert frame.occluded.shape == frame.moving.shape == (0, 1, 32, 32)


def test_bad_input_is_refused(dots, tmp_path, monkeypatch):
    photo = middle(dots, "pan left")
    for motion in (-1, 31, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"between 0 and 30 pixels at 256 x 256, got {float(motion)}"):
            draw_moved([photo], [motion])
    assert photo.at(30).image.isfinite().all()
    with pytest.raises(ValueError, match="2 photographs need as many motions, got 1"):
        draw_moved([photo, photo], [3])
    with pytest.raises(ValueError, match="A frame of 33 px"):
        photo.at(3, 33)
    with pytest.raises(ValueError, match="'validation': choose one of train, val, test"):
        sample_moved_photos(1, "validation")
    with pytest.raises(ValueError, match="Unknown move 'fly': choose from pan left"):
        sample_moved_photos(1, moves=["fly"])
    with pytest.raises(ValueError, match="No moves"):
        sample_moved_photos(1, moves=[])
    with pytest.raises(ValueError, match="seed is -1"):
        sample_moved_photos(1, seed=-1)
    with pytest.raises(ValueError, match="empty list of photographs"):
        sample_moved_photos(1, photos=[])
    with pytest.raises(ValueError, match="photo 0 is 20 x 90 px: give at least 32"):
        sample_moved_photos(1, photos=[np.zeros((90, 20), np.uint8)])
    with pytest.raises(ValueError, match="photo 0 is a float32 array"):
        sample_moved_photos(1, photos=[np.zeros((90, 90), np.float32)])
    monkeypatch.setattr("pix2gif_lite.photos.TRIES", 10)
    stripes = np.tile(np.array([0, 255], np.uint8), (128, 64))
    for useless in (np.full((64, 64, 3), 90, np.uint8), stripes):
        with pytest.raises(ValueError, match="10 crops were flat or too finely striped to show 'zoom in', .* of photo 0"):
            sample_moved_photos(1, photos=[useless], moves=["zoom in"])
    with pytest.raises(FileNotFoundError, match=r"No \.png, \.jpg or \.webp pictures"):
        sample_moved_photos(1, photos=tmp_path)
