"""A vocabulary without the entries that no text needs: fewer rows of the text encoder to ship, the same c_T.

A BPE spells a text by merges. Those that never happen in any text that matters can go, together with their entries and the
encoder's rows; what is left keeps its order and gets new ids. The 256 bytes stay, so every string still encodes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable

from tokenizers import Tokenizer
from torch import nn
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from ..text import END, START


def needed_entries(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> set[str]:
    """The entries that the texts are spelt with, and those that these were merged from."""
    merged_from = {left + right: (left, right) for left, right in _merges(tokenizer)}
    waiting = {token for text in texts for token in tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])}
    needed: set[str] = set()
    while waiting:
        token = waiting.pop()
        needed.add(token)
        waiting |= {*merged_from.get(token, ())} - needed
    return needed


def trim_vocabulary(
    tokenizer: PreTrainedTokenizerFast, text_encoder: CLIPTextModel, texts: Iterable[str]
) -> tuple[PreTrainedTokenizerFast, CLIPTextModel]:
    """Both again, without the merges that none of the texts needs; what was given stays as it is.

    c_T of the texts is the same to the bit; other words may be spelt in more pieces. Byte-level BPEs of ours only: bytes and
    special tokens come first and keep their ids.
    """
    # 1. the entries that stay, in their order
    needed = needed_entries(tokenizer, texts)
    merges = _merges(tokenizer)
    idle = {left + right for left, right in merges} - needed
    before = tokenizer.get_vocab()
    kept = sorted((token for token in before if token not in idle), key=before.__getitem__)
    # 2. the tokenizer
    how = json.loads(tokenizer.backend_tokenizer.to_str())
    how["model"]["vocab"] = {token: k for k, token in enumerate(kept)}
    how["model"]["merges"] = [[left, right] for left, right in merges if left + right not in idle]
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    length = tokenizer.model_max_length
    small = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(how)), model_max_length=length, **special)
    # 3. the encoder's rows
    encoder = copy.deepcopy(text_encoder)
    rows = encoder.get_input_embeddings().weight.data[[before[token] for token in kept]]
    encoder.set_input_embeddings(nn.Embedding.from_pretrained(rows, freeze=False))
    encoder.config.vocab_size = len(kept)
    return small, encoder


def _merges(tokenizer: PreTrainedTokenizerFast) -> list[tuple[str, str]]:
    listed = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in listed]
