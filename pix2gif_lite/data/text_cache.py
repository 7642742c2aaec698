"""Texts encoded once: where the text encoder is frozen, it runs a single time over all prompts that training can ask for.

A cache is a folder as latent_cache.py's: safetensors shards (float16), each whole or absent, mapped into memory, and an
index.json that says what made them. A prompt of 77 tokens, 768 wide, takes 77 x 768 x 2 bytes = 118 kB of disk: 10 000
prompts 1.2 GB, the paper's 783 184 pairs at most 92 GB. It saves the encoder's work at every step: CLIP's does 13 GFLOP a
prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from ..presets import Preset
from ..processes import share_out
from ..text import NULL_PROMPT, encode_text, motion_prompt, tokenize
from .latent_cache import INDEX_FILE, Shards, check_index, write_shard
from .mixture import Mixture

AT_ONCE = 64  # prompts that the encoder gets in one batch


class TextCache:
    """c_T of known prompts: `states` (N, tokens, width) float16, row k belongs to prompts[k]."""

    def __init__(self, prompts: Sequence[str], states: Shards) -> None:
        self.rows = {prompt: row for row, prompt in enumerate(prompts)}
        self.states = states

    def c_T(self, prompts: Sequence[str]) -> Tensor:
        """c_T (B, tokens, width), float32, of B prompts. Raises ValueError for one that was not encoded."""
        for prompt in prompts:
            if prompt not in self.rows:
                raise ValueError(
                    f"The prompt {prompt!r} is not in the text cache: delete its folder and encode the texts again."
                )
        return self.states[[self.rows[prompt] for prompt in prompts]].float()


def prompts_of(preset: Preset, *sets: Mixture | None) -> list[str]:
    """All prompts that training on these sets, and measuring on them, can ask for, sorted, each once.

    Each caption with each of its motions, the null prompt, and where the preset drops the motion alone the bare captions.
    """
    asked = {
        (caption, m)
        for mixture in sets
        if mixture is not None
        for latents in mixture.sets.values()
        for caption, motions in zip(latents.captions, latents.motion.tolist(), strict=True)
        for m in motions
    }
    prompts = {NULL_PROMPT} | {motion_prompt(caption, m) for caption, m in asked}
    if preset.drop_motion:
        prompts |= {caption for caption, _ in asked}
    return sorted(prompts)


def text_fingerprint(text_encoder: CLIPTextModel, tokenizer: PreTrainedTokenizerFast) -> str:
    """A short hash of the encoder's weights and of all that the tokenizer does: others, other c_T."""
    how = json.loads(tokenizer.backend_tokenizer.to_str())
    how |= {"truncation": tokenizer.model_max_length, "padding": tokenizer.pad_token_id}  # its own are the last call's
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    for name, value in sorted(text_encoder.state_dict().items()):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def cache_texts(
    text_encoder: CLIPTextModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: str | Path,
    prompts: Sequence[str],
    mixed_precision: str = "no",
    shard: int = 1000,
    progress_bar: bool = True,
) -> TextCache:
    """c_T of the prompts (each once, as `prompts_of` gives them), encoded into `folder` or read from there.

    The encoder runs on the device it is on. Raises ValueError for no prompts or one twice, and when the folder holds texts
    of another encoder or tokenizer, or other prompts. Of several processes all call this; errors then: `share_out`'s.
    """
    if not prompts or len(set(prompts)) < len(prompts):
        raise ValueError(f"{len(prompts)} prompts, {len(set(prompts))} different ones: give each once, and at least one.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    listed = hashlib.sha256(json.dumps(list(prompts)).encode()).hexdigest()[:16]
    made_from = {"text": text_fingerprint(text_encoder, tokenizer), "prompts": listed, "count": len(prompts), "shard": shard}
    check_index(folder / INDEX_FILE, made_from)
    paths = {first: folder / f"texts-{first:07d}.safetensors" for first in range(0, len(prompts), shard)}
    device, dtype = text_encoder.device, {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mixed_precision)
    training = text_encoder.training

    def make(first: int) -> None:
        states = []
        for ids in tokenize(tokenizer, prompts[first : first + shard]).split(AT_ONCE):
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                states.append(encode_text(text_encoder, ids.to(device)).half().cpu())
        write_shard(paths[first], {"c_T": torch.cat(states)}, {})

    text_encoder.eval()
    try:
        share_out(list(paths), make, lambda first: paths[first].exists(), "texts", progress_bar=progress_bar)
    finally:
        text_encoder.train(training)
    parts = []
    for path in paths.values():
        if not path.is_file():
            raise FileNotFoundError(f"Texts {path} are missing: encode them again, on a disk that every process sees.")
        with safe_open(path, "pt") as file:  # on the CPU its tensors are views of the mapped file
            parts.append(file.get_tensor("c_T"))
    return TextCache(prompts, Shards(parts))
