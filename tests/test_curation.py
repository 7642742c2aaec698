"""curation.py on a folder of made clips, good and bad: the table, the splits, the same bytes whatever happens on the way."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_clips import pan, save, texture
from PIL import Image

from pix2gif_lite import cli
from pix2gif_lite.curating.curation import curate
from pix2gif_lite.curating.curation_store import Store
from pix2gif_lite.curating.duplicates import content_key
from pix2gif_lite.curating.public_web import Limits
from pix2gif_lite.media.clips import read_frames
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.pairs import CurationSettings, curate_clip

COLUMNS = ["source", "target", "caption", "motion", "motion_px", "gif", "split"]
GOOD = [f"pan{seed}.gif" for seed in range(6)]


def make_folder(folder: Path) -> Path:
    """Six pans, a copy, a second caption, an alike, a walk of pictures, and five files that give nothing."""
    folder.mkdir()
    captions = {}
    for seed, name in enumerate(GOOD):
        save(folder / name, pan(3.1, 6, seed, size=96))
        captions[name] = f"Scene {seed} moves to the Right"
    shutil.copy(folder / "pan0.gif", folder / "pan0_copy.gif")
    captions["pan0_copy.gif"] = captions["pan0.gif"]
    shutil.copy(folder / "pan1.gif", folder / "second.gif")
    captions["second.gif"] = "the same with other words"
    pictures = [Image.fromarray(frame).resize((80, 60)) for frame in pan(3.1, 6, 2, size=96)]
    pictures[0].save(folder / "alike.webp", save_all=True, append_images=pictures[1:], quality=60)
    captions["alike.webp"] = "pan 2, made smaller"
    (folder / "walk").mkdir()
    for k, frame in enumerate(pan(4.1, 4, 9)):
        Image.fromarray(frame).save(folder / "walk" / f"{k}.png")
    captions["walk"] = "pictures in a folder"
    save(folder / "still.gif", [texture(size=96)])
    (folder / "broken.gif").write_bytes((folder / "pan3.gif").read_bytes()[:3000])
    (folder / "empty.gif").write_bytes(b"")
    (folder / "text.gif").write_text("no animation")
    captions |= dict.fromkeys(("still.gif", "broken.gif", "empty.gif", "text.gif"), "nothing comes of it")
    save(folder / "mute.gif", pan(2, 3, size=64))
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "caption"), *captions.items()])
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("source") / "clips")


@pytest.fixture(scope="module")
def data(folder, tmp_path_factory) -> Path:
    """Curated once, without other processes."""
    out = tmp_path_factory.mktemp("data") / "data"
    curate(folder, out, workers=0, progress_bar=False)
    return out


def rows_of(data: Path) -> list[dict]:
    return pq.read_table(data / "pairs.parquet").to_pylist()


def report_of(data: Path) -> dict:
    return json.loads((data / "report.json").read_text(encoding="utf-8"))


def contents(data: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}


def record_times(data: Path) -> dict[str, int]:
    """Of the records that are there whole: one that is being written has a name with a dot before it."""
    return {path.stem: path.stat().st_mtime_ns for path in (data / "work").rglob("[!.]*.json")}


# ----------------------------------------------------------------------------------------------------------- what comes out


def test_the_table_holds_each_clips_drawn_pairs(folder, data):
    table = pq.read_table(data / "pairs.parquet")
    assert table.column_names == COLUMNS
    kinds = {"motion": "int32", "motion_px": "double"}
    assert {name: str(kind) for name, kind in zip(table.schema.names, table.schema.types, strict=True)} == {
        name: kinds.get(name, "string") for name in COLUMNS
    }
    rows = table.to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["gif"], row["source"], row["target"], row["caption"]))
    by_clip = {content_key(folder / name): folder / name for name in [*GOOD, "alike.webp", "walk"]}
    assert {row["gif"] for row in rows} == set(by_clip)
    captions = Counter((row["gif"], row["source"], row["target"]) for row in rows)
    for key, path in by_clip.items():
        pairs = curate_clip(path).pairs
        assert sum(gif == key for gif, _, _ in captions) == len(pairs)
        frames, _ = read_frames(path)
        mine = [row for row in rows if row["gif"] == key]
        for row in mine:
            i, j = (int(Path(row[end]).stem.split("-")[2]) for end in ("source", "target"))
            assert row["motion_px"] == pytest.approx(motion_magnitude(frames[i], frames[j]), abs=1e-3)
            assert row["motion"] == int(row["motion_px"]) and 2 <= row["motion_px"] <= 20
    second = content_key(folder / "second.gif")
    assert {count for (gif, _, _), count in captions.items() if gif == second} == {2}  # the same pairs, two captions
    words = {row["caption"] for row in rows if row["gif"] == second}
    assert words == {"Scene 1 moves to the Right", "the same with other words"}


def test_frames_are_stored_once_below_data(data):
    rows = rows_of(data)
    used = {row[end] for row in rows for end in ("source", "target")}
    there = {path.relative_to(data).as_posix() for path in (data / "frames").rglob("*.*")}
    assert used == there and len(used) < len(rows)
    for name in used:
        with Image.open(data / name) as image:
            assert image.format == "WEBP" and image.size == (256, 256) and not getattr(image, "is_animated", False)


def test_each_side_has_whole_clips_and_alike_ones_together(folder, data):
    sides: dict[str, set[str]] = {}
    for row in rows_of(data):
        sides.setdefault(row["gif"], set()).add(row["split"])
    assert all(len(own) == 1 for own in sides.values())
    assert set.union(*sides.values()) == {"train", "val"}
    split = {row["gif"]: row["split"] for row in rows_of(data)}
    halves = data.parent / "halves"
    shutil.copytree(data, halves)
    before = record_times(halves)
    curate(folder, halves, CurationSettings(val_share=0.5), workers=0, progress_bar=False)
    assert record_times(halves) == before  # another share is no other work
    wider = {row["gif"]: row["split"] for row in rows_of(halves)}
    assert {gif for gif, side in split.items() if side == "val"} < {gif for gif, side in wider.items() if side == "val"}
    alike, pan2 = (content_key(folder / name) for name in ("alike.webp", "pan2.gif"))
    assert split[alike] == split[pan2] and wider[alike] == wider[pan2] and alike != pan2


def test_the_report_tells_every_files_fate(folder, data):
    report = report_of(data)
    files = {line["file"]: line for line in report["files"]}
    assert sorted(files) == sorted(path.name for path in folder.iterdir() if path.name != "captions.csv")
    assert {name for name, line in files.items() if line["kept"]} == {*GOOD, "second.gif", "alike.webp", "walk"}
    reasons = {name: line["reason"] for name, line in files.items() if not line["kept"]}
    assert reasons["pan0_copy.gif"] == "It has the same bytes and caption as 'pan0.gif'."
    assert reasons["still.gif"] == "It has one frame, so nothing can move."
    assert "'broken.gif' is damaged" in reasons["broken.gif"] and "'empty.gif' is empty" in reasons["empty.gif"]
    assert "'text.gif' is damaged" in reasons["text.gif"] and "no caption" in reasons["mute.gif"]
    assert report["near_duplicates"] == [["alike.webp", "pan2.gif"], ["pan1.gif", "second.gif"]]
    line = files["walk"]
    assert (line["frames"], line["looked_at"], line["shots"], line["measured"]) == (4, 4, 1, 6)
    rows = rows_of(data)
    assert line["pairs"] == sum(row["gif"] == line["gif"] for row in rows)
    second = sum(row["gif"] == files["pan1.gif"]["gif"] for row in rows) / 2  # two captions
    assert files["pan1.gif"]["pairs"] == files["second.gif"]["pairs"] == second
    counts = report["counts"]
    assert counts["pairs"] == Counter(row["split"] for row in rows)
    assert (counts["files"], counts["kept"], counts["dropped"], counts["clips"]) == (15, 9, 6, 8)
    assert report["settings"]["seed"] == 0 and str(folder.parent) not in json.dumps(report)
    with Image.open(data / "report.png") as image:
        assert image.width > 800 and image.height > 800
        assert len(set(np.asarray(image.convert("RGB")).reshape(-1, 3)[::97].sum(1).tolist())) > 50


def test_flip_adds_each_pair_mirrored_with_its_caption(folder, data, tmp_path):
    curate(folder, tmp_path / "data", CurationSettings(flip=True), workers=0, progress_bar=False)
    rows = rows_of(tmp_path / "data")
    mirrored = [row for row in rows if row["source"].endswith("-flip.webp")]
    plain = [row for row in rows if not row["source"].endswith("-flip.webp")]
    assert plain == [row for row in rows_of(data)] and len(mirrored) == len(plain)
    assert all(row["target"].endswith("-flip.webp") for row in mirrored)
    captions = {(row["source"].replace("-flip", ""), row["target"].replace("-flip", ""), row["caption"]) for row in mirrored}
    assert captions == {(row["source"], row["target"], row["caption"].replace("Right", "Left")) for row in plain}
    names = (plain[0]["source"], plain[0]["source"].replace(".webp", "-flip.webp"))
    a, b = (np.asarray(Image.open(tmp_path / "data" / name).convert("L"), float) for name in names)
    assert np.abs(a - b[:, ::-1]).mean() < 2 < np.abs(a - b).mean()


# ------------------------------------------------------------------------------------------- the same bytes, whatever happens


def test_two_processes_make_the_same_bytes(folder, data, tmp_path):
    counts = curate(folder, tmp_path / "data", workers=2, progress_bar=False)
    assert contents(tmp_path / "data") == contents(data)
    assert counts["pairs"] == counts["train"] + counts["val"] == len(rows_of(data))
    assert (counts["files"], counts["kept"], counts["dropped"], counts["clips"]) == (15, 9, 6, 8)


def killer(out: Path, pids, killed: list[int]) -> threading.Thread:
    """Kills one of `pids()` as soon as the first clip is done."""

    def wait():
        end = time.monotonic() + 60
        while time.monotonic() < end and not killed:
            if record_times(out) and (alive := pids()):
                os.kill(alive[-1], signal.SIGKILL)
                killed.append(alive[-1])
            time.sleep(0.002)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_process_killed_in_the_middle_changes_nothing(folder, data, tmp_path):
    killed: list[int] = []
    thread = killer(tmp_path / "data", lambda: [p.pid for p in multiprocessing.active_children()], killed)
    curate(folder, tmp_path / "data", workers=2, progress_bar=False)
    thread.join()
    assert killed and contents(tmp_path / "data") == contents(data)


def test_a_dask_worker_killed_in_the_middle_changes_nothing(folder, data, tmp_path):
    from distributed import LocalCluster

    killed: list[int] = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]
        thread = killer(tmp_path / "data", lambda: pids, killed)
        curate(folder, tmp_path / "data", scheduler=cluster.scheduler_address, progress_bar=False)
        thread.join()
    assert killed and contents(tmp_path / "data") == contents(data)


def test_a_clip_whose_workers_die_each_time_is_dropped_and_tried_again_another_time(tmp_path):
    clips, out = tmp_path / "clips", tmp_path / "data"
    clips.mkdir()
    deadly, good = save(clips / "deadly.gif", pan(0.5, 60, seed=5, size=64)), clips / "good.gif"
    for seed in range(99):  # clips are begun in the order of their keys: the good one first
        if content_key(save(good, pan(4.1, 3, seed, size=64))) < content_key(deadly):
            break
    for path in (deadly, good):
        path.with_suffix(".txt").write_text(path.stem)
    done = threading.Event()

    def kill_all():  # after the short clip whoever works on the long one dies
        while not done.is_set():
            for process in multiprocessing.active_children() if content_key(good) in record_times(out) else ():
                process.kill()
            time.sleep(0.005)

    thread = threading.Thread(target=kill_all)
    thread.start()
    try:
        counts = curate(clips, out, workers=1, progress_bar=False)
    finally:
        done.set()
        thread.join()
    assert (counts["kept"], counts["dropped"]) == (1, 1)
    reasons = [line["reason"] for line in report_of(out)["files"] if not line["kept"]]
    assert reasons == ["Its worker was killed, 2 times when it had one to itself."]
    assert curate(clips, out, workers=1, progress_bar=False)["kept"] == 2


def test_stopped_by_ctrl_c_it_goes_on_where_it_was(folder, data, tmp_path):
    out = tmp_path / "data"
    command = [sys.executable, "-m", "pix2gif_lite.cli", "curate", str(folder), "--out", str(out), "--workers", "1"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not record_times(out) and time.monotonic() < end:
        time.sleep(0.002)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    message = run.stderr.read()
    assert message.splitlines()[-1] == f"Stopped. What is done in {out} is kept: the same command goes on."
    before = record_times(out)
    assert 0 < len(before) < 12 and not (out / "pairs.parquet").exists()
    assert cli.main([*command[3:], "--workers", "1"]) == 0
    assert before.items() <= record_times(out).items()  # none is done twice
    assert contents(out) == contents(data)


def test_a_new_clip_is_done_alone_and_moves_no_other(folder, data, tmp_path):
    clips, out = tmp_path / "clips", tmp_path / "data"
    shutil.copytree(folder, clips)
    shutil.copytree(data, out)
    before, split = record_times(out), {row["gif"]: row["split"] for row in rows_of(out)}
    save(clips / "new.gif", pan(5.2, 4, seed=77, size=96))
    (clips / "new.txt").write_text("a new one")
    curate(clips, out, workers=0, progress_bar=False)
    after = record_times(out)
    assert before.items() <= after.items()
    assert set(after) - set(before) == {content_key(clips / "new.gif")}
    assert split.items() <= {row["gif"]: row["split"] for row in rows_of(out)}.items()
    (clips / "new.gif").unlink()
    curate(clips, out, workers=0, progress_bar=False)
    assert {name: data for name, data in contents(out).items() if not name.startswith("work/")} == {
        name: data for name, data in contents(data).items() if not name.startswith("work/")
    }  # its frames are gone too


def test_other_settings_leave_no_frames_behind_and_lost_frames_are_made_again(folder, data, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(data, out)
    curate(folder, out, CurationSettings(most=1, seed=5), workers=0, progress_bar=False)
    rows = rows_of(out)
    assert max(Counter((row["gif"], row["caption"]) for row in rows).values()) == 1
    there = {path.relative_to(out).as_posix() for path in (out / "frames").rglob("*.webp")}
    assert there == {row[end] for row in rows for end in ("source", "target")}
    (out / rows[0]["source"]).unlink()
    (out / "frames" / "notes.txt").write_text("not ours")
    curate(folder, out, workers=0, progress_bar=False)
    assert (out / "frames" / "notes.txt").read_text() == "not ours"
    (out / "frames" / "notes.txt").unlink()
    assert contents(out) == contents(data)


def test_a_run_with_other_settings_that_is_stopped_spoils_nothing(folder, data, tmp_path, monkeypatch):
    out = tmp_path / "data"
    shutil.copytree(data, out)
    keep, done = Store.keep, []

    def stop(self, key, result):
        done.append(keep(self, key, result))
        if sum("pairs" in record for record in done) == 2:
            raise KeyboardInterrupt
        return done[-1]

    monkeypatch.setattr(Store, "keep", stop)
    with pytest.raises(KeyboardInterrupt):
        curate(folder, out, CurationSettings(background=(255, 0, 0)), workers=0, progress_bar=False)
    monkeypatch.undo()
    frames = {row[end] for row in rows_of(data) for end in ("source", "target")}
    assert all((out / frame).read_bytes() == (data / frame).read_bytes() for frame in frames)  # the table is right all along
    curate(folder, out, workers=0, progress_bar=False)
    assert contents(out) == contents(data)


def test_another_source_takes_the_place_of_the_first_and_says_so(folder, data, tmp_path, capsys):
    out, clips = tmp_path / "data", tmp_path / "clips"
    shutil.copytree(data, out)
    clips.mkdir()
    save(clips / "new.gif", pan(5.2, 4, seed=77, size=96)).with_suffix(".txt").write_text("a new one")
    assert cli.main(["curate", str(clips), "--out", str(out), "--workers", "1"]) == 0
    held = len({row["gif"] for row in rows_of(data)})
    assert f"{held} clips of an earlier curation are not in {clips} and left the data" in capsys.readouterr().out
    assert {row["gif"] for row in rows_of(out)} == {content_key(clips / "new.gif")}


def test_a_folder_that_only_looks_like_a_curation_is_left_alone(folder, tmp_path):
    mine = tmp_path / "mine"
    (mine / "work" / "deadbeef0123").mkdir(parents=True)
    (mine / "work" / "deadbeef0123" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no curation: give a new one"):
        curate(folder, mine, workers=0, progress_bar=False)
    assert contents(mine) == {"work/deadbeef0123/thesis.txt": b"mine"}


# --------------------------------------------------------------------------------------------------------------- by addresses


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def reach(address: str) -> dict:
    """What lets `curate` ask a server of this machine."""
    ports = frozenset({int(address.rsplit(":", 1)[1])})
    return {"limits": Limits(ports=ports, retries=0), "allow": lambda _: True, "workers": 0, "progress_bar": False}


def test_a_list_of_addresses_is_fetched_and_curated(server, tmp_path):
    lines = [
        ("pan0.gif", "a cat"),
        ("pan1.gif", "a dog"),
        ("pan0.gif", "a kitten"),
        ("pan0.gif", "a cat"),
        ("none.gif", "lost"),
    ]
    source = tmp_path / "list.tsv"
    source.write_text("".join(f"{server}/{name}\t{caption}\n" for name, caption in lines) + "ftp://example.org/a.gif\told\n")
    counts = curate(source, tmp_path / "data", **reach(server))
    assert (counts["files"], counts["kept"], counts["dropped"], counts["clips"]) == (6, 3, 3, 2)
    assert {row["caption"] for row in rows_of(tmp_path / "data")} == {"a cat", "a dog", "a kitten"}
    report = report_of(tmp_path / "data")
    fates = {line["url"]: line["status"] for line in report["downloads"]}
    assert fates.pop(f"{server}/pan0.gif") == fates.pop(f"{server}/pan1.gif") == "kept"
    assert "404" in fates.pop(f"{server}/none.gif") and "http" in fates.pop("ftp://example.org/a.gif") and not fates
    reasons = [line["reason"] for line in report["files"] if not line["kept"]]
    assert [sum(words in reason for reason in reasons) for words in ("404", "same bytes and caption", "ftp:")] == [1, 1, 1]
    before = contents(tmp_path / "data")
    curate(source, tmp_path / "data", **reach(server))  # from the cache
    assert contents(tmp_path / "data") == before


# ------------------------------------------------------------------------------------------------------------------ bad input


def test_where_nothing_can_be_kept_nothing_is_left(tmp_path, server):
    (tmp_path / "clips").mkdir()
    save(tmp_path / "clips" / "a.gif", [texture(size=64)])
    (tmp_path / "clips" / "a.txt").write_text("a picture")
    with pytest.raises(ValueError, match=r"None of the 1 clips in .*clips' gives a pair of frames; 'a.gif', for one: It"):
        curate(tmp_path / "clips", tmp_path / "data", workers=0, progress_bar=False)
    assert not (tmp_path / "data").exists()
    (tmp_path / "list.tsv").write_text(f"{server}/still.gif\tstill\n")
    with pytest.raises(ValueError, match="None of the 1 clips"):
        curate(tmp_path / "list.tsv", tmp_path / "data", **reach(server))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["downloads"]
    (tmp_path / "list.tsv").write_text(f"{server}/pan0.gif\tmoving\n")
    assert curate(tmp_path / "list.tsv", tmp_path / "data", **reach(server))["kept"] == 1  # the folder is taken again


def test_a_folder_of_clips_that_turned_bad_keeps_the_data_there_were(folder, data, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(data, out)
    (tmp_path / "clips").mkdir()
    before = contents(out)
    with pytest.raises(ValueError, match="None of the 0 clips in .*: it holds none"):
        curate(tmp_path / "clips", out, workers=0, progress_bar=False)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "nowhere"}, "There is no "),
        ({"source": "clips/pan0.gif"}, "is no folder: give one"),
        ({"out": "clips/data"}, "lies in"),
        ({"out": "full"}, "is not empty and holds no curation"),
        ({"out": "clips/pan0.gif"}, "lies in"),
        ({"out": "file"}, "is a file"),
        ({"--background": "red"}, "'red' is not RRGGBB"),
        ({"--low": "9", "--high": "8"}, "give 0 < low <= high"),
        ({"--low": "0"}, "low is '0'"),
        ({"--most": "2.5"}, "most is '2.5'"),
        ({"--draw": "all"}, "invalid choice"),
        ({"--scheduler": "somewhere"}, "'somewhere' is no address"),
    ],
)
def test_the_command_refuses_in_one_sentence(folder, tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "clips")
    Path("full").mkdir()
    Path("full", "thesis.txt").write_text("mine")
    Path("file").write_text("mine")
    before = contents(tmp_path)
    options = {"source": "clips", "out": "data"} | change
    arguments = ["curate", options.pop("source"), "--out", options.pop("out")]
    assert cli.main(arguments + [word for option in options.items() for word in option]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert contents(tmp_path) == before and not Path("data").exists()


def test_a_missing_package_is_said_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)  # as if it were not installed
    with pytest.raises(ModuleNotFoundError, match=r"needs imagehash: run `pip install 'pix2gif-lite\[data\]'`"):
        curate(folder, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_command_says_what_came_of_it(folder, data, tmp_path, capsys):
    out = tmp_path / "data"
    shutil.copytree(data, out)
    assert cli.main(["curate", str(folder), "--out", str(out), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert f"{len(rows_of(data))} pairs" in said and "9 of 15 files kept, 6 dropped" in said
    assert contents(out) == contents(data)
