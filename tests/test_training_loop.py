"""The loop at scale: pieces of a batch, rates, optimisers, fp16's scaler, memory, speed-ups that change nothing, logs."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import pytest
import torch

from pix2gif_lite import hardware
from pix2gif_lite.data.latent_cache import cache_scenes
from pix2gif_lite.data.training_data import PictureSource
from pix2gif_lite.learning.autoencoder_job import AutoencoderJob
from pix2gif_lite.learning.checkpoints import EMA, load_checkpoint, save_checkpoint
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.learning.optimizers import build_optimizer
from pix2gif_lite.learning.run import Run
from pix2gif_lite.learning.run_log import Log, progress_line, read_log
from pix2gif_lite.learning.speedups import checkpoint_gradients, compiled, synchronize_batch_norm
from pix2gif_lite.learning.training_loop import fit
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.reasons import Failed
from pix2gif_lite.warping import FlowNet

QUICK = dict(mixed_precision="no", progress_bar=False, log_every=1, cpu=True)


def losses(out):
    return [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]


def interrupt_at(step):
    """A callback that presses Ctrl-C during that step."""
    return lambda state: os.kill(os.getpid(), signal.SIGINT) if state["step"] == step else None


class Batch(NamedTuple):
    x: torch.Tensor  # (B, 4)
    y: torch.Tensor  # (B,)


class Line(torch.nn.Module):
    """A small job: two layers learn y from x, both drawn from a sample's number."""

    def __init__(self, width=8, weight=1.0):
        super().__init__()
        self.weight, self.sizes = weight, []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inner, self.outer = torch.nn.Linear(4, width), torch.nn.Linear(width, 1)

    def batch(self, numbers):
        self.sizes.append(len(numbers))
        rows = [torch.randn(5, generator=torch.Generator().manual_seed(n)) for n in numbers]
        table = torch.stack(rows)
        return Batch(table[:, :4], table[:, 4])

    def forward(self, batch):
        error = self.outer(torch.nn.functional.silu(self.inner(batch.x)))[:, 0] - batch.y
        return {"loss": self.weight * error.square().mean()}

    def measure(self):
        return {"size": self.inner.weight.norm().item()}


# ------------------------------------------------------------------------------------------------- rates, pieces, refusals


def test_the_papers_rate_rises_and_stays():
    run = Run("x", 256, 1e-4, warmup_steps=10_000, lr_start=1e-6, lr_schedule="constant", steps=25_000)
    rates = {step: run.rate(step, step / 25_000) for step in (0, 4999, 9999, 10_000, 24_999)}
    assert rates[0] == pytest.approx(1e-6 + 99e-6 / 10_000) and rates[4999] == pytest.approx(50.5e-6)
    assert rates[9999] == rates[10_000] == rates[24_999] == pytest.approx(1e-4)
    falling = replace(run, lr_schedule="cosine")
    assert falling.rate(12_499, 0.5) == pytest.approx(0.5e-4) and falling.rate(25_000, 1.0) == 0


@pytest.mark.parametrize(
    ("batch", "micro", "accumulation", "devices", "pieces"),
    [
        (256, 2, None, 1, (128, 2)),
        (256, 2, None, 64, (2, 2)),
        (256, None, None, 4, (1, 64)),
        (256, None, 8, 4, (8, 8)),
        (6, 3, 2, 1, (2, 3)),
        (1, 1, None, 1, (1, 1)),
    ],
)
def test_a_batch_is_split_over_devices_and_micro_batches(batch, micro, accumulation, devices, pieces):
    run = Run("x", batch, 1.0, steps=1, micro_batch=micro, accumulation=accumulation)
    assert run.split(devices) == pieces
    assert pieces[0] * pieces[1] * devices == batch


