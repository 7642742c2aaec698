"""Training: samples keyed by number, the loop, exact resume, checkpoints that survive, and what the two jobs learn."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from pix2gif_lite import training
from pix2gif_lite.autoencoder import PatchAutoencoderKL, build_autoencoder
from pix2gif_lite.calibration import as_long_as, scaled
from pix2gif_lite.data import training_data
from pix2gif_lite.data.latent_cache import (
    Shards,
    cache_family,
    cache_scenes,
    fingerprint,
    random_motions,
    read_latents,
    write_shard,
)
from pix2gif_lite.data.mixture import FAMILIES, Mixture, Pick
from pix2gif_lite.data.training_data import PictureSource, keyed_noise, keyed_rng, load_photographs, photo_crop
from pix2gif_lite.guidance import drop_masks
from pix2gif_lite.learning.autoencoder_job import AutoencoderJob
from pix2gif_lite.learning.checkpoints import EMA, checkpoints, load_checkpoint, save_checkpoint
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.learning.training_loop import Run, fit, operations_per_sample
from pix2gif_lite.lookup import warp
from pix2gif_lite.losses import AROUND, flow_loss
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.subcell import MOVES
from pix2gif_lite.text import tokenize
from pix2gif_lite.training import load_component, train_autoencoder, train_model
from pix2gif_lite.warp_terms import BEYOND
from pix2gif_lite.warping import FlowPyramid

# float32, so that the comparisons below are about the loop and not about rounding.
QUICK = dict(mixed_precision="no", progress_bar=False, log_every=1, cpu=True)
AE = dict(QUICK, held_out=2, photo_share=0.5)


def losses(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def interrupt_at(step):
    """A callback that presses Ctrl-C during that step."""
    return lambda state: os.kill(os.getpid(), signal.SIGINT) if state["step"] == step else None


# ------------------------------------------------------------------------------------------------------------ the data


@pytest.fixture(scope="module")
def source():
    return PictureSource(64, seed=3, photo_share=0.4, window=2, scenes_a_block=4)


def test_a_sample_depends_on_its_number_alone(source):
    whole = source.batch(range(40, 52))
    again = PictureSource(64, seed=3, photo_share=0.4, window=2, scenes_a_block=4)
    parts = [again.batch([n]) for n in reversed(range(40, 52))][::-1]
    for name in ("image", "moving", "is_photo"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    assert not torch.equal(whole.image, source.batch(range(52, 64)).image)
    assert not torch.equal(whole.image, PictureSource(64, seed=4, photo_share=0.4).batch(range(40, 41)).image[:1])


def test_pictures_are_in_range_and_mixed_as_asked(source):
    batch = source.batch(range(200))
    assert batch.image.shape == (200, 3, 64, 64) and batch.image.dtype == torch.float32
    assert -1 <= batch.image.min() < -0.9 and 0.9 < batch.image.max() <= 1
    share = batch.is_photo.float().mean()
    assert abs(share - 0.4) < 3 * math.sqrt(0.4 * 0.6 / 200)
    assert batch.moving[batch.is_photo].sum() == 0
    assert 0.01 < batch.moving[~batch.is_photo].mean() < 0.6


def test_window_of_frames_moves_on(source):
    first, later = source.batch(range(64)), source.batch(range(64 + 5 * source.stride, 128 + 5 * source.stride))
    seen = {image.numpy().tobytes() for image in first.image[~first.is_photo]}
    assert not seen & {image.numpy().tobytes() for image in later.image[~later.is_photo]}
    assert len(source.frames.blocks) <= source.frames.keep


def test_photographs_kept_out_are_not_trained_on():
    assert not set(training_data.PHOTOGRAPHS) & set(training_data.HELD_OUT_PHOTOGRAPHS)
    trained, kept_out = load_photographs(), load_photographs(training_data.HELD_OUT_PHOTOGRAPHS)
    assert len(kept_out) == 4 and len(trained) == len(training_data.PHOTOGRAPHS)
    assert all(photo.dtype == np.uint8 and min(photo.shape[:2]) >= 256 for photo in trained)
    crops = training_data.held_out_crops(64, 8)
    assert crops.shape == (8, 3, 64, 64) and torch.equal(crops, training_data.held_out_crops(64, 8))


@pytest.mark.parametrize("shape", [(90, 200, 3), (300, 280)])
def test_crops_fill_the_size_whatever_the_photograph(shape):
    photo = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for seed in range(20):
        crop = photo_crop(photo, 64, np.random.default_rng(seed))
        assert crop.shape == (3, 64, 64) and crop.dtype == np.float32 and np.abs(crop).max() <= 1


def test_missing_photographs_name_the_extra():
    with pytest.raises(ModuleNotFoundError, match=r"x.png of no_such_package.*pip install 'pix2gif-lite\[photos\]'"):
        load_photographs([("no_such_package", "x.png")])
    with pytest.raises(ValueError, match="photo_share is 1.5"):
        PictureSource(64, 0, photo_share=1.5)


def test_a_folder_of_photographs_is_added(tmp_path):
    with pytest.raises(FileNotFoundError, match="No .png"):
        load_photographs([], tmp_path)
    training_data.Image.fromarray(np.full((70, 80, 4), 200, np.uint8), "RGBA").save(tmp_path / "own.png")
    (added,) = load_photographs([], tmp_path)
    assert added.shape == (70, 80, 3)


def test_noise_is_keyed_and_normal():
    noise = keyed_noise(0, range(50), (4, 8, 8), stream=1)
    assert torch.equal(noise[7:9], keyed_noise(0, [7, 8], (4, 8, 8), stream=1))
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03
    assert not torch.equal(noise, keyed_noise(0, range(50), (4, 8, 8), stream=2))


# ------------------------------------------------------------------------------------------------ averages, checkpoints


def test_average_is_the_weighted_sum_and_copies_buffers():
    module = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), torch.nn.BatchNorm1d(1))
    module[1].bias.requires_grad_(False)
    ema = EMA(module, decay=0.5)
    assert set(ema.parameters) == {"0.weight", "1.weight"}
    values = [module[0].weight.detach().clone()]
    expected = values[0]
    for k in range(1, 5):
        with torch.no_grad():
            module[0].weight.add_(k)
            module[1].running_mean.add_(k)
        decay = min(0.5, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * module[0].weight.detach()
        ema.update(module)
    torch.testing.assert_close(ema.parameters["0.weight"], expected)
    own = module[0].weight.detach().clone()
    module.train()
    with ema.applied(module):
        torch.testing.assert_close(module[0].weight, expected)
        assert module[1].running_mean == 10 and not module.training
        module[1].running_mean.zero_()
    assert torch.equal(module[0].weight, own) and module.training and module[1].running_mean == 10
    assert ema.buffers["1.running_mean"] == 10  # a copy, not the module's own


def test_the_last_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path):
    with pytest.raises(FileNotFoundError, match="No checkpoint"):
        load_checkpoint(tmp_path)
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, step, {"step": step, "weights": torch.full((3,), step)})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000010", "step-0000015"]
    assert load_checkpoint(tmp_path)["weights"].tolist() == [15, 15, 15]
    whole = (tmp_path / "step-0000015" / "state.pt").read_bytes()
    (tmp_path / "step-0000015" / "state.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert load_checkpoint(tmp_path)["step"] == 10


class Runs:
    """Pickled into a checkpoint, this would run a command when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_cannot_run_code(tmp_path):
    save_checkpoint(tmp_path / "run", 1, {"step": 1, "bad": Runs(tmp_path / "made")})
    with pytest.warns(UserWarning, match="cannot be read"), pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "run")
    assert not (tmp_path / "made").exists()


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # no file may be larger: writing fails half-way
    try:
        with pytest.raises(OSError, match="step-0000002 could not be written .*free some space"):
            save_checkpoint(tmp_path, 2, {"step": 2, "weights": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000001"]
    assert load_checkpoint(tmp_path)["step"] == 1


# ------------------------------------------------------------------------------------------------------------- the loop


def test_rate_warms_up_then_falls_to_zero():
    run = Run("x", batch_size=1, learning_rate=2.0, warmup_steps=10, steps=100)
    rates = [run.rate(step, run.progress(step, 0.0)) for step in range(101)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == pytest.approx(rates[9])
    assert rates[50] == pytest.approx(1.0) and rates[75] == pytest.approx(1 - math.sqrt(0.5)) and rates[100] == 0
    timed = Run("x", batch_size=1, learning_rate=2.0, minutes=2)
    assert timed.progress(10**6, 30.0) == 0.25 and timed.progress(0, 121.0) == 1
    both = Run("x", batch_size=1, learning_rate=2.0, minutes=2, steps=10)
    assert both.progress(9, 12.0) == 0.9 and both.progress(1, 90.0) == 0.75


@pytest.mark.parametrize("wrong", [{}, {"steps": 0}, {"minutes": -1}, {"steps": 5, "batch_size": 0}])
def test_a_run_without_an_end_or_a_size_is_refused(wrong):
    with pytest.raises(ValueError, match="steps|minutes|batch_size"):
        Run("x", **{"batch_size": 1, "learning_rate": 1.0, **wrong})


class Quadratic(torch.nn.Module):
    """The smallest job: w is pulled towards the mean of its samples, which are their own numbers."""

    def __init__(self, explode_at=None):
        super().__init__()
        self.w, self.explode_at = torch.nn.Parameter(torch.zeros(1)), explode_at

    def batch(self, numbers):
        return training_data.PictureBatch(torch.tensor([float(n) for n in numbers]), None, None, list(numbers))

    def forward(self, batch):
        loss = (self.w - batch.image).square().mean()
        return {"loss": loss if self.explode_at not in batch.numbers else loss / 0}

    def measure(self):
        return {"w": self.w.item()}


def test_loop_is_plain_adamw_on_consecutive_samples(tmp_path):
    job, seen = Quadratic(), []
    run = Run(tmp_path, 4, 0.1, warmup_steps=2, steps=6, grad_clip=1e9, callback_every=1, callback=seen.append, **QUICK)
    summary = fit(job, run, {})
    w = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([w], betas=(0.9, 0.99), weight_decay=0)
    expected = []
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.1 * min(1, (step + 1) / 2) * 0.5 * (1 + math.cos(math.pi * step / 6))
        loss = (w - torch.arange(4.0 * step, 4 * step + 4)).square().mean()
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        expected.append(loss.item())
    assert losses(tmp_path) == pytest.approx(expected, rel=1e-6)
    assert [state["step"] for state in seen] == [1, 2, 3, 4, 5, 6] and seen[0]["job"] is job
    assert (summary["steps"], summary["samples"]) == (6, 24)
    assert 0 < summary["w"] < w.item()  # the average lags behind
    assert json.loads((tmp_path / "summary.json").read_text())["loss"] == summary["loss"]
    with pytest.raises(FileExistsError, match="holds a run already"):
        fit(Quadratic(), run, {})
    with pytest.raises(ValueError, match="another seed"):
        run = replace(run, out=tmp_path / "b", steps=1)
        fit(Quadratic(), run, {"seed": 1})
        fit(Quadratic(), replace(run, resume=True), {"seed": 2})


def test_operations_are_counted():
    class Linear(Quadratic):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 4))

        def batch(self, numbers):
            return training_data.PictureBatch(torch.ones(len(numbers), 8), None, None, list(numbers))

        def forward(self, batch):
            return {"loss": self.layers(batch.image).sum()}

    # forward 2 (8 16 + 16 4); backward as much for the weights, and again for the input of the second layer only
    assert operations_per_sample(Linear(), range(5), torch.device("cpu")) == 2 * (2 * (8 * 16 + 16 * 4) + 16 * 4)


def test_micro_batches_add_up(tmp_path):
    for parts in (1, 2, 3, 4):
        fit(Quadratic(), Run(tmp_path / str(parts), 4, 0.1, steps=5, accumulation=parts, **QUICK), {})
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "2"), rel=1e-6)
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "3"), rel=1e-6)  # 2, 2 and none
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "4"), rel=1e-6)


