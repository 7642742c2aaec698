"""duplicates.py against all pairs compared one by one, files encoded anew, and splits counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from made_clips import pan, save, texture
from PIL import Image

from pix2gif_lite.curating.duplicates import NEAR, content_key, near_duplicates, perceptual_hashes, split_by_group
from pix2gif_lite.media.clips import read_frames


def distance(a: list[int], b: list[int]) -> int:
    return min(bin(x ^ y).count("1") for x in a for y in b)


def test_the_key_is_of_the_bytes_and_not_of_the_name(tmp_path):
    first = save(tmp_path / "a.gif", pan(3, 3))
    (tmp_path / "b.gif").write_bytes(first.read_bytes())
    assert content_key(first) == content_key(tmp_path / "b.gif")
    assert len(content_key(first)) == 16 and int(content_key(first), 16) >= 0
    (tmp_path / "b.gif").write_bytes(first.read_bytes()[:-1])
    assert content_key(first) != content_key(tmp_path / "b.gif")
    with pytest.raises(OSError):
        content_key(tmp_path / "none.gif")


def test_the_key_of_a_folder_is_of_its_pictures_in_order(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    a, b = (Image.fromarray(frame) for frame in pan(5, 2))
    for folder, names in (("one", ("01.png", "02.png")), ("two", ("01.png", "02.png")), ("three", ("02.png", "01.png"))):
        a.save(tmp_path / folder / names[0])
        b.save(tmp_path / folder / names[1])
    (tmp_path / "two" / "notes.txt").write_text("not a picture")
    one, two, three = (content_key(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two != three


def test_a_clip_scaled_and_encoded_anew_is_near_and_another_is_far(tmp_path):
    clips = [pan(3, 6, seed) for seed in range(6)]
    hashes = [perceptual_hashes([Image.fromarray(frame) for frame in clip]) for clip in clips]
    for clip, own in zip(clips, hashes, strict=True):
        pictures = [Image.fromarray(frame).resize((150, 110), Image.Resampling.BICUBIC) for frame in clip]
        pictures[0].save(tmp_path / "small.webp", save_all=True, append_images=pictures[1:], quality=40)
        again = [frame.resize((256, 256)) for frame in read_frames(tmp_path / "small.webp")[0]]
        assert distance(own, perceptual_hashes(again)) <= NEAR
    assert min(distance(a, b) for a, b in itertools.combinations(hashes, 2)) > 2 * NEAR


def test_hashes_come_from_a_quarter_half_and_three_quarters_and_not_from_flat_pictures():
    pictures = [Image.fromarray(texture(seed=seed)) for seed in range(8)]
    each = [perceptual_hashes([picture]) for picture in pictures]
    assert all(len(own) == 1 for own in each)
    assert perceptual_hashes(pictures) == [each[2][0], each[4][0], each[6][0]]
    black = Image.new("RGB", (256, 256))
    assert perceptual_hashes([black] * 5) == []
    assert perceptual_hashes([black] * 4 + pictures[:4]) == [each[0][0], each[2][0]]


def test_groups_are_those_of_all_pairs_compared_one_by_one():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**64, 30, dtype=np.uint64)
    hashes = {}
    for k in range(150):
        own = []
        for _ in range(rng.integers(0, 4)):
            value = int(rng.choice(centres))
            for bit in rng.choice(64, rng.integers(0, 8), replace=False):
                value ^= 1 << int(bit)
            own.append(value)
        hashes[f"{k:016x}"] = own
    groups = {key: key for key in hashes}
    for a, b in itertools.combinations(hashes, 2):  # the plain way: whoever is near joins, and all of their groups
        if hashes[a] and hashes[b] and distance(hashes[a], hashes[b]) <= NEAR:
            low, high = sorted((groups[a], groups[b]))
            groups = {key: low if group == high else group for key, group in groups.items()}
    assert near_duplicates(hashes) == groups
    assert 30 < len(set(groups.values())) < 150
    assert near_duplicates({}) == {}


def test_the_limit_is_six_bits_and_a_chain_is_one_group():
    assert NEAR == 6
    assert near_duplicates({"a": [0], "b": [0b111111]}) == {"a": "a", "b": "a"}
    assert near_duplicates({"a": [0], "b": [0b1111111]}) == {"a": "a", "b": "b"}
    spread = 0x8080_8080_8080  # one bit in each of six bytes
    assert near_duplicates({"c": [spread], "b": [0], "a": [0b111111]}) == {"a": "a", "b": "a", "c": "a"}
    assert near_duplicates({"b": [2**64 - 1], "a": [], "c": [7, 2**64 - 1]}) == {"a": "a", "b": "b", "c": "b"}


def test_the_split_hangs_on_seed_and_group_alone():
    clips = {f"{k:016x}": f"{k - k % 2:016x}" for k in range(4000)}  # groups of two
    split = split_by_group(clips, seed=0, val_share=0.1)
    assert all(split[clip] == split[group] for clip, group in clips.items())
    share = sum(side == "val" for side in split.values()) / len(split)
    assert 0.08 < share < 0.12  # 2000 throws of 0.1: standard deviation 0.007
    fewer = dict(list(clips.items())[1000:2500])
    assert all(side == split[clip] for clip, side in split_by_group(fewer, 0, 0.1).items())
    assert split_by_group(clips, 1, 0.1) != split
    wider = split_by_group(clips, 0, 0.2)
    assert all(wider[clip] == "val" for clip, side in split.items() if side == "val")


def test_a_small_split_leaves_no_side_empty():
    for seed in range(20):
        sides = list(split_by_group({"a": "a", "b": "b", "c": "c"}, seed, 0.01).values())
        assert sides.count("val") == 1
        sides = list(split_by_group({"a": "a", "b": "b", "c": "c"}, seed, 0.99).values())
        assert sides.count("train") == 1
        assert split_by_group({"a": "a", "b": "a"}, seed, 0.99) == {"a": "train", "b": "train"}
        assert set(split_by_group({"a": "a", "b": "b"}, seed, 0.0).values()) == {"train"}
    assert split_by_group({}, 0, 0.1) == {}
