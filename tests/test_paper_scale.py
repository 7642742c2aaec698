"""The paper's scale end to end, on a small checkpoint in the parents' layout: the README's commands and what they leave."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_reference_checkpoint import VOCABULARY, lightning, make_reference, written

from pix2gif_lite import cli
from pix2gif_lite.data import pair_latents
from pix2gif_lite.media.clips import read_frames
from pix2gif_lite.origins.loading import PARTS, load_component
from pix2gif_lite.origins.parents import load_parent
from pix2gif_lite.origins.small_parent import write_small_parent
from pix2gif_lite.origins.starting import starting_parts
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import PAPER
from pix2gif_lite.text import train_tokenizer
from pix2gif_lite.training import train_model

ROOT = Path(__file__).parent.parent
FEWER = ["--steps", "2", "--batch-size", "2", "--micro-batch", "1", "--mixed-precision", "no", "--device", "cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with `parent`, a small InstructPix2Pix, `vae`, another autoencoder for it, and `my_data`, curated."""
    folder = tmp_path_factory.mktemp("paper")
    write_small_parent(folder / "parent")
    write_small_parent(folder / "other", seed=1)
    shutil.move(folder / "other" / "vae", folder / "vae")
    assert cli.main(["scenes", "--out", str(folder / "gifs"), "--count", "4"]) == 0
    assert cli.main(["curate", str(folder / "gifs"), "--out", str(folder / "my_data"), "--workers", "1"]) == 0
    return folder