@pytest.mark.parametrize("batch", [1, 2, 5, 256])
@pytest.mark.parametrize("micro", [None, 1, 2, 8])
@pytest.mark.parametrize("devices", [1, 2, 3, 6, 300])
def test_every_sample_of_a_batch_counts_once_and_equally_on_any_number_of_devices(batch, micro, devices):
    run = Run("x", batch, 1.0, steps=1, micro_batch=micro)
    count, share = run.split(devices)
    weights = dict.fromkeys(range(batch), 0.0)
    for k in range(count):
        for rank in range(devices):
            places, weight = run.piece(k, rank, devices)
            assert 1 <= len(places) <= share
            for place in places:
                weights[place] += weight / len(places) / devices  # a mean over the piece, then over the devices
    assert list(weights.values()) == pytest.approx([1 / batch] * batch)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="accumulation 3 makes micro-batches of 4 .*, not of 2: leave one"):
        Run("x", 12, 1.0, steps=1, micro_batch=2, accumulation=3).split(1)


def test_micro_batches_add_up_and_are_no_larger(tmp_path):
    for micro in (None, 2, 1):
        job = Line()
        fit(job, Run(tmp_path / str(micro), 4, 0.1, steps=5, micro_batch=micro, **QUICK), {})
        assert set(job.sizes) == {micro or 4}  # operations are counted on no more either
    for micro in ("2", "1"):
        assert losses(tmp_path / micro) == pytest.approx(losses(tmp_path / "None"), rel=1e-5)
    job = Line()
    fit(job, Run(tmp_path / "3", 4, 0.1, steps=5, micro_batch=3, **QUICK), {})
    assert set(job.sizes) == {3, 1} and losses(tmp_path / "3") == pytest.approx(losses(tmp_path / "None"), rel=1e-5)


def test_accelerates_own_accumulation_does_not_count_twice(tmp_path, monkeypatch):
    fit(Line(), Run(tmp_path / "a", 4, 0.1, steps=3, micro_batch=2, **QUICK), {})
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    fit(Line(), Run(tmp_path / "b", 4, 0.1, steps=3, micro_batch=2, **QUICK), {})
    one, other = (read_log(tmp_path / name / "log.jsonl") for name in "ab")
    for name in ("loss", "grad_norm"):
        assert [line[name] for line in one] == [line[name] for line in other]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lr_schedule": "linear"}, "lr_schedule 'linear': choose one of cosine, constant"),
        ({"optimizer": "sgd"}, "optimizer 'sgd': choose one of adamw, adamw8bit"),
        ({"lr_start": 2.0}, "lr_start is 2.0.*learning_rate, 1.0"),
        ({"lr_start": -1e-6}, "lr_start"),
        ({"micro_batch": 0}, "micro_batch is 0"),
    ],
)
def test_what_a_run_cannot_be_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Run("x", 1, 1.0, steps=1, **wrong)


