"""The Hub: only what is needed comes down and goes up; a Hub that fails, and a folder that is not whole, in one sentence."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from huggingface_hub import constants
from local_hub import TOKEN, local_hub

from pix2gif_lite.origins.completeness import check_complete
from pix2gif_lite.origins.hub import fetch, push, wanted
from pix2gif_lite.origins.loading import load_component, load_part
from pix2gif_lite.pipeline import Pix2GifPipeline

NAME = "owner/name"
DECOYS = {  # beside the weights in Stable Diffusion's own repositories, gigabytes each
    name: b"not to be asked for"
    for name in (
        "v1-5-pruned.safetensors",
        "v1-5-pruned-emaonly.ckpt",
        "v1-inference.yaml",
        ".gitattributes",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "unet/diffusion_flax_model.msgpack",
        "unet/old/diffusion_pytorch_model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "text_encoder/model.onnx",
        "safety_checker/model.safetensors",
        "safety_checker/config.json",
        "feature_extractor/preprocessor_config.json",
        "checkpoints/step-20.safetensors",
    )
}


def as_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def saved(pipe, tmp_path_factory):
    """The folder of a pipeline, never changed."""
    folder = tmp_path_factory.mktemp("saved") / "weights"
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture()
def folder(saved, tmp_path):
    """A copy of it, to break."""
    return Path(shutil.copytree(saved, tmp_path / "weights"))


def test_a_pipeline_from_the_hub_makes_the_same_frames(pipe, picture, saved, hub):
    hub.repositories[NAME] = as_files(saved) | DECOYS | {"README.md": b"---\nlicense: mit\n---\n"}
    again = Pix2GifPipeline.from_pretrained(NAME)
    one, two = (p(picture, "a red balloon is rising", [3, 17], seed=4) for p in (pipe, again))
    assert torch.equal(one.flow, two.flow)
    assert all(np.array_equal(a, b) for a, b in zip(one.frames, two.frames, strict=True))
    assert hub.files("GET") == {*as_files(saved), "README.md"}
    assert hub.files("HEAD") == hub.files("GET")
    hub.requests.clear()
    assert as_files(fetch(NAME)).keys() == {*as_files(saved), "README.md"}
    assert not hub.files("GET") and len(hub.requests) <= 3  # what is there is not asked for again


def test_one_part_of_a_pipeline_and_a_repository_of_one_part(pipe, saved, hub):
    hub.repositories[NAME] = as_files(saved) | DECOYS
    vae = load_component(NAME, "vae")
    assert all(torch.equal(a, b) for a, b in zip(vae.state_dict().values(), pipe.vae.state_dict().values(), strict=True))
    assert hub.files("GET") == {"vae/config.json", "vae/diffusion_pytorch_model.safetensors"}

    root = {name.removeprefix("vae/"): data for name, data in as_files(saved).items() if name.startswith("vae/")}
    others = {"diffusion_pytorch_model.bin": b"", "diffusion_pytorch_model.fp16.safetensors": b"", "old/config.json": b"{}"}
    hub.repositories["owner/vae"] = root | others
    hub.requests.clear()
    place = fetch("owner/vae", part="vae")
    assert as_files(place) == root and hub.files("GET") == root.keys()
    assert fetch("owner/vae", part="vae", local_files_only=True) == place


def test_a_tokenizer_alone(saved, hub):
    """Of a pipeline, and of a repository such as CLIP's, where it lies at the root beside weights of gigabytes."""
    hub.repositories[NAME] = as_files(saved) | DECOYS
    assert as_files(fetch(NAME, part="tokenizer")) == as_files(saved / "tokenizer")
    files = as_files(saved / "tokenizer")
    hub.repositories["owner/clip"] = files | dict.fromkeys(("config.json", "model.safetensors", "README.md"), b"")
    assert as_files(fetch("owner/clip", part="tokenizer")) == files
    assert {name for name in hub.files("GET") if "/" not in name} == files.keys()
    old = {"vocab.json": b"{}", "merges.txt": b""}
    hub.repositories["owner/old"] = old
    assert as_files(fetch("owner/old", part="tokenizer")) == old


def test_the_names_that_are_needed_of_real_repositories():
    stable_diffusion = [*DECOYS, "model_index.json", "README.md", "scheduler/scheduler_config.json"]
    stable_diffusion += [f"tokenizer/{name}" for name in ("merges.txt", "vocab.json", "tokenizer_config.json")]
    stable_diffusion += [f"{part}/config.json" for part in ("unet", "vae", "text_encoder")]
    stable_diffusion += [f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    stable_diffusion += ["text_encoder/model.safetensors"]
    needed = wanted("a/b", stable_diffusion)
    assert needed[0] == "model_index.json" and set(needed) == set(stable_diffusion) - DECOYS.keys()
    sharded = ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors.index.json"]
    sharded += [f"unet/diffusion_pytorch_model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    half = ["unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors"]
    assert set(wanted("a/b", sharded + half)) == set(sharded)


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["README.md", "weights.safetensors"], FileNotFoundError, r"a/b.*no model_index\.json.*diffusers' layout"),
        (["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"], ValueError, "a/b.*unet.*pickles only"),
    ],
)
def test_repositories_that_cannot_be_used(names, kind, message):
    with pytest.raises(kind, match=message):
        wanted("a/b", names)


