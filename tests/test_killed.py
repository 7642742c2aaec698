"""kill -9 and go on: every number that is logged and every weight that is saved is that of a run nobody touched."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from several import start, together
from torch.optim.optimizer import register_optimizer_step_pre_hook

from pix2gif_lite.learning.checkpoints import STATE_FILE, checkpoints, load_checkpoint
from pix2gif_lite.origins.loading import save_parts
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.training import train_model

STEPS, EVERY = 18, 3  # a checkpoint every three steps
OPTIONS = dict(scenes=6, targets=2, held_out=0, steps=STEPS, batch_size=4, checkpoint_every=EVERY)
OPTIONS |= dict(mixed_precision="no", progress_bar=False, log_every=1, cpu=True)


def train(weights: Path, out: Path, how: str = "") -> None:
    """A run, or the rest of one. The UNet has dropout, so that the state of torch's random generator counts."""
    torch.manual_seed(1 if how == "resume" else 0)
    options = dict(OPTIONS, init=weights, latents=weights / "latents")
    train_model(TINY, out, resume=how == "resume", callback=DYING.get(how), callback_every=1, **options)


@pytest.fixture(scope="module")
def weights(vae, tmp_path_factory) -> Path:
    """Random weights to start from, whose UNet drops a fifth of its activations in training."""
    folder = tmp_path_factory.mktemp("weights")
    parts = build_components(TINY, seed=2) | {"vae": vae}
    parts["unet"].register_to_config(dropout=0.2)
    save_parts(parts, folder)
    return folder


@pytest.fixture(scope="module")
def whole(weights, tmp_path_factory) -> Path:
    """The run that nobody touched."""
    out = tmp_path_factory.mktemp("whole")
    process = start(train, weights, out)
    process.join(120)
    assert process.exitcode == 0
    return out


def logged(out: Path) -> list[dict[str, float]]:
    """What the log says of what was learnt; times and memory are left out. A line that is half written is not there yet."""
    path = out / "log.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    names = ("step", "samples", "loss", "diffusion", "warp", "perceptual", "grad_norm", "lr")
    return [{name: line[name] for name in names} for line in lines if "loss" in line]


def saved(out: Path) -> dict[str, bytes]:
    """Every file of every part."""
    parts = ("vae", "tokenizer", "text_encoder", "motion_embedding", "flow_net", "unet")
    return {str(path.relative_to(out)): path.read_bytes() for part in parts for path in sorted((out / part).rglob("*"))}


def check_resumed(weights: Path, out: Path, whole: Path) -> None:
    """The rest of the run makes it the whole one, to the bit."""
    assert not (out / "unet").exists()
    process = start(train, weights, out, "resume")
    process.join(120)
    assert process.exitcode == 0
    assert len(logged(whole)) == STEPS and logged(out) == logged(whole)
    files = saved(whole)
    assert any(name.startswith("unet") and name.endswith(".safetensors") for name in files) and saved(out) == files
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-0000015", "step-0000018"]


def test_the_run_draws_random_numbers(whole):
    """Else the tests below would say nothing of the generators' states."""
    before, after = checkpoints(whole / "checkpoints")
    states = [torch.load(path / STATE_FILE, weights_only=True)["random"]["torch"] for path in (before, after)]
    assert not torch.equal(*states)


@pytest.mark.parametrize("seed", [0])
def test_killed_at_a_random_step(weights, whole, tmp_path, seed):
    step = int(np.random.default_rng(seed).integers(EVERY + 1, STEPS - 3))
    process = start(train, weights, tmp_path)
    ends = time.monotonic() + 120
    while len(logged(tmp_path)) < step and time.monotonic() < ends:
        time.sleep(0.005)
    process.kill()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL
    assert step <= len(logged(tmp_path)) < STEPS and checkpoints(tmp_path / "checkpoints")
    check_resumed(weights, tmp_path, whole)


# ------------------------------------------------------------------------------------- killed while a checkpoint is written


def half_written(state: dict) -> None:
    """From step 10 on no file may pass 100 kB: the kernel kills the process in the midst of writing step 12."""
    if state["step"] == 10:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def killed_at(event: str, named: str) -> Callable[[dict], None]:
    """A callback: from step 10 on, the process is killed as it is about to do that to a file of that name."""

    def watch(happening: str, args: tuple) -> None:
        if happening == event and named in str(args[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda state: sys.addaudithook(watch) if state["step"] == 10 else None


DYING = {
    "half written": half_written,
    "not renamed": killed_at("os.rename", ".writing-"),
    "the old one not removed": killed_at("shutil.rmtree", "step-"),
}
LEFT = {  # of the checkpoints, the folder of one that is being written, its bytes
    "half written": ([6, 9], 1, 100_000),
    "not renamed": ([6, 9], 1, None),
    "the old one not removed": ([6, 9, 12], 0, None),
}


@pytest.mark.parametrize("moment", LEFT)
def test_killed_while_a_checkpoint_is_written(weights, whole, tmp_path, moment):
    process = start(train, weights, tmp_path, moment)
    process.join(120)
    assert process.exitcode in (-signal.SIGKILL, -signal.SIGXFSZ)
    assert logged(tmp_path) == logged(whole)[:12]
    folder = tmp_path / "checkpoints"
    steps, writing, size = LEFT[moment]
    assert [path.name for path in checkpoints(folder)] == [f"step-{step:07d}" for step in steps]
    unfinished = list(folder.glob(f".writing-*/{STATE_FILE}"))
    assert len(unfinished) == writing
    if writing:
        exact = (folder / "step-0000009" / STATE_FILE).stat().st_size
        assert unfinished[0].stat().st_size == (size or exact) and exact > 100_000
    assert load_checkpoint(folder)["step"] == steps[-1]
    check_resumed(weights, tmp_path, whole)


# ----------------------------------------------------------------------------------------------------------- one of several


def train_together(rank: int, weights: Path, out: Path, how: str) -> None:
    """`train` in several processes; where `how` says so, process 1 is killed in the midst of its eighth step."""
    left = list(range(8))

    def die(*_: object) -> None:
        left.pop()
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    if how == "killed" and rank == 1:
        register_optimizer_step_pre_hook(die)
    train(weights, out, how)


def test_one_of_two_processes_is_killed(weights, whole, tmp_path):
    assert together(train_together, 2, tmp_path, weights, tmp_path / "whole", "") == [0, 0]
    assert together(train_together, 2, tmp_path, weights, tmp_path / "broken", "killed") == [1, -signal.SIGKILL]
    assert len(logged(tmp_path / "broken")) == 7 and not (tmp_path / "broken" / "unet").exists()
    assert together(train_together, 2, tmp_path, weights, tmp_path / "broken", "resume") == [0, 0]
    assert logged(tmp_path / "broken") == logged(tmp_path / "whole")
    assert saved(tmp_path / "broken") == saved(tmp_path / "whole")
