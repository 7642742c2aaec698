"""Rows with frames of their own: m = 0 is compared with the picture, and absence has a reason."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from pix2gif_lite.data import photo_crops
from pix2gif_lite.evaluation import side_rows
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import DEMO_MOTIONS, TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import draw, sample_scenes


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(2, "test")


def test_the_frame_of_no_motion_is_compared_with_the_picture(pipe, scenes):
    told = []
    found = side_rows.first_frames(pipe, scenes, steps=2, tick=told.append)
    first = found["first_frame"]
    assert sum(told) == first["scenes"] == 2 and first["returned_psnr"] == 100  # the picture itself, bit for bit
    still = draw(scenes, [0, 0], TINY.image_size).image.add(1).mul(127.5).round().div(127.5).sub(1)
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(still).latent_dist.mode()).sample.clamp(-1, 1)
    expected = -10 * ((decoded - still) / 2).square().mean((1, 2, 3)).log10().mean()
    assert first["ceiling_psnr"] == pytest.approx(expected.item(), abs=1e-3)
    # the model's own: that of a motion so small that its words are those of 0
    errors = []
    for picture, scene in zip(still, scenes, strict=True):
        frame = pipe(picture, scene.caption, [1e-6], steps=2, seed=scene.index, detail=False, quiet=True).frames[0]
        errors.append((np.asarray(frame) / 127.5 - 1 - picture.permute(1, 2, 0).numpy()) / 2)
    assert first["psnr"] == pytest.approx(np.mean([-10 * np.log10((e**2).mean()) for e in errors]), abs=0.05)
    # somebody else's networks: the tests are offline
    networks = found["network_metrics"]
    assert networks["scenes"] == 2 and networks["clipsim"] is None and "not in reach" in networks["not_computed"]["clipsim"]


def test_fewer_steps_are_other_frames(pipe, scenes):
    told = []
    few, many = (side_rows.fidelity_at(pipe, scenes, n, "dpmpp_2m", told.append) for n in (1, 4))
    assert sum(told) == 4 and abs(few - many) > 1e-3
    dB = []
    for scene in scenes:
        out = pipe(scene.at(0, TINY.image_size).image, scene.caption, DEMO_MOTIONS, steps=4, seed=scene.index, detail=False)
        made = np.stack([np.asarray(frame) for frame in out.frames]) / 127.5 - 1
        exact = draw([scene] * 8, DEMO_MOTIONS, TINY.image_size).image.permute(0, 2, 3, 1).numpy()
        dB.append(-10 * np.log10((((made - exact) / 2) ** 2).mean((1, 2, 3))))
    assert many == pytest.approx(np.mean(dB), abs=0.05)


def test_a_variant_without_a_warp_has_no_searched_flow(scenes):
    preset = TINY.with_changes(variant="base")
    pipe = Pix2GifPipeline.from_components(preset, build_components(preset, ["a red balloon is rising"] * 20))
    assert side_rows.searched_flow(pipe, scenes) == {"gap_db": None, "moving_gap_db": None, "still_gap_db": None}


def test_without_the_photographs_their_rows_say_why(monkeypatch, pipe):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "skimage" else find(name, *a))
    photo_crops._shipped.cache_clear()
    try:
        photos, reason = side_rows.moved_photos(2)
        crops = side_rows.photographs(pipe)
    finally:
        photo_crops._shipped.cache_clear()
    assert photos == [] and "skimage is missing" in reason["not_computed"] and "pip install" in reason["not_computed"]
    assert crops["psnr"] is None and "skimage is missing" in crops["not_computed"]