@pytest.mark.parametrize(
    ("package", "asked"), [("bitsandbytes", {"optimizer": "adamw8bit"}), ("tensorboard", {"tensorboard": True})]
)
def test_a_missing_extra_is_named_before_anything_is_done(package, asked, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    with pytest.raises(ModuleNotFoundError, match=rf"needs {package}: pip install 'pix2gif-lite\[paper\]'"):
        Run("x", 1, 1.0, steps=1, **asked)


# ------------------------------------------------------------------------------------------------------------ optimisers


def test_biases_and_norms_are_not_decayed():
    job = Line()
    optimizer = build_optimizer("adamw", list(job.parameters()), 1e-3, 0.5)
    decayed, kept = optimizer.param_groups
    assert decayed["weight_decay"] == 0.5 and decayed["params"] == [job.inner.weight, job.outer.weight]
    assert kept["weight_decay"] == 0.0 and kept["params"] == [job.inner.bias, job.outer.bias]


def test_eight_bits_learn_as_thirty_two_and_resume_to_the_bit(tmp_path):
    pytest.importorskip("bitsandbytes")
    run = Run(tmp_path / "8", 4, 1e-2, steps=8, optimizer="adamw8bit", **QUICK)
    fit(Line(width=2048), run, {})  # 4 x 2048 numbers: enough for 8 bits
    fit(Line(width=2048), replace(run, out=tmp_path / "32", optimizer="adamw"), {})
    assert losses(tmp_path / "8") == pytest.approx(losses(tmp_path / "32"), rel=0.05)
    assert losses(tmp_path / "8") != losses(tmp_path / "32")
    state = load_checkpoint(tmp_path / "8" / "checkpoints")["optimizer"]["state"]
    moments = [values.get("__bnb_optimizer_quant_state__", values)["state1"].dtype for values in state.values()]
    assert moments == [torch.uint8, torch.float32, torch.float32, torch.float32]
    with pytest.raises(KeyboardInterrupt):
        fit(Line(width=2048), replace(run, out=tmp_path / "c", callback=interrupt_at(3), callback_every=1), {})
    with pytest.raises(ValueError, match="another optimizer"):
        fit(Line(width=2048), replace(run, out=tmp_path / "c", resume=True, optimizer="adamw"), {})
    fit(Line(width=2048), replace(run, out=tmp_path / "c", resume=True), {})
    assert losses(tmp_path / "c") == losses(tmp_path / "8")


def test_a_checkpoint_from_before_there_was_a_choice_resumes(tmp_path):
    run = Run(tmp_path / "a", 4, 0.1, steps=6, **QUICK)
    fit(Line(), run, {"seed": 1})
    old = replace(run, out=tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), replace(old, callback=interrupt_at(2), callback_every=1), {"seed": 1})
    folder = tmp_path / "b" / "checkpoints"
    state = load_checkpoint(folder)
    assert state["settings"] == {"seed": 1, "optimizer": "adamw"}
    save_checkpoint(folder, 2, state | {"settings": {"seed": 1}})
    fit(Line(), replace(old, resume=True), {"seed": 1})
    assert losses(tmp_path / "b") == losses(tmp_path / "a")


def test_settings_that_older_checkpoints_lack_are_what_they_were(tmp_path):
    """Runs from before rates were the preset's and LoRA was there; another choice than theirs is another run."""
    first = {"preset": {"width": 8, "lr_start": 0.0, "lr_schedule": "cosine", "micro_batch": None}, "lora_rank": None}
    run = Run(tmp_path / "a", 4, 0.1, steps=2, **QUICK)
    fit(Line(), run, {"preset": {"width": 8}})
    folder = tmp_path / "a" / "checkpoints"
    save_checkpoint(folder, 2, load_checkpoint(folder) | {"settings": {"preset": {"width": 8}}})
    again = replace(run, resume=True, steps=3)
    for name, change in (
        ("preset", {"preset": first["preset"] | {"lr_schedule": "constant"}}),
        ("lora_rank", {"lora_rank": 4}),
    ):
        with pytest.raises(ValueError, match=f"another {name}:"):
            fit(Line(), again, first | change)
    assert fit(Line(), again, first)["steps"] == 3


class Picture(torch.nn.Module):
    """A convolution that learns from noise."""

    def __init__(self, memory_format):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = torch.nn.Conv2d(3, 5, 3)
        self.to(memory_format=memory_format)

    def batch(self, numbers):
        rows = [torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(n)) for n in numbers]
        return Batch(torch.stack(rows), torch.ones(len(rows)))

    def forward(self, batch):
        return {"loss": (self.conv(batch.x) - 1).square().mean()}

    def measure(self):
        return {}


@pytest.mark.parametrize("there", [torch.contiguous_format, torch.channels_last])
def test_a_run_goes_on_where_weights_lie_otherwise(tmp_path, there):
    """channels_last on a GPU, then a CPU, or the other way round: torch's fused AdamW goes by memory order."""
    here = torch.channels_last if there is torch.contiguous_format else torch.contiguous_format
    fit(Picture(there), Run(tmp_path / "whole", 2, 0.1, steps=6, **QUICK), {})
    run = Run(tmp_path / "moved", 2, 0.1, steps=6, callback=interrupt_at(3), callback_every=3, **QUICK)
    with pytest.raises(KeyboardInterrupt):
        fit(Picture(there), run, {})
    fit(Picture(here), replace(run, resume=True), {})
    assert losses(tmp_path / "moved") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


# ------------------------------------------------------------------------------------------------------------------ fp16


