"""Frames made by the batch are the pipeline's own, and what is measured of them is right where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.data.mixture import FAMILIES
from pix2gif_lite.evaluation import generating, measuring
from pix2gif_lite.lookup import warp
from pix2gif_lite.photos import draw_moved, sample_moved_photos
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import Frame, sample_scenes
from pix2gif_lite.subcell import MOVES


@pytest.fixture(scope="module")
def pipe():
    return Pix2GifPipeline.from_components(TINY, build_components(TINY, ["a red balloon is rising"] * 20))


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(3, "test")


@pytest.fixture(scope="module")
def photos():
    return sample_moved_photos(3, "test", seed=1)


@pytest.mark.parametrize(("sampler", "name"), [("dpmpp_2m", "scenes"), ("euler_ancestral", "scenes"), ("dpmpp_2m", "photos")])
def test_a_batch_of_gifs_is_what_the_pipeline_makes_one_by_one(pipe, sampler, name, request):
    (part,) = generating.drawn(request.getfixturevalue(name), [3, 12], TINY.image_size, FAMILIES[name])
    made = generating.generate_for(pipe, part, [3, 12], 3, sampler)
    for n, scene in enumerate(part.scenes):
        out = pipe(part.source[n], scene.caption, [3, 12], steps=3, sampler=sampler, seed=scene.index, detail=False)
        for k, frame in enumerate(out.frames):
            levels = (made.image[2 * n + k].permute(1, 2, 0).numpy() + 1) * 127.5
            assert np.abs(np.asarray(frame) - levels).max() < 1  # rounding
        assert_close(made.flow[2 * n : 2 * n + 2], out.flow, atol=1e-5, rtol=1e-4)


def test_with_detail_the_frames_are_those_of_the_pipelines_users(pipe, scenes, photos):
    for family, members in (("scenes", scenes), ("photos", photos)):
        (part,) = generating.drawn(members, [3, 12], TINY.image_size, FAMILIES[family])
        made = generating.generate_for(pipe, part, [3, 12], 2)
        detailed = generating.with_detail(pipe, part.source, made)
        assert (detailed - made.image).abs().max() > 0.05  # there is something to add: D of TINY is untrained
        for n, member in enumerate(part.scenes):
            out = pipe(part.source[n], member.caption, [3, 12], steps=2, seed=member.index)
            for k, frame in enumerate(out.frames):
                levels = (detailed[2 * n + k].permute(1, 2, 0).numpy() + 1) * 127.5
                assert np.abs(np.asarray(frame) - levels).max() < 1  # rounding


def test_the_warp_alone_is_the_decoded_source_latent_moved_by_the_flow(pipe, scenes):
    (part,), said = generating.drawn(scenes, [11], TINY.image_size), []
    hook = pipe.flow_net.register_forward_hook(lambda module, given, flows: said.append(flows))
    made = generating.generate_for(pipe, part, [11], 1, None)
    hook.remove()
    with torch.no_grad():
        z = pipe.vae.encode(part.source).latent_dist.mode()
        moved = warp(z, said[-1].flow0, interpolation=TINY.interpolation)
        moved = moved + (1 - torch.tensor(MOVES).sigmoid()) ** 2 * (z - moved)  # so much stays, before training
        expected = pipe.vae.decode(moved).sample.clamp(-1, 1)
    assert 0 < made.flow.abs().max() < 0.03 * TINY.flow_subcells  # FlowNet starts near the identity
    assert torch.equal(made.flow, said[-1].seen)
    assert_close(made.warped, expected, atol=1e-4, rtol=1e-4)


def test_a_known_flow_is_found_again(pipe, scenes):
    torch.manual_seed(0)
    z = torch.nn.functional.interpolate(torch.randn(2, 4, 6, 6), size=(16, 16), mode="bicubic")
    known = torch.zeros(2, 2, 16, 16)
    known[0, 0], known[1, 1] = 0.7, -0.4
    how = pipe.flow_net.config
    found = measuring.search_flow(z, warp(z, known, interpolation=how.interpolation), 0 * known, how)
    assert_close(found[..., 4:12, 4:12].mean((2, 3)), known[..., 4:12, 4:12].mean((2, 3)), atol=0.05, rtol=0)
    (part,) = generating.drawn(scenes, [6, 11], TINY.image_size)
    best = measuring.best_warp(pipe, part, torch.zeros(6, 2, 16, 16))
    z, target = (generating.encode(pipe, x).detach() for x in (part.copies, part.exact.image))
    found = measuring.search_flow(z, target, torch.zeros(6, 2, 16, 16), how)
    assert (warp(z, found, interpolation=how.interpolation) - target).abs().mean() < 0.9 * (z - target).abs().mean()
    with torch.no_grad():
        assert_close(best, generating.decode(pipe, warp(z, found, interpolation=how.interpolation)), atol=1e-4, rtol=0)


def test_exact_frames_score_best_and_copies_score_as_worked_out_by_hand(scenes):
    (part,) = generating.drawn(scenes, [6, 19], 64)
    perfect = measuring.fidelity(part.exact.image, part.exact)
    assert all(torch.equal(value, torch.full((6,), 100.0)) for value in perfect.values())
    copied = measuring.fidelity(part.copies, part.exact)
    error = ((part.source[1] - part.exact.image[3]) / 2).square()
    moving = part.exact.moving[3].expand(3, -1, -1)
    assert copied["psnr"][3].item() == pytest.approx(-10 * math.log10(error.mean()), abs=1e-3)
    assert copied["moving_psnr"][3].item() == pytest.approx(-10 * math.log10(error[moving].mean()), abs=1e-3)
    assert (copied["still_psnr"] > copied["psnr"]).all() and (copied["psnr"] > copied["moving_psnr"]).all()


def test_photographs_are_drawn_at_rest_and_moved_and_next_to_each_other(photos):
    (part,) = generating.drawn(photos, [6, 19], 64, FAMILIES["photos"])
    assert_close(part.source, draw_moved(photos, [0, 0, 0], 64).image, atol=1 / 255 + 1e-6, rtol=0)
    levels = (part.source + 1) * 127.5
    assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    for k, m in enumerate([6, 19]):
        for n, photo in enumerate(photos):
            alone = photo.at(m, 64)
            assert torch.equal(part.exact.image[2 * n + k], alone.image[0])
            assert torch.equal(part.exact.occluded[2 * n + k], alone.occluded[0])


def test_what_comes_into_view_does_not_count_as_seen():
    (photo,) = sample_moved_photos(1, "test", moves=["pan left"])
    frame = photo.at(16, 64)  # everything goes right by 16 of 256: the four leftmost columns were not there before
    damaged = frame.image.clone()
    damaged[..., :4] += 1
    found = measuring.fidelity(damaged, frame)
    assert found["seen_psnr"].item() == 100 and found["psnr"].item() < 25
    damaged[..., 4] = frame.image[..., 4] + 0.5 * (1 - 2 * (frame.image[..., 4] > 0))
    # off by half a grey range of 2 in one of the 60 columns that count
    assert measuring.fidelity(damaged, frame)["seen_psnr"].item() == pytest.approx(-10 * math.log10(0.25**2 / 60), abs=1e-3)


def test_the_exact_flow_on_the_latent_grid_has_almost_no_error(scenes):
    (part,) = generating.drawn(scenes, [4, 16], 128)
    coarse = torch.nn.functional.interpolate(part.exact.flow, size=(32, 32), mode="area") * (32 / 128)
    near, none = measuring.flow_error(coarse, part.exact), measuring.flow_error(torch.zeros_like(coarse), part.exact)
    assert (near < 0.4 * none).all()
    # without flow the error is the length of the exact one: of the order of m
    assert_close(none.reshape(3, 2).mean(0), torch.tensor([4.0, 16.0]), rtol=0.45, atol=0)


def test_measured_flow_of_exact_frames_is_near_the_exact_flow_and_a_copy_has_none(scenes):
    (part,) = generating.drawn(scenes, [4, 16], 128)
    none = measuring.flow_error(torch.zeros(6, 2, 128, 128), part.exact)  # as far off as the exact vectors are long
    assert_close(measuring.measured_flow_error(part.source, part.copies, part.exact), none)
    found = measuring.measured_flow_error(part.source, part.exact.image, part.exact)
    assert (found < none).all() and found.mean() < 0.5 * none.mean()


def test_measured_flow_of_a_known_shift(scenes):
    # a frame whose every pixel p shows what the source has 3 px to the right: backward flow (3, 0), at 256 x 256 (6, 0)
    source = generating.drawn(scenes[:1], [4], 128).__next__().source
    frame = torch.cat([source[..., 3:], source[..., -1:].expand(-1, -1, -1, 3)], -1)
    inside = torch.zeros(1, 1, 128, 128, dtype=torch.bool)
    inside[..., 16:-16, 16:-16] = True
    exact = Frame(frame, torch.tensor([3.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 128, 128), ~inside, inside)
    assert measuring.measured_flow_error(source, frame, exact).item() < 0.5
    still = exact._replace(flow=torch.zeros_like(exact.flow))
    assert measuring.measured_flow_error(source, frame, still).item() == pytest.approx(6, abs=0.5)


def test_measured_motion_of_exact_frames_is_what_was_asked(scenes):
    (part,) = generating.drawn(scenes, [3, 9], 128)
    measured = measuring.measured_motion(part.source, part.exact.image).reshape(3, 2)
    assert_close(measured, torch.tensor([3.0, 9.0]).expand(3, 2).double(), atol=0.6, rtol=0)


def test_measure_keeps_every_frame_in_its_place(pipe, scenes):
    told = []
    frames = measuring.measure(pipe, scenes, [4, 8], steps=1, tick=told.append)
    assert sum(told) == len(scenes)
    assert all(value.shape == (3, 1 if name.endswith("change") else 2) for name, value in frames.items())
    assert frames["asked"].tolist() == [[4.0, 8.0]] * 3
    alone = measuring.measure(pipe, scenes[1:2], [8], steps=1)
    for name, value in alone.items():
        if name.endswith("change"):
            assert value.shape == (1, 1) and value.isnan().all()  # a single frame has no neighbour
        elif name != "measured_flow_error":  # on an untrained model's noise DIS jumps at the last digit
            assert_close(value[0, 0], frames[name][1, 1], atol=1e-3, rtol=1e-3)
    backwards = measuring.measure(pipe, scenes[1:2], [8, 4], steps=1)
    for name in ("change", "still_change", "warped_change"):  # neighbours are those of the motion, not of the list
        for prefix in ("", "ceiling_", "exact_"):
            assert_close(backwards[prefix + name][0], frames[prefix + name][1], atol=1e-3, rtol=1e-3)


def test_changes_of_exact_frames_and_of_frames_that_jump(scenes):
    (part,) = generating.drawn(scenes, [3, 9, 15], 64)
    exact = measuring.changes({"": part.exact.image}, part.exact, [3, 9, 15])
    assert (exact["still_change"] < 0.3 * exact["change"]).all()  # soft edges alone: the background of scenes stands still
    first = part.exact.image.unflatten(0, (3, 3))[0].diff(dim=0).abs().mean() * 127.5
    assert exact["change"][0].item() == pytest.approx(first.item(), rel=1e-4)
    assert (exact["warped_change"] < 0.4 * exact["change"]).all()
    jumping = part.exact.image.mul(0.9)
    jumping[1::3] += 4 / 127.5  # the middle frame of each GIF
    both = measuring.changes({"": jumping, "exact_": part.exact.image}, part.exact, [3, 9, 15])
    assert all(torch.equal(both["exact_" + name], value) for name, value in exact.items())
    found = {name: both[name] for name in exact}
    assert_close(found["still_change"], torch.full((3,), 4.0), atol=0.4, rtol=0)
    assert (found["warped_change"] > 3.9).all() and (exact["warped_change"] < 1).all()


def test_ssim_of_exact_frames_and_of_copies(scenes):
    (part,) = generating.drawn(scenes, [6, 19], 64)
    for value in measuring.similarity(part.exact.image, part.exact).values():
        assert_close(value, torch.ones(6))
    copied = measuring.similarity(part.copies, part.exact)
    assert (copied["still_ssim"] > copied["ssim"]).all() and (copied["ssim"] > copied["moving_ssim"]).all()


def test_measure_of_photographs(pipe, photos):
    told = []
    frames = measuring.measure(pipe, photos, [6, 19], steps=1, tick=told.append, family=FAMILIES["photos"])
    assert sum(told) == 3 and all(len(value) == 3 for value in frames.values())
    with torch.no_grad():
        for n, photo in enumerate(photos):
            frame = photo.at(19, TINY.image_size)
            decoded = pipe.vae.decode(pipe.vae.encode(frame.image).latent_dist.mode()).sample.clamp(-1, 1)
            error = ((decoded - frame.image) / 2).square()[(~frame.occluded).expand_as(decoded)].mean()
            assert frames["ceiling_seen_psnr"][n, 1].item() == pytest.approx(-10 * error.log10().item(), abs=1e-2)
    alone = measuring.measure(pipe, photos[1:2], [19], steps=1, family=FAMILIES["photos"])
    for name, value in alone.items():
        if not name.endswith("change"):
            assert_close(value[0, 0], frames[name][1, 1], atol=1e-3, rtol=1e-3, equal_nan=True)


def test_a_pipeline_without_a_warp_has_no_warp_columns(scenes):
    preset = TINY.with_changes(variant="motion-embed")
    parts = build_components(preset, ["a red balloon is rising"] * 20)
    frames = measuring.measure(Pix2GifPipeline.from_components(preset, parts), scenes[:1], [4, 8], steps=1)
    assert "warp_psnr" not in frames and "flow_error" not in frames and frames["psnr"].shape == (1, 2)
