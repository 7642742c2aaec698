"""Training as the benchmark runs it: the same pairs with a cache and without, and the weights stay as they were."""

from __future__ import annotations

import pytest
import torch

from pix2gif_lite.benchmark.bench_training import Encoding, preset_of, training_speed
from pix2gif_lite.data.latent_cache import Latents, encode
from pix2gif_lite.data.mixture import Mixture, Pick
from pix2gif_lite.presets import TINY


def test_pairs_are_the_same_encoded_before_or_when_asked_for(vae):
    pictures = torch.rand(3, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = encode(vae, pictures.flatten(0, 1)).unflatten(0, (3, 2))
    latents = Latents(z[:, 0], z[:, 1:], torch.tensor([[4], [5], [6]]), ["a", "b", "c"])
    picks = [Pick("scenes", 2, 0), Pick("scenes", 0, 0)]
    cached, encoded = Mixture(latents).pairs(picks), Encoding(latents, pictures, vae, "no").pairs(picks)
    assert encoded.captions == cached.captions == ["c", "a"] and encoded.motion.tolist() == [6, 4]
    for one, other in ((cached.source, encoded.source), (cached.target, encoded.target)):
        assert one.std() > 0 and torch.allclose(one, other, rtol=2e-3, atol=1e-3)
    assert not torch.equal(encoded.source, encoded.target)


def test_the_speed_is_of_the_real_loop_on_a_copy(pipe):
    before = {name: value.clone() for name, value in pipe.model.state_dict().items()}
    grads = [p.requires_grad for p in pipe.vae.parameters()]
    found = training_speed(pipe, 3, 2)
    after = pipe.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [p.requires_grad for p in pipe.vae.parameters()] == grads
    cached, uncached = found["cached"], found["uncached"]
    assert uncached["operations_per_sample"] > cached["operations_per_sample"] > 0  # by E of two pictures
    for part in (cached, uncached):
        rate = part["share_of_matrix_rate"] * part["matrix_rate"] / part["operations_per_sample"]
        assert part["samples_per_second"] == pytest.approx(rate) and rate > 0
    assert (found["batch_size"], found["steps"]) == (2, 3)


def test_the_weights_own_settings_come_before_their_presets(pipe):
    assert preset_of(pipe).residual == TINY.residual and preset_of(pipe).variant == "full"
    with pytest.raises(ValueError, match="2 steps are no training to time"):
        training_speed(pipe, 2)
