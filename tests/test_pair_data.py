"""Curated pairs: read as they were written, encoded once a frame, and learnt from alone and beside scenes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
import torch
from PIL import Image, ImageDraw
from pyarrow import parquet
from torch.testing import assert_close
from torch.utils.data import DataLoader

from pix2gif_lite.autoencoder import build_autoencoder
from pix2gif_lite.cli import main
from pix2gif_lite.data.latent_cache import cache_scenes, encode
from pix2gif_lite.data.mixture import TrainingData
from pix2gif_lite.data.pair_data import COLUMNS, PairDataset, curated, training_frames
from pix2gif_lite.data.pair_latents import cache_pairs, family_of, training_motion
from pix2gif_lite.data.training_data import keyed_rng
from pix2gif_lite.learning.checkpoints import load_checkpoint
from pix2gif_lite.learning.decoder_job import DecoderJob
from pix2gif_lite.learning.decoder_training import train_decoder
from pix2gif_lite.learning.model_job import ModelJob
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.training import train_autoencoder, train_model

QUICK = dict(mixed_precision="no", progress_bar=False, log_every=1, cpu=True)


def square(colour: str, left: int) -> Image.Image:
    """A square of 60 px on grey, 256 x 256."""
    picture = Image.new("RGB", (256, 256), (120, 120, 120))
    ImageDraw.Draw(picture).rectangle((left, 90, left + 59, 149), fill=colour)
    return picture


def write_table(data: Path, rows: list[dict]) -> None:
    parquet.write_table(arrow.Table.from_pylist(rows), data / "pairs.parquet")


def table_of(data: Path) -> list[dict]:
    return parquet.read_table(data / "pairs.parquet").to_pylist()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Four GIFs of a square that moves to the right by 0, 3.5, 8.9, 19.6 px; ten pairs, the last GIF for validation."""
    data = tmp_path_factory.mktemp("data")
    rows = []
    for k, colour in enumerate(("red", "blue", "yellow", "white")):
        folder = data / "frames" / f"{k:02x}"
        folder.mkdir(parents=True)
        names = []
        for frame, left in enumerate((20, 24, 29, 40)):
            name = f"frames/{k:02x}/{k}{frame}.webp"
            square(colour, left).save(data / name, lossless=True)
            names.append(name)
        for i, j, m in ((0, 1, 3.5), (1, 3, 8.9), (0, 3, 19.6))[: 3 if k else 1]:
            row = {"source": names[i], "target": names[j], "caption": f"a {colour} square moves to the right"}
            rows.append(row | {"motion": int(m), "motion_px": m, "gif": f"{k}.gif", "split": "val" if k == 3 else "train"})
    write_table(data, rows)
    return data


# ---------------------------------------------------------------------------------------------------------- the pictures


def test_pairs_are_what_the_table_says(data):
    pairs = PairDataset(data, size=256)
    rows = [row for row in table_of(data) if row["split"] == "train"]
    assert len(pairs) == len(rows) == 7 and len(PairDataset(data, "val")) == 3
    for item, row in zip((pairs[k] for k in range(7)), rows, strict=True):
        for end in ("source", "target"):
            with Image.open(data / row[end]) as image:
                exact = np.asarray(image.convert("RGB"))
            assert item[end].dtype == torch.float32 and item[end].shape == (3, 256, 256)
            levels = item[end].permute(1, 2, 0).add(1).mul(127.5)
            assert_close(levels.numpy(), exact.astype(np.float32), atol=1e-3, rtol=0)
        assert {name: item[name] for name in ("caption", "motion", "motion_px", "gif")} == {
            name: row[name] for name in ("caption", "motion", "motion_px", "gif")
        }
    assert pairs[-1]["caption"] == pairs[6]["caption"]
    with pytest.raises(IndexError):
        pairs[7]


def test_pictures_are_resized_by_lanczos(data):
    with Image.open(data / "frames/00/00.webp") as image:
        small = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.LANCZOS), np.float32)
    pairs = PairDataset(data, size=64)
    assert_close(pairs[0]["source"].permute(1, 2, 0).numpy(), small / 127.5 - 1, atol=1e-5, rtol=0)
    assert_close(pairs.picture(pairs.source[0], 256), PairDataset(data, size=256)[0]["source"])


def test_a_loader_with_workers_batches_them(data):
    (batch,) = DataLoader(PairDataset(data, size=32), batch_size=7, num_workers=1)
    assert batch["source"].shape == (7, 3, 32, 32) and batch["motion"].tolist() == [3, 3, 8, 19, 3, 8, 19]
    assert_close(batch["motion_px"][:2], torch.tensor([3.5, 3.5], dtype=torch.float64))


