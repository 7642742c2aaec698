"""The motion between two frames, found from their exact flows, is the scene's own; what is left shows what is painted anew."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.data.photo_moves import backward, forward
from pix2gif_lite.evaluation.temporal import flow_between, neighbours, warped_difference
from pix2gif_lite.metrics import change
from pix2gif_lite.photos import amplitude_photo, draw_moved, sample_moved_photos
from pix2gif_lite.scenery.drawing import deform_of, render
from pix2gif_lite.scenes import amplitude, draw, sample_scenes

BEFORE, AFTER = 8, 13


def two_frames(members, drawing, size: int):
    frames = drawing([member for member in members for _ in range(2)], [BEFORE, AFTER] * len(members), size)
    flow, hidden = frames.flow.unflatten(0, (-1, 2)), frames.occluded.unflatten(0, (-1, 2))
    return (flow[:, 0], flow[:, 1], hidden[:, 0], hidden[:, 1]), frames


def test_two_shifts_differ_by_their_difference():
    before, after = torch.zeros(2, 1, 2, 12, 16)
    before[:, 0], after[:, 0] = -2.0, -5.0  # everything went 2, then 5 px to the right
    hidden_before, hidden_after = torch.zeros(2, 1, 1, 12, 16, dtype=torch.bool)
    hidden_before[..., :2], hidden_after[..., :5] = True, True
    for share in (1.0, 0.4, 0.0):  # wherever the search begins
        flow, holds = flow_between(before, after, hidden_before, hidden_after, share)
        assert_close(flow, torch.tensor([-3.0, 0.0]).reshape(1, 2, 1, 1).expand_as(flow))
        assert_close(holds, ~hidden_after)
    hidden_before[..., 7] = True  # what is hidden in the frame before, at column 7, is seen at column 10 later
    _, holds = flow_between(before, after, hidden_before, hidden_after)
    assert not holds[..., 10].any() and holds[..., 5:10].all() and holds[..., 11:].all()


def test_of_a_photograph_it_is_the_moves_own_map():
    size = 64
    photos = sample_moved_photos(2, "test", moves=["turn clockwise"]) + sample_moved_photos(2, "test", moves=["ripple"])
    flows, _ = two_frames(photos, draw_moved, size)
    flow, holds = flow_between(*flows, BEFORE / AFTER)
    axis = (torch.arange(size) + 0.5) / size - 0.5
    for k, photo in enumerate(photos):
        x, y = backward(photo.move, axis[None], axis[:, None], amplitude_photo(photo, AFTER))
        there = forward(photo.move, x, y, amplitude_photo(photo, BEFORE))
        expected = (torch.stack(there) - torch.stack(torch.broadcast_tensors(axis[None], axis[:, None]))) * size
        error = (flow[k] - expected).norm(dim=0)
        assert error[holds[k, 0]].max() < 0.06 and holds[k].float().mean() > 0.99 * (~flows[3][k]).float().mean()


def test_of_a_scene_it_is_what_the_deformations_say():
    size = 128
    scenes = [s for s in sample_scenes(12, "test") if len(s.actors) == 1][:5]
    flows, _ = two_frames(scenes, draw, size)
    flow, holds = flow_between(*flows, BEFORE / AFTER)
    axis = torch.arange(size) + 0.5
    for k, scene in enumerate(scenes):
        reach = torch.tensor([[amplitude(scene, m)] for m in (BEFORE, AFTER)])
        (actor,), unit = scene.actors, scene.actors[0].size * size
        vx = ((axis - actor.x * size) / unit * actor.facing).expand(1, size, size)
        vy = ((axis[:, None] - actor.y * size) / unit).expand(1, size, size)
        rest = deform_of([actor], reach[1]).inverse(vx, vy)
        x, y = deform_of([actor], reach[0]).forward(*rest)
        expected = torch.cat([(x - vx) * unit * actor.facing, (y - vy) * unit])
        _, layers, _ = render([scene], reach[1], size)
        for mine, wanted in ((layers[0] == 2, expected), (layers[0] != 2, torch.zeros_like(expected))):
            counted = mine & holds[k, 0]
            assert counted.sum() > 0.9 * (mine & ~flows[3][k, 0]).sum()
            error = (flow[k] - wanted).norm(dim=0)[counted]
            assert error.max() < 0.3 and error.mean() < 0.005  # the largest where the tree's crown meets its trunk


def test_a_thing_that_keeps_its_looks_differs_little_and_one_painted_anew_by_what_is_painted():
    motions, size = torch.tensor([4.0, 9.0, 14.0]), 64
    photos = sample_moved_photos(2, "test", moves=["drift up"])
    frames = draw_moved([p for p in photos for _ in range(3)], motions.repeat(2).tolist(), size)
    image, flow, hidden = (part.unflatten(0, (2, 3)) for part in (frames.image, frames.flow, frames.occluded))
    between = neighbours(flow, hidden, motions)
    exact = warped_difference(image, *between)
    assert (exact < 0.4 * change(image)).all()
    # the middle frame is 20 grey levels brighter: so is it in both steps, wherever nothing is white
    brighter = image.clone() * 0.5
    dim = warped_difference(brighter, *between)
    brighter[:, 1] += 20 / 127.5
    assert_close(warped_difference(brighter, *between), torch.full((2,), 20.0), atol=0.8, rtol=0)
    assert_close(dim, exact / 2)


def test_whole_pixel_shifts_leave_nothing_and_hidden_pixels_do_not_count():
    torch.manual_seed(0)
    scroll = torch.rand(1, 3, 16, 40) * 2 - 1
    image = torch.stack([scroll[..., 20 - d : 36 - d] for d in (1, 3, 6)], 1)  # (1, 3, 3, 16, 16): goes right by d
    flow = torch.zeros(1, 3, 2, 16, 16)
    hidden = torch.zeros(1, 3, 1, 16, 16, dtype=torch.bool)
    for k, d in enumerate((1, 3, 6)):
        flow[:, k, 0] = -d
        hidden[:, k, ..., :d] = True
    between = neighbours(flow, hidden, torch.tensor([1.0, 3.0, 6.0]))
    assert warped_difference(image, *between).item() == pytest.approx(0, abs=1e-2)
    spoilt = image.clone()
    spoilt[:, 1, ..., :3] = 1  # in the second frame nobody sees what comes in from the left
    assert warped_difference(spoilt, *between).item() == pytest.approx(0, abs=1e-2)
