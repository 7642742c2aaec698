"""Data encoded by several processes: each shard once, the files of one process, and nobody waits for one that failed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pyarrow as arrow
import pytest
import torch.distributed as dist
from accelerate import PartialState
from PIL import Image
from pyarrow import parquet
from several import together

from pix2gif_lite.data.latent_cache import cache_scenes
from pix2gif_lite.data.mixture import TrainingData
from pix2gif_lite.data.pair_data import PairDataset
from pix2gif_lite.data.pair_latents import cache_pairs
from pix2gif_lite.origins.loading import load_component
from pix2gif_lite.presets import TINY
from pix2gif_lite.processes import on_cpus, on_main, place, share_out

SCENES = dict(scenes=9, targets=2, size=64, seed=5, shard=2, progress_bar=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def note(folder: Path, name: str, value: object) -> None:
    (folder / f"{name}.json").write_text(json.dumps(value))


def noted(folder: Path, name: str) -> list[object]:
    """What each of the two processes noted under that name."""
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three curated GIFs of three frames each, one of them for validation."""
    data, rows = tmp_path_factory.mktemp("data"), []
    for k, colour in enumerate(("red", "blue", "white")):
        names = [f"frames/{k}{frame}.webp" for frame in range(3)]
        (data / "frames").mkdir(exist_ok=True)
        for frame, name in enumerate(names):
            picture = Image.new("RGB", (256, 256), (90, 90, 90))
            picture.paste(colour, (40 + 8 * frame, 90, 100 + 8 * frame, 150))
            picture.save(data / name, lossless=True)
        row = {"caption": f"a {colour} square moves", "motion": 8, "motion_px": 8.2, "gif": f"{k}.gif"}
        rows += [{"source": names[i], "target": names[i + 1], "split": "val" if k == 2 else "train", **row} for i in (0, 1)]
    parquet.write_table(arrow.Table.from_pylist(rows), data / "pairs.parquet")
    return data


@pytest.fixture(scope="module")
def weights(vae, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    vae.save_pretrained(folder / "vae")
    return folder


def encode_all(vae, folder: Path, data: Path, on_shard=None) -> None:
    """Scenes and pairs in small shards, then a whole mixture with its held-out sets."""
    cache_scenes(vae, folder / "scenes", on_shard=on_shard, **SCENES)
    cache_pairs(vae, folder / "pairs", PairDataset(data, size=64), shard=2, progress_bar=False)
    mixed = {"scenes": 1, "photos": 1, "gifs": 1}
    chosen = TrainingData(TINY, scenes=3, photos=2, targets=1, data=data, mix=mixed)
    train, val = chosen.encode(vae, folder, held_out=2, progress_bar=False)
    assert [len(train.sets[name].captions) for name in mixed] == [3, 2, 4] and set(val.sets) == set(mixed)


def of_two(rank: int, weights: Path, folder: Path, data: Path) -> None:
    vae, made, again = load_component(weights, "vae").eval(), [], []
    encode_all(vae, folder, data, made.append)
    on_main(lambda: [(folder / "scenes" / f"train-00000{k}.safetensors").unlink() for k in (2, 4, 6)])
    cached = cache_scenes(vae, folder / "scenes", on_shard=again.append, **SCENES)
    note(folder.parent, f"made-{rank}", [place(), made, again, cached.captions])


def test_two_processes_write_the_files_of_one_each_once(vae, weights, data, tmp_path):
    assert together(of_two, 2, tmp_path, weights, tmp_path / "two", data) == [0, 0]
    (first, second) = noted(tmp_path, "made")
    assert first[0] == [0, 2] and second[0] == [1, 2]
    assert first[1] == [0, 4, 8] and second[1] == [2, 6]  # every shard, each by one of them
    assert first[2] == [2, 6] and second[2] == [4]  # what is missing is shared out anew
    one = []
    encode_all(vae, tmp_path / "one", data, one.append)
    assert one == [0, 2, 4, 6, 8]
    ours, theirs = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(ours) == 22 and ours == theirs
    assert first[3] == second[3] == cache_scenes(vae, tmp_path / "one" / "scenes", **SCENES).captions


def failing(rank: int, weights: Path, folder: Path, kill: bool) -> None:
    """The second shard of process 1 fails: it raises, or it is killed where it is."""

    def fail(first: int) -> None:
        if first == 6 and kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if first == 6:
            raise OSError("the disk is full")

    began, sentence = time.monotonic(), ""
    try:
        cache_scenes(load_component(weights, "vae").eval(), folder / "latents", on_shard=fail, **SCENES)
    except (OSError, RuntimeError) as error:
        sentence = f"{type(error).__name__}: {error}"
    note(folder, f"end-{rank}", [sentence, time.monotonic() - began])


def test_a_shard_that_fails_stops_all_and_what_is_done_is_kept(vae, weights, tmp_path):
    assert together(failing, 2, tmp_path, weights, tmp_path, False) == [0, 0]
    (first, second) = noted(tmp_path, "end")
    assert second[0] == "OSError: the disk is full"
    assert first[0].startswith("Failed: Process 1 of 2 failed (OSError: the disk is full): what is done is kept")
    assert first[1] < 60
    kept = {path.name for path in (tmp_path / "latents").glob("*.safetensors")}
    assert kept == {f"train-00000{k}.safetensors" for k in (0, 2, 4, 6)}  # process 0 did not go on to its third
    missing = []
    cache_scenes(vae, tmp_path / "latents", on_shard=missing.append, **SCENES)
    assert missing == [8]


def test_a_process_that_is_killed_stops_the_others(weights, tmp_path):
    assert together(failing, 2, tmp_path, weights, tmp_path, True) == [0, -signal.SIGKILL]
    sentence, seconds = json.loads((tmp_path / "end-0.json").read_text())
    assert sentence == "Failed: Another process of this run has ended: what is done is kept, start all again."
    assert seconds < 60


def of_three(rank: int, folder: Path) -> None:
    said = []
    share_out("abcdefgh", said.append, lambda letter: letter in "be")  # a c d f g h are left
    share_out("abc", said.append, lambda letter: rank == 0)  # the first process says what is done: all
    on_main(lambda: said.append("main"))
    share_out([], said.append)
    note(folder, f"said-{rank}", said)


def test_pieces_are_dealt_in_turn(tmp_path):
    assert together(of_three, 3, tmp_path, tmp_path) == [0, 0, 0]
    said = [json.loads((tmp_path / f"said-{rank}.json").read_text()) for rank in range(3)]
    assert said == [["a", "f", "main"], ["c", "g"], ["d", "h"]]


def test_alone_nothing_is_connected(monkeypatch):
    """No process group, no state of accelerate's: a notebook that encodes is left as it was."""
    for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    PartialState._reset_state()
    said = []
    share_out("abc", said.append, lambda letter: letter == "b")
    on_main(lambda: said.append("main"))
    assert said == ["a", "c", "main"] and place() == (0, 1)
    assert not dist.is_initialized() and PartialState._shared_state == {}
    with pytest.raises(ZeroDivisionError):
        share_out([1, 0], lambda number: 1 / number)
    assert on_cpus(True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert on_cpus()