def test_each_frame_is_listed_once_and_pairs_can_be_fewer(data):
    pairs = PairDataset(data)
    assert len(pairs.frames) == 2 + 3 + 3  # of the first GIF one pair, frame 2 of no GIF is in any
    assert [pairs.frames[k] for k in pairs.target] == [data / row["target"] for row in pairs.rows]
    few = pairs.spread(3)
    assert [row["motion_px"] for row in few.rows] == [pairs.rows[k]["motion_px"] for k in (1, 3, 5)]
    assert len(pairs) == 7 and len(pairs.spread(99)) == 7
    assert training_frames(data) == pairs.frames and training_frames(data, 3) == [pairs.frames[k] for k in (0, 3, 7)]
    assert curated(data) and not curated(data / "frames")


def test_datasets_reads_the_same_table(data, tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.load_dataset("parquet", data_files=str(data / "pairs.parquet"), split="train", cache_dir=str(tmp_path))
    assert table.column_names == list(COLUMNS) and table.to_list() == table_of(data)


def test_what_cannot_be_read_is_refused_in_a_sentence(data, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no .*pairs.parquet.*pix2gif-lite curate"):
        PairDataset(tmp_path)
    with pytest.raises(ValueError, match="Unknown split 'test': choose train or val"):
        PairDataset(data, "test")
    with pytest.raises(ValueError, match="size is 0"):
        PairDataset(data, size=0)
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ValueError, match="cannot be read as parquet: curate again"):
        PairDataset(tmp_path)
    rows = table_of(data)
    write_table(tmp_path, [{name: value for name, value in row.items() if name not in ("gif", "split")} for row in rows])
    with pytest.raises(ValueError, match="has no column gif, split"):
        PairDataset(tmp_path)
    write_table(tmp_path, rows)
    with pytest.raises(FileNotFoundError, match=r"8 of 8 frames of .* are missing, such as .*frames/00/00.webp"):
        PairDataset(tmp_path)
    for change, message in (
        ({"caption": " "}, "Row 2 .* has no caption"),
        ({"source": "../secret.png"}, "Row 2 .* '../secret.png', which is not below"),
        ({"target": "/etc/passwd"}, "'/etc/passwd', which is not below"),
        ({"motion_px": math.nan}, "has the motion_px nan"),
        ({"motion": -1}, "has the motion -1"),
    ):
        write_table(tmp_path, [row | change if k == 2 else row for k, row in enumerate(rows)])
        with pytest.raises(ValueError, match=message):
            PairDataset(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pix2gif-lite\[data\]'"):
        PairDataset(data)


# ----------------------------------------------------------------------------------------------------------- the latents


def test_motion_is_rounded_half_up_where_the_table_cuts_it_off(data, vae, tmp_path):
    assert [training_motion(m) for m in (0.2, 1.49, 1.5, 2.0, 8.9, 19.5, 20.4, 20.5)] == [1, 1, 2, 2, 9, 20, 20, 21]
    pairs = PairDataset(data, size=64)
    cached = cache_pairs(vae, tmp_path, pairs, progress_bar=False)
    assert cached.motion[:, 0].tolist() == [4, 4, 9, 20, 4, 9, 20]
    assert [row["motion"] for row in pairs.rows] == [3, 3, 8, 19, 3, 8, 19]
    parts = build_components(TINY, captions=cached.captions)
    job = ModelJob(TINY, Pix2GifModel.from_parts(parts, TINY), parts["tokenizer"], vae, cached)
    assert set(job.batch(range(40)).motion.tolist()) == {4, 9, 20}  # what M is told


def test_latents_are_the_encoders_of_each_frame_once(data, vae, tmp_path, monkeypatch):
    pairs = PairDataset(data, size=64)
    opened = []
    picture = PairDataset.picture
    monkeypatch.setattr(PairDataset, "picture", lambda self, frame: opened.append(frame) or picture(self, frame))
    cached = cache_pairs(vae, tmp_path, pairs, shard=3, progress_bar=False)
    assert opened == list(range(8)) and sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        f"train-00000{first}.safetensors" for first in (0, 3, 6)
    ]
    assert cached.source.shape == (7, 4, 16, 16) and cached.target.shape == (7, 1, 4, 16, 16) and len(cached.target) == 7
    for k in range(7):
        z = encode(vae, torch.stack([pairs[k]["source"], pairs[k]["target"]]))
        assert_close(cached.source[k], z[0], atol=2e-3, rtol=1e-2)
        assert_close(cached.target[k, 0], z[1], atol=2e-3, rtol=1e-2)
    assert torch.equal(cached.target[[4, 1], [0, 0]], torch.stack([cached.target[4, 0], cached.target[1, 0]]))
    assert torch.equal(cached.source[2:4], cached.source[[2, 3]])

    opened.clear()
    (tmp_path / "train-000003.safetensors").unlink()  # as if encoding had been stopped
    again = cache_pairs(vae, tmp_path, pairs, shard=3, progress_bar=False)
    assert opened == [3, 4, 5] and torch.equal(again.target[:], cached.target[:])
    with pytest.raises(ValueError, match="made differently \\(autoencoder\\)"):
        cache_pairs(build_autoencoder(TINY), tmp_path, pairs, shard=3, progress_bar=False)
    with pytest.raises(ValueError, match="made differently \\(size\\)"):
        cache_pairs(vae, tmp_path, PairDataset(data, size=128), shard=3, progress_bar=False)


def test_another_table_is_not_taken_for_the_same(data, vae, tmp_path):
    rows = table_of(data)
    (tmp_path / "frames").symlink_to(data / "frames")
    write_table(tmp_path, rows)
    cache_pairs(vae, tmp_path / "latents", PairDataset(tmp_path, size=64), progress_bar=False)
    write_table(tmp_path, [row | {"caption": "something else"} for row in rows])
    with pytest.raises(ValueError, match="made differently \\(table\\)"):
        cache_pairs(vae, tmp_path / "latents", PairDataset(tmp_path, size=64), progress_bar=False)


def test_a_pair_is_drawn_at_rest_and_at_its_own_motion(data):
    family = family_of(data)
    members = family.sample(7, "train", 0)
    assert [member.motion for member in members] == [4, 4, 9, 20, 4, 9, 20] and len(family.sample(99, "val", 0)) == 3
    drawn = family.draw([members[2], members[2]], [0, 9], 256)
    exact = PairDataset(data, size=256)[2]
    assert torch.equal(drawn.image, torch.stack([exact["source"], exact["target"]]))
    # the square went from 24 .. 83 to 40 .. 99, rows 90 .. 149: two strips of 16 x 60 changed
    assert not drawn.moving[0].any() and drawn.moving[1].sum() == 2 * 16 * 60
    assert drawn.moving[1, 0, 90:150, 24:40].all() and drawn.moving[1, 0, 90:150, 84:100].all()
    with pytest.raises(ValueError, match="frames at 0 and 9 px only, not at 5"):
        family.draw(members[2:3], [5], 64)


# ---------------------------------------------------------------------------------------------------------- the training


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in map(json.loads, (out / "log.jsonl").read_text().splitlines()) if "loss" in line]


