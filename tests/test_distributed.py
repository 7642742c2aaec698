"""Two processes train as one does: gradients, losses, logs, checkpoints and what stops them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from several import start, together
from torch.optim.optimizer import register_optimizer_step_pre_hook

from pix2gif_lite import cli
from pix2gif_lite.data.latent_cache import cache_scenes
from pix2gif_lite.data.training_data import PictureBatch
from pix2gif_lite.guidance import drop_masks
from pix2gif_lite.learning.checkpoints import load_checkpoint
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.learning.run import Run
from pix2gif_lite.learning.run_log import read_log
from pix2gif_lite.learning.training_loop import fit
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.origins.loading import load_component
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components

QUICK = dict(mixed_precision="no", progress_bar=False, log_every=1, cpu=True)
WEIGHTS = {"diffusion": 1.0, "perceptual": 0.01, "warp": 0.3, "smooth": 0.1}
OFTEN = TINY.with_changes(drop_text=0.2, drop_image=0.3, drop_both=0.2, loss_weights=WEIGHTS)
STEPS = 5


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "log.jsonl")]


# ---------------------------------------------------------------------------------------------------------- a real model


@pytest.fixture(scope="module")
def weights(vae, tmp_path_factory) -> Path:
    """The folder of an autoencoder, and latents made with it."""
    folder = tmp_path_factory.mktemp("weights")
    vae.save_pretrained(folder / "vae")
    cache_scenes(vae, folder / "latents", 6, 2, size=64, progress_bar=False)
    return folder


def model_runs(rank: int, weights: Path, out: Path) -> None:
    """Several runs of the model's job; of each the first gradients and the last weights of this process."""
    vae = load_component(weights, "vae").eval()
    latents = cache_scenes(vae, weights / "latents", 6, 2, size=64, progress_bar=False)
    whole, one_each = dict(batch_size=8), dict(batch_size=2)
    runs = {"whole": (TINY, whole), "parts": (TINY, dict(whole, accumulation=2)), "dropped": (OFTEN, one_each)}
    runs["uneven"] = TINY, dict(batch_size=5, micro_batch=2)  # of two processes: 2 and 2, then 1 and none
    runs["nothing"] = OFTEN.with_changes(drop_text=0.0, drop_image=0.0, drop_both=1.0), one_each
    for name, (preset, sizes) in runs.items():
        parts = build_components(preset, captions=latents.captions, seed=3)
        job = ModelJob(preset, Pix2GifModel.from_parts(parts, preset), parts["tokenizer"], vae, latents, seed=1)
        seen: list[dict[str, torch.Tensor]] = []
        hook = register_optimizer_step_pre_hook(lambda *_, job=job, seen=seen: seen.append(gradients(job)))
        run = Run(out / name, learning_rate=1e-3, steps=STEPS, grad_clip=1e9, **sizes, **QUICK)
        fit(job, run, {})
        hook.remove()
        save_file(seen[0], out / f"{name}-gradients-{rank}.safetensors")
        save_file({k: p.detach().contiguous() for k, p in job.model.named_parameters()}, out / f"{name}-{rank}.safetensors")


