"""Texts encoded once: the loss is the one without a cache, to float16; another encoder or prompt is not taken for this one."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite.data.latent_cache import Latents
from pix2gif_lite.data.mixture import Mixture
from pix2gif_lite.data.text_cache import cache_texts, prompts_of, text_fingerprint
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.learning.training_loop import Run, fit
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.text import encode_text, motion_prompt, tokenize

CAPTIONS = ["a red balloon is rising", "a blue fish is swimming"]
FROZEN = TINY.with_changes(train_text=False, drop_text=0.2, drop_motion=0.3)


@pytest.fixture(scope="module")
def parts():
    return build_components(FROZEN, CAPTIONS * 5)


def made(motion: list[list[int]], captions: list[str], seed: int = 0) -> Latents:
    generator = torch.Generator().manual_seed(seed)
    n, k = len(motion), len(motion[0])
    source, target = (torch.randn(shape, generator=generator).half() for shape in ((n, 4, 16, 16), (n, k, 4, 16, 16)))
    return Latents(source, target, torch.tensor(motion), captions)


@pytest.fixture(scope="module")
def latents():
    return made([[2, 9], [9, 0]], CAPTIONS)


def encode_all(parts, folder, prompts, **options):
    return cache_texts(parts["text_encoder"], parts["tokenizer"], folder, prompts, progress_bar=False, **options)


def test_all_prompts_are_found_once(latents):
    other = made([[9], [4]], [CAPTIONS[1], "the sun sets"])
    mixture = Mixture({"scenes": latents, "gifs": other})
    numbered = {
        "a red balloon is rising The optical flow is two.",
        "a red balloon is rising The optical flow is nine.",
        "a blue fish is swimming The optical flow is nine.",
        "a blue fish is swimming The optical flow is zero.",
        "the sun sets The optical flow is four.",
    }
    paper = FROZEN.with_changes(drop_motion=0.0)  # never drops the motion alone
    assert prompts_of(paper, mixture, None) == sorted({""} | numbered)
    assert prompts_of(FROZEN, Mixture(latents), Mixture(other)) == sorted({"", *CAPTIONS, "the sun sets"} | numbered)


def test_states_are_the_encoders(parts, latents, tmp_path):
    prompts = prompts_of(FROZEN, Mixture(latents))
    cache = encode_all(parts, tmp_path, prompts, shard=3)
    asked = [prompts[6], "", prompts[2], prompts[6]]
    with torch.no_grad():
        expected = encode_text(parts["text_encoder"], tokenize(parts["tokenizer"], asked))
    found = cache.c_T(asked)
    assert found.shape == (4, 77, 256) and found.dtype == torch.float32
    assert torch.equal(found, expected.half().float())
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["index.json", *(f"texts-{first:07d}.safetensors" for first in (0, 3, 6))]
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert size == pytest.approx(7 * 77 * 256 * 2, rel=0.002)
    with pytest.raises(ValueError, match="'a green cat' is not in the text cache: delete its folder"):
        cache.c_T(["", "a green cat"])


def test_encoding_goes_on_where_it_stopped(parts, latents, tmp_path):
    prompts = prompts_of(FROZEN, Mixture(latents))
    whole = encode_all(parts, tmp_path, prompts, shard=2).c_T(prompts)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    gone = tmp_path / "texts-0000004.safetensors"
    gone.unlink()
    again = encode_all(parts, tmp_path, prompts, shard=2)
    assert torch.equal(again.c_T(prompts), whole)
    assert {path for path, time in times.items() if path.stat().st_mtime_ns != time} == {gone}
    assert parts["text_encoder"].training is False


def test_another_encoder_tokenizer_or_prompt_is_another_cache(parts, latents, tmp_path):
    prompts = prompts_of(FROZEN, Mixture(latents))
    key = text_fingerprint(parts["text_encoder"], parts["tokenizer"])
    encode_all(parts, tmp_path, prompts)
    assert json.loads((tmp_path / "index.json").read_text())["text"] == key
    tokenize(parts["tokenizer"], ["any call sets its padding"])
    assert text_fingerprint(parts["text_encoder"], parts["tokenizer"]) == key
    moved = copy.deepcopy(parts["text_encoder"])
    with torch.no_grad():
        next(moved.parameters())[0, 0] += 0.5
    with pytest.raises(ValueError, match=r"made differently \(text\): delete the folder"):
        encode_all(parts | {"text_encoder": moved}, tmp_path, prompts)
    shorter = copy.deepcopy(parts["tokenizer"])
    shorter.model_max_length = 20
    learnt = build_components(FROZEN, ["zebras and xylophones"] * 9)["tokenizer"]
    keys = {text_fingerprint(parts["text_encoder"], tokenizer) for tokenizer in (parts["tokenizer"], shorter, learnt)}
    assert len(keys) == 3
    with pytest.raises(ValueError, match=r"made differently \(count, prompts\)"):
        encode_all(parts, tmp_path, prompts[:-1])
    for wrong, words in (([], "0 prompts, 0 different"), (["a", "b", "a"], "3 prompts, 2 different")):
        with pytest.raises(ValueError, match=words):
            encode_all(parts, tmp_path / "none", wrong)
    assert not (tmp_path / "none").exists()


def test_the_loss_is_the_one_without_a_cache(parts, latents, vae, tmp_path):
    held_out = made([[3], [17]], [CAPTIONS[0], "the moon is rising"], seed=1)
    prompts = prompts_of(FROZEN, Mixture(latents), Mixture(held_out))
    jobs = []
    for texts in (None, encode_all(parts, tmp_path / "texts", prompts)):
        model = Pix2GifModel.from_parts(copy.deepcopy(parts), FROZEN)
        jobs.append(ModelJob(FROZEN, model, parts["tokenizer"], vae, latents, 3, held_out, texts=texts))
    batches = [job.batch(range(40)) for job in jobs]
    assert batches[0].c_T is None and batches[1].c_T.shape == (40, 77, 256)
    null = tokenize(parts["tokenizer"], [""])[0]
    assert {bool((row == null).all()) for row in batches[1].input_ids} == {True, False}  # both kinds of prompt came up
    plain, cached = (job.eval()(part) for job, part in zip(jobs, batches, strict=True))
    for name, value in plain.items():
        assert_close(cached[name], value, rtol=2e-3, atol=1e-4)
    measured = [job.measure() for job in jobs]
    assert measured[1] == pytest.approx(measured[0], rel=2e-3, abs=1e-4) and "val_warp" in measured[1]
    jobs[1].model.text_encoder = None  # it is not asked any more
    run = Run(tmp_path / "run", 4, 1e-3, steps=2, mixed_precision="no", progress_bar=False, cpu=True)
    assert fit(jobs[1], run, {})["steps"] == 2


def test_a_trained_encoder_has_no_cache(parts, latents, vae, tmp_path):
    texts = encode_all(parts, tmp_path, prompts_of(TINY, Mixture(latents)))
    trained = FROZEN.with_changes(train_text=True)
    model = Pix2GifModel.from_parts(copy.deepcopy(parts), trained)
    with pytest.raises(ValueError, match="text encoder is trained, so c_T changes"):
        ModelJob(trained, model, parts["tokenizer"], vae, latents, texts=texts)
    job = ModelJob(trained, model, parts["tokenizer"], vae, latents, texts=texts, only="unet")  # there it stays as it is
    assert job.batch([0]).c_T is not None
    other = made([[2], [3]], ["a green cat is asleep", "a dog"])
    job = ModelJob(FROZEN, model, parts["tokenizer"], vae, other, texts=texts)
    prompt = motion_prompt("a green cat is asleep", 2)
    with pytest.raises(ValueError, match="is not in the text cache") as caught:
        job.batch(range(50))
    assert "a green cat" in prompt and str(caught.value).startswith("The prompt 'a ")