@pytest.mark.parametrize("silent", ["/api/models", f"/{NAME}/resolve"])
def test_a_hub_that_never_answers(saved, hub, silent):
    hub.repositories[NAME] = as_files(saved)
    hub.answers = {silent: "silence"}
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=rf"{NAME}.*did not answer in time.*hf download {NAME} --local-dir") as caught:
        fetch(NAME)
    assert time.monotonic() - began < 5 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (404, "answered with status 404"),
        (401, "access is refused.*hf auth login"),
        (503, "answered with status 503.*hf download"),
        (200, "is no Hub.*HF_ENDPOINT"),
        ("gated", "terms accepted.*hf auth login"),
    ],
)
def test_a_hub_that_refuses(saved, hub, answer, message):
    hub.repositories[NAME] = as_files(saved)
    hub.answers = {"/api/models": answer}
    with pytest.raises(FileNotFoundError, match=message):
        fetch(NAME)


def test_names_and_revisions_that_are_not_there(saved, hub):
    hub.repositories[NAME] = as_files(saved)
    with pytest.raises(FileNotFoundError, match="owner/nothing.*no such repository.*check the name"):
        Pix2GifPipeline.from_pretrained("owner/nothing")
    with pytest.raises(FileNotFoundError, match=f"{NAME}.*no such revision"):
        fetch(NAME, revision="v9")
    with pytest.raises(FileNotFoundError, match="no whole copy.*hf download"):
        fetch(NAME, local_files_only=True)
    assert fetch(NAME, revision=hub.commit(NAME)).name == hub.commit(NAME)


def test_a_disk_that_is_too_small_is_said_before_the_download(saved, hub):
    hub.repositories[NAME] = as_files(saved)
    hub.claimed = {"unet/diffusion_pytorch_model.safetensors": 10**18}
    with pytest.raises(OSError, match=r"owner/name.*needs 1000000000\.0 GB.*HF_HOME"):
        fetch(NAME)
    assert not hub.files("GET")


def test_without_a_hub_a_whole_copy_in_the_cache_is_used(saved, hub, monkeypatch):
    hub.repositories[NAME] = as_files(saved)
    copy = fetch(NAME)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")  # where nobody listens
    assert fetch(NAME) == copy == fetch(NAME, local_files_only=True)
    with pytest.raises(FileNotFoundError, match="owner/other.*no connection.*--local-dir"):
        fetch("owner/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(NAME) == copy
    with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE"):
        fetch("owner/other")
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()  # a download that was stopped
    with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE"):
        fetch(NAME)


def test_a_repository_that_was_half_uploaded(saved, hub):
    files = as_files(saved)
    weights = "flow_net/diffusion_pytorch_model.safetensors"
    hub.repositories[NAME] = files | {weights: files[weights][:-1000]}
    with pytest.raises(ValueError, match="flow_net.*cut short"):
        fetch(NAME)
    hub.repositories[NAME] = {name: data for name, data in files.items() if name != weights}
    with pytest.raises(FileNotFoundError, match="no weights in.*flow_net"):
        fetch(NAME)


def test_sharded_weights_load_and_a_missing_shard_is_named(pipe, folder):
    unet = folder / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    pipe.unet.save_pretrained(unet, max_shard_size="300KB")
    check_complete(folder)
    again = load_part(type(pipe.unet), unet)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), pipe.unet.state_dict().values(), strict=True))
    shards = sorted(unet.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=rf"index\.json.*{shards[1].name}.*not there"):
        check_complete(folder)
    (unet / "diffusion_pytorch_model.safetensors.index.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"no weights.*unet.*not {shards[0].name}"):
        check_complete(folder)
    outside = {"weight_map": {"conv_in.weight": "../vae/diffusion_pytorch_model.safetensors"}}
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(outside))
    with pytest.raises(ValueError, match="names no shards"):
        check_complete(folder)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def pointer(file: Path) -> None:
    file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123\n")


def unfinished(file: Path) -> None:
    file.rename(file.with_name(file.name + ".incomplete"))


def elsewhere(file: Path) -> None:
    place = file.parents[1] / ".cache" / "huggingface" / "download" / file.parent.name
    place.mkdir(parents=True)
    file.rename(place / "abc.def.incomplete")


def begun(file: Path) -> None:
    file.with_name(file.name + ".aria2").write_text("")


def half(file: Path) -> None:
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))


def pickled(file: Path) -> None:
    file.rename(file.with_suffix(".bin"))


