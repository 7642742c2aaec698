"""D's last lesson: its latents are the sampler's own first step, its pictures the exact frames, and nothing but D changes."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.data.latent_cache import cache_family, cache_scenes, fingerprint
from pix2gif_lite.data.mixture import FAMILIES, Mixture
from pix2gif_lite.data.training_data import PictureSource
from pix2gif_lite.evaluation import generating
from pix2gif_lite.learning import decoder_job
from pix2gif_lite.learning.decoder_job import DecoderJob
from pix2gif_lite.learning.decoder_training import train_decoder
from pix2gif_lite.origins.loading import PARTS, load_component
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import draw, sample_scenes

OPTIONS = {"scenes": 6, "targets": 2, "photo_share": 0.0, "progress_bar": False, "cpu": True, "mixed_precision": "no"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for name, part in build_components(TINY, ["a red balloon is rising"] * 20).items():
        part.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def latents(weights, tmp_path_factory):
    return cache_scenes(load_component(weights, "vae"), tmp_path_factory.mktemp("latents"), 6, 2, 64, progress_bar=False)


def test_latents_are_the_samplers_first_step_and_pictures_the_exact_frames(pipe, latents):
    scenes = sample_scenes(6, "train")
    job = DecoderJob(TINY, pipe.model, pipe.tokenizer, pipe.vae, latents, scenes, made_share=0.5, held_out=2).eval()
    (part,) = generating.drawn(scenes[:2], [6, 13], TINY.image_size)
    with torch.no_grad():
        source = pipe.vae.encode(part.source).latent_dist.mode().repeat_interleave(2, 0)
        parts = {name: getattr(pipe, name) for name in PARTS}
        as_trained = Pix2GifPipeline.from_components(TINY, parts, calibrate=False)  # latents have no corners
        one = generating.generate_for(as_trained, part, [6, 13], 1, "dpmpp_2m")
        noise = torch.cat([torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(s.index)) for s in scenes[:2]])
        prompts = [generating.motion_prompt(s.caption, m) for s in scenes[:2] for m in (6, 13)]
        ids = generating.tokenize(pipe.tokenizer, prompts)
        z = job.generated(source, ids, torch.tensor([6, 13] * 2), noise.repeat_interleave(2, 0))
        assert_close(pipe.vae.decode(z).sample.clamp(-1, 1), one.image, atol=2e-3, rtol=0)

    batch = job.batch(range(40))
    assert 8 < batch.made.sum() < 32 and not batch.is_photo.any()
    alone = job.batch([17])
    assert torch.equal(alone.image[0], batch.image[17]) and torch.equal(alone.noise[0], batch.noise[17])
    found = 0
    for k in range(40):  # each picture is some scene of the cache, drawn at the motion that the text and M are told
        for i, scene in enumerate(scenes):
            if torch.equal(batch.source[k], latents.source[i].float()):
                exact = draw([scene], [int(batch.motion[k])], TINY.image_size)
                assert_close(batch.image[k], exact.image[0])
                found += 1
    assert found == 40
    with pytest.raises(ValueError, match="5 scenes do not match 6"):
        DecoderJob(TINY, pipe.model, pipe.tokenizer, pipe.vae, latents, scenes[:5])


def test_only_the_decoder_learns_and_the_models_pictures_get_better(weights, tmp_path):
    measured = []
    train_decoder(
        TINY, tmp_path, weights, steps=24, batch_size=4, callback=measured.append, callback_every=6, ema_decay=0.5, **OPTIONS
    )
    assert measured[-1]["psnr_made"] > measured[0]["psnr_made"] + 0.5
    old, new = ({name: load_component(folder, name) for name in PARTS} for folder in (weights, tmp_path))
    assert fingerprint(old["vae"]) == fingerprint(new["vae"])
    assert old["vae"].config.scaling_factor == new["vae"].config.scaling_factor
    for name in ("text_encoder", "motion_embedding", "flow_net", "unet"):
        before, after = old[name].state_dict(), new[name].state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before), name
    changed = {k.split(".")[0] for k, v in old["vae"].state_dict().items() if not torch.equal(v, new["vae"].state_dict()[k])}
    assert "decoder" in changed and not changed & {"encoder", "quant_conv"}


def test_a_smaller_decoder_learns_and_is_saved_loaded_and_asked_like_any_other(weights, tmp_path, picture):
    measured = []
    how = {"batch_size": 4, "callback": measured.append, "callback_every": 6, "ema_decay": 0.5, **OPTIONS}
    train_decoder(TINY, tmp_path, weights, decoder_channels=(8,), steps=24, **how)
    assert measured[-1]["psnr_made"] > measured[0]["psnr_made"] + 0.5
    old, new = (load_component(folder, "vae") for folder in (weights, tmp_path))
    assert tuple(new.config.decoder_channels) == (8,) and new.num_parameters() < 0.8 * old.num_parameters()
    assert fingerprint(old) == fingerprint(new)  # the same E
    frames = Pix2GifPipeline.from_pretrained(tmp_path)(picture, "a red balloon is rising", [5], quiet=True).frames
    assert frames[0].size == picture.size
    with pytest.raises(ValueError, match="decoder_channels"):  # a run goes on with the D that it has
        train_decoder(TINY, tmp_path, weights, decoder_channels=None, steps=30, resume=True, **how)


def test_a_frame_is_drawn_once(pipe, latents, monkeypatch):
    calls = []
    drawing = FAMILIES["scenes"]._replace(draw=lambda members, *how: calls.append(len(members)) or draw(members, *how))
    scenes, families = sample_scenes(6, "train"), {"scenes": drawing}
    job = DecoderJob(TINY, pipe.model, pipe.tokenizer, pipe.vae, latents, scenes, families=families)
    first, second = job.batch(range(40)), job.batch(range(40))
    assert 6 < len(calls) == sum(calls) <= 6 * 2  # of 6 scenes 2 targets, each alone
    assert torch.equal(first.image, second.image) and torch.equal(first.moving, second.moving)
    once = len(calls)
    monkeypatch.setattr(decoder_job, "KEPT_BYTES", 3 * 13 * TINY.image_size**2)  # three colours, and where it moves
    few = DecoderJob(TINY, pipe.model, pipe.tokenizer, pipe.vae, latents, scenes, families=families)
    assert torch.equal(few.batch(range(40)).image, first.image) and torch.equal(few.batch(range(40)).image, first.image)
    assert len(few._drawn) == 3 and len(calls) - once > 2 * (once - 3)  # others are drawn whenever they are asked for


def test_photographs_are_kept_in_mind(pipe, latents):
    photos = PictureSource(TINY.image_size, 0, 1.0)
    job = DecoderJob(TINY, pipe.model, pipe.tokenizer, pipe.vae, latents, sample_scenes(6, "train"), photos, 0.5)
    batch = job.batch(range(20))
    assert 4 < batch.is_photo.sum() < 16 and not (batch.is_photo & batch.made).any()
    assert not batch.moving[batch.is_photo].any()
    terms = job(batch)
    terms["loss"].backward()
    assert all(p.grad is not None for p in pipe.vae.decoder.parameters()) and pipe.unet.conv_in.weight.grad is None
    job.zero_grad()


def test_moved_photographs_are_drawn_as_they_were_cached(pipe, latents, tmp_path):
    family = FAMILIES["photos"]
    moved = cache_family(pipe.vae, tmp_path, family, 4, 2, size=64, progress_bar=False)
    members = {"scenes": sample_scenes(6, "train"), "photos": family.sample(4, "train", 0)}
    mixture = Mixture({"scenes": latents, "photos": moved}, {"scenes": 1, "photos": 1})
    job = DecoderJob(TINY, pipe.model, pipe.tokenizer, pipe.vae, mixture, members, made_share=0.0, held_out=2).eval()
    batch = job.batch(range(30))
    with torch.no_grad():  # each picture is the one whose latent stands beside it
        own = pipe.vae.encode(batch.image).latent_dist.mode()
    assert_close(batch.own, own, atol=2e-3, rtol=1e-2)
    seen = [any(torch.equal(z, moved.source[k].float()) for k in range(4)) for z in batch.source]
    assert 6 < sum(seen) < 24
    assert all(batch.moving[k].any() for k in range(30) if batch.motion[k] > 1)
    measured = job.measure()
    assert {"psnr_made", "psnr_own_moving", "psnr_made_photos", "psnr_own_moving_photos"} <= measured.keys()
    with pytest.raises(ValueError, match="3 photos do not match 4"):
        DecoderJob(TINY, pipe.model, pipe.tokenizer, pipe.vae, mixture, members | {"photos": members["photos"][:3]})
