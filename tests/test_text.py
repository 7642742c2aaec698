"""Prompts, number words from two libraries, the tokenizer on any string, the text encoder's sizes."""

from __future__ import annotations

import importlib
import sys

import num2words
import pytest
import torch
from transformers import AutoTokenizer, CLIPTextModel, PreTrainedTokenizerFast

from pix2gif_lite import text
from pix2gif_lite.presets import PAPER, TINY

CAPTIONS = ["a red balloon is rising over green hills", "a blue fish swims to the left", "a windmill is spinning"]
STRANGE = ["", " ", "a\n\ttab", "Ünïcödé", "猫が走る", "🎈🎈", "\x00\x7f", "\ud83d", "<|endoftext|>", "x" * 5000]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return text.train_tokenizer(text.default_corpus(CAPTIONS * 50), vocab_size=4096)


# prompts


def test_the_motion_is_a_word_behind_the_caption() -> None:
    assert text.motion_prompt("a cat jumps", 12) == "a cat jumps The optical flow is twelve."  # the paper's example
    assert text.motion_prompt("  a cat jumps \n", 0) == "a cat jumps The optical flow is zero."
    rounded = [text.motion_prompt("x", m).split()[-1] for m in (2.4, 2.5, 3.5, torch.tensor(19.6))]
    assert rounded == ["two.", "three.", "four.", "twenty."]


@pytest.mark.parametrize("caption", ["", "  \n", None, 3])
def test_an_empty_caption_is_an_error(caption) -> None:
    with pytest.raises(ValueError, match="The caption .* is empty"):
        text.motion_prompt(caption, 3)


@pytest.mark.parametrize("motion", [-1, float("nan"), float("inf"), "eight", None])
def test_a_motion_that_is_no_motion_is_an_error_that_names_it(motion) -> None:
    with pytest.raises(ValueError, match=f"The motion {motion!r} is not a number"):
        text.motion_prompt("a cat", motion)


def test_both_number_libraries_spell_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typeguard.typechecked", lambda function: function)  # else inflect takes seconds to import
    engine = importlib.import_module("inflect").engine()
    for k in range(text.NUMBERS):
        assert text.number_word(k) == num2words.num2words(k) == engine.number_to_words(k)
    monkeypatch.setitem(sys.modules, "num2words", None)  # as on a machine without it
    text._speller.cache_clear()
    assert [text.number_word(k) for k in (7, 42, 999, 1023)] == [
        "seven",
        "forty-two",
        "nine hundred and ninety-nine",
        "one thousand and twenty-three",
    ]
    text._speller.cache_clear()


# tokenizer


def test_vocabulary_holds_captions_numbers_and_everyday_words(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) <= 4096
    words = set(" ".join(CAPTIONS).split()) | set(text.EVERYDAY.split())
    words |= {part for k in range(text.NUMBERS) for part in text.number_word(k).split("-")[-1].split()}
    assert [word for word in words if len(tokenizer.tokenize(word)) > 1] == []


def test_every_string_encodes_to_77_ids_between_start_and_end(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = text.tokenize(tokenizer, STRANGE)
    assert ids.shape == (len(STRANGE), 77) and ids.dtype == torch.int64
    assert ids.min() >= 0 and ids.max() < len(tokenizer)
    assert (ids[:, 0] == tokenizer.convert_tokens_to_ids("<|startoftext|>")).all()
    assert (ids[:, -1] == tokenizer.convert_tokens_to_ids("<|endoftext|>")).all()  # also where it was cut


def test_nothing_is_lost_but_case_and_spaces(tokenizer: PreTrainedTokenizerFast) -> None:
    for prompt in ("Ünïcödé  Wörds", "猫が走る", "🎈 up, Up & away!", "a cat's tail; 3.5 km"):
        back = tokenizer.decode(text.tokenize(tokenizer, [prompt])[0], skip_special_tokens=True)
        assert back.split() == prompt.lower().split()


def test_the_null_prompt_has_a_path_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = text.tokenize(tokenizer, [text.NULL_PROMPT])[0]
    assert ids[0] == tokenizer.bos_token_id and (ids[1:] == tokenizer.eos_token_id).all()


def test_saved_and_loaded_it_is_the_same_tokenizer(tokenizer: PreTrainedTokenizerFast, tmp_path) -> None:
    tokenizer.save_pretrained(tmp_path)
    for again in (PreTrainedTokenizerFast.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert torch.equal(text.tokenize(again, STRANGE + CAPTIONS), text.tokenize(tokenizer, STRANGE + CAPTIONS))


def test_the_same_texts_give_the_same_tokenizer_of_at_most_the_size_asked() -> None:
    corpus = text.default_corpus(CAPTIONS)
    first, second = (text.train_tokenizer(corpus, vocab_size=400, tokens=20) for _ in range(2))
    assert first.get_vocab() == second.get_vocab() and len(first) == 400
    assert text.tokenize(first, CAPTIONS).shape == (3, 20)
    with pytest.raises(ValueError, match="vocabulary of 100 is too small"):
        text.train_tokenizer(corpus, vocab_size=100)


# text encoder


def test_text_encoder_reads_its_sizes_off_preset_and_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    encoder = text.build_text_encoder(TINY, tokenizer).eval()
    config = encoder.config
    assert (config.vocab_size, config.hidden_size, config.intermediate_size) == (len(tokenizer), 256, 512)
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == tuple(
        tokenizer.convert_tokens_to_ids(t) for t in ("<|startoftext|>", "<|endoftext|>", "<|endoftext|>")
    )
    c_T = text.encode_text(encoder, text.tokenize(tokenizer, CAPTIONS))
    assert c_T.shape == (3, 77, 256)
    torch.testing.assert_close(c_T.mean(dim=-1), torch.zeros(3, 77), atol=1e-4, rtol=0)  # it ends in a LayerNorm
    # Causal: the words before the first difference know nothing of it.
    a, b = text.encode_text(encoder, text.tokenize(tokenizer, ["a red balloon", "a red windmill"]))
    torch.testing.assert_close(a[:3], b[:3])
    assert (a[3] - b[3]).abs().max() > 0.1


def test_text_encoder_round_trip(tokenizer: PreTrainedTokenizerFast, tmp_path) -> None:
    torch.manual_seed(0)
    encoder = text.build_text_encoder(TINY, tokenizer).eval()
    encoder.save_pretrained(tmp_path)
    again = CLIPTextModel.from_pretrained(tmp_path).eval()
    ids = text.tokenize(tokenizer, CAPTIONS)
    assert torch.equal(text.encode_text(encoder, ids), text.encode_text(again, ids))


def test_the_papers_text_encoder_has_clip_vit_l_14s_number_of_parameters(tokenizer: PreTrainedTokenizerFast) -> None:
    with torch.device("meta"):
        encoder = text.build_text_encoder(PAPER, tokenizer)
    missing_words = (PAPER.vocab_size - len(tokenizer)) * PAPER.text_width
    assert sum(p.numel() for p in encoder.parameters()) + missing_words == 123_060_480
