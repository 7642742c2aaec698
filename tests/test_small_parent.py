"""The small checkpoint is what it stands for: files, names and classes of the published ones, loaded by diffusers itself."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler, PNDMScheduler
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from pix2gif_lite.origins.small_parent import write_small_parent
from pix2gif_lite.scenes import all_captions
from pix2gif_lite.text import END, START, motion_prompt

FILES = {  # of runwayml/stable-diffusion-v1-5 and timbrooks/instruct-pix2pix, those that matter
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_small_parent(tmp_path_factory.mktemp("small") / "parent")


def test_files_sizes_and_names(folder):
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.relative_to(folder).as_posix() for file in files} == FILES
    assert sum(file.stat().st_size for file in files) < 10e6
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionInstructPix2PixPipeline"
    assert index["tokenizer"] == ["transformers", "CLIPTokenizer"] and index["vae"] == ["diffusers", "AutoencoderKL"]
    names = load_file(folder / "text_encoder/model.safetensors")
    assert all(name.startswith("text_model.") for name in names) and "text_model.embeddings.position_ids" in names


@pytest.mark.parametrize(("channels", "scheduler"), [(4, PNDMScheduler), (8, EulerAncestralDiscreteScheduler)])
def test_diffusers_loads_it(channels, scheduler, tmp_path):
    from diffusers import StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline

    kind = StableDiffusionPipeline if channels == 4 else StableDiffusionInstructPix2PixPipeline
    pipe = kind.from_pretrained(write_small_parent(tmp_path, channels), safety_checker=None)
    assert type(pipe.scheduler) is scheduler and pipe.scheduler.config.beta_schedule == "scaled_linear"
    assert pipe.unet.config.in_channels == channels
    assert pipe.unet.config.cross_attention_dim == pipe.text_encoder.config.hidden_size == 256
    assert pipe.vae_scale_factor == 8 and pipe.vae.config.latent_channels == 4


def test_a_seed_fixes_it_and_the_random_state_is_left_alone(folder, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again, other = write_small_parent(tmp_path / "again"), write_small_parent(tmp_path / "other", seed=1)
    assert torch.equal(before, torch.get_rng_state())
    for file in FILES:
        same = (folder / file).read_bytes() == (again / file).read_bytes()
        assert same, file
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        assert (folder / f"{part}.safetensors").read_bytes() != (other / f"{part}.safetensors").read_bytes()


def test_the_text_encoder_reads_its_own_names(folder):
    encoder, info = CLIPTextModel.from_pretrained(folder / "text_encoder", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    saved = load_file(folder / "text_encoder/model.safetensors")
    assert torch.equal(encoder.get_input_embeddings().weight, saved["text_model.embeddings.token_embedding.weight"])


def test_it_spells_english_and_everything_else(folder):
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    vocab = tokenizer.get_vocab()
    assert len(vocab) == 2048 and sorted(vocab.values()) == list(range(2048))
    assert (vocab[START], vocab[END]) == (2046, 2047)  # CLIP's pooling looks for the largest id
    for word in ("balloon", "woman", "dancing", "rising"):
        assert tokenizer.tokenize(word) == [word + "</w>"]
    captions = list(all_captions(200, seed=9)) + ["A man in a dark suit slowly turns his head and smiles at the camera."]
    assert max(len(tokenizer(motion_prompt(caption, 17)).input_ids) for caption in captions) < 40
    strange = "日本語 🎈 naïve"
    assert END not in tokenizer.tokenize(strange)  # every byte is known: nothing is the unknown token
    assert tokenizer.decode(tokenizer(strange).input_ids, skip_special_tokens=True).replace(" ", "") == strange.replace(" ", "")


def test_other_channels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="No parent has 9 input channels: choose 4 .* or 8"):
        write_small_parent(tmp_path / "p", 9)
    assert not (tmp_path / "p").exists()
