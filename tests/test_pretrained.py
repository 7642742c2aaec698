"""The factory of random weights (deterministic, polite to the caller's random state) and the names of weights."""

from __future__ import annotations

import pytest
import torch

from pix2gif_lite import pretrained
from pix2gif_lite.presets import TINY
from pix2gif_lite.text import tokenize

CAPTIONS = ["a red balloon is rising over green hills", "a blue fish swims to the left"]
MODELS = ("vae", "text_encoder", "motion_embedding", "flow_net", "unet")


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_seed_fixes_every_part_and_the_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = pretrained.build_components(TINY, CAPTIONS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)  # another state must not matter
    again = pretrained.build_components(TINY, CAPTIONS)
    other = pretrained.build_components(TINY, CAPTIONS, seed=1)
    assert set(first) == {"tokenizer", *MODELS}
    assert first["tokenizer"].get_vocab() == again["tokenizer"].get_vocab()
    for name in MODELS:
        assert equal(first[name], again[name]) and not equal(first[name], other[name]), name
        assert not first[name].training, name


def test_another_size_of_one_part_leaves_the_others_weights() -> None:
    first = pretrained.build_components(TINY, CAPTIONS)
    wider = pretrained.build_components(TINY.with_changes(flow_width=32, motion_rows=16), CAPTIONS)
    assert [name for name in MODELS if equal(first[name], wider[name])] == ["vae", "text_encoder", "unet"]


def test_parts_fit_each_other_and_the_preset() -> None:
    preset = TINY.with_changes(flow_norm="batch", flow_mode="absolute", flow_subcells=0, variant="warp")
    parts = pretrained.build_components(preset, CAPTIONS)
    assert tokenize(parts["tokenizer"], CAPTIONS).shape == (2, preset.text_tokens)
    assert parts["text_encoder"].config.vocab_size == len(parts["tokenizer"]) <= preset.vocab_size
    assert parts["text_encoder"].config.hidden_size == parts["unet"].config.cross_attention_dim == preset.text_width
    assert tuple(parts["motion_embedding"].embedding.weight.shape) == (preset.motion_rows, preset.text_width)
    assert (parts["flow_net"].config.norm, parts["flow_net"].config.flow_mode) == ("batch", "absolute")
    assert parts["unet"].config.in_channels == 8
    with torch.no_grad():
        mode = parts["vae"].encode(torch.zeros(1, 3, preset.image_size, preset.image_size)).latent_dist.mode()
    assert mode.shape == (1, 4, preset.latent_size, preset.latent_size)


def test_without_captions_the_tokenizer_knows_the_scenes_words() -> None:
    vocabulary = pretrained.build_components(TINY.with_changes(vocab_size=4096))["tokenizer"]
    for word in ("balloon", "rising", "windmill"):
        assert len(vocabulary.tokenize(word)) == 1


def test_names_of_weights(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "run1").mkdir(parents=True)
    assert pretrained.resolve_weights(tmp_path / "mine") == str(tmp_path / "mine")
    assert pretrained.resolve_weights("mine/run1") == "mine/run1"  # a folder, though it looks like a Hub id
    assert pretrained.resolve_weights("timbrooks/instruct-pix2pix") == "timbrooks/instruct-pix2pix"
    monkeypatch.setattr(pretrained, "LITE_WEIGHTS", tmp_path / "mine")
    assert pretrained.resolve_weights("lite") == str(tmp_path / "mine")


def test_weights_that_are_nowhere_are_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    for name in ("heavy", "", "a/b/c", "./missing", str(tmp_path / "missing"), tmp_path / "a"):
        with pytest.raises(FileNotFoundError, match="give 'lite', a folder of weights or a Hub id"):
            pretrained.resolve_weights(name)
    with pytest.raises(FileNotFoundError, match="is a file: give the folder"):
        pretrained.resolve_weights("model.safetensors")
    monkeypatch.setattr(pretrained, "LITE_WEIGHTS", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="The shipped weights are missing from .*gone"):
        pretrained.resolve_weights("lite")
