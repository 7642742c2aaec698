"""What the perceptual loss looks with is chosen before a run: VGG19 where it can be had, else the decoder, said aloud."""

from __future__ import annotations

import importlib.util
import sys
import urllib.error
import warnings

import pytest
import torch
from torch import nn

from pix2gif_lite import losses
from pix2gif_lite.data.latent_cache import Latents
from pix2gif_lite.learning import perceptual_choice
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.learning.perceptual_choice import choose_perceptual
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.presets import PAPER, TINY
from pix2gif_lite.pretrained import build_components

AUTO = TINY.with_changes(perceptual_network="auto")
CAPTIONS = ["a red balloon is rising", "a blue fish is swimming"]


def small_vgg19() -> nn.Sequential:
    """torchvision's VGG19 layout up to the last layer that is looked at, a sixteenth as wide."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (4, 4, 0, 8, 8, 0, 16, 16, 16, 16, 0, 32, 32, 32, 32, 0, 32):  # 0: halve
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)] if outputs else [nn.MaxPool2d(2)]
        inputs = outputs or inputs
    return nn.Sequential(*layers)


@pytest.fixture()
def absent(monkeypatch):
    """No torchvision, whatever this machine has."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)


@pytest.fixture()
def present(monkeypatch):
    monkeypatch.setattr(losses, "_torchvision_vgg19", small_vgg19)


def latents(side: int) -> Latents:
    source, target = torch.randn(2, 4, side, side).half(), torch.randn(2, 1, 4, side, side).half()
    return Latents(source, target, torch.tensor([[3], [8]]), CAPTIONS)


def job_of(preset, vae, side: int = 16, **options) -> ModelJob:
    parts = build_components(preset, CAPTIONS * 5)
    return ModelJob(preset, Pix2GifModel.from_parts(parts, preset), parts["tokenizer"], vae, latents(side), **options)


def test_without_torchvision_auto_is_the_decoder_and_says_so(absent):
    with pytest.warns(
        UserWarning, match="^The perceptual loss looks with the decoder instead of VGG19: .*pip install torchvision"
    ):
        chosen = choose_perceptual(AUTO)
    assert chosen == AUTO.with_changes(perceptual_network="decoder")
    with pytest.warns(UserWarning, match="^The perceptual loss"):
        assert choose_perceptual(PAPER).perceptual_network == "decoder"
    with pytest.raises(
        ImportError, match="needs torchvision: run `pip install torchvision` or set perceptual_network='decoder'"
    ):
        choose_perceptual(AUTO.with_changes(perceptual_network="vgg19"))


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is here")
def test_its_real_absence_is_noticed():
    with pytest.warns(UserWarning, match="No module named 'torchvision'"):
        assert choose_perceptual(AUTO).perceptual_network == "decoder"


def test_with_torchvision_auto_is_vgg19(present):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_perceptual(AUTO).perceptual_network == "vgg19"
        assert choose_perceptual(choose_perceptual(AUTO)).perceptual_network == "vgg19"
        assert choose_perceptual(TINY) is TINY  # "decoder" stays


def test_weights_that_cannot_be_had(monkeypatch):
    """torchvision is there, its weights are not, and no network."""

    def offline():
        raise FileNotFoundError("The ImageNet weights of VGG19 cannot be had (no route)")

    monkeypatch.setattr(losses, "_torchvision_vgg19", offline)
    with pytest.warns(UserWarning, match="^The perceptual loss .*cannot be had"):
        assert choose_perceptual(AUTO).perceptual_network == "decoder"
    with pytest.raises(FileNotFoundError, match="cannot be had"):
        choose_perceptual(AUTO.with_changes(perceptual_network="vgg19"))


def test_nothing_is_looked_for_where_there_is_no_perceptual_loss(absent):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for change in ({"variant": "warp-concat"}, {"loss_weights": {"diffusion": 1.0, "perceptual": 0.0}}):
            assert choose_perceptual(AUTO.with_changes(**change)).perceptual_network == "decoder"
    with pytest.raises(ValueError, match="'resnet': choose one of auto, vgg19, decoder"):
        choose_perceptual(AUTO.with_changes(perceptual_network="resnet"))


def test_latents_too_small_for_vgg19(present, vae):
    small = AUTO.with_changes(latent_size=8)
    with pytest.warns(UserWarning, match="Latents of 8 x 8 are too small.*16 x 16"):
        assert choose_perceptual(small).perceptual_network == "decoder"
    with pytest.raises(ValueError, match="Latents of 8 x 8 are too small for the VGG19 loss"):
        choose_perceptual(small.with_changes(perceptual_network="vgg19"))
    phi = losses.VGG19Features()
    assert [f.shape[-2:] for f in phi(torch.zeros(1, 4, 16, 24))][-1] == (1, 1)
    with pytest.raises(ValueError, match="Latents of 16 x 15"):
        phi(torch.zeros(1, 4, 16, 15))
    with pytest.raises(ValueError, match="Latents of 12 x 12"):
        job_of(TINY.with_changes(perceptual_network="vgg19"), vae, side=12)


def test_the_job_looks_with_what_was_chosen_and_refuses_to_choose(present, vae):
    with pytest.raises(ValueError, match=r"perceptual_network is 'auto': choose_perceptual\(preset\) says which"):
        job_of(AUTO, vae)
    assert job_of(AUTO, vae, only="unet").features is None  # no L_P there
    job = job_of(choose_perceptual(AUTO), vae).train()
    assert isinstance(job.features, losses.VGG19Features)
    batch = job.batch(range(3))._replace(drop_image=torch.zeros(3, dtype=torch.bool))
    terms = job(batch)
    with torch.no_grad():  # Eq. 7 written out
        image = job.image_scale * batch.source
        _, z_W = job.model.warp(image, job.model.condition(batch.input_ids, batch.motion, ~batch.drop_motion))
        pairs = zip(job.features(job.image_scale * batch.target), job.features(z_W), strict=True)
        expected = sum((a - b).square().mean() for a, b in pairs)
    torch.testing.assert_close(terms["perceptual"].detach(), expected)
    assert not any(p.requires_grad for p in job.features.parameters())


def test_a_server_that_cannot_be_reached_is_one_sentence(monkeypatch):
    """The real way to the weights, with torchvision's two names standing in: read as tensors, with a time limit."""
    import socket
    import types

    seen = {}

    class Weights:
        url = "https://download.example/vgg19.pth"

        def get_state_dict(self, **options):
            seen.update(options, timeout=socket.getdefaulttimeout())
            raise urllib.error.URLError("no route to host")

    models = types.ModuleType("torchvision.models")
    models.VGG19_Weights, models.vgg19 = types.SimpleNamespace(IMAGENET1K_V1=Weights()), None
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    with pytest.raises(FileNotFoundError, match="no route to host.*put https://download.example/vgg19.pth into .*checkpoints"):
        losses.VGG19Features()
    assert seen == {"progress": False, "check_hash": True, "weights_only": True, "timeout": losses.TIMEOUT}
    assert socket.getdefaulttimeout() is None
    assert perceptual_choice.NETWORKS == ("auto", "vgg19", "decoder")
