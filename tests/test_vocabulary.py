"""Trimmed vocabularies: the texts that matter keep their c_T, and every other string still encodes."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from pix2gif_lite.origins.vocabulary import needed_entries, trim_vocabulary
from pix2gif_lite.presets import TINY
from pix2gif_lite.text import build_text_encoder, encode_text, motion_prompt, tokenize, train_tokenizer

NEEDED = ["a red balloon is rising", "a boat is sailing to the right"]
IDLE = ["the interpreter raises another unboundlocalerror", "a penguin is overwriting the frozenset"]
PROMPTS = [motion_prompt(caption, m) for caption in NEEDED for m in range(21)] + [""]


@pytest.fixture(scope="module")
def whole() -> tuple[PreTrainedTokenizerFast, CLIPTextModel]:
    tokenizer = train_tokenizer([*PROMPTS, *IDLE] * 5, vocab_size=600)
    torch.manual_seed(0)
    return tokenizer, build_text_encoder(TINY, tokenizer).eval()


def test_the_needed_texts_keep_their_c_t_and_the_idle_entries_are_gone(whole):
    tokenizer, encoder = whole
    small, trimmed = trim_vocabulary(tokenizer, encoder, PROMPTS)
    with torch.no_grad():
        before, after = encode_text(encoder, tokenize(tokenizer, PROMPTS)), encode_text(trimmed, tokenize(small, PROMPTS))
    assert torch.equal(before, after)
    assert len(small) == trimmed.config.vocab_size == trimmed.get_input_embeddings().num_embeddings < len(tokenizer) - 40
    assert "Ġpenguin" in tokenizer.get_vocab() and "Ġpenguin" not in small.get_vocab()
    assert small.get_vocab().keys() == needed_entries(tokenizer, PROMPTS) | {
        token for token in tokenizer.get_vocab() if len(token) == 1
    }
    assert sorted(small.get_vocab().values()) == list(range(len(small)))
    assert [small.bos_token_id, small.eos_token_id, small.pad_token_id] == [0, 1, 1] and small.model_max_length == 77


def test_an_idle_word_is_spelt_in_pieces_and_reads_back(whole):
    tokenizer, encoder = whole
    small, trimmed = trim_vocabulary(tokenizer, encoder, PROMPTS)
    for text in ("penguin", "überraschung 🎈", "UnboundLocalError"):
        ids = small(text)["input_ids"]
        assert max(ids) < len(small) and small.decode(ids, skip_special_tokens=True).strip() == text.lower()
    assert len(small.tokenize("penguin")) > len(tokenizer.tokenize("penguin")) == 1


def test_what_was_given_stays_and_what_comes_out_can_be_saved(whole, tmp_path):
    tokenizer, encoder = whole
    size = len(tokenizer)
    small, trimmed = trim_vocabulary(tokenizer, encoder, PROMPTS)
    assert len(tokenizer) == size == encoder.config.vocab_size and encoder.get_input_embeddings().num_embeddings == size
    small.save_pretrained(tmp_path / "tokenizer")
    trimmed.save_pretrained(tmp_path / "text_encoder")
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path / "tokenizer")
    read = CLIPTextModel.from_pretrained(tmp_path / "text_encoder").eval()
    ids = tokenize(small, PROMPTS)
    assert torch.equal(tokenize(again, PROMPTS), ids)
    with torch.no_grad():
        assert torch.equal(encode_text(read, ids), encode_text(trimmed, ids))


def test_trimming_twice_changes_nothing_more(whole):
    small, trimmed = trim_vocabulary(*whole, PROMPTS)
    smaller, again = trim_vocabulary(small, trimmed, PROMPTS)
    assert smaller.get_vocab() == small.get_vocab()
    assert torch.equal(again.get_input_embeddings().weight, trimmed.get_input_embeddings().weight)