@pytest.mark.parametrize(
    ("harm", "kind", "message"),
    [
        (cut, ValueError, r"unet.*cut short.*hf download"),
        (lambda file: file.write_bytes(b""), ValueError, "unet.*cut short"),
        (pointer, ValueError, "unet.*Git LFS.*git lfs pull"),
        (Path.unlink, FileNotFoundError, "no weights in.*unet"),
        (unfinished, FileNotFoundError, "unet.*download stopped half-way"),
        (elsewhere, FileNotFoundError, "unet.*download stopped half-way"),
        (begun, ValueError, "unet.*download stopped half-way"),
        (half, FileNotFoundError, r"unet.*needs.*not diffusion_pytorch_model\.fp16\.safetensors"),
        (pickled, ValueError, "unet.*pickle.*safetensors"),
        (lambda file: shutil.rmtree(file.parent), FileNotFoundError, "unet.*the folder is not there"),
        (lambda file: (file.parent / "config.json").unlink(), FileNotFoundError, r"no config\.json.*unet"),
        (lambda file: (file.parent / "config.json").write_text('{"a'), ValueError, r"unet.*config\.json.*JSON"),
        (lambda file: (file.parent / "config.json").write_text("[]"), ValueError, r"unet.*config\.json.*no JSON object"),
        (lambda file: (file.parents[1] / "tokenizer" / "tokenizer.json").unlink(), FileNotFoundError, "no tokenizer.json"),
    ],
)
def test_half_downloaded_folders(folder, harm, kind, message):
    harm(folder / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(kind, match=message) as caught:
        check_complete(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(kind, match=message):
        Pix2GifPipeline.from_pretrained(folder)
    check_complete(folder, ["vae", "text_encoder"])  # the parts that are asked about are whole


def test_a_parents_tokenizer_and_autoencoder_are_read_too(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"no merges\.txt"):
        check_complete(tmp_path, ["tokenizer"])
    (tmp_path / "tokenizer" / "merges.txt").write_text("")
    check_complete(tmp_path, ["tokenizer"])
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    plain = AutoencoderKL(**blocks, block_out_channels=(16, 16), norm_num_groups=8).eval()
    plain.save_pretrained(tmp_path / "any")
    check_complete(tmp_path / "any", [""])
    ours = load_part(load_component("lite", "vae").__class__, tmp_path / "any")
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert ours.config.patch == 1 and torch.equal(ours.encode(x).latent_dist.mean, plain.encode(x).latent_dist.mean)


def test_nothing_is_made_on_the_hub_that_is_not_whole(folder, hub, tmp_path):
    with pytest.raises(ValueError, match="HF_TOKEN"):
        push(folder, "me/mine")
    with pytest.raises(ValueError, match="no name on the Hub"):
        push(folder, "me/mine/too", token=TOKEN)
    with pytest.raises(FileNotFoundError, match=r"no model_index\.json"):
        push(tmp_path, "me/mine", token=TOKEN)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ValueError, match="no whole Pix2Gif"):
        push(folder, "me/mine", token=TOKEN)
    (folder / "model_index.json").write_text(json.dumps(index))
    cut(folder / "vae" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match="vae.*cut short"):
        push(folder, "me/mine", token=TOKEN)
    assert hub.requests == [] and hub.repositories == {}


def test_a_push_that_the_hub_refuses(saved, hub):
    with pytest.raises(OSError, match="me/mine.*access is refused.*hf auth login"):
        push(saved, "me/mine", token="hf_another")
    hub.answers = {"/api/models": "silence"}
    began = time.monotonic()
    with pytest.raises(OSError, match="me/mine.*did not answer in time"):
        push(saved, "me/mine", token=TOKEN)
    assert time.monotonic() - began < 5 and hub.repositories == {}


PUSHES = """
import sys
from pix2gif_lite.origins.hub import push
from pix2gif_lite.pipeline import Pix2GifPipeline

folder, token = sys.argv[1:]
print(push(folder, "me/mine", token=token))
Pix2GifPipeline.from_pretrained("me/mine").push_to_hub("me/other", token=token)
"""


def test_what_is_pushed_comes_back(pipe, folder, tmp_path):
    """In a process of its own, with the settings a user has: the endpoint, a cache, and no Xet (the local Hub has none)."""
    (folder / "README.md").write_text("---\nlibrary_name: diffusers\n---\n![A GIF](sample.webp) ![gone](gone.png)\n")
    (folder / "sample.webp").write_bytes(b"a picture")
    ours = as_files(folder)
    for extra in ("log.jsonl", "secret.png", "checkpoints/step-20.safetensors", "unet/optimizer.bin", "samples/a.gif"):
        (folder / extra).parent.mkdir(exist_ok=True)
        (folder / extra).write_bytes(b"stays here")
    with local_hub() as hub:
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", PUSHES, str(folder), TOKEN]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == f"{hub.url}/me/mine"
        assert hub.repositories["me/mine"] == ours
        other = tmp_path / "other"
        for name, data in hub.repositories["me/other"].items():  # diffusers' own push_to_hub
            (other / name).parent.mkdir(parents=True, exist_ok=True)
            (other / name).write_bytes(data)
    again = Pix2GifPipeline.from_pretrained(other)
    for name in ("vae", "text_encoder", "unet", "motion_embedding", "flow_net"):
        weights = zip(*(getattr(p, name).state_dict().values() for p in (pipe, again)), strict=True)
        assert all(torch.equal(a, b) for a, b in weights), name