class Scaled(hardware.Accelerator):
    """accelerate makes a scaler on GPUs alone; torch has one for CPUs too. All else is accelerate's own fp16."""

    SCALE = 2.0**16

    def __init__(self, mixed_precision, **options):
        super().__init__(mixed_precision="fp16", **options)
        self.scaler, self.native_amp = torch.amp.GradScaler("cpu", init_scale=self.SCALE), True


class Pull(torch.nn.Module):
    """w is pulled to 1, with a gradient of 8 (w - 1)."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def batch(self, numbers):
        return Batch(torch.ones(len(numbers)), torch.ones(1))

    def forward(self, batch):
        return {"loss": 4 * (self.w - batch.x).square().mean()}

    def measure(self):
        return {"w": self.w.item()}


def test_a_step_that_overflows_in_fp16_leaves_weights_and_average_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "Accelerator", Scaled)
    monkeypatch.setattr(Scaled, "SCALE", 2.0**127)  # 8 x 2^125 is past float32's end: three steps are lost
    seen = []
    run = Run(tmp_path / "a", 2, 0.1, steps=9, lr_schedule="constant", callback_every=1, **QUICK)
    with pytest.raises(KeyboardInterrupt):  # before the end, where the CPU's rate in fp16 would be measured: it takes long
        fit(Pull(), replace(run, callback=lambda state: (seen.append(state), interrupt_at(6)(state))), {})
    w = torch.nn.Parameter(torch.zeros(1))
    optimizer, expected = torch.optim.AdamW([w], lr=0.1, betas=(0.9, 0.99), weight_decay=0.0), []
    for _ in range(3):
        (4 * (w - 1) ** 2).sum().backward()
        expected.append((4 * (w.item() - 1) ** 2, w.grad.norm().item()))
        torch.nn.utils.clip_grad_norm_([w], 1.0)
        optimizer.step(), optimizer.zero_grad()
    lines = [line for line in read_log(tmp_path / "a" / "log.jsonl") if "loss" in line]
    assert [line["grad_norm"] for line in lines[:3]] == [None] * 3  # JSON knows no infinity
    assert [line["loss"] for line in lines[:3]] == [4.0] * 3
    assert [(line["loss"], line["grad_norm"]) for line in lines[3:]] == pytest.approx([*map(pytest.approx, expected)])
    assert [state["w"] for state in seen[:3]] == [0.0] * 3 and seen[3]["w"] > 0
    state = load_checkpoint(tmp_path / "a" / "checkpoints")
    assert state["ema"]["updates"] == 3 and state["scaler"]["scale"] == 2.0**124
    torch.testing.assert_close(state["job"]["w"], w.detach())

    with pytest.raises(KeyboardInterrupt):  # the scaler's state is a checkpoint's too
        fit(Pull(), replace(run, out=tmp_path / "b", callback=interrupt_at(2)), {})
    with pytest.raises(KeyboardInterrupt):
        fit(Pull(), replace(run, out=tmp_path / "b", callback=interrupt_at(6), resume=True), {})
    assert losses(tmp_path / "b") == losses(tmp_path / "a")


def test_gradients_that_never_become_finite_in_fp16_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "Accelerator", Scaled)

    class Broken(Pull):
        def forward(self, batch):
            return {"loss": 1 + (0 * self.w).sqrt().sum()}  # finite, but its slope is 0 x infinity

    with pytest.raises(FloatingPointError, match="not finite in fp16 at any scale: choose bf16"):
        fit(Broken(), Run(tmp_path, 2, 0.1, steps=100, **QUICK), {})
    assert len(losses(tmp_path)) == 26  # 2^16 .. 2^-9 were tried


# --------------------------------------------------------------------------------------------------------------- memory


def test_out_of_memory_names_the_switches(tmp_path):
    class Greedy(Line):
        def forward(self, batch):
            return {"loss": super().forward(batch)["loss"] + torch.empty(10**15).sum()}

    switches = "--micro-batch.*--gradient-checkpointing.*--optimizer adamw8bit.*--lora"
    with pytest.raises(MemoryError, match=f"^Out of memory: 4000000000000000 bytes.*{switches}"):
        fit(Greedy(), Run(tmp_path, 4, 0.1, steps=2, **QUICK), {})


@pytest.fixture(scope="module")
def model_job(vae, tmp_path_factory):
    """Makes the same ModelJob of the TINY preset again and again."""
    latents = cache_scenes(vae, tmp_path_factory.mktemp("latents"), 6, 2, size=64, progress_bar=False)
    parts = build_components(TINY, captions=latents.captions, seed=3)
    job = ModelJob(TINY, Pix2GifModel.from_parts(parts, TINY), parts["tokenizer"], vae, latents, seed=1)
    return lambda: copy.deepcopy(job)


def kept_bytes(job):
    """Bytes that a forward pass keeps for the backward pass, weights not counted; and the gradients' norms."""
    own = {p.untyped_storage().data_ptr() for p in job.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        terms = job(job.batch(range(4)))
    terms["loss"].backward()
    return sum(kept.values()), [p.grad.norm() for p in job.parameters() if p.grad is not None]


def test_gradient_checkpointing_keeps_less_and_changes_nothing(model_job, tmp_path):
    jobs = model_job().train(), model_job().train()
    checkpoint_gradients(jobs[1])
    (plain, gradients), (less, same) = map(kept_bytes, jobs)
    assert less < 0.7 * plain
    torch.testing.assert_close(same, gradients, rtol=1e-5, atol=1e-7)
    for on in (False, True):
        fit(model_job(), Run(tmp_path / str(on), 4, 1e-3, steps=3, gradient_checkpointing=on, **QUICK), {})
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-6)
    with pytest.raises(ValueError, match="Line has no part that can compute activations again"):
        fit(Line(), Run(tmp_path / "x", 4, 0.1, steps=1, gradient_checkpointing=True, **QUICK), {})