def test_a_loss_that_is_not_finite_stops_the_run_before_a_checkpoint(tmp_path):
    with pytest.raises(FloatingPointError, match="at step 4"):
        fit(Quadratic(explode_at=13), Run(tmp_path, 4, 0.1, steps=9, checkpoint_every=2, **QUICK), {})
    assert load_checkpoint(tmp_path / "checkpoints")["step"] == 2


def test_minutes_end_a_run_and_add_up_over_resumes(tmp_path):
    run = Run(tmp_path, 4, 0.1, minutes=2 / 60, callback_every=3, callback=interrupt_at(3), **QUICK)
    with pytest.raises(KeyboardInterrupt):
        fit(Quadratic(), run, {})
    state = load_checkpoint(tmp_path / "checkpoints")
    assert state["step"] == 3 and 0 < state["elapsed"] < 2
    summary = fit(Quadratic(), replace(run, resume=True, callback=None), {})
    assert 2 <= summary["seconds"] < 4 and summary["steps"] > 3


# ------------------------------------------------------------------------------------------------------ the autoencoder


@pytest.fixture(scope="module")
def autoencoder_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("autoencoder")
    return out, train_autoencoder(TINY, out, steps=12, **AE)


def test_autoencoder_is_saved_with_unit_variance_latents(autoencoder_run):
    out, summary = autoencoder_run
    vae = PatchAutoencoderKL.from_pretrained(out / "vae")
    with torch.no_grad():
        z = vae.encode(PictureSource(TINY.image_size, 0, 0.5, scenes_a_block=16).batch(range(64)).image).latent_dist.mode()
    assert float(z.std() * vae.config.scaling_factor) == pytest.approx(1, rel=0.15)
    assert summary["scaling_factor"] == vae.config.scaling_factor
    assert summary["samples"] == 12 * TINY.autoencoder.batch_size
    assert summary["parameters"] == sum(p.numel() for p in vae.parameters())
    assert 0 < summary["share_of_matrix_rate"] < 1.5
    assert {"psnr", "psnr_moving", "psnr_photos"} <= summary.keys()
    assert np.mean(losses(out)[-3:]) < 0.8 * losses(out)[0]


