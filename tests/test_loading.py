"""Weights: saved and loaded to the bit, in any precision; strangers' folders refused in a sentence."""

import copy
import json

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from test_cli import files_of_at_most

from pix2gif_lite.origins.loading import load_part, save_parts
from pix2gif_lite.origins.small_parent import write_small_parent
from pix2gif_lite.pipeline import Pix2GifPipeline

CAPTION = "a red balloon is rising"
PARTS = ("vae", "text_encoder", "unet", "motion_embedding", "flow_net")


def difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


def test_round_trip_to_the_bit(pipe, picture, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = Pix2GifPipeline.from_pretrained(tmp_path)
    for name in PARTS:
        before, after = (getattr(p, name).state_dict() for p in (pipe, again))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before), name
        assert type(getattr(pipe, name)) is type(getattr(again, name))
    saved, kept = ({k: v for k, v in p.config.items() if not k.startswith("_")} for p in (again, pipe))
    assert saved == kept
    assert again.tokenizer.get_vocab() == pipe.tokenizer.get_vocab()
    options = {"sampler": "euler_ancestral", "s_T": 3, "s_I": 1.5, "seed": 8}
    one, two = pipe(picture, CAPTION, [3, 17], **options), again(picture, CAPTION, [3, 17], **options)
    assert torch.equal(one.flow, two.flow)
    assert [difference(a, b) for a, b in zip(one.frames, two.frames, strict=True)] == [0, 0]


def test_half_precision_weights_come_back_as_float32(pipe, tmp_path):
    half = copy.deepcopy(pipe).to(dtype=torch.float16)
    half.save_pretrained(tmp_path)
    assert load_file(next((tmp_path / "unet").glob("*.safetensors")))["conv_in.weight"].dtype == torch.float16
    for dtype in (torch.float32, torch.bfloat16):
        again = Pix2GifPipeline.from_pretrained(tmp_path, torch_dtype=dtype)
        assert {p.dtype for name in PARTS for p in getattr(again, name).parameters()} == {dtype}


def test_runs_in_another_dtype(pipe, picture, tmp_path):
    pipe.save_pretrained(tmp_path)
    low = Pix2GifPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)(picture, CAPTION, [6], s_T=2).frames[0]
    error = np.abs(np.asarray(low, float) - np.asarray(pipe(picture, CAPTION, [6], s_T=2).frames[0], float)).mean()
    assert error < 8  # grey levels, of 8 bits of precision


def test_parts_and_settings_can_be_replaced(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = Pix2GifPipeline.from_pretrained(tmp_path, unet=pipe.unet, sampling_steps=7)
    assert again.unet is pipe.unet and again.config.sampling_steps == 7


def test_pickles_are_refused(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(pipe.unet.state_dict(), tmp_path / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.bin.*pickle.*safetensors"):
        Pix2GifPipeline.from_pretrained(tmp_path)


def test_damaged_incomplete_and_foreign_weights(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    weights = tmp_path / "flow_net" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="flow_net.*cannot be used"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    weights.write_text("not safetensors")
    with pytest.raises(ValueError, match="flow_net.*cannot be used"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="no weights in.*flow_net"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    weights.write_bytes(whole)

    config = tmp_path / "motion_embedding" / "config.json"
    config.write_text(config.read_text().replace('"rows": 32', '"rows": 16'))
    with pytest.raises(ValueError, match="motion_embedding.*cannot be used"):
        Pix2GifPipeline.from_pretrained(tmp_path)

    index = tmp_path / "model_index.json"
    values = json.loads(index.read_text())
    index.write_text(json.dumps({key: value for key, value in values.items() if key != "unet"}))
    with pytest.raises(ValueError, match="unet"):
        Pix2GifPipeline.from_pretrained(tmp_path, motion_embedding=pipe.motion_embedding)
    index.write_text("{")
    with pytest.raises(ValueError, match="JSON"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    index.unlink()
    with pytest.raises(FileNotFoundError, match=r"model_index\.json"):
        Pix2GifPipeline.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="nobody/nothing"):
        Pix2GifPipeline.from_pretrained("nobody/nothing", local_files_only=True)


def test_a_folder_cannot_name_its_own_classes(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    values = json.loads(index.read_text())
    values["unet"] = ["a_module_that_would_be_imported", "UNet"]
    index.write_text(json.dumps(values))
    assert type(Pix2GifPipeline.from_pretrained(tmp_path).unet) is type(pipe.unet)


def test_a_parent_is_no_pix2gif_and_what_makes_one_of_it_is_said(tmp_path):
    parent = write_small_parent(tmp_path / "parent")
    with pytest.raises(ValueError, match=r"InstructPix2PixPipeline in .*parent' is no Pix2Gif: .*train --preset paper --init"):
        Pix2GifPipeline.from_pretrained(parent)
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"is a file: give the folder that `pix2gif-lite train --init \S+model\.ckpt` makes"
    ):
        Pix2GifPipeline.from_pretrained(tmp_path / "model.ckpt")


def test_no_path_is_saved_with_the_weights(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "a-secret-project")
    again = Pix2GifPipeline.from_pretrained(tmp_path / "a-secret-project")
    again.save_pretrained(tmp_path / "public")
    save_parts(again.components, tmp_path / "parts")
    configs = [file.read_text() for file in tmp_path.glob("p*/**/*.json")]
    assert len(configs) > 12 and not any("a-secret-project" in text for text in configs)


def test_a_full_disk_leaves_the_weights_that_were_there(pipe, tmp_path):
    save_parts({name: getattr(pipe, name) for name in PARTS}, tmp_path)
    before = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    unet = copy.deepcopy(pipe.unet)
    torch.nn.init.ones_(unet.conv_in.weight)
    with files_of_at_most(100_000), pytest.raises(OSError, match=r"could not be written.*free some space.*resumed"):
        save_parts({"motion_embedding": pipe.motion_embedding, "unet": unet}, tmp_path)
    assert {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    save_parts({"unet": unet}, tmp_path)
    assert bool((load_part(UNet2DConditionModel, tmp_path / "unet").conv_in.weight == 1).all())
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(PARTS)


def test_no_room_for_weights_is_not_called_damage(pipe, tmp_path, monkeypatch):
    pipe.save_pretrained(tmp_path)

    def full(*_, **__):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    monkeypatch.setattr("diffusers.models.modeling_utils.load_state_dict", full)
    with pytest.raises(MemoryError, match=r"Out of memory.*half precision"):
        Pix2GifPipeline.from_pretrained(tmp_path)