def test_gradient_checkpointing_reaches_the_autoencoder(vae):
    job = AutoencoderJob(TINY, vae, PictureSource(64, seed=0, photo_share=0.0, scenes_a_block=4), held_out=0)
    plain, gradients = kept_bytes(job)
    job.zero_grad()
    checkpoint_gradients(job)
    less, same = kept_bytes(job)
    vae.disable_gradient_checkpointing(), vae.zero_grad(), vae.requires_grad_(False)
    assert less < 0.7 * plain
    torch.testing.assert_close(same, gradients, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------------------------------------- speed-ups


class Heavy(Line):
    """The same, its layers in a part of their own."""

    class Part(torch.nn.Module):
        def __init__(self, inner, outer):
            super().__init__()
            self.inner, self.outer = inner, outer

        def forward(self, x):
            return self.outer(torch.nn.functional.silu(self.inner(x)))[:, 0]

    def __init__(self):
        super().__init__()
        self.part = self.Part(self.inner, self.outer)

    @property
    def heavy(self):
        return [self.part]

    def forward(self, batch):
        return {"loss": (self.part(batch.x) - batch.y).square().mean()}


def test_heavy_parts_run_compiled_in_place():
    job = Heavy()
    names, batch = list(job.state_dict()), job.batch(range(4))
    plain = job(batch)["loss"]
    torch._dynamo.utils.counters.clear()
    with compiled(job, backend="aot_eager"):
        loss = job(batch)["loss"]
        loss.backward()
    compilations = dict(torch._dynamo.utils.counters["frames"])  # one, or more where other tests' hooks break the graph
    assert compilations["ok"] >= 1
    torch.testing.assert_close(loss, plain)
    assert list(job.state_dict()) == names
    job(batch)
    assert torch._dynamo.utils.counters["frames"] == compilations  # afterwards it is the plain module again
    with pytest.raises(ValueError, match="Line lists no heavy parts"):
        with compiled(Line()):
            pass


def test_every_job_says_what_is_heavy(model_job, vae):
    job = model_job()
    assert job.heavy[0] is job.model.unet
    assert AutoencoderJob(TINY, vae, None, held_out=0).heavy == [vae.encoder, vae.decoder]
    vae.requires_grad_(False)


@pytest.mark.usefixtures("no_compiler")
def test_a_compiler_that_fails_is_one_sentence(tmp_path):
    with pytest.raises(Failed, match=r"^torch.compile failed \(.*C\+\+ compiler.*/no/such/g\+\+.*\): leave compile out"):
        fit(Heavy(), Run(tmp_path / "run", 4, 0.1, steps=2, compile=True, **QUICK), {})


def test_batch_norm_is_synchronised_in_place():
    torch.manual_seed(0)
    net = FlowNet(flow_width=8, norm="batch")
    holder = torch.nn.ModuleDict({"flow_net": net})
    names, weights = list(net.state_dict()), dict(net.named_parameters())
    plain = [m for m in net.modules() if type(m) is torch.nn.BatchNorm2d]
    synchronize_batch_norm(holder)
    assert holder["flow_net"] is net and list(net.state_dict()) == names
    assert len(plain) > 3 and not [m for m in net.modules() if type(m) is torch.nn.BatchNorm2d]
    assert len([m for m in net.modules() if type(m) is torch.nn.SyncBatchNorm]) == len(plain)
    assert all(weights[name] is p for name, p in net.named_parameters())
    average = EMA(holder, 0.5)
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.fill_(3.0)
    average.update(holder)
    fresh = torch.nn.ModuleDict({"flow_net": FlowNet(**net.config)})
    average.copy_to(fresh)  # what was trained synchronised loads into a plain FlowNet
    means = [b for name, b in fresh.named_buffers() if name.endswith("running_mean")]
    assert len(means) == len(plain) and all((b == 3).all() for b in means)


# ------------------------------------------------------------------------------------------------------------------ logs


def test_tensorboard_holds_what_the_log_holds_and_resumes_at_its_step(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(tmp_path, 4, 0.1, steps=6, callback_every=2, tensorboard=True, **QUICK)
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), replace(run, callback=interrupt_at(4)), {})
    late = Log(tmp_path, 4, tensorboard=True)  # a run that was killed had gone further than its checkpoint
    late.add({"step": 5, "loss": 99.0}), late.__exit__()
    fit(Line(), replace(run, resume=True), {})
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    lines = read_log(tmp_path / "log.jsonl")
    assert {"loss", "grad_norm", "lr", "samples_per_second", "memory_bytes", "size"} <= set(curves.Tags()["scalars"])
    for name, steps in (("loss", [1, 2, 3, 4, 5, 6]), ("size", [2, 4, 6])):
        logged = {line["step"]: line[name] for line in lines if name in line}
        assert [event.step for event in curves.Scalars(name)] == steps == list(logged)
        assert [event.value for event in curves.Scalars(name)] == pytest.approx(list(logged.values()), rel=1e-6)