def test_autoencoder_resumes_to_the_bit_after_ctrl_c(autoencoder_run, tmp_path):
    whole, _ = autoencoder_run
    with pytest.raises(KeyboardInterrupt, match="after step 5"):
        train_autoencoder(TINY, tmp_path, steps=12, callback=interrupt_at(5), callback_every=5, **AE)
    assert not (tmp_path / "vae").exists() and len(losses(tmp_path)) == 5
    with open(tmp_path / "log.jsonl", "a") as log:  # a step that was logged, and then lost
        log.write('{"step": 6, "loss": 123.0}\n{"step": 7, "lo')
    train_autoencoder(TINY, tmp_path, steps=12, resume=True, **AE)
    assert losses(tmp_path) == losses(whole)
    ours, theirs = (PatchAutoencoderKL.from_pretrained(out / "vae").state_dict() for out in (tmp_path, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_autoencoder_starts_from_given_weights(autoencoder_run, tmp_path):
    out, _ = autoencoder_run
    train_autoencoder(TINY, tmp_path, steps=2, init=out, learning_rate=1e-9, **AE)
    before, after = load_component(out, "vae").state_dict(), load_component(tmp_path / "vae", "vae").state_dict()
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    with pytest.raises(FileNotFoundError, match="No unet in"):
        load_component(out, "unet")


def test_the_decoder_alone_can_be_trained(autoencoder_run, tmp_path):
    out, _ = autoencoder_run
    train_autoencoder(TINY, tmp_path, steps=2, init=out, decoder_only=True, **AE)
    before, after = load_component(out, "vae"), load_component(tmp_path / "vae", "vae")
    assert after.config.scaling_factor == before.config.scaling_factor and fingerprint(after) == fingerprint(before)
    old, new = before.state_dict(), after.state_dict()
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert "decoder" in changed and not changed & {"encoder", "quant_conv"}
    with pytest.raises(ValueError, match="decoder_only needs"):
        train_autoencoder(TINY, tmp_path / "other", steps=2, decoder_only=True, **AE)


def test_moved_pictures_match_moved_latents(source):
    job = AutoencoderJob(TINY, build_autoencoder(TINY), source, seed=0, equivariance=1.0)
    cells, pixels = 16, job.vae.downsampling
    image = source.batch(range(24)).image
    # A stand-in for E that moves with the picture by construction: the mean of each patch.
    z, moved, known = job.moved(torch.nn.functional.avg_pool2d(image, pixels), image, range(24))
    flows = [job.random_flow(n, cells) for n in range(24)]
    assert max(float(flow.abs().max()) for flow in flows) <= 1.5 * job.max_cells
    shifts = 0
    for k, flow in enumerate(flows):
        if float((flow - flow[:, :1, :1]).abs().max()) == 0:  # a shift by whole pixels is exact
            dx, dy = (int(round(float(v) * pixels)) for v in flow[:, 0, 0])
            rolled = torch.roll(image[k], (-dy, -dx), (1, 2))
            inside = known[k].bool().expand_as(rolled)
            torch.testing.assert_close(moved[k][inside], rolled[inside], atol=1e-4, rtol=0)
            assert known[k].mean() == pytest.approx((1 - abs(dx) / 64) * (1 - abs(dy) / 64), abs=1e-6)
            shifts += 1
        inside = torch.nn.functional.avg_pool2d(known[k], pixels) == 1
        pooled = torch.nn.functional.avg_pool2d(moved[k], pixels)
        error, apart = ((a - pooled).abs()[:, inside[0]].mean() for a in (z[k], z[(k + 1) % 24]))
        assert error < 0.1 and error < apart
    assert 4 < shifts < 20
    still = AutoencoderJob(TINY, build_autoencoder(TINY), source, seed=0, equivariance=0.0)
    assert all(still.random_flow(n, cells) is None for n in range(20))


# ------------------------------------------------------------------------------------------------------------ the model


@pytest.fixture(scope="module")
def latents(vae, tmp_path_factory):
    return cache_scenes(vae, tmp_path_factory.mktemp("latents"), 10, 3, size=64, seed=5, shard=4, progress_bar=False)


def test_cached_latents_are_the_encoders_and_survive(vae, latents, tmp_path):
    settings = dict(targets=3, size=64, seed=5, shard=4, progress_bar=False)
    made = []
    cache_scenes(vae, tmp_path, 10, on_shard=made.append, **settings)
    assert made == [0, 4, 8]
    (tmp_path / "train-000004.safetensors").unlink()  # as if encoding had been stopped
    again = cache_scenes(vae, tmp_path, 10, on_shard=made.append, **settings)
    assert made == [0, 4, 8, 4]
    for name in ("source", "target", "motion"):
        assert torch.equal(getattr(again, name)[:], getattr(latents, name)[:])
    assert again.captions == latents.captions
    scenes = sample_scenes(10, "train", 5)
    assert latents.captions == [scene.caption for scene in scenes] and latents.source.dtype == torch.float16
    assert latents.motion.tolist() == [random_motions(5, k, 3) for k in range(10)]
    with torch.no_grad():
        z = vae.encode(draw([scenes[7]] * 2, [0, int(latents.motion[7, 2])], 64).image).latent_dist.mode()
    torch.testing.assert_close(latents.source[7], z[0].half(), atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(latents.target[7, 2], z[1].half(), atol=1e-3, rtol=1e-2)
    with pytest.raises(ValueError, match="made differently \\(autoencoder\\)"):
        cache_scenes(build_autoencoder(TINY), tmp_path, 10, **settings)
    with pytest.raises(ValueError, match="made differently \\(scenes\\)"):
        cache_scenes(vae, tmp_path, 9, **settings)


def test_shards_are_indexed_as_the_one_tensor_would_be():
    parts = [torch.randn(n, 3, 2).half() for n in (4, 1, 5)]
    whole, shards = torch.cat(parts), Shards(parts)
    assert shards.shape == whole.shape and len(shards) == 10 and shards.dtype == torch.float16
    entries, frames = [9, 0, 4, 4, 3, 5], [2, 0, 1, 2, 2, 1]
    for index in (7, -1, (5, 2), entries, (entries, frames), slice(None), slice(3, 6), (entries, 1), torch.tensor(entries)):
        assert torch.equal(shards[index], whole[index]), index
    with pytest.raises(IndexError):
        shards[10]


def test_a_cache_is_mapped_not_loaded(tmp_path):
    """150 MB on the disk are read without that much memory of the process's own; a batch takes 5 ms."""
    count = 8
    for k in range(count):
        tensors = {"source": torch.zeros(250, 4, 32, 32).half(), "target": torch.full((250, 8, 4, 32, 32), k).half()}
        tensors["motion"] = torch.zeros(250, 8, dtype=torch.int64)
        write_shard(tmp_path / f"{k}.safetensors", tensors, {"captions": json.dumps(["x"] * 250)})

    def own() -> int:  # bytes that no file stands behind
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"RssAnon:\s+(\d+)", status).group(1))

    before = own()
    cached = read_latents([tmp_path / f"{k}.safetensors" for k in range(count)])
    mixture = Mixture(cached)
    seconds, picks = [], [mixture.pick(keyed_rng(0, n)) for n in range(320)]
    for first in range(0, 320, 32):
        clock = time.thread_time()
        pairs = mixture.pairs(picks[first : first + 32])
        seconds.append(time.thread_time() - clock)
        assert pairs.target[:, 0, 0, 0].tolist() == [pick.entry // 250 for pick in picks[first : first + 32]]
    assert own() - before < 0.1 * sum(path.stat().st_size for path in tmp_path.iterdir())
    assert np.median(seconds) < 5e-3


def test_exact_flows_are_cached_where_they_are_asked_for(vae, tmp_path):
    """NaN where the source hides what the frame shows; they are added to a folder that has the latents alone."""
    settings = dict(scenes=3, targets=2, size=64, progress_bar=False)
    plain = cache_scenes(vae, tmp_path, **settings)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    cached = cache_scenes(vae, tmp_path, flows=True, **settings)
    assert before.items() < {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}.items()
    assert plain.flow is None and cached.flow.shape == (3, 2, 2, 64, 64)
    assert torch.equal(plain.target[:], cached.target[:]) and plain.captions == cached.captions
    exact = draw(sample_scenes(3), cached.motion[:, 1].tolist(), 64)
    hidden = exact.occluded.expand(-1, 2, -1, -1)
    flow = cached.flow[:, 1]
    assert hidden.any() and torch.equal(flow.isnan(), hidden) and torch.equal(flow[~hidden], exact.flow[~hidden].half())
    assert cache_scenes(vae, tmp_path, **settings).flow is None
    pairs = Mixture({"scenes": cached, "gifs": plain}).pairs([Pick("scenes", 0, 1), Pick("gifs", 0, 1)])
    assert torch.equal(pairs.flow[0].nan_to_num(99), flow[0].float().nan_to_num(99)) and pairs.flow[1].isnan().all()
    assert Mixture(plain).pairs([Pick("scenes", 0, 1)]).flow is None


def test_the_flow_loss_is_of_pairs_whose_flow_is_known(vae, tmp_path):
    """Before training F is 0, and the error the flow's own length; without a flow the other terms are left."""
    weights = {"warp": 0.5, "flow": 2.0, "outline": 3.0}
    preset = TINY.with_changes(loss_weights=weights, drop_text=0.0, drop_image=0.0, drop_both=0.0, drop_motion=0.0)
    preset = preset.with_changes(calibrate=False)
    cached = cache_scenes(vae, tmp_path / "flows", 4, 2, size=64, flows=True, progress_bar=False)
    parts = build_components(preset, seed=0)
    job = ModelJob(preset, Pix2GifModel.from_parts(parts, preset), parts["tokenizer"], vae, cached, only="warp").train()
    batch = job.batch(range(16))
    terms = job(batch)
    length = batch.flow.nan_to_num(0).square().sum(dim=1).sqrt().mean().item()
    inside = flow_loss(torch.zeros(16, 2, 4, 4), batch.flow)
    assert inside.item() == pytest.approx(length, rel=0.15)
    around = flow_loss(torch.zeros(16, 2, 4, 4), batch.flow, beyond=BEYOND)  # the learnt look-up wants it to go on
    assert inside + (around - inside) / AROUND > 2 * length and terms["flow"].item() == pytest.approx(around.item(), rel=0.05)
    known = ~batch.flow.isnan().any(dim=1)
    still, moving = (known & (batch.flow == 0).all(dim=1)).sum(), (known & (batch.flow.norm(dim=1) >= 0.25)).sum()
    says = torch.tensor(MOVES).sigmoid()  # that 95 % moves
    told = -(still * (1 - says).log() + moving * says.log()) / known.numel()
    assert terms["outline"].item() == pytest.approx(told.item(), rel=1e-3)
    total = 0.5 * terms["warp"].item() + 2 * terms["flow"].item() + 3 * terms["outline"].item()
    assert terms["loss"].item() == pytest.approx(total)
    (terms["flow"] + terms["outline"]).backward()
    learning = (*job.model.flow_net.predict_flow0.parameters(), *job.model.flow_net.subcell.draw.parameters())
    assert all(p.grad.abs().max() > 0 for p in learning)
    without = job(batch._replace(flow=None))
    assert without.keys() == {"loss", "warp"} and without["loss"].item() == pytest.approx(0.5 * terms["warp"].item())


def test_where_the_exact_flow_is_known_z_W_is_as_long_as_it_says(vae, tmp_path, monkeypatch):
    """A FlowNet that is a twentieth longer in length alone has the same z_W: that is for L_F alone to say."""
    preset = TINY.with_changes(loss_weights={"warp": 1.0, "flow": 1.0}, drop_image=0.0, drop_both=0.0)
    cached = cache_scenes(vae, tmp_path / "flows", 4, 2, size=64, flows=True, progress_bar=False)
    parts = build_components(preset, seed=0)
    model = Pix2GifModel.from_parts(parts, preset)
    jobs = [
        ModelJob(preset.with_changes(calibrate=c), model, parts["tokenizer"], vae, cached, only="warp") for c in (True, False)
    ]
    batch = jobs[0].batch(range(8))
    cells = torch.nn.functional.avg_pool2d(batch.flow.nan_to_num(0.0), 4) / 4
    exact = FlowPyramid(cells, cells, cells)
    for _ in range(3):  # what is hidden made some of them shorter than a factor may mend
        exact = as_long_as(exact, batch.flow)
    monkeypatch.setattr(model, "look_up", lambda image, flows: warp(image, flows.flow0))
    found = {}
    for factor in (1.0, 1.05):
        monkeypatch.setattr(model, "flows", lambda *given, by=factor: scaled(exact, torch.full((8,), by)))
        found[factor] = [{name: float(term) for name, term in job(batch).items()} for job in jobs]
    (right, plain), (wrong, worse) = found[1.0], found[1.05]
    assert abs(wrong["flow"] - right["flow"]) > 0.01 * right["flow"] and wrong["flow"] == pytest.approx(worse["flow"])
    assert 100 * abs(wrong["warp"] - right["warp"]) < abs(worse["warp"] - plain["warp"])


def test_a_cache_of_chosen_scenes_is_not_taken_for_another(vae, tmp_path):
    settings = dict(scenes=2, targets=1, size=64, progress_bar=False)
    chosen = dict(subjects=("fish",), actions=("rise", "swim"))
    cached = cache_scenes(vae, tmp_path, **settings, **chosen)
    assert cached.captions == [scene.caption for scene in sample_scenes(2, **chosen)]
    assert cache_scenes(vae, tmp_path, **settings, subjects=["fish"], actions=["swim", "rise"]).captions == cached.captions
    with pytest.raises(ValueError, match="made differently \\(actions, subjects\\)"):
        cache_scenes(vae, tmp_path, **settings)
    with pytest.raises(ValueError, match="made differently \\(actions\\)"):
        cache_scenes(vae, tmp_path, **settings, subjects=["fish"], actions=["swim"])


def test_motions_are_spread_and_sometimes_zero():
    drawn = np.array([random_motions(0, scene, 4) for scene in range(500)])
    counts = np.bincount(drawn.ravel(), minlength=21)
    assert 0.01 < counts[0] / drawn.size < 0.08 and 0.01 < counts[1] / drawn.size < 0.06
    assert counts[2:].min() > 0.5 * counts[2:].mean() and drawn.max() == 20
    spread = drawn[(drawn > 1).all(1)]  # strata: every scene has small and large motions
    assert (spread[:, 0] <= 6).all() and (spread[:, 3] >= 16).all() and (np.diff(spread) >= 0).all()


@pytest.fixture(scope="module")
def job(vae, latents):
    preset = TINY.with_changes(drop_text=0.2, drop_image=0.2, drop_both=0.2)
    parts = build_components(preset, captions=latents.captions)
    model = Pix2GifModel.from_parts(parts, preset)
    return ModelJob(preset, model, parts["tokenizer"], vae, latents, seed=1, held_out=latents)


def test_batches_drop_what_the_masks_say(job):
    batch = job.batch(range(200))
    null = tokenize(job.tokenizer, [""])[0]
    without_text = (batch.input_ids == null).all(1)
    # the text goes in 40% of the samples, the picture in 40%; the motion in half of the former, and now and then alone
    assert abs(without_text.float().mean() - 0.4) < 0.11 and abs(batch.drop_image.float().mean() - 0.4) < 0.11
    assert not (batch.drop_motion & batch.drop_image & ~without_text).any()
    assert abs(batch.drop_motion[without_text].float().mean() - 0.5) < 0.17
    assert torch.equal(without_text, drop_masks(range(200), 1, job.preset).text)
    assert 0 <= batch.timestep.min() < 60 and 940 < batch.timestep.max() < 1000
    single = job.batch([117])
    assert batch.c_T is None and single.c_T is None  # no cache of texts
    parts = [(a, b) for a, b in zip(batch, single, strict=True) if a is not None]
    assert len(parts) == 8 and all(torch.equal(a[117:118], b) for a, b in parts)


def test_half_of_the_timesteps_are_of_the_noisiest_tenth_where_the_preset_says_so(job):
    usual = job.batch(range(400)).timestep
    assert abs((usual >= 900).float().mean() - 0.1) < 0.05
    job.preset = job.preset.with_changes(noisiest=0.5)
    late = job.batch(range(400)).timestep
    job.preset = job.preset.with_changes(noisiest=0.0)
    assert abs((late >= 900).float().mean() - 0.55) < 0.08 and late.min() < 60 and late.max() > 990
    assert torch.equal(job.batch(range(400)).timestep, usual)


def test_loss_is_eq_3_and_8(job):
    batch = job.batch(range(12))
    kept = ~batch.drop_image
    assert 0 < kept.sum() < 12
    with torch.no_grad():
        terms = job.eval()(batch)
        # Eq. 3 written out, v-prediction, from the scheduler of the same name in diffusers
        from diffusers import DDPMScheduler

        ddpm = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        c_L = job.model.condition(batch.input_ids, batch.motion, ~batch.drop_motion)
        image = 4.0 * batch.source * kept[:, None, None, None]
        _, z_W = job.model.warp(image, c_L)
        z_t = ddpm.add_noise(4.0 * batch.target, batch.noise, batch.timestep)
        v = job.model(z_t, batch.timestep, image, z_W, c_L)
        error = (v - ddpm.get_velocity(4.0 * batch.target, batch.noise, batch.timestep)).square().mean((1, 2, 3))
        a_t = ddpm.alphas_cumprod[batch.timestep]
        expected = ((1 - a_t + job.preset.residual**2 * a_t) * error).mean()  # as Karras et al. weight it, up to a factor
        torch.testing.assert_close(terms["diffusion"], expected, rtol=1e-4, atol=1e-6)
        warped = (z_W - 4.0 * batch.target).abs() * kept[:, None, None, None]
        torch.testing.assert_close(terms["warp"], warped.mean(), rtol=1e-4, atol=1e-6)
        assert z_W[~kept].abs().max() == 0
    weights = job.preset.loss_weights
    total = sum(weights[name] * terms[name] for name in ("diffusion", "perceptual", "warp"))
    torch.testing.assert_close(terms["loss"], total)


def test_a_batch_without_any_picture_asks_nothing_of_the_warp(job):
    batch = job.batch(range(3))._replace(drop_image=torch.ones(3, dtype=torch.bool))
    terms = job.train()(batch)
    assert terms["warp"] == 0 and terms["perceptual"] == 0
    terms["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in job.parameters() if p.grad is not None)
    job.zero_grad()


def test_only_what_should_be_is_trained(vae, latents):
    for variant, train_text, trained in (
        ("full", True, {"text_encoder", "motion_embedding", "flow_net", "unet"}),
        ("base", False, {"unet"}),
        ("motion-embed", False, {"motion_embedding", "unet"}),
    ):
        preset = TINY.with_changes(variant=variant, train_text=train_text)
        parts = build_components(preset, captions=latents.captions)
        model = Pix2GifModel.from_parts(parts, preset)
        job = ModelJob(preset, model, parts["tokenizer"], vae, latents).train()
        terms = job(job.batch(range(8)))
        terms["loss"].backward()
        assert ("warp" in terms) == ("perceptual" in terms) == (variant == "full")
        with_gradient = {name.split(".")[1] for name, p in job.named_parameters() if p.grad is not None}
        assert with_gradient == trained
        assert model.text_encoder.training == train_text and not job.vae.training


def test_halves_can_be_trained_alone(vae, latents):
    parts = build_components(TINY, captions=latents.captions)
    model = Pix2GifModel.from_parts(parts, TINY)
    whole = ModelJob(TINY, model, parts["tokenizer"], vae, latents, held_out=latents).train()
    batch = whole.batch(range(8))
    with torch.no_grad():
        expected = whole(batch)
    conditions = {"text_encoder", "motion_embedding", "flow_net"}
    for only, terms_of_it, parts_of_it in (("warp", {"warp", "perceptual"}, conditions), ("unet", {"diffusion"}, {"unet"})):
        job = ModelJob(TINY, model, parts["tokenizer"], vae, latents, held_out=latents, only=only).train()
        terms = job(batch)
        terms["loss"].backward()
        assert terms.keys() == terms_of_it | {"loss"}
        for name in terms_of_it:
            torch.testing.assert_close(terms[name].detach(), expected[name])
        assert {name.split(".")[1] for name, p in job.named_parameters() if p.grad is not None} == parts_of_it
        assert not any(getattr(model, name).training for name in (conditions | {"unet"}) - parts_of_it)
        assert {f"val_{name}" for name in terms} < job.measure().keys()
        job.zero_grad()
    base = TINY.with_changes(variant="base")
    parts = build_components(base, captions=latents.captions)
    for wrong, preset in (("flow", TINY), ("warp", base)):
        with pytest.raises(ValueError, match=f"only='{wrong}'"):
            ModelJob(
                preset, Pix2GifModel.from_parts(parts, preset) if preset is base else model, None, vae, latents, only=wrong
            )


@pytest.fixture(scope="module")
def model_run(vae, tmp_path_factory):
    out = tmp_path_factory.mktemp("model")
    return out, train_model(TINY, out, vae=vae, scenes=6, targets=2, held_out=2, steps=8, **QUICK)


def test_model_resumes_to_the_bit_and_saves_its_parts(model_run, vae, tmp_path):
    whole, summary = model_run
    options = dict(QUICK, vae=vae, scenes=6, targets=2, held_out=2, steps=8, latents=whole / "latents")
    with pytest.raises(KeyboardInterrupt, match="after step 4"):
        train_model(TINY, tmp_path, callback=interrupt_at(4), callback_every=4, **options)
    train_model(TINY.with_changes(second_look=0.25), tmp_path, resume=True, **options)  # how it is asked is no part of it
    assert json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))["second_look"] == 0.25
    assert losses(tmp_path) == losses(whole)
    ours, theirs = (UNet2DConditionModel.from_pretrained(out / "unet").state_dict() for out in (tmp_path, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    names = ("vae", "tokenizer", "text_encoder", "motion_embedding", "flow_net", "unet")
    parts = {name: load_component(tmp_path, name) for name in names}
    trained = sum(p.numel() for name in names[2:] for p in parts[name].parameters())
    assert summary["parameters"] == trained
    assert parts["vae"].config.scaling_factor == 4.0
    # training goes on from there, with other data
    more = train_model(TINY, tmp_path / "more", init=tmp_path, scenes=4, targets=1, held_out=0, steps=1, **QUICK)
    assert more["steps"] == 1 and "val_loss" not in more
    with pytest.raises(ValueError, match="needs an autoencoder"):
        train_model(TINY, tmp_path / "none", steps=1)


def test_halves_of_frozen_parts_change_no_fingerprint(vae, tmp_path, monkeypatch):
    """As on a GPU that holds E, D and CLIP in half precision: what was made in one precision goes on in another."""
    preset = TINY.with_changes(train_text=False)
    options = dict(QUICK, vae=vae, scenes=6, targets=2, held_out=2, cache_text=True)
    train_model(preset, tmp_path, steps=2, **options)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    monkeypatch.setattr(training, "half_on_gpu", lambda *_: torch.bfloat16)
    summary = train_model(preset, tmp_path, steps=3, resume=True, **options)
    assert summary["steps"] == 3
    saved = load_file(next((tmp_path / "vae").glob("*.safetensors")))
    assert {value.dtype for value in saved.values()} == {torch.bfloat16}
    assert vae.dtype == torch.float32  # the caller's is not the one that is rounded
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


def test_a_half_resumes_to_the_bit_and_leaves_the_other_as_it_was(model_run, vae, tmp_path):
    before, _ = model_run
    options = dict(
        QUICK, init=before, vae=vae, scenes=6, targets=2, held_out=2, steps=6, latents=before / "latents", only="warp"
    )
    train_model(TINY, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt, match="after step 3"):
        train_model(TINY, tmp_path / "broken", callback=interrupt_at(3), callback_every=3, **options)
    with pytest.raises(ValueError, match="another only"):
        train_model(TINY, tmp_path / "broken", resume=True, **options | {"only": None})
    train_model(TINY, tmp_path / "broken", resume=True, **options)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    for name, kept in (("unet", True), ("flow_net", False)):
        old, new = (load_component(folder, name).state_dict() for folder in (before, tmp_path / "whole"))
        assert all(torch.equal(old[key], new[key]) for key in old) == kept


def test_weights_that_do_not_fit_the_preset_are_refused(model_run, vae, tmp_path):
    before, _ = model_run
    options = dict(QUICK, vae=vae, scenes=4, targets=1, held_out=0, steps=1)
    with pytest.raises(ValueError, match="skips=True, the preset flow_skips=False"):
        train_model(TINY.with_changes(flow_skips=False), tmp_path, init=before, **options)
    with pytest.raises(ValueError, match="give init"):
        train_model(TINY, tmp_path, only="unet", **options)
    start = tmp_path / "start"
    shutil.copytree(before, start)
    index = json.loads((start / "model_index.json").read_text())
    (start / "model_index.json").write_text(json.dumps(index | {"residual": 0.5}))
    with pytest.raises(ValueError, match="residual=0.5"):
        train_model(TINY, tmp_path / "out", init=start, only="warp", **options)
    assert not (tmp_path / "out").exists()


def test_model_learns(vae, tmp_path):
    preset = TINY.with_changes(drop_text=0.0, drop_image=0.0, drop_both=0.0, warmup_steps=5, residual=None)  # v, from nothing
    measured = []
    options = dict(QUICK, scenes=4, targets=2, held_out=2, steps=60, batch_size=8, callback_every=2, ema_decay=0.9)
    train_model(preset, tmp_path, vae=vae, callback=measured.append, **options)
    assert measured[-1]["val_diffusion"] < 0.8 * measured[0]["val_diffusion"]


# ------------------------------------------------------------------------------------------------------------- mixtures


@pytest.fixture(scope="module")
def photo_latents(vae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo_latents")
    return cache_family(vae, folder, FAMILIES["photos"], 5, 2, size=64, seed=5, shard=3, progress_bar=False)


def test_cached_photographs_are_the_encoders_and_no_scenes(vae, photo_latents, tmp_path):
    photos = FAMILIES["photos"].sample(5, "train", 5)
    assert photo_latents.captions == [photo.caption for photo in photos]
    with torch.no_grad():
        frames = FAMILIES["photos"].draw([photos[4]] * 2, [0, int(photo_latents.motion[4, 1])], 64).image
        z = vae.encode(frames).latent_dist.mode()
    torch.testing.assert_close(photo_latents.source[4], z[0].half(), atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(photo_latents.target[4, 1], z[1].half(), atol=1e-3, rtol=1e-2)
    cache_family(vae, tmp_path, FAMILIES["photos"], 2, 1, size=64, progress_bar=False)
    assert json.loads((tmp_path / "index.json").read_text())["photos"] == 2
    with pytest.raises(ValueError, match="made differently \\(photos, scenes\\)"):
        cache_scenes(vae, tmp_path, 2, 1, size=64, progress_bar=False)


def test_sets_come_up_in_their_shares(latents, photo_latents):
    mixture = Mixture({"scenes": latents, "photos": photo_latents}, {"scenes": 3, "photos": 1})
    picks = [mixture.pick(keyed_rng(2, n)) for n in range(4000)]
    assert picks[777] == mixture.pick(keyed_rng(2, 777))
    share = np.mean([pick.name == "photos" for pick in picks])
    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 4000)
    for name, cached in mixture.sets.items():  # and within a set every pair as often as another
        places = [(pick.entry, pick.frame) for pick in picks if pick.name == name]
        cells, counts = np.unique(places, axis=0, return_counts=True)
        assert len(cells) == cached.motion.numel()  # sets of 3 and of 2 frames an entry
        mean = len(places) / len(cells)
        assert np.abs(counts - mean).max() < 4.5 * math.sqrt(mean)
    pairs = mixture.pairs(picks[:50])
    for k, (name, entry, frame) in enumerate(picks[:50]):
        cached = mixture.sets[name]
        assert torch.equal(pairs.source[k], cached.source[entry].float())
        assert torch.equal(pairs.target[k], cached.target[entry, frame].float())
        assert pairs.motion[k] == cached.motion[entry, frame] and pairs.captions[k] == cached.captions[entry]
    with pytest.raises(ValueError, match="do not mix"):
        Mixture({"scenes": latents, "photos": photo_latents._replace(source=torch.zeros(5, 4, 8, 8))})


def test_large_scenes_turn_lean_and_grow_and_are_none_of_the_scenes(tmp_path):
    large = FAMILIES["large"].sample(40, "train", 5)
    actions = {actor.action for scene in large for actor in scene.actors}
    assert actions == {"roll", "spin", "swing", "rock", "sway", "grow"}
    scenes = FAMILIES["scenes"].sample(200, "train", 5)
    assert not {(s.index, s.caption) for s in large} & {(s.index, s.caption) for s in scenes}


def test_one_set_draws_what_it_always_drew(latents):
    """A run that was started before there were mixtures goes on with the same samples."""
    for n in range(20):
        rng = keyed_rng(1, n)
        assert Mixture(latents).pick(keyed_rng(1, n)) == ("scenes", int(rng.integers(10)), int(rng.integers(3)))


def test_held_out_sets_are_measured_apart(job, latents, photo_latents):
    both = {"scenes": latents, "photos": photo_latents}
    held_out, job.held_out = job.held_out, both
    try:
        measured = job.eval().measure()
        job.held_out = latents
        scenes = job.measure()
        job.held_out = {"photos": photo_latents}
        photos = job.measure()
    finally:
        job.held_out = held_out
    assert measured == {**scenes, **{f"{name}_photos": value for name, value in photos.items()}}
    assert "val_warp" in scenes and measured["val_warp"] != measured["val_warp_photos"]


def test_a_mixture_resumes_to_the_bit(model_run, vae, tmp_path):
    before, _ = model_run
    options = dict(QUICK, init=before, vae=vae, scenes=4, targets=2, photos=3, large=2, held_out=1)
    options["mix"] = {"scenes": 1, "large": 1, "photos": 2}
    options |= dict(steps=6, latents=tmp_path / "latents", photo_latents=tmp_path / "photos")
    summary = train_model(TINY, tmp_path / "whole", **options)
    assert {"val_warp", "val_warp_large", "val_warp_photos"} <= summary.keys()
    with pytest.raises(KeyboardInterrupt, match="after step 3"):
        train_model(TINY, tmp_path / "broken", callback=interrupt_at(3), callback_every=3, **options)
    with pytest.raises(ValueError, match="another mix"):
        train_model(TINY, tmp_path / "broken", resume=True, **options | {"mix": {"scenes": 2, "photos": 1}})
    train_model(TINY, tmp_path / "broken", resume=True, **options)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    for name in ("unet", "flow_net"):
        ours, theirs = (load_component(tmp_path / run, name).state_dict() for run in ("broken", "whole"))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    with pytest.raises(ValueError, match="there are none"):
        train_model(TINY, tmp_path / "none", vae=vae, mix={"photos": 1}, steps=1)
    assert not (tmp_path / "none").exists()


def test_a_text_encoder_to_start_from_and_data_of_their_own_seed(model_run, vae, tmp_path):
    """As the ablation does: another seed's weights on the same latents, with a text encoder that can read already."""
    before, _ = model_run
    options = dict(QUICK, vae=vae, scenes=6, targets=2, held_out=2, latents=before / "latents", data_seed=0)
    read = load_component(before, "text_encoder").state_dict()
    rate = dict(learning_rate=1e-12, weight_decay=0.0)  # one step that moves nothing
    train_model(TINY, tmp_path / "a", text=before, seed=5, steps=1, **rate, **options)
    train_model(TINY, tmp_path / "b", seed=5, steps=1, **rate, **options)
    ours, theirs = (load_component(tmp_path / name, "text_encoder").state_dict() for name in "ab")
    for name, value in read.items():
        torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=0)
    assert any(not torch.equal(theirs[name], value) for name, value in read.items())
    assert load_component(tmp_path / "a", "tokenizer").get_vocab() == load_component(before, "tokenizer").get_vocab()
    unets = [load_component(tmp_path / name, "unet").state_dict() for name in "ab"]
    assert all(torch.allclose(unets[0][name], unets[1][name], atol=1e-6) for name in unets[0])  # the seed's, in both
    assert f"| text | {before.name} |" in (tmp_path / "a" / "README.md").read_text()
    again = options | {"seed": 5, "steps": 2, "resume": True}
    with pytest.raises(ValueError, match="started with another data_seed"):
        train_model(TINY, tmp_path / "a", text=before, **again | {"data_seed": 1, "latents": None})
    with pytest.raises(ValueError, match="started with another text"):
        train_model(TINY, tmp_path / "a", text="lite", **again)
    with pytest.raises(ValueError, match="text_width=256, the preset 512"):
        train_model(TINY.with_changes(text_width=512), tmp_path / "c", text=before, steps=1, **options)
