"""E and D rehearse with the model's warp: exact pairs, a gradient for E and D alone, better pictures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from pix2gif_lite.data.training_data import PictureSource
from pix2gif_lite.learning.autoencoder_job import AutoencoderJob, reconstruction_terms
from pix2gif_lite.learning.rehearsal_job import PairStream, RehearsalJob
from pix2gif_lite.learning.training_loop import Run, fit
from pix2gif_lite.lookup import warp
from pix2gif_lite.origins.loading import load_component
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.text import encode_text
from pix2gif_lite.training import train_autoencoder


def job_of(pipe, **options) -> RehearsalJob:
    source = PictureSource(TINY.image_size, 0, 0.0, scenes_a_block=2, window=2)
    options = {"pair_share": 0.5, "window": 2, "scenes_a_block": 3, "held_out": 2} | options
    return RehearsalJob(TINY, pipe.vae, source, pipe.model, pipe.tokenizer, **options)


def test_pairs_are_exact_frames_of_the_prompts_they_carry():
    block = PairStream(64, seed=5, scenes_a_block=3).block(1)
    assert block.source.shape == block.target.shape == (6, 3, 64, 64) and block.moving.shape == (6, 1, 64, 64)
    assert torch.equal(block.source[:3], block.source[3:])  # the second frames are of the same scenes
    captions = [prompt.split(" The optical flow")[0] for prompt in block.prompts]
    assert captions[:3] == captions[3:]
    found = 0
    for k, (prompt, m) in enumerate(zip(block.prompts, block.motion.tolist(), strict=True)):
        changed = (block.source[k].int() - block.target[k].int()).abs().amax(0) > 0
        assert 1 <= m <= 20 and "The optical flow is" in prompt
        near = F.max_pool2d(block.moving[k].float(), 5, 1, 2)[0] > 0  # pixels at an edge are mixtures
        assert not (changed & ~near).any()  # nothing changes but what is said to move
        found += bool(changed.any())
    assert found >= 5


def test_a_sample_is_its_own_whatever_the_batch(pipe):
    job = job_of(pipe)
    batch = job.batch(range(24))
    assert len(batch.source) + len(batch.pictures.numbers) == 24 and 4 < len(batch.source) < 20
    paired = [n for n in range(24) if n not in batch.pictures.numbers]
    alone = job.batch(paired[2:3])
    assert alone.pictures is None
    for name in ("source", "target", "moving", "input_ids", "motion", "noise"):
        assert torch.equal(getattr(alone, name)[0], getattr(batch, name)[2]), name
    picture = job.batch(batch.pictures.numbers[:1])
    assert picture.source is None and torch.equal(picture.pictures.image[0], batch.pictures.image[0])
    plain = AutoencoderJob(TINY, pipe.vae, job.source, 0)
    assert_close(job(picture)["loss"], plain(picture.pictures)["loss"])


def test_the_loss_is_the_one_written_out_by_hand(pipe):
    job = job_of(pipe, pair_share=1.0, pair_weight=2.0).eval()
    batch = job.batch(range(3))
    assert batch.pictures is None
    terms = job(batch)
    posterior = pipe.vae.encode(batch.source).latent_dist
    z = posterior.mean + batch.noise * posterior.std
    c_L = pipe.motion_embedding(encode_text(pipe.text_encoder, batch.input_ids), batch.motion)
    flow = pipe.flow_net(pipe.vae.config.scaling_factor * z, c_L).flow0
    assert flow.abs().max() > 0.05  # cells: the fixture's flow is no identity
    picture = pipe.vae.decode(warp(z, flow, interpolation=TINY.interpolation)).sample
    by_hand = reconstruction_terms(picture, batch.target, 1 + 2.0 * batch.moving)
    assert_close(terms["loss"], by_hand["l1"] + 4 * by_hand["square"] + 0.5 * by_hand["edges"], rtol=1e-4, atol=1e-5)


def test_a_look_up_that_was_learnt_is_rehearsed_too():
    pipe = Pix2GifPipeline.from_components(TINY, build_components(TINY, ["a red balloon is rising"] * 20))
    torch.nn.init.normal_(pipe.flow_net.subcell.fold[-1].weight, generator=torch.Generator().manual_seed(0))
    job = job_of(pipe, pair_share=1.0).eval()
    job.image_scale = 4.0  # FNet reads other latents than D
    batch = job.batch(range(3))
    z = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    z_W = job.warped(z, batch.input_ids, batch.motion)
    c_L = pipe.model.condition(batch.input_ids, batch.motion)
    assert_close(z_W, pipe.model.warp(4 * z, c_L)[1] / 4)
    assert (z_W - warp(z, pipe.model.flows(4 * z, c_L).flow0, interpolation=TINY.interpolation)).abs().mean() > 0.1
    z_W.square().mean().backward()
    assert z.grad.abs().sum() > 0 and all(p.grad is None for p in pipe.model.parameters())


def test_e_and_d_learn_and_the_model_does_not(pipe, tmp_path):
    job = job_of(pipe)
    before = {name: value.clone() for name, value in pipe.model.state_dict().items()}
    job(job.batch(range(8)))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pipe.vae.encoder.parameters())
    assert all(p.grad is not None for p in pipe.vae.decoder.parameters())
    assert all(p.grad is None for p in pipe.model.parameters())
    job.zero_grad()
    start = job.measure()
    run = Run(tmp_path, 8, 3e-3, warmup_steps=2, steps=30, ema_decay=0.5, progress_bar=False, cpu=True, mixed_precision="no")
    end = fit(job, run, {"job": "rehearsal"})
    assert end["psnr_made"] > start["psnr_made"] + 1 and end["psnr_own"] > start["psnr_own"] + 1
    assert all(torch.equal(value, before[name]) for name, value in pipe.model.state_dict().items())


def test_the_flow_learns_too_when_asked(tmp_path):
    parts = build_components(TINY, ["a red balloon is rising"] * 20)
    for name, part in parts.items():
        part.save_pretrained(tmp_path / "weights" / name)
    job = job_of(Pix2GifPipeline.from_components(TINY, parts), flow_learns=True, pair_share=1.0)
    job(job.batch(range(8)))["loss"].backward()
    for name in ("text_encoder", "motion_embedding", "flow_net"):
        assert all(p.grad is not None for p in getattr(job.model, name).parameters()), name
        assert sum(float(p.grad.abs().sum()) for p in getattr(job.model, name).parameters()) > 0, name
    assert all(p.grad is None for p in job.model.unet.parameters())

    options = {"through": tmp_path / "weights", "photo_share": 0.0, "batch_size": 4, "held_out": 1, "flow_learns": True}
    train_autoencoder(TINY, tmp_path / "out", steps=3, progress_bar=False, cpu=True, mixed_precision="no", **options)
    for name, learns in {"vae": True, "flow_net": True, "motion_embedding": True, "text_encoder": True, "unet": False}.items():
        before, after = (load_component(tmp_path / place, name).state_dict() for place in ("weights", "out"))
        assert any(not torch.equal(before[key], after[key]) for key in before) == learns, name


def test_pairs_of_photographs_weigh_no_pixel_more():
    stream = PairStream(64, seed=5, scenes_a_block=2, photo_share=1.0)
    block = stream.block(0)
    assert block.source.shape == (4, 3, 64, 64) and not block.moving.any()
    assert not torch.equal(block.source, block.target)
    mixed = PairStream(64, seed=5, scenes_a_block=2, photo_share=0.5)
    assert {bool(mixed.block(k).moving.any()) for k in range(6)} == {True, False}


def test_measured_on_the_exact_frames(pipe):
    job = job_of(pipe).eval()
    scenes = sample_scenes(4, "val")
    measured = job.measure()
    exact = draw(scenes, [2, 4, 6, 8], TINY.image_size)
    with torch.no_grad():
        decoded = pipe.vae.decode(pipe.vae.encode(exact.image).latent_dist.mode()).sample.clamp(-1, 1)
    dB = -10 * ((decoded - exact.image) / 2).square().mean((1, 2, 3)).log10()
    assert measured["psnr_own"] == pytest.approx(float(dB.mean()), abs=1e-3)


def test_what_cannot_rehearse_is_refused(pipe):
    with pytest.raises(ValueError, match="pair_share 0: rehearsing needs a warp and a share above 0"):
        job_of(pipe, pair_share=0)


def test_training_through_weights_keeps_their_scale_and_resumes_to_the_bit(tmp_path):
    for name, part in build_components(TINY, ["a red balloon is rising"] * 20).items():
        part.save_pretrained(tmp_path / "weights" / name)
    options = {"through": tmp_path / "weights", "photo_share": 0.0, "batch_size": 4, "checkpoint_every": 2, "held_out": 1}
    options |= {"progress_bar": False, "cpu": True, "mixed_precision": "no"}
    train_autoencoder(TINY, tmp_path / "a", steps=4, **options)

    def stop(state):
        if state["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_autoencoder(TINY, tmp_path / "b", steps=4, callback=stop, callback_every=2, **options)
    train_autoencoder(TINY, tmp_path / "b", steps=4, resume=True, **options)
    old, once, twice = (load_component(tmp_path / k, "vae") for k in ("weights", "a/vae", "b/vae"))
    assert once.config.scaling_factor == old.config.scaling_factor
    before, state, again = (part.state_dict() for part in (old, once, twice))
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert {name.split(".")[0] for name in state if not torch.equal(state[name], before[name])} >= {"encoder", "decoder"}