def gradients(job: ModelJob) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone().contiguous() for name, p in job.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def runs(weights, tmp_path_factory) -> tuple[Path, Path]:
    """The runs of one process, and of two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    alone = start(model_runs, 0, weights, one)
    assert together(model_runs, 2, two, weights, two) == [0, 0]
    alone.join(120)
    assert alone.exitcode == 0
    return one, two


@pytest.mark.parametrize("name", ["whole", "parts", "uneven", "dropped", "nothing"])
def test_gradients_are_those_of_the_whole_batch(runs, name):
    one, two = runs
    expected = load_file(one / f"{name}-gradients-0.safetensors")
    assert {key.split(".")[1] for key in expected} >= {"text_encoder", "flow_net", "unet"}
    size = torch.stack([value.norm() for value in expected.values()]).norm()
    assert size > 1e-2
    for rank in (0, 1):
        found = load_file(two / f"{name}-gradients-{rank}.safetensors")
        assert found.keys() == expected.keys()
        for key in expected:
            torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-5)
        apart = torch.stack([(found[key] - value).norm() for key, value in expected.items()]).norm()
        assert apart < 1e-5 * size


@pytest.mark.parametrize("name", ["whole", "parts", "uneven", "dropped", "nothing"])
def test_the_log_is_of_the_whole_batch_and_all_hold_the_same_weights(runs, name):
    one, two = runs
    alone, both = (read_log(out / name / "log.jsonl") for out in runs)
    assert len(both) == STEPS and [line["samples"] for line in both] == [line["samples"] for line in alone]
    # a norm adds up all gradients, so that it differs more where a CPU's products round otherwise: 2e-5 on one with AVX2
    for term, rel in {"loss": 1e-5, "diffusion": 1e-5, "warp": 1e-5, "perceptual": 1e-5, "grad_norm": 5e-5}.items():
        assert [line[term] for line in both] == pytest.approx([line[term] for line in alone], rel=rel, abs=1e-7), term
    first, second = (load_file(two / f"{name}-{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    expected = load_file(one / f"{name}-0.safetensors")
    apart = torch.cat([(first[key] - value).flatten() for key, value in expected.items()])
    assert apart.abs().quantile(0.99) < 1e-5  # Adam makes a step of any gradient, of a rounding error's too
    summary = json.loads((two / name / "summary.json").read_text())
    assert summary["loss"] == both[-1]["loss"]


def test_a_process_may_have_nothing_but_dropped_pictures():
    """What the runs "dropped" went through, one sample a process: both kept, one, none."""
    dropped = drop_masks(range(2 * STEPS), 1, OFTEN).image.view(STEPS, 2).sum(1)
    assert set(dropped.tolist()) == {0, 1, 2}


# ---------------------------------------------------------------------------------------------------------- a small job


class Halves(torch.nn.Module):
    """Even samples pull at one weight, odd ones at another, so that a process with one sample never has both."""

    def __init__(self, explode_at: int | None = None, interrupt_at: int | None = None) -> None:
        super().__init__()
        self.even, self.odd = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3))
        self.explode_at, self.interrupt_at = explode_at, interrupt_at

    def batch(self, numbers):
        if self.interrupt_at in numbers:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, in the process of this sample alone
        return PictureBatch(torch.tensor([float(n) for n in numbers]), None, None, list(numbers))

    def forward(self, batch):
        count, terms = len(batch.numbers), {}
        for name, parity in (("even", 0), ("odd", 1)):
            own = batch.image[batch.image % 2 == parity]
            if len(own):
                terms[name] = (getattr(self, name) - own[:, None]).square().sum() / count
        loss = sum(terms.values())
        return {"loss": loss if self.explode_at not in batch.numbers else loss * torch.nan, **terms}

    def measure(self):
        return {}


def small_runs(rank: int, out: Path) -> None:
    """Whole; interrupted in the process of sample 11 alone and resumed; ended by a loss that only sample 13 makes."""
    said = []
    run = Run(out / "whole", 2, 0.1, steps=10, ema_decay=0.5, **QUICK)
    jobs = [Halves(), Halves(interrupt_at=11), Halves(), Halves(explode_at=13)]
    outs = [dict(out=out / name) for name in ("whole", "broken", "broken", "nan")]
    for job, change in zip(
        jobs, [outs[0], outs[1], outs[2] | dict(resume=True), outs[3] | dict(checkpoint_every=2)], strict=True
    ):
        try:
            fit(job, replace(run, **change), {})
            said.append([job.even.tolist(), job.odd.tolist()])
        except (KeyboardInterrupt, FloatingPointError) as error:
            said.append(str(error))
    (out / f"said-{rank}.json").write_text(json.dumps(said))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, Path]:
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    alone = start(small_runs, 0, one)
    assert together(small_runs, 2, two, two) == [0, 0]
    alone.join(120)
    return one, two


def test_a_weight_that_one_process_does_not_use_is_trained_by_the_other(small):
    one, two = small
    alone, both = (read_log(out / "whole" / "log.jsonl") for out in small)
    for line, expected in zip(both, alone, strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert line["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-5)
        assert {"even", "odd"} < line.keys()  # each term from the process that has it
    (expected, *_), (first, *_), (second, *_) = (
        json.loads(p.read_text()) for p in sorted(one.glob("s*")) + sorted(two.glob("s*"))
    )
    assert first == second
    torch.testing.assert_close(torch.tensor(first), torch.tensor(expected), rtol=1e-5, atol=1e-6)
    assert min(first[0] + first[1]) > 0.1


def test_ctrl_c_in_one_process_stops_all_at_the_same_step(small):
    _, two = small
    whole, stopped, resumed, _ = json.loads((two / "said-0.json").read_text())
    assert stopped.startswith("Training stopped after step 6;")
    assert json.loads((two / "said-1.json").read_text())[1] == stopped
    assert resumed == whole and losses(two / "broken") == losses(two / "whole")


def test_a_loss_that_is_not_finite_in_one_process_stops_all(small):
    said = [json.loads((small[1] / f"said-{rank}.json").read_text())[3] for rank in (0, 1)]
    assert said[0] == said[1] and said[0].startswith("The loss is nan at step 7")
    assert load_checkpoint(small[1] / "nan" / "checkpoints")["step"] == 6


# ------------------------------------------------------------------------------------------------------ as users start it


def test_the_command_trains_in_two_processes_as_in_one(weights, tmp_path):
    """`torchrun ... -m pix2gif_lite.cli train`: one set of files, the losses of one process."""
    command = ["-m", "pix2gif_lite.cli", "train", "model", "--preset", "tiny", "--vae", str(weights), "--cpu", "--steps", "2"]
    command += ["--scenes", "6", "--batch-size", "4", "--mixed-precision", "no"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    program = [sys.executable, *torchrun, *command, "--out", str(tmp_path / "two")]
    two = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert cli.main([*command[2:], "--out", str(tmp_path / "one")]) == 0
    said = two.communicate(timeout=240)[0]
    assert two.returncode == 0, said
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    files = [{str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*")} for name in ("one", "two")]
    assert files[0] == files[1]
    for part in ("unet", "flow_net"):
        one, two = (load_component(tmp_path / name, part).state_dict() for name in ("one", "two"))
        assert all(torch.allclose(two[key], one[key], atol=1e-4) for key in one)
    assert said.count("trained for 2 steps") == 1  # the first process alone speaks
