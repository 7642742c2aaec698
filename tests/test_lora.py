"""LoRA: nothing changes before training, only what should be is trained, and merged it is the same plain UNet again."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.testing import assert_close

from pix2gif_lite.data.latent_cache import Latents, encode
from pix2gif_lite.learning.checkpoints import EMA
from pix2gif_lite.learning.lora import add_lora, merge_lora, new_input_channels
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.learning.training_loop import Run, fit
from pix2gif_lite.losses import DecoderFeatures
from pix2gif_lite.model import Pix2GifModel, build_unet
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components

CAPTIONS = ["a red balloon is rising", "a blue fish is swimming", "the sun is setting"]


@pytest.fixture(scope="module")
def widened():
    """A UNet as a parent of 8 input channels gives it: the last four are zero."""
    torch.manual_seed(0)
    unet = build_unet(TINY).eval()
    with torch.no_grad():
        unet.conv_in.weight[:, 8:] = 0
    return unet


@pytest.fixture(scope="module")
def parts():
    return build_components(TINY, CAPTIONS * 5)


@pytest.fixture(scope="module")
def latents():
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randn(shape, generator=generator).half() for shape in ((3, 4, 16, 16), (3, 2, 4, 16, 16)))
    return Latents(source, target, torch.tensor([[2, 9], [0, 20], [5, 9]]), CAPTIONS)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    z, c_L = (torch.randn(shape, generator=generator) for shape in ((2, 12, 16, 16), (2, 77, TINY.text_width)))
    return z, torch.tensor([3, 700]), c_L


def predict(unet: UNet2DConditionModel, half: bool = False) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        return unet(*batch()).sample.float()


@torch.no_grad()
def eps(unet: UNet2DConditionModel, half: bool = False) -> torch.Tensor:
    return predict(unet, half)


def trained(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def learn(unet: UNet2DConditionModel, steps: int = 3, half: bool = False) -> None:
    """A few real steps, with a weight decay that would move every weight that is not frozen."""
    optimizer = torch.optim.AdamW(trained(unet).values(), lr=0.02, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        predict(unet, half).square().mean().backward()
        optimizer.step()


def job_of(parts, latents, vae, preset=TINY, **options) -> ModelJob:
    model = Pix2GifModel.from_parts(copy.deepcopy(parts), preset)
    return ModelJob(preset, model, parts["tokenizer"], vae, latents, seed=1, **options)


# ------------------------------------------------------------------------------------------------------------- the UNet


def test_before_training_it_is_the_same_unet(widened):
    unet = copy.deepcopy(widened)
    state = torch.get_rng_state()
    add_lora(unet, rank=3)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(eps(unet), eps(widened))
    names = trained(unet)
    layers = [name for name, _ in widened.named_modules() if name.split(".")[-1] in ("to_q", "to_k", "to_v", "to_out")]
    assert len(names) == 2 * len(layers) + 1  # A and B of each, and conv_in
    assert names.pop("conv_in.parametrizations.weight.original").shape == (16, 4, 3, 3)
    width, text = TINY.unet_channels[1], TINY.text_width
    shapes = {tuple(p.shape) for p in names.values()}
    assert shapes == {(3, width), (3, text), (width, 3)}
    again = copy.deepcopy(widened)
    add_lora(again, rank=3)
    other = copy.deepcopy(widened)
    add_lora(other, rank=3, seed=1)
    values = [torch.cat([p.flatten() for p in trained(u).values()]) for u in (unet, again, other)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])


def test_only_adapters_and_new_channels_learn_and_merging_changes_nothing(widened, tmp_path):
    unet = copy.deepcopy(widened)
    add_lora(unet, rank=4, alpha=6)
    learn(unet)
    adapted = eps(unet)
    assert (adapted - eps(widened)).abs().max() > 0.05
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    layer = unet.get_submodule(name)
    by_hand = widened.get_submodule(name).weight + 6 / 4 * layer.lora_B.default.weight @ layer.lora_A.default.weight
    merge_lora(unet)
    assert_close(unet.get_submodule(name).weight, by_hand)
    assert_close(eps(unet), adapted, atol=1e-5, rtol=0)
    old, new = widened.state_dict(), unet.state_dict()
    assert old.keys() == new.keys() and type(unet.conv_in) is torch.nn.Conv2d
    assert torch.equal(new["conv_in.weight"][:, :8], old["conv_in.weight"][:, :8])
    assert new["conv_in.weight"][:, 8:].abs().min() > 0
    changed = {key for key in old if not torch.equal(old[key], new[key])} - {"conv_in.weight"}
    assert changed == {key for key in old if ".to_" in key and key.endswith("weight")}
    assert unet.config == widened.config and not hasattr(unet, "peft_config") and trained(unet).keys() == new.keys()
    unet.save_pretrained(tmp_path)
    assert "peft" not in (tmp_path / "config.json").read_text() and "lora" not in (tmp_path / "config.json").read_text()
    assert torch.equal(eps(UNet2DConditionModel.from_pretrained(tmp_path)), eps(unet))
    add_lora(unet, rank=2)  # and it can be adapted again
    assert_close(eps(unet), adapted, atol=1e-5, rtol=0)


def test_new_channels_are_those_that_hold_nothing(widened):
    assert new_input_channels(widened) == 4
    unet = build_unet(TINY)
    assert new_input_channels(unet) == 12
    with torch.no_grad():
        unet.conv_in.weight[:, 4:] = 0
        assert new_input_channels(unet) == 8
        unet.conv_in.weight[0, 11, 1, 1] = 1e-6
        assert new_input_channels(unet) == 12
        unet.conv_in.weight.zero_()
        assert new_input_channels(unet) == 12
    add_lora(unet, rank=1)  # none is new: conv_in is trained whole
    assert {"conv_in.weight", "conv_in.bias"} < trained(unet).keys()
    unet = build_unet(TINY)
    add_lora(unet, rank=1, new_channels=1)
    assert trained(unet)["conv_in.parametrizations.weight.original"].shape[1] == 1


def test_frozen_layers_can_be_held_in_half_precision(widened):
    unet = copy.deepcopy(widened)
    add_lora(unet, rank=4, frozen_dtype=torch.bfloat16)
    assert {p.dtype for p in trained(unet).values()} == {torch.float32}
    frozen = sum(p.numel() for p in unet.parameters() if p.dtype == torch.bfloat16)
    assert frozen > 0.95 * sum(p.numel() for p in widened.parameters())
    assert torch.equal(eps(unet, half=True), eps(widened, half=True))  # autocast rounds the same weights to the same values
    learn(unet, half=True)
    adapted = eps(unet, half=True)
    assert (adapted - eps(widened)).abs().max() > 0.2
    rounded = {k: v.bfloat16().float() for k, v in widened.state_dict().items()}
    merge_lora(unet)
    assert {p.dtype for p in unet.parameters()} == {torch.float32}
    assert torch.equal(unet.state_dict()["conv_out.weight"], rounded["conv_out.weight"])
    assert torch.equal(unet.state_dict()["conv_in.weight"][:, :8], widened.state_dict()["conv_in.weight"][:, :8])
    assert_close(eps(unet), adapted, atol=0.03, rtol=0)


def test_what_cannot_be_adapted_or_merged_is_refused(widened, monkeypatch):
    unet = copy.deepcopy(widened)
    before = list(unet.state_dict())
    for wrong in (0, -1, 2.5):
        with pytest.raises(ValueError, match=f"rank {wrong}: give a whole number from 1"):
            add_lora(unet, wrong)
    for wrong in (0, 13):
        with pytest.raises(ValueError, match=f"new_channels is {wrong}: conv_in has 12"):
            add_lora(unet, 1, new_channels=wrong)
    with pytest.raises(ValueError, match="no adapters to merge"):
        merge_lora(unet)
    plain = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "mid_block_type": None}
    with pytest.raises(ValueError, match="no attention that LoRA could adapt"):
        add_lora(UNet2DConditionModel(in_channels=12, block_out_channels=(8, 8), norm_num_groups=4, **plain))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "peft", None)
        with pytest.raises(ModuleNotFoundError, match=r"needs peft: run `pip install 'pix2gif-lite\[paper\]'`"):
            add_lora(unet)
    assert list(unet.state_dict()) == before and all(p.requires_grad for p in unet.parameters())
    add_lora(unet)
    with pytest.raises(ValueError, match="has adapters already"):
        add_lora(unet)
    with torch.no_grad():
        next(p for name, p in trained(unet).items() if "lora_B" in name).fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        merge_lora(unet)


# -------------------------------------------------------------------------------------------------------------- the job


def test_the_job_trains_adapters_beside_the_other_parts(parts, latents, vae):
    job = job_of(parts, latents, vae, lora_rank=2)
    plain = job_of(parts, latents, vae)
    samples = job.train().batch(range(6))
    with torch.no_grad():
        assert torch.equal(job(samples)["loss"], plain.train()(samples)["loss"])
    job(samples)["loss"].backward()
    with_gradient = {name for name, p in job.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in with_gradient} == {"text_encoder", "motion_embedding", "flow_net", "unet"}
    unet = {name for name in with_gradient if ".unet." in name}
    assert all("lora_" in name or "conv_in" in name for name in unet) and unet == {n for n in trained(job) if ".unet." in n}
    assert job.heavy == [job.model.unet, job.model.text_encoder] == job.heavy and plain.heavy[0] is plain.model.unet
    with pytest.raises(ValueError, match="only='warp' leaves it out"):
        job_of(parts, latents, vae, lora_rank=2, only="warp")


def test_callbacks_can_run_a_model_held_in_halves(parts, latents, vae):
    job = job_of(parts, latents, vae, lora_rank=2, frozen_dtype=torch.bfloat16).eval()
    whole = job_of(parts, latents, vae, lora_rank=2).eval()
    samples = whole.batch(range(4))
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="dtype|type"):
            job(samples)
        with job.running():
            ours = job(samples)
        with whole.running():  # nothing is held in halves: nothing is rounded
            theirs = whole(samples)
        assert torch.equal(theirs["loss"], whole(samples)["loss"])
    for name in theirs:
        assert_close(ours[name].float(), theirs[name], rtol=0.05, atol=0.01)


@pytest.mark.parametrize("variant", ["base", "motion-embed", "warp-concat"])
def test_variants_and_halves_learn_through_adapters(variant, latents, vae):
    preset = TINY.with_changes(variant=variant, train_text=False)
    parts = build_components(preset, CAPTIONS * 5)
    job = job_of(parts, latents, vae, preset, lora_rank=2).train()
    job(job.batch(range(4)))["loss"].backward()
    learnt = {name.split(".")[1] for name, p in job.named_parameters() if p.grad is not None}
    wanted = {"base": set(), "motion-embed": {"motion_embedding"}, "warp-concat": {"motion_embedding", "flow_net"}}[variant]
    assert learnt == {"unet"} | wanted and job.heavy == [job.model.unet]
    half = job_of(parts, latents, vae, preset, lora_rank=2, only="unet")
    assert {name.split(".")[1] for name in trained(half)} == {"unet"} and half.heavy == [half.model.unet]


def run_of(out: Path, **options) -> Run:
    options = {"steps": 4, "checkpoint_every": 2, "log_every": 1, "progress_bar": False, "cpu": True} | options
    return Run(out, 4, 0.01, mixed_precision="no", ema_decay=0.5, **options)


def test_a_run_resumes_to_the_bit_and_its_average_merges(parts, latents, vae, tmp_path):
    def stop(state):
        if state["step"] == 2:
            raise KeyboardInterrupt

    jobs = [job_of(parts, latents, vae, lora_rank=2) for _ in range(3)]
    summary = fit(jobs[0], run_of(tmp_path / "whole"), {})
    with pytest.raises(KeyboardInterrupt):
        fit(jobs[1], run_of(tmp_path / "broken", callback=stop, callback_every=1, checkpoint_every=1), {})
    fit(jobs[2], run_of(tmp_path / "broken", resume=True), {})
    lines = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "broken")]
    losses = [[json.loads(line)["loss"] for line in log if "lr" in line] for log in lines]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    whole, resumed = (trained(job) for job in (jobs[0], jobs[2]))
    assert summary["parameters"] == sum(p.numel() for p in whole.values())
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)
    unet = jobs[0].model.unet
    adapted = eps(unet)
    assert (adapted - eps(parts["unet"])).abs().max() > 1e-3
    merge_lora(unet)
    assert_close(eps(unet), adapted, atol=1e-5, rtol=0)
    assert unet.state_dict().keys() == parts["unet"].state_dict().keys()


def test_an_average_that_was_copied_in_is_what_is_merged(widened):
    unet = copy.deepcopy(widened)
    add_lora(unet, rank=2)
    ema = EMA(unet, decay=0.5)
    for _ in range(3):
        learn(unet, steps=1)
        ema.update(unet)
    last = eps(unet)
    ema.copy_to(unet)
    averaged = eps(unet)
    assert (averaged - last).abs().max() > 1e-3
    merge_lora(unet)
    assert_close(eps(unet), averaged, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------ frozen parts in halves


def test_frozen_parts_may_be_half_precision(parts, latents, vae):
    """CLIP, E and D as a GPU holds them: what they give is float32 where it meets what is trained."""
    preset = TINY.with_changes(train_text=False)
    half = {name: copy.deepcopy(part) for name, part in parts.items()}
    half["text_encoder"].bfloat16()
    small = copy.deepcopy(vae).bfloat16()
    jobs = [job_of(parts, latents, vae, preset).train(), job_of(half, latents, small, preset).train()]
    samples = jobs[0].batch(range(6))
    terms = [job(samples) for job in jobs]
    for name in terms[0]:
        assert terms[1][name].dtype == torch.float32
        assert_close(terms[1][name], terms[0][name], rtol=0.02, atol=0.02)
    terms[1]["loss"].backward()
    assert all(p.grad.dtype == torch.float32 for p in trained(jobs[1]).values() if p.grad is not None)
    assert jobs[1].model.text_encoder.dtype == small.dtype == torch.bfloat16  # held so, not cast back
    features = [
        DecoderFeatures(v, 2)(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))) for v in (vae, small)
    ]
    for ours, theirs in zip(*features, strict=True):
        assert theirs.dtype == torch.float32
        assert_close(theirs, ours, rtol=0.05, atol=0.05)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert_close(encode(small, pictures), encode(vae, pictures), rtol=0.05, atol=0.05)
    base = TINY.with_changes(variant="base", train_text=False)
    made = build_components(base, CAPTIONS * 5)
    made["text_encoder"].bfloat16()
    job = job_of(made, latents, vae, base)
    assert torch.isfinite(job(job.batch(range(2)))["loss"])
