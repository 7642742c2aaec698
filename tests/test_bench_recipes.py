"""What the benchmark compares: the reference's recipe makes the pipeline's frames, diffusers' pipeline its own on our parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pix2gif_lite.benchmark.bench_diffusers import diffusers_frames, instruct_pix2pix
from pix2gif_lite.benchmark.bench_quality import Judge, Way
from pix2gif_lite.benchmark.bench_reference import reference_frames
from pix2gif_lite.evaluation.generating import Scales
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import DEMO_MOTIONS, TINY
from pix2gif_lite.scenes import sample_scenes

CAPTION = "a red balloon is rising"


def levels(frames) -> np.ndarray:
    return np.stack([np.asarray(frame, int) for frame in frames])


@pytest.fixture(scope="module")
def small(picture):
    return picture.resize((64, 64))


@pytest.fixture(scope="module")
def theirs(pipe):
    return instruct_pix2pix(pipe, seed=1)


def test_the_recipe_makes_the_pipelines_frames_and_runs_flownet_at_every_step(pipe, small):
    batches = []
    hook = pipe.flow_net.register_forward_hook(lambda _, given, __: batches.append(len(given[0])))
    try:
        slow = levels(reference_frames(pipe, small, CAPTION, [3, 12], steps=3, s_I=1.8, s_T=7.5, seed=5))
        assert batches == [3] * 6  # frames x steps, the three predictions at once
    finally:
        hook.remove()
    how = {"steps": 3, "sampler": "euler_ancestral", "s_I": 1.8, "s_T": 7.5, "seed": 5, "detail": False}
    fast = levels(pipe(small, CAPTION, [3, 12], **how).frames)
    assert np.abs(slow - fast).max() <= 1
    assert np.abs(slow[0] - slow[1]).max() > 1 and slow[0].std() > 1  # else any two would agree


def test_the_recipe_takes_weights_without_a_warp(pipe, theirs, small):
    base = base_of(pipe, theirs)
    how = {"steps": 2, "sampler": "euler_ancestral", "s_I": 1.8, "s_T": 7.5}
    slow, fast = reference_frames(base, small, CAPTION, [8], 2), base(small, CAPTION, [8], **how).frames
    assert np.abs(levels(slow) - levels(fast)).max() <= 1


def base_of(pipe, theirs) -> Pix2GifPipeline:
    """Ours around diffusers' UNet: the Base variant."""
    parts = {name: getattr(pipe, name) for name in ("vae", "tokenizer", "text_encoder")} | {"unet": theirs.unet}
    return Pix2GifPipeline.from_components(TINY, parts, variant="base", residual=None, scale_image_latents=False)


def test_diffusers_computes_what_ours_does_on_the_same_parts(pipe, theirs, small):
    ours = base_of(pipe, theirs)
    assert theirs.unet.config.in_channels == 8
    assert theirs.unet.config.block_out_channels == pipe.unet.config.block_out_channels
    how = {"steps": 4, "s_I": 1.8, "s_T": 7.5, "seed": 3}
    frames = levels(diffusers_frames(theirs, small, CAPTION, [2, 16], **how))
    same = levels(ours(small, CAPTION, [2, 16], sampler="euler_ancestral", **how).frames)
    assert frames.shape == (2, 64, 64, 3) and frames.std() > 1
    assert np.abs(frames - same).mean() < 0.5  # diffusers starts from 0.2 % less noise
    assert np.abs(frames[0] - frames[1]).max() > 1


def test_all_frames_at_once_are_the_same_frames(theirs, small):
    how = {"steps": 2, "s_I": 1.8, "s_T": 7.5, "seed": 3}
    alone, together = (levels(diffusers_frames(theirs, small, CAPTION, [2, 16], batched=b, **how)) for b in (False, True))
    assert np.abs(alone - together).max() <= 1


@pytest.mark.parametrize(("s_I", "s_T"), [(1.8, 1), (0.5, 7.5)])
def test_scales_at_which_diffusers_does_not_guide_are_refused(theirs, small, s_I, s_T):
    with pytest.raises(ValueError, match=rf"s_T = {s_T:g}, s_I = {s_I:g}"):
        diffusers_frames(theirs, small, CAPTION, [8], 2, s_I, s_T)


@pytest.mark.parametrize(
    "way",
    [Way(2, "dpmpp_2m"), Way(3, "dpmpp_2m", Scales(1.8, 7.5), (0.25, 2.0))],
    ids=["plain", "interval"],
)
def test_a_way_is_judged_as_the_pipeline_makes_it(pipe, way):
    judge = Judge(1, 64)
    found = judge.figures(pipe, way)
    (scene,) = sample_scenes(1, "test")
    how = {"steps": way.steps, "sampler": way.sampler, "interval": way.interval, **way.scales._asdict()}
    out = pipe(scene.at(0, 64).image[0], scene.caption, DEMO_MOTIONS, seed=scene.index, detail=False, **how)
    exact = torch.cat([scene.at(m, 64).image for m in DEMO_MOTIONS]).permute(0, 2, 3, 1).numpy()
    error = np.square((levels(out.frames) / 255) - (exact + 1) / 2).mean((1, 2, 3))
    assert found["psnr"] == pytest.approx((-10 * np.log10(error)).mean(), abs=0.02)
    asked, measured = np.array(DEMO_MOTIONS, float), np.array(out.measured())
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(asked - measured).mean()), abs=0.3)
    assert (found["scenes"], found["quality_steps"]) == (1, way.steps)
    calls = []
    hook = pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    assert judge.figures(pipe, way) == found and not calls  # made once
    hook.remove()


def test_guidance_is_three_predictions_and_none_is_one():
    assert [Way(1, "dpmpp_2m", scales).predictions for scales in (Scales(), Scales(1.8, 7.5), Scales(1, 7.5))] == [1, 3, 2]