def test_the_model_learns_from_curated_pairs(data, vae, tmp_path):
    preset = TINY.with_changes(drop_text=0.0, drop_image=0.0, drop_both=0.0, warmup_steps=5, residual=None)
    measured = []
    options = dict(QUICK, steps=24, batch_size=8, callback_every=2, ema_decay=0.8)
    summary = train_model(preset, tmp_path, vae=vae, data=data, callback=measured.append, **options)
    assert measured[-1]["val_diffusion"] < 0.85 * measured[0]["val_diffusion"]  # on the GIF that it never saw
    assert np.mean(losses(tmp_path)[-5:]) < np.mean(losses(tmp_path)[:5])
    assert not any(name.endswith("_gifs") for name in summary)  # the only set has no name behind its numbers
    assert not (tmp_path / "latents").exists()  # no scene was drawn


def test_shares_of_scenes_and_gifs_are_as_asked(data, vae, tmp_path):
    choice = TrainingData(TINY, scenes=4, targets=2, data=data, mix={"gifs": 1, "scenes": 3})
    assert choice.shares == {"scenes": 0.75, "gifs": 0.25} and TrainingData(TINY, data=data).shares == {"gifs": 1.0}
    mixture, held_out = choice.encode(vae, tmp_path, held_out=1, mixed_precision="no", progress_bar=False)
    assert mixture.names == held_out.names == ["scenes", "gifs"] and held_out.sets["gifs"].motion.shape == (2, 1)
    names = [mixture.pick(keyed_rng(0, n)).name for n in range(4000)]
    assert abs(names.count("gifs") / 4000 - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 4000)
    scenes = cache_scenes(vae, tmp_path / "latents", 4, 2, size=64, progress_bar=False)
    assert torch.equal(mixture.sets["scenes"].target[:], scenes.target[:])


