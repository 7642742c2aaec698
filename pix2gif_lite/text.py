"""From a caption and a motion number to c_T, the text the network is conditioned on (section 3.3 of the paper).

    "a red balloon is rising", 12  ->  "a red balloon is rising The optical flow is twelve."  ->  77 tokens  ->  c_T

The number is written as a WORD, since CLIP attends to words better than to digits. The tokenizer is a byte-level BPE:
every string encodes, whatever the script, and no word is ever unknown. This file does not know about the motion
embedding, which adds the same number a second time, as a vector.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from collections.abc import Callable, Iterable, Sequence

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from .presets import Preset

START, END = "<|startoftext|>", "<|endoftext|>"  # CLIP's names; END also pads, as in CLIP
NULL_PROMPT = ""  # what a dropped text becomes, see guidance.py; `motion_prompt` refuses an empty caption
NUMBERS = 1024  # number words 0 .. 1023 are in the tokenizer's corpus: the rows of the paper's motion table

# Words of everyday captions, so that a user's own sentence does not fall to single letters.
EVERYDAY = """
man woman boy girl child baby people person crowd family friend couple player dancer singer actor hand hands arm arms
face eye eyes mouth lips nose ear hair head shoulder leg legs foot feet finger body shirt dress hat coat shoe glasses
smile dog cat kitten puppy horse cow sheep pig goat rabbit mouse bear fox wolf lion tiger monkey elephant bird duck
chicken owl fish shark whale dolphin turtle frog snake bee butterfly spider flower tree leaf grass plant rose forest
garden field car truck bus train bike bicycle motorcycle boat ship plane rocket balloon kite ball star sun moon cloud
clouds sky rain snow wind storm fire smoke water wave waves sea ocean river lake beach sand desert mountain hill hills
valley island road street city house home building bridge tower castle window door wall floor table chair bed lamp
lantern candle clock phone computer screen book paper letter bag box cup glass bottle plate food bread cake apple
fruit coffee tea music guitar piano drum game toy doll flag umbrella windmill wheel stage light lights shadow mirror
picture camera morning evening night day sunset sunrise winter summer spring autumn red orange yellow green blue
purple pink white black grey gray brown golden silver dark bright pale colourful colorful big small little large tiny
huge tall short long young old new happy sad angry funny pretty beautiful calm quiet loud fast slow quick slowly
quickly gently softly suddenly up down left right over under above below behind front beside between near far away
toward towards across around along through into out onto off back forward backward together alone walking running
jumping dancing singing talking laughing smiling crying looking watching waving clapping kissing hugging eating
drinking cooking playing riding driving flying floating drifting swimming diving sailing rising falling sinking
climbing sliding rolling bouncing swinging swaying spinning turning rotating twirling shaking nodding blinking winking
moving pulling pushing throwing catching kicking hitting opening closing growing shrinking burning blowing flowing
pouring dripping glowing shining flickering sitting standing lying sleeping waiting wearing holding carrying touching
pointing reading writing drawing painting is are was were being has have had does do did can could will would should
may might must not very too also then while when where who what which there here this that these those his her its
their our your my him them they she he it we you and but or with without for from before after during until another
other both each every some any many much more most few less all one two three first last next
"""


@functools.cache
def _speller() -> Callable[[int], str]:
    """num2words where it is installed, else inflect (hosted notebooks often have only that one)."""
    try:
        return importlib.import_module("num2words").num2words
    except ImportError:
        return importlib.import_module("inflect").engine().number_to_words


def number_word(number: int) -> str:
    """The English words of a whole number: 12 -> "twelve". Both libraries agree for 0 .. 1023."""
    return str(_speller()(int(number)))


def motion_prompt(caption: str, motion: float) -> str:
    """The caption with the motion (px at 256 x 256, rounded half up) behind it, in words.

    Raises ValueError for an empty caption or a motion that is not a number >= 0.
    """
    if not isinstance(caption, str) or not caption.strip():
        raise ValueError(f"The caption {caption!r} is empty: say in a few words what moves and how.")
    try:
        value = float(motion)
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"The motion {motion!r} is not a number of pixels from 0 up: give for example 8.")
    return f"{caption.strip()} The optical flow is {number_word(math.floor(value + 0.5))}."


def default_corpus(captions: Iterable[str]) -> list[str]:
    """The sentences the tokenizer learns from: captions, number words and common English, in this order.

    Common English comes from two offline sources: `EVERYDAY` above, and the language reference that ships inside Python
    (`pydoc_data.topics`, absent from a few minimal Pythons, then left out).
    """
    return [*map(str, captions), *_without_captions()]


@functools.cache
def _without_captions() -> tuple[str, ...]:
    corpus = [f"The optical flow is {number_word(k)}." for k in range(NUMBERS)]
    corpus += [EVERYDAY] * 200  # often enough that every one of these words becomes a single token
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        topics = {}
    for name in sorted(topics):
        prose = " ".join(topics[name].split())
        corpus += re.findall(r"[A-Za-z][A-Za-z ,]{20,}[a-z]\.", prose)  # whole sentences of words, no code or tables
    return tuple(corpus)


def train_tokenizer(texts: Iterable[str], vocab_size: int = 4096, tokens: int = 77) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocab_size` entries learnt from the texts, as a transformers tokenizer.

    Lower case, white space collapsed, CLIP's start and end tokens, padded and cut to `tokens`.
    Raises ValueError for fewer than 258 entries: 256 bytes and two special tokens come first.
    """
    if vocab_size < 258:
        raise ValueError(f"A vocabulary of {vocab_size} is too small: 256 bytes and 2 special tokens need at least 258.")
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # the first word is spelt like any other
    bpe.decoder = ByteLevelDecoder()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer=trainer)
    special = [(token, bpe.token_to_id(token)) for token in (START, END)]
    bpe.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=START, eos_token=END, pad_token=END, unk_token=END, model_max_length=tokens
    )