def test_only_an_active_log_writes(tmp_path):
    with Log(tmp_path, active=False, tensorboard=True) as log:
        log.add({"step": 1, "loss": 1.0})
    assert not list(tmp_path.iterdir())
    with Log(tmp_path) as log:
        log.add({"step": 1, "grad_norm": float("inf"), "loss": 0.5})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 1, "grad_norm": None, "loss": 0.5}


def test_the_bar_tells_speed_memory_and_the_end():
    line = {"step": 12, "loss": 0.25, "samples_per_second": 29.14, "memory_bytes": 3 * 2**29, "seconds": 600.0}
    now = datetime(2026, 11, 24, 23, 50).timestamp()  # a Tuesday
    assert progress_line(line, 0.5, now) == "step 12, loss 0.2500, 29.1 samples/s, 1.50 GiB, 10.0 min left, until Wed 00:00"
    assert progress_line(line, 0.05, now).endswith("1.50 GiB, 3.2 h left, until Wed 03:00")
    assert progress_line(line, 0.0, now).endswith("1.50 GiB")
    assert progress_line(line, 1.0, now).endswith("0.0 min left, until Tue 23:50")


def test_lines_and_summary_tell_the_memory(tmp_path):
    summary = fit(Line(), Run(tmp_path, 4, 0.1, steps=2, **QUICK), {})
    for told in (*read_log(tmp_path / "log.jsonl"), summary):
        assert 2**26 < told["memory_bytes"] < 2**36
