"""A small checkpoint in exactly the layout of Stable Diffusion's and InstructPix2Pix's, with RANDOM weights.

The real ones are 5 GB on the Hub. What reads, widens, trains and samples them is the same code for both: tests and notebook
11 run it on this one, made in seconds by the same classes and saved by diffusers' own pipeline. Its pictures are noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..scenes import all_captions
from ..text import END, START, default_corpus
from .loading import no_advice, no_bars

WIDTH, TOKENS = 256, 77  # of the text: the narrowest that IM can read, and CLIP's length
WORD_END = "</w>"  # how CLIP's BPE tells "at" the word from "at" the syllable
MERGES = 1534  # with 2 x 256 bytes and 2 special tokens: a vocabulary of 2048
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def write_small_parent(folder: str | Path, in_channels: int = 8, seed: int = 0) -> Path:
    """A random parent of about 6 MB in `folder`: InstructPix2Pix's layout (8 input channels) or Stable Diffusion v1.5's (4).

    Pictures are 64 px a side, latents 4 x 8 x 8, the text 77 x 256; the weights are RANDOM numbers, fixed by `seed`.
    diffusers loads it too, with `safety_checker=None`. model_index.json is written last, so a folder that was not
    finished is no pipeline. Raises ValueError for other channels.
    """
    if in_channels not in (4, 8):
        raise ValueError(f"No parent has {in_channels} input channels: choose 4 (Stable Diffusion) or 8 (InstructPix2Pix).")
    with no_advice():  # 3 s that no other file needs
        from diffusers import StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline

    folder = Path(folder)
    tokenizer, bpe = _clip_tokenizer(default_corpus(all_captions(500, seed=0)))
    with torch.random.fork_rng(devices=[]):  # the caller's random state is left alone
        torch.manual_seed(seed)
        parts = {"vae": _autoencoder(), "text_encoder": _text_encoder(tokenizer), "unet": _unet(in_channels)}
    if in_channels == 8:
        kind, scheduler = StableDiffusionInstructPix2PixPipeline, EulerAncestralDiscreteScheduler(**SCHEDULE)
    else:
        kind, scheduler = StableDiffusionPipeline, PNDMScheduler(**SCHEDULE, skip_prk_steps=True)
    optional = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    with no_bars():
        kind(**parts, tokenizer=tokenizer, scheduler=scheduler, **optional).save_pretrained(folder, safe_serialization=True)
    _as_published(folder, bpe)
    return folder


def _autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        sample_size=64,
    )


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _unet(in_channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
    )


def _clip_tokenizer(texts: Iterable[str]) -> tuple[CLIPTokenizer, models.BPE]:
    """CLIP's tokenizer with a vocabulary learnt from the texts, and the BPE in it.

    In CLIP's order: the 256 bytes, the same as ends of words, what merging makes, start and end.
    """
    blank = CLIPTokenizer().backend_tokenizer  # how CLIP cleans and splits, no vocabulary
    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ends = [byte + WORD_END for byte in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + len(ends) + MERGES,
        initial_alphabet=alphabet,
        special_tokens=ends,  # numbered first: it would number them as they come, and break ties by that
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer=trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"][:MERGES]]
    tokens = [*alphabet, *ends, *(a + b for a, b in merges), START, END]
    vocab = {token: k for k, token in enumerate(dict.fromkeys(tokens))}
    bpe = models.BPE(vocab=vocab, merges=merges, end_of_word_suffix=WORD_END, unk_token=END)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TOKENS), bpe


def _as_published(folder: Path, bpe: models.BPE) -> None:
    """What the parents' authors wrote with older libraries: vocab.json and merges.txt, CLIP's weights below `text_model.`."""
    (folder / "tokenizer" / "tokenizer.json").unlink()
    bpe.save(str(folder / "tokenizer"))
    file = folder / "text_encoder" / "model.safetensors"
    weights = {"text_model." + name.removeprefix("text_model."): weight for name, weight in load_file(file).items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(TOKENS)[None]
    save_file(weights, file, metadata={"format": "pt"})