def test_a_mixture_with_gifs_resumes_to_the_bit(data, vae, tmp_path):
    options = dict(QUICK, vae=vae, data=data, mix={"gifs": 0.5, "scenes": 0.5}, scenes=3, targets=2, held_out=1, steps=4)
    options |= {"latents": tmp_path / "scenes", "data_latents": tmp_path / "gifs"}

    def stop(state):
        raise KeyboardInterrupt

    summary = train_model(TINY, tmp_path / "whole", **options)
    assert {"val_warp", "val_warp_gifs", "val_copy_gifs"} <= summary.keys()
    with pytest.raises(KeyboardInterrupt):
        train_model(TINY, tmp_path / "broken", callback=stop, callback_every=3, checkpoint_every=2, **options)
    with pytest.raises(ValueError, match="another mix"):
        train_model(TINY, tmp_path / "broken", resume=True, **options | {"mix": None})
    train_model(TINY, tmp_path / "broken", resume=True, **options)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")


def test_data_that_cannot_be_trained_on_are_refused_before_anything_is_written(data, vae, tmp_path):
    rows = table_of(data)
    (tmp_path / "frames").symlink_to(data / "frames")
    write_table(tmp_path, [row | {"split": "val"} for row in rows])
    for what in (lambda: TrainingData(TINY, data=tmp_path), lambda: training_frames(tmp_path)):
        with pytest.raises(ValueError, match="no pairs in split train"):
            what()
    write_table(tmp_path, [row | {"motion_px": 31.5} for row in rows])
    with pytest.raises(ValueError, match="a motion of 32 px, the preset's table ends at 31"):
        train_model(TINY, tmp_path / "out", vae=vae, data=tmp_path, steps=1)
    with pytest.raises(ValueError, match="asks for gifs, but there are none: give the data"):
        train_model(TINY, tmp_path / "out", vae=vae, mix={"gifs": 1}, steps=1)
    with pytest.raises(FileNotFoundError, match="pairs.parquet"):
        train_model(TINY, tmp_path / "out", vae=vae, data=tmp_path / "frames", steps=1)
    assert not (tmp_path / "out").exists()


def test_without_a_val_split_nothing_is_measured_and_that_is_said(data, vae, tmp_path):
    (tmp_path / "frames").symlink_to(data / "frames")
    write_table(tmp_path, [row | {"split": "train"} for row in table_of(data)])
    with pytest.warns(UserWarning, match="no pairs in split val"):
        mixture, held_out = TrainingData(TINY, data=tmp_path).encode(vae, tmp_path / "out", 2, progress_bar=False)
    assert held_out is None and len(mixture.sets["gifs"].source) == 10


def test_the_decoder_learns_from_curated_frames(data, pipe, tmp_path):
    choice = TrainingData(TINY, scenes=3, targets=2, data=data, mix={"gifs": 1, "scenes": 1})
    mixture, _ = choice.encode(pipe.vae, tmp_path, progress_bar=False)
    job = DecoderJob(
        TINY, pipe.model, pipe.tokenizer, pipe.vae, mixture, choice.members(), held_out=2, families=choice.families
    ).eval()
    batch = job.batch(range(24))
    z = encode(pipe.vae, batch.image)
    assert_close(batch.own, z.float(), atol=5e-3, rtol=1e-2)  # the picture is the one whose latent stands beside it
    from_gifs = [any(torch.equal(row, mixture.sets["gifs"].source[k].float()) for k in range(7)) for row in batch.source]
    assert 4 < sum(from_gifs) < 20
    measured = job.measure()
    assert {"psnr_made", "psnr_made_gifs", "psnr_own_moving_gifs"} <= measured.keys()


def test_autoencoder_and_decoder_train_on_a_curated_folder(data, tmp_path):
    quick = dict(QUICK, steps=2, batch_size=4)
    train_autoencoder(TINY, tmp_path / "vae", photos=data, photo_share=0.5, held_out=2, **quick)
    for name, part in build_components(TINY, ["a red square moves"] * 20).items():
        part.save_pretrained(tmp_path / "weights" / name)
    summary = train_decoder(TINY, tmp_path / "decoder", tmp_path / "weights", data=data, photo_share=0.0, **quick)
    assert math.isfinite(summary["loss"]) and summary["psnr_made"] > 0


def test_the_command_trains_on_a_curated_folder(data, vae, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    vae.save_pretrained("ae/vae")
    arguments = ["train", "--preset", "tiny", "--vae", "ae", "--data", str(data), "--out", "model", "--steps", "1", "--cpu"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "model: trained for 1 steps" in printed.out and "val_warp:" in printed.out
    settings = load_checkpoint(tmp_path / "model" / "checkpoints")["settings"]
    assert settings["mix"] == {"gifs": 1.0} and settings["table"] == PairDataset(data).key
    assert (tmp_path / "model" / "model_index.json").is_file() and (
        tmp_path / "model" / "latents-gifs" / "index.json"
    ).is_file()
