"""The command line through `main([...])`: what it makes, and that bad input is one sentence, code 2 and no file."""

import csv
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite import cli
from pix2gif_lite.command_line.options import BadOption
from pix2gif_lite.gifs import read_frames
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import SLIDERS, TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import sample_scenes

CAPTION = "a red balloon is rising"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    Pix2GifPipeline.from_components(TINY, build_components(TINY, [CAPTION] * 20)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Good and bad picture files, by name."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = sample_scenes(1, seed=3)[0].at(0, 96).image[0].permute(1, 2, 0)
    good = Image.fromarray(((pixels + 1) * 127.5).round().to(torch.uint8).numpy())
    good.save(folder / "good.png")
    data = (folder / "good.png").read_bytes()
    (folder / "truncated.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("1", (40_000, 40_000)).save(folder / "huge.png")
    return folder


@pytest.fixture
def generate(weights, pictures, tmp_path, monkeypatch):
    """`generate` with options replaced (None: left out), in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*extra, **options):
        options = {"image": str(pictures / "good.png"), "caption": CAPTION, "motion": "2,8", "weights": weights} | options
        options = {"device": "cpu", "steps": 1} | options
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items() if value is not None]
        return cli.main(["generate", *(word for pair in pairs for word in pair), *extra])

    return run


def test_generate(generate, pictures, tmp_path, capsys):
    assert generate(motion="0,2,8.5", out="a.gif", fps=5, loop="none", steps=2) == 0
    text = capsys.readouterr().out
    frames, durations = read_frames(tmp_path / "a.gif")
    assert [frame.size for frame in frames] == [(96, 96)] * 3 and durations == [200] * 3
    assert "a.gif: 3 frames of 96 x 96 px" in text
    for stage in ("import", "load", "encode", "condition", "sample", "decode", "save"):
        assert f"{stage} " in text
    rows = [line.split() for line in text.splitlines() if line.split()[0].isdigit()]
    assert [row[:2] for row in rows] == [["1", "0"], ["2", "2"], ["3", "8.5"]]
    assert rows[0][2] == "0.0"
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_generate_equals_the_pipeline(generate, weights, pictures, tmp_path):
    options = {"sampler": "euler_ancestral", "steps": 2, "s_T": 3.0, "s_I": 1.5, "s_M": 2.0, "seed": 5}
    assert generate("--no-detail", out="a.webp", size=64, palette="frame", noise="independent", **options) == 0
    assert read_frames(tmp_path / "a.webp")[0][0].size == (64, 64)
    assert generate(out="a.gif", **options) == 0
    assert generate(out="b.gif", **options) == 0
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    out = Pix2GifPipeline.from_pretrained(weights)(pictures / "good.png", CAPTION, [2, 8], **options)
    assert out.save(tmp_path / "c.gif").read_bytes() == (tmp_path / "a.gif").read_bytes()


BAD = {
    "missing picture": ({"image": "nothing.png"}, r"nothing\.png"),
    "folder as picture": ({"image": "."}, "'.' is a folder"),
    "zero bytes": ({"image": "empty.png"}, r"empty\.png.*empty"),
    "truncated": ({"image": "truncated.png"}, r"truncated\.png.*damaged"),
    "text as png": ({"image": "text.png"}, r"text\.png.*damaged"),
    "1 x 1": ({"image": "dot.png"}, "1 x 1"),
    "40,000 x 40,000": ({"image": "huge.png"}, r"huge\.png.*pixels"),
    "empty caption": ({"caption": " "}, "caption"),
    "no caption": ({"caption": None}, "caption"),
    "negative": ({"motion": "-3"}, "-3"),
    "negative in a list": ({"motion": "-3,4"}, "-3"),
    "nan": ({"motion": "2,nan"}, "nan"),
    "no number": ({"motion": "2,far"}, "'far'"),
    "above the table": ({"motion": "2,32"}, "32.*31"),
    "empty list": ({"motion": ""}, "empty"),
    "only commas": ({"motion": ",,"}, "empty"),
    "10,000 frames": ({"motion": ",".join(["5"] * 10_000)}, "10000"),
    "steps 0": ({"steps": "0"}, "steps.*'0'"),
    "half a step": ({"steps": "1.5"}, "'1.5'"),
    "fps": ({"fps": "0"}, "fps.*'0'"),
    "scale": ({"s_T": "nan"}, "'nan'"),
    "seed": ({"seed": "-1"}, "'-1'"),
    "sampler": ({"sampler": "heun"}, "'heun'.*dpmpp_2m"),
    "noise": ({"noise": "pink"}, "'pink'"),
    "loop": ({"loop": "boomerang"}, "'boomerang'"),
    "device": ({"device": "abacus"}, "'abacus'"),
    "cuda that is not here": ({"device": "cuda:99"}, "'cuda:99'"),
    "weights": ({"weights": "no-such-weights"}, "'no-such-weights'"),
    "weights are a picture folder": ({"weights": "PICTURES"}, "model_index.json"),
    "weights are pickles": ({"weights": "PICKLES"}, "pickle.*safetensors"),
    "output folder": ({"out": "nowhere/a.gif"}, "'nowhere' does not exist"),
    "output format": ({"out": "a.txt"}, r"'a\.txt'.*\.gif"),
    "output is a folder": ({"out": "."}, "'.'"),
    "output cannot be written": ({"out": "/proc/a.gif"}, "/proc/a.gif"),
}


def test_generate_with_large_weights_in_mind(generate, pictures, weights, tmp_path, capsys):
    options = {"dtype": "bfloat16", "image_size": 32, "frames_at_once": 1}
    assert generate("--tiling", "--no-detail", out="a.gif", **options) == 0
    pipe = Pix2GifPipeline.from_pretrained(weights, torch_dtype=torch.bfloat16)
    settings = {"steps": 1, "image_size": 32, "frames_at_once": 1, "detail": False}
    pipe(pictures / "good.png", CAPTION, [2, 8], **settings).save(tmp_path / "b.gif")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    capsys.readouterr()
    assert generate(out="c.gif", offload="model") == 2
    assert capsys.readouterr().err.strip() == "--offload model keeps weights off a GPU, and there is none: leave it out."


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_nothing_written(name, generate, weights, pictures, tmp_path, tmp_path_factory, capsys):
    options, words = BAD[name]
    options = dict(options)
    if options.get("image", "").endswith(".png"):
        options["image"] = str(pictures / options["image"])
    if options.get("weights") == "PICTURES":
        options["weights"] = str(pictures)
    if options.get("weights") == "PICKLES":
        folder = tmp_path_factory.mktemp("pickles") / "w"
        shutil.copytree(weights, folder)
        (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
        options["weights"] = str(folder)
    assert generate(**options) == 2
    text, error = capsys.readouterr()
    assert error.count("\n") == 1 and error.endswith(".\n"), error
    assert text == ""
    assert re.search(words, error), error
    assert list(tmp_path.iterdir()) == []


def test_motion_outside_the_trained_range_is_a_note(generate, capsys):
    assert generate(motion="1,25") == 0
    assert capsys.readouterr().err.startswith("Note: Motion 1, 25 is outside 2-20")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["fly"], "'fly'"),
        (["generate", "--colour"], "--colour"),
        (["train"], "--out"),
        (["train", "--out", "x", "--preset", "huge"], "'huge'"),
        (["train", "--out", "x", "--preset", "tiny"], "train autoencoder"),
        (["train", "--out", "x", "--data", "."], "pairs.parquet"),
        (["train", "--out", "x", "--data", "nowhere"], "'nowhere'"),
        (["train", "--out", "x", "--data", ".", "--photos", "3"], "gifs=0.5"),
        (["train", "--out", "x", "--mix", "photos=1"], "say how many photos"),
        (["train", "decoder", "--out", "x", "--init", "lite", "--mix", "photo=1"], "'photo'"),
        (["train", "autoencoder", "--out", "x", "--mix", "scenes=1"], "--mix"),
        (["train", "autoencoder", "--out", "x", "--data", "nowhere"], "'nowhere'"),
        (["train", "autoencoder", "--out", "x", "--vae", "y"], "--vae"),
        (["train", "autoencoder", "--out", "x", "--text", "lite"], "--text"),
        (["train", "--out", "x", "--text", "no-such-weights"], "'no-such-weights'"),
        (["train", "--out", "x", "--vae", "no-such-weights"], "'no-such-weights'"),
        (["train", "--out", "x", "--init", "no-such-weights"], "'no-such-weights'"),
        (["train", "--out", "/proc/x"], "'/proc'"),
        (["train", "--out", "x", "--only", "text"], "'text'"),
        (["train", "decoder", "--out", "x"], "--init"),
        (["train", "decoder", "--out", "x", "--init", "lite", "--only", "warp"], "--only"),
        (["train", "--out", "x", "--loss", "wrap=1"], "'wrap'"),
        (["train", "autoencoder", "--out", "x", "--loss", "warp=1"], "--loss"),
        (["train", "--out", "x", "--photo-share", "0.2"], "--photo-share is for `train autoencoder` and `train decoder`"),
        (["train", "--out", "x", "--only", "warp", "--cache-text"], "--cache-text: the preset lite trains its text encoder"),
        (["train", "--out", "x", "--steps", "0"], "'0'"),
        (["train", "--out", "x", "--minutes", "nan"], "'nan'"),
        (["train", "autoencoder", "--out", "x", "--preset", "tiny", "--photo-share", "0", "--resume"], "resume|checkpoint"),
        (["scenes"], "--out"),
        (["scenes", "--out", "x", "--count", "0"], "'0'"),
        (["scenes", "--out", "x", "--split", "holiday"], "'holiday'"),
        (["scenes", "--out", "nowhere/x.png"], "'nowhere'"),
        (["info", "--weights", "no-such-weights"], "'no-such-weights'"),
        (["evaluate", "--weights", "no-such-weights"], "'no-such-weights'"),
        (["evaluate", "--scenes", "0"], "'0'"),
    ],
    ids=str,
)
def test_bad_options_of_other_commands(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert re.search(words, error), error
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- what may happen halfway


@contextmanager
def files_of_at_most(size):
    """The system refuses to write further, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def ctrl_c_at_call(kind, number):
    """A real SIGINT to this process at the number-th call of a module of that class."""
    calls = []

    def hook(module, args):
        if type(module).__name__ == kind:
            calls.append(1)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGINT)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        yield calls
    finally:
        handle.remove()


def test_a_full_disk_leaves_nothing(generate, tmp_path, capsys):
    (tmp_path / "out.gif").write_text("the one before")
    with files_of_at_most(2000):
        code = generate()
    error = capsys.readouterr().err
    assert code == 2 and "out.gif" in error and error.count("\n") == 1
    assert (tmp_path / "out.gif").read_text() == "the one before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


def test_a_full_disk_under_a_sheet(tmp_path, capsys):
    with files_of_at_most(2000):
        assert cli.main(["scenes", "--out", str(tmp_path / "sheet.png"), "--count", "4"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_generation(generate, tmp_path, capsys):
    with ctrl_c_at_call("Pix2GifModel", 2) as calls:
        assert generate(steps=5) == 130
    assert len(calls) == 2
    assert capsys.readouterr().err.startswith("Stopped.")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------- other commands


def test_train_resume_and_use(tmp_path, generate, capsys):
    autoencoder = ["train", "autoencoder", "--preset", "tiny", "--photo-share", "0", "--cpu", "--out", "ae", "--steps", "2"]
    assert cli.main([*autoencoder, "--samples-every", "1"]) == 0
    assert "ae: trained for 2 steps" in capsys.readouterr().out
    with Image.open(tmp_path / "ae" / "samples" / "step-0000002.png") as sheet:
        assert sheet.width > 8 * TINY.image_size
    assert cli.main(autoencoder) == 2  # the folder holds a run
    assert "resume" in capsys.readouterr().err

    model = ["train", "--preset", "tiny", "--vae", "ae", "--out", "model", "--scenes", "4", "--cpu", "--steps", "4"]
    with ctrl_c_at_call("ModelJob", 2):
        assert cli.main([*model, "--samples-every", "4"]) == 130
    assert "--resume" in capsys.readouterr().err
    assert list((tmp_path / "model" / "checkpoints").iterdir())
    assert not (tmp_path / "model" / "unet").exists()
    assert cli.main([*model, "--samples-every", "4", "--resume"]) == 0
    assert "model: trained for 4 steps" in capsys.readouterr().out
    frames, _ = read_frames(tmp_path / "model" / "samples" / "step-0000004-0.gif")
    assert frames[0].size == (TINY.image_size, TINY.image_size) and len(frames) > 2
    assert generate(weights="model") == 0
    assert Pix2GifPipeline.from_pretrained("model").config.preset == "tiny"


@pytest.mark.usefixtures("no_compiler")
def test_a_compiler_that_fails_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    autoencoder = ["train", "autoencoder", "--preset", "tiny", "--photo-share", "0", "--cpu", "--out", "ae", "--steps", "2"]
    assert cli.main([*autoencoder, "--compile"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"torch\.compile failed \(.+\): leave compile out, or see that a C\+\+ compiler works\.", error)


def test_scenes_as_a_sheet(tmp_path, capsys):
    path = tmp_path / "sheet.png"
    assert cli.main(["scenes", "--out", str(path), "--count", "6", "--split", "val", "--size", "64", "--seed", "2"]) == 0
    assert "6 scenes of val" in capsys.readouterr().out
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    first = sample_scenes(1, "val", 2)[0].at(0, 64).image[0]
    levels = ((first + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert any((pixels[y : y + 64, x : x + 64] == levels).all() for y in range(12) for x in range(12))


def test_scenes_as_gifs_with_their_exact_motion(tmp_path, capsys):
    folder = tmp_path / "gifs"
    assert cli.main(["scenes", "--out", str(folder), "--count", "2", "--split", "test"]) == 0
    rows = list(csv.DictReader((folder / "captions.csv").open()))
    assert [row["file"] for row in rows] == ["00000.gif", "00001.gif"] == sorted(p.name for p in folder.glob("*.gif"))
    assert [row["caption"] for row in rows] == [scene.caption for scene in sample_scenes(2, "test")]
    for row in rows:
        frames, _ = read_frames(folder / row["file"])
        asked = [float(m) for m in row["motions"].split()]
        errors = [abs(motion_magnitude(frames[0], frame) - m) for frame, m in zip(frames, asked, strict=False)]
        assert np.median(errors) < 0.7  # a palette of 256 colours included
    assert cli.main(["scenes", "--out", str(folder), "--count", "1"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_info(weights, capsys):
    assert cli.main(["info", "--weights", weights]) == 0
    text = capsys.readouterr().out
    for words in ("pix2gif-lite", torch.__version__, "unet", "M parameters", "tiny", "Apache-2.0", weights):
        assert words in text
    assert "in 5 safetensors files" in text and "Apache-2.0, the program's;" in text


def test_help_is_quick_and_complete(capsys):
    for command in ("generate", "train", "scenes", "evaluate", "info"):
        assert cli.main([command, "--help"]) == 0
        assert len(capsys.readouterr().out) > 100
    code = (
        "import sys; from pix2gif_lite import cli; cli.main(['generate', '--help']); print([m for m in %r if m in sys.modules])"
    )
    heavy = ("torch", "numpy", "cv2", "PIL", "diffusers", "transformers")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_defaults_come_from_the_sliders():
    args = cli.build_parser().parse_args(["generate"])
    assert (args.fps, args.seed) == (SLIDERS["fps"].default, SLIDERS["seed"].default)
    assert args.motion == "2,4,6,8,11,13,16,19"
    for name, slider in SLIDERS.items():
        flag = {"s_T": "--s-T", "s_I": "--s-I", "s_M": "--s-M"}.get(name, f"--{name}")
        if name in ("motion", "frames"):
            continue
        for value in (slider.minimum, slider.maximum):
            assert getattr(cli.build_parser().parse_args(["generate", flag, f"{value:.0f}"]), name) == value
        with pytest.raises(BadOption, match=re.escape(name)):
            cli.build_parser().parse_args(["generate", flag, str(slider.maximum + slider.step)])