def _as_utf8(prompt: str) -> str:
    return prompt.encode("utf-8", "replace").decode("utf-8")  # half an emoji is not UTF-8, and tokenizers refuse it


def tokenize(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> Tensor:
    """Token ids (B, 77), int64, of the prompts, padded and cut to the tokenizer's length. `NULL_PROMPT` is allowed."""
    clean, length = [_as_utf8(prompt) for prompt in prompts], tokenizer.model_max_length
    ids = tokenizer(clean, padding="max_length", truncation=True, max_length=length)["input_ids"]
    return torch.tensor(ids, dtype=torch.int64)


def cut_note(tokenizer: PreTrainedTokenizerFast, prompts: Iterable[str]) -> list[str]:
    """A sentence where the longest of the prompts is longer than the tokenizer allows, or nothing."""
    longest = _as_utf8(max(prompts, key=len, default=""))
    length, limit = len(tokenizer(longest)["input_ids"]), tokenizer.model_max_length
    return [] if length <= limit else [f"The caption is {length} tokens long and is cut to {limit}: shorten it."]


def build_text_encoder(preset: Preset, tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    """CLIP's text model with the preset's sizes, random weights, for this tokenizer's ids."""
    widening = 2 if preset.train_text else 4  # CLIP's own feed-forward is 4 wide; 2 is enough for a small one trained here
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=preset.text_width,
            intermediate_size=widening * preset.text_width,
            projection_dim=preset.text_width,
            num_hidden_layers=preset.text_layers,
            num_attention_heads=preset.text_heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encode_text(text_encoder: CLIPTextModel, input_ids: Tensor) -> Tensor:
    """c_T (B, tokens, width) of token ids (B, tokens): the last states of all tokens, padding too, as in SD."""
    return text_encoder(input_ids=input_ids).last_hidden_state
