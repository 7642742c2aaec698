"""The second look-up: where a picture is carried, what of z_W is E's, and that pipeline, slider and evaluation agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.canvas import to_tensor
from pix2gif_lite.evaluation import generating
from pix2gif_lite.live import Live
from pix2gif_lite.lookup import warp
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import PAPER, TINY
from pix2gif_lite.scenes import sample_scenes
from pix2gif_lite.second_look import SecondLook, carried
from pix2gif_lite.subcell import Places
from pix2gif_lite.warping import FlowPyramid

CAPTION = "a red balloon is rising"


def pyramid(flow: torch.Tensor, moving: torch.Tensor | None = None) -> FlowPyramid:
    """A flow (B, 2, h, w) in cells as FlowNet gives it; `moving` (B, 1, h, w): O, of one place a cell."""
    places = None if moving is None else Places(flow, torch.zeros(1, 12, *flow.shape[-2:]), moving, warp(moving, flow))
    return FlowPyramid(flow, flow[..., ::2, ::2] / 2, flow[..., ::4, ::4] / 4, places)


@pytest.fixture
def looks_twice(pipe):
    """The tiny pipeline with a second look, made of the same parts."""
    names = ("vae", "tokenizer", "text_encoder", "unet", "motion_embedding", "flow_net")
    parts = {name: getattr(pipe, name) for name in names}
    return Pix2GifPipeline.from_components(TINY, parts, second_look=0.4)


def test_a_picture_goes_where_the_flow_of_a_coarser_grid_points():
    picture = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0], flow[:, 1] = 0.5, -0.25  # cells of 4 px: 2 px to the right, 1 px up
    moved = carried(picture, pyramid(flow))
    assert_close(moved[..., 1:, :-2], picture[..., :-1, 2:])


def test_what_stays_is_not_carried():
    picture, flow = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2.0
    moving = torch.zeros(1, 1, 8, 8)
    moving[..., 5] = 1.0  # one column moves; it arrives at column 3
    moved = carried(picture, pyramid(flow, moving))
    assert_close(moved[..., 3], picture[..., 5])
    assert_close(moved[..., 5], picture[..., 7])  # where it was, the backdrop from beside it
    assert_close(moved[..., [0, 1, 2, 4, 6, 7]], picture[..., [0, 1, 2, 4, 6, 7]])


@pytest.mark.parametrize("share", [0, 0.25, 1])
@torch.no_grad()
def test_a_share_of_z_W_is_E_of_the_carried_picture(vae, share):
    generator = torch.Generator().manual_seed(0)
    picture, z_W = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1, torch.randn(3, 4, 16, 16, generator=generator)
    flow = torch.zeros(3, 2, 16, 16)
    flow[1, 0], flow[2, 1] = 2, -3  # whole cells: 8 px to the right, 12 px up
    expected = torch.cat([picture, picture.roll(-8, 3), picture.roll(12, 2)])
    expected[1, ..., -8:], expected[2, :, :12] = picture[0, ..., -1:], picture[0, :, :1]  # beyond the edge as at the edge
    z_E = 4 * vae.encode(expected).latent_dist.mode()
    made = SecondLook(vae, picture, 4.0, share)(z_W, pyramid(flow), "bilinear")
    assert_close(made, (1 - share) * z_W + share * z_E, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_along_a_flow_of_0_it_is_E_of_the_picture(vae):
    picture = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    E = vae.encode(picture).latent_dist.mode()
    for share in (0.0, 0.4, 1.0):
        assert_close(SecondLook(vae, picture, 1.0, share)(E, pyramid(torch.zeros(1, 2, 8, 12))), E, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_dropped_picture_stays_dropped(vae):
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    E, flow = vae.encode(picture).latent_dist.mode(), torch.zeros(2, 2, 8, 8)
    made = SecondLook(vae, picture, 1.0, 0.4)(torch.cat([torch.zeros_like(E), E]), pyramid(flow))
    assert not made[0].any()
    assert_close(made[1], E[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan"), True, "half", None])
def test_what_is_no_share_is_refused(pipe, share):
    with pytest.raises(ValueError, match="no share of z_W: give a number from 0"):
        SecondLook(pipe.vae, torch.zeros(1, 3, 8, 8), 1.0, share)


def test_the_settings_say_so():
    assert Pix2GifPipeline.from_pretrained("lite").config.second_look == 0.4
    assert Pix2GifPipeline.from_pretrained("lite-turbo").config.second_look == 0
    assert PAPER.second_look == 0  # the paper's WNet sees latents only


def test_pipeline_slider_and_evaluation_look_alike(pipe, looks_twice, picture):
    once, twice = (each(picture, CAPTION, [8], seed=2).frames[0] for each in (pipe, looks_twice))
    assert once != twice
    live = np.asarray(Live(looks_twice).frame(picture, CAPTION, 8, seed=2), np.int16)
    assert np.abs(live - np.asarray(twice, np.int16)).max() <= 1

    (scene,) = sample_scenes(1, seed=3)
    (part,) = generating.drawn([scene], [8], TINY.image_size)
    made = generating.generate_for(looks_twice, part, [8])
    source = part.source[0]
    plain = looks_twice(source, scene.caption, [8], seed=scene.index, detail=False)
    assert_close(made.image[0], to_tensor(plain.frames[0])[0], atol=2 / 127.5, rtol=0)  # of whole grey levels there


def test_the_prediction_that_sees_no_picture_gets_none(looks_twice, picture):
    seen = []
    handle = looks_twice.unet.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    looks_twice(picture, CAPTION, [8], s_I=2.0, s_T=3.0, steps=1)
    handle.remove()
    (x,) = seen  # (3, 12, h, w): none, image, full, in some order
    empty = [row for row in x if not row[4:].any()]
    assert len(x) == 3 and len(empty) == 1