def readme_commands() -> list[list[str]]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## The paper's scale")[1].split("\n## ")[0]
    lines = [line for block in re.findall(r"```bash\n(.*?)```", section, re.S) for line in block.strip().splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def as_here(arguments: list[str]) -> list[str]:
    """A command of the README on the small parent, for two steps."""
    here = {"timbrooks/instruct-pix2pix": "parent", "stabilityai/sd-vae-ft-mse": "vae"}
    arguments = [here.get(word, word) for word in arguments]
    return arguments + (FEWER if arguments[0] == "train" else ["--steps", "2", "--motion", "4,8"])


def test_the_commands_of_the_readme_on_a_small_parent(place, tmp_path, monkeypatch):
    commands = readme_commands()
    assert [Path(words[0]).name for words in commands[:3]] == ["pip", "pix2gif-lite", "pix2gif-lite"]
    for name in ("parent", "vae", "my_data"):
        (tmp_path / name).symlink_to(place / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    train, generate = (as_here(words[1:]) for words in commands[1:3])
    assert cli.main(train) == 0 and cli.main(generate) == 0
    assert len(read_frames(tmp_path / "mine.gif")[0]) == 2

    summary = json.loads((tmp_path / "my_weights" / "summary.json").read_text())
    assert summary["steps"] == 2 and summary["samples"] == 4
    index = json.loads((tmp_path / "my_weights" / "model_index.json").read_text())
    assert index["prediction_type"] == "epsilon" and index["sampler"] == "euler_ancestral" and index["image_size"] == 256
    card = (tmp_path / "my_weights" / "README.md").read_text()
    assert "`parent`" in card and "perceptual loss | decoder" in card and str(tmp_path) not in card
    assert "| vae | vae |" in card
    configs = [file.read_text() for file in (tmp_path / "my_weights").glob("*/config.json")]
    assert len(configs) == 5 and not any('"_name_or_path": "parent' in text for text in configs)
    # What was frozen is the parent's, the VAE the other one's; what was to learn has learnt.
    saved = {name: load_component(tmp_path / "my_weights", name) for name in PARTS}
    parent, preset = load_parent(place / "parent", PAPER)
    other = load_component(place / "vae", "vae").state_dict()
    assert all(torch.equal(value, other[key]) for key, value in saved["vae"].state_dict().items())
    before = parent["text_encoder"].state_dict()
    assert all(torch.equal(value, before[key]) for key, value in saved["text_encoder"].state_dict().items())
    for name in ("unet", "flow_net", "motion_embedding"):
        before = parent[name].state_dict()
        assert any(not torch.equal(value, before[key]) for key, value in saved[name].state_dict().items()), name
    assert saved["unet"].conv_in.weight[:, 8:].abs().max() > 0  # z_W is being read


def test_the_small_card_recipe_of_the_readme(place, tmp_path, monkeypatch):
    (words,) = [words for words in readme_commands() if "--lora" in words]
    monkeypatch.chdir(place)
    out = tmp_path / "out"
    arguments = as_here(words[1:])
    arguments[arguments.index("--out") + 1] = str(out)
    assert cli.main([*arguments, "--tensorboard"]) == 0
    assert any((out / "texts").glob("*.safetensors")) and list(out.rglob("events.out.tfevents*"))
    unet, (parent, _) = load_component(out, "unet"), load_parent(place / "parent", PAPER)
    before = parent["unet"].state_dict()
    after = unet.state_dict()
    assert after.keys() == before.keys()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed and all(".attn" in key or key == "conv_in.weight" for key in changed)  # the adapters are merged
    assert torch.equal(after["conv_in.weight"][:, :8], before["conv_in.weight"][:, :8])
    # Other sizes and aspects than it was trained at.
    pipe = Pix2GifPipeline.from_pretrained(out, image_size=64)
    frames = pipe(torch.zeros(3, 64, 128), "a red balloon is rising", [8], steps=1).frames
    assert frames[0].size == (128, 64)


@pytest.fixture(scope="module")
def alone(place, tmp_path_factory) -> tuple[Path, str]:
    """The README's training by one process, stopped by Ctrl-C while its data were encoded and started again; what was said."""
    out, errors = tmp_path_factory.mktemp("alone") / "out", io.StringIO()
    arguments = launched(out)
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stderr(errors):
        patched.chdir(place)
        with patched.context() as stopping:
            stopping.setattr(pair_latents, "encode", lambda *_: os.kill(os.getpid(), signal.SIGINT))
            assert cli.main(arguments) == 130
        assert cli.main(arguments) == 0  # without --resume
    return out, errors.getvalue()


def launched(out: Path) -> list[str]:
    """The arguments of what the README starts by accelerate, written to `out`."""
    (words,) = [words for words in readme_commands() if Path(words[0]).name == "accelerate"]
    assert words[1:4] == ["launch", "-m", "pix2gif_lite.cli"]
    arguments = as_here(words[4:])
    arguments[arguments.index("--out") + 1] = str(out)
    return [*arguments, "--batch-size", "4"]  # two samples a step for each of two processes


def test_several_processes_train_as_one_and_one_of_them_writes(place, alone, tmp_path):
    start = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--dynamo_backend", "no", "--mixed_precision", "no"]
    program = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *start,
        "--main_process_port",
        "0",
        "-m",
        "pix2gif_lite.cli",
        *launched(tmp_path),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, cwd=place, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("trained for 2 steps") == 1
    results = [json.loads((out / "summary.json").read_text()) for out in (alone[0], tmp_path)]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-3)  # batch norm sees half of the batch on a CPU


def test_the_reference_is_a_start_too(place, tmp_path, capsys):
    """`train --init model.ckpt`: a file in the reference's layout, with a tokenizer from a folder."""
    path, out, tokenizer = tmp_path / "model.ckpt", tmp_path / "out", str(tmp_path / "tokenizer")
    torch.save(lightning(written(*make_reference())), path)
    train_tokenizer(["a red balloon is rising"] * 20, VOCABULARY, 77).save_pretrained(tokenizer)
    preset = PAPER.with_changes(image_size=128, perceptual_network="decoder")  # its autoencoder halves twice: 4 x 32 x 32
    few = {"steps": 1, "batch_size": 2, "micro_batch": 1, "held_out": 0, "cpu": True, "mixed_precision": "no"}
    train_model(preset, out, init=path, tokenizer=tokenizer, data=place / "my_data", progress_bar=False, **few)
    start = starting_parts(str(path), PAPER, tokenizer=tokenizer)
    assert start.kind == "reference" and start.preset.flow_mode == "absolute"
    assert load_component(out, "flow_net").config.flow_mode == "absolute"
    before, after = start.parts["unet"].conv_in.weight, load_component(out, "unet").conv_in.weight
    assert 0 < (before - after).abs().max() < 1e-4  # a step of the warm-up
    options = ["--data", str(place / "my_data"), "--init", str(path), "--tokenizer", str(tmp_path / "none"), "--out", str(out)]
    assert cli.main(["train", "--preset", "paper", *options, "--resume"]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "cuda"], "The device 'cuda' is not on this machine"),
        (["--lora", "4", "--only", "warp"], "--lora adapts the UNet"),
        (["--push", "no name"], "is no name on the Hub"),
        (["--mixed-precision", "fp16"], "fp16"),
        (["--perceptual", "vgg19"], "torchvision"),
        (["--vae", "lite"], "lite"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_nothing(place, tmp_path, capsys, options, said):
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    start = ["train", "--preset", "paper", "--data", str(place / "my_data"), "--init", str(place / "parent"), "--steps", "1"]
    more = [] if "--device" in options else ["--device", "cpu"]
    assert cli.main([*start, "--out", str(tmp_path / "out"), *more, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error and error.count("Traceback") == 0
    assert not (tmp_path / "out" / "unet").exists()


@pytest.mark.parametrize(
    ("harm", "kind", "said"),
    [
        ("empty", FileNotFoundError, "holds no vae, no tokenizer, no text_encoder, no unet, and no model_index.json"),
        ("an autoencoder alone", FileNotFoundError, "holds no tokenizer, .* give it as vae"),
        ("no index", FileNotFoundError, "no motion_embedding, no flow_net, and no model_index.json"),
        ("a broken index", ValueError, "model_index.json' cannot be used, it is not readable as JSON"),
        ("Flux", ValueError, "The FluxPipeline in .* has no unet: give Stable Diffusion v1.5"),
    ],
)
def test_folders_that_nothing_can_start_from(harm, kind, said, place, tmp_path):
    folder = tmp_path / "weights"
    if harm == "empty":
        folder.mkdir()
    elif harm == "an autoencoder alone":
        shutil.copytree(place / "vae", folder / "vae")
    else:
        shutil.copytree(place / "parent", folder)
        index = folder / "model_index.json"
        if harm == "no index":
            index.unlink()
        elif harm == "a broken index":
            index.write_text("{")
        else:
            kinds = {name: entry for name, entry in json.loads(index.read_text()).items() if name != "unet"}
            index.write_text(json.dumps(kinds | {"_class_name": "FluxPipeline", "transformer": ["diffusers", "Flux"]}))
    with pytest.raises(kind, match=said):
        starting_parts(folder, PAPER)


def test_the_weights_that_a_training_starts_from_are_not_written_over(place, tmp_path, capsys):
    shutil.copytree(place / "parent", tmp_path / "parent")
    before = (tmp_path / "parent" / "unet" / "config.json").read_bytes()
    arguments = ["train", "--preset", "paper", "--data", str(place / "my_data"), "--init", str(tmp_path / "parent")]
    assert cli.main([*arguments, "--out", str(tmp_path / "parent" / "."), *FEWER]) == 2
    assert "give another --out" in capsys.readouterr().err
    assert (tmp_path / "parent" / "unet" / "config.json").read_bytes() == before


def test_ctrl_c_before_the_first_step_does_not_promise_a_checkpoint(alone):
    """While data are encoded there is nothing to resume: the same command goes on with what is encoded."""
    out, said = alone
    stopped = f"Stopped. What is encoded in {out} is kept: the same command goes on."
    assert [line for line in said.splitlines() if line.startswith("Stopped")] == [stopped]
    assert json.loads((out / "summary.json").read_text())["steps"] == 2


def test_lite_trains_its_text_and_so_cannot_cache_it(capsys, tmp_path):
    assert cli.main(["train", "--cache-text", "--out", str(tmp_path / "out")]) == 2
    assert "--cache-text" in capsys.readouterr().err
