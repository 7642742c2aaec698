"""zero_shot.py: each figure is that of the clips it names, a stopped run goes on, and what cannot be measured says so."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from made_videos import write_video
from PIL import Image

from pix2gif_lite.cli import main
from pix2gif_lite.evaluation import zero_shot
from pix2gif_lite.evaluation.generating import generate
from pix2gif_lite.evaluation.network_metrics import I3D
from pix2gif_lite.evaluation.paper_tables import ZERO_SHOT_MOTIONS
from pix2gif_lite.evaluation.video_folders import read_clip, read_folder, shuffled
from pix2gif_lite.evaluation.zero_shot_report import table, write
from pix2gif_lite.motion import motion_magnitudes
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import TINY
from pix2gif_lite.pretrained import build_components


def mean_colours(clips):
    return clips.mean((1, 3, 4))  # (N, 3): features whose Frechet distance can be had by NumPy


def brightness(frames, captions):
    return frames.mean((1, 2, 3, 4)) + torch.tensor([float(len(caption)) for caption in captions])


def likeness(first, frames):
    return 1 - (frames - first[:, None]).abs().mean((1, 2, 3, 4))


NETWORKS = {"fvd": mean_colours, "clipsim": brightness, "pic": likeness}


@pytest.fixture(scope="module")
def pipe():
    return Pix2GifPipeline.from_components(TINY, build_components(TINY, ["a red balloon is rising"] * 20), sampling_steps=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four videos that can be used, one too short, one damaged; the captions have different lengths."""
    root = tmp_path_factory.mktemp("ucf")
    for k, name in enumerate(("Archery", "Biking", "TaiChi", "YoYo", "Diving")):
        write_video(root / name / f"v_{name}_g01_c01.avi", 40 if name == "Diving" else 46, step=k, seed=k)
    (root / "Rowing").mkdir()
    (root / "Rowing" / "v_Rowing_g01_c01.avi").write_bytes(b"RIFF of nothing")
    return root


@pytest.fixture(scope="module")
def whole(pipe, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return zero_shot.run(folder, "ucf101", out, pipe, networks=NETWORKS, progress=False), out


def test_the_figures_are_those_of_the_clips(pipe, folder, whole):
    found, _ = whole
    order = shuffled(read_folder(folder, "ucf101"))
    used = [(k, video) for k, video in enumerate(order) if video.caption not in ("diving", "rowing")]
    assert found["clips"] == len(used) == 4 and found["made"]["videos"] == 6
    assert {name.split("/")[0]: text.split(" is ")[1][:9] for name, text in found["skipped"].items()} == {
        "Diving": "too short",
        "Rowing": "damaged o",
    }
    real = [read_clip(video.path, 64) for _, video in used]
    ours = [
        generate(pipe, clip[:1], [v.caption], ZERO_SHOT_MOTIONS, [k]).image for clip, (k, v) in zip(real, used, strict=True)
    ]
    for whose, clips in (("real", real), ("ours", ours)):
        scores = [float(clip.mean()) + len(video.caption) for clip, (_, video) in zip(clips, used, strict=True)]
        assert found[whose]["clipsim"] == pytest.approx(np.mean(scores), abs=1e-5)
        later = [clip[1:] if whose == "real" else clip for clip in clips]  # a first frame is not compared with itself
        like = [1 - float((clip - first[:1]).abs().mean()) for clip, first in zip(later, real, strict=True)]
        assert found[whose]["pic"] == pytest.approx(np.mean(like), abs=1e-5)
    asked = np.array(ZERO_SHOT_MOTIONS, float)
    motions = np.array([motion_magnitudes(first[0], list(clip)) for first, clip in zip(real, ours, strict=True)])
    assert found["coherency"]["rmse"] == pytest.approx(np.sqrt(((motions - asked) ** 2).mean(1)).mean(), abs=1e-4)
    assert found["curve"] == pytest.approx(motions.mean(0), abs=1e-4)
    assert found["real_curve"][0] == 0 and "fvd" not in found["real"]
    # Frechet distance by eigenvalues, not by the product's square root
    clouds = [np.stack([clip.double().mean((0, 2, 3)).numpy() for clip in clips]) for clips in (real, ours)]
    (a, b), (A, B) = [cloud.mean(0) for cloud in clouds], [np.cov(cloud.T) for cloud in clouds]
    roots = np.sqrt(np.maximum(np.linalg.eigvals(A @ B).real, 0)).sum()
    expected = ((a - b) ** 2).sum() + np.trace(A) + np.trace(B) - 2 * roots
    assert found["ours"]["fvd"] == pytest.approx(expected, rel=1e-3) and expected > 1e-3
    assert found["not_computed"] == {}


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(pipe, folder, whole, tmp_path):
    asked = []

    def stopped(first, frames):
        asked.append(1)
        if len(asked) == 5:  # the third clip, whose real half is looked at second
            raise KeyboardInterrupt
        return likeness(first, frames)

    def run(network):
        return zero_shot.run(folder, "ucf101", tmp_path, pipe, networks=NETWORKS | {"pic": network}, progress=False)

    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    names = sorted(path.name for path in (tmp_path / "clips-ucf101").iterdir())
    assert len(names) == 3 and "made.json" in names  # two clips, nothing half-written
    assert not (tmp_path / "zero_shot-ucf101.json").exists()
    again = run(stopped)  # two clips are left, two looks each
    assert len(asked) == 5 + 4
    untold = ("made", "seconds")
    assert {k: v for k, v in again.items() if k not in untold} == {k: v for k, v in whole[0].items() if k not in untold}
    assert json.loads((tmp_path / "zero_shot-ucf101.json").read_text()) == again


def test_clips_of_other_settings_are_not_mixed(pipe, folder, whole):
    out = whole[1]
    before = sorted((path.name, path.read_bytes()) for path in out.rglob("*.*") if path.is_file())
    for changes, what in (
        ({"steps": 3}, "steps"),
        ({"networks": {"pic": likeness}}, "networks"),
        (
            {"weights": Pix2GifPipeline(**pipe.components, preset="tiny", image_size=32, sampling_steps=2)},
            "settings, steps, size",
        ),
        ({"weights": Pix2GifPipeline.from_components(TINY, pipe.components, sampling_steps=1, second_look=0.4)}, "settings"),
    ):
        options = {"weights": pipe, "networks": NETWORKS, "progress": False} | changes
        with pytest.raises(ValueError, match=f"were made with other {what}: give another --out"):
            zero_shot.run(folder, "ucf101", out, **options)
    other = build_components(TINY, ["a red balloon is rising"] * 20)
    with torch.no_grad():
        other["vae"].decoder.conv_out.bias += 0.1  # D alone
    changed = Pix2GifPipeline.from_components(TINY, other, sampling_steps=1)
    with pytest.raises(ValueError, match="other weights"):
        zero_shot.run(folder, "ucf101", out, changed, networks=NETWORKS, progress=False)
    assert before == sorted((path.name, path.read_bytes()) for path in out.rglob("*.*") if path.is_file())


def test_fewer_clips_are_the_first_of_more(pipe, folder, whole):
    two = zero_shot.run(folder, "ucf101", whole[1], pipe, 2, networks=NETWORKS, progress=False)
    assert two["clips"] == 2 and two["seconds"] < whole[0]["seconds"] + 5
    one = zero_shot.run(folder, "ucf101", whole[1], pipe, 1, networks=NETWORKS, progress=False)
    assert one["ours"]["fvd"] is None and "One clip is no cloud" in one["not_computed"]["fvd"]
    zero_shot.run(folder, "ucf101", whole[1], pipe, networks=NETWORKS, progress=False)


def test_the_table_has_the_papers_rows_and_ours(folder, whole):
    found, out = whole
    text = write(out)
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [7] * 7 and (out / "zero_shot.md").read_text() == text
    assert rows[4] == ["Pix2Gif (the paper's)", "285.02", "0.2815", "0.8763", "168.69", "0.2573", "0.8521"]
    assert rows[5][1:] == [
        f"{found['ours']['fvd']:.2f}",
        *(f"{found['ours'][k]:.4f}" for k in ("clipsim", "pic")),
        "-",
        "-",
        "-",
    ]
    assert rows[6][1] == "-" and rows[6][2] == f"{found['real']['clipsim']:.4f}"
    assert "4 clips of 16 frames" in text and "FVD of fewer clips than the paper's 2,048 is larger" in text
    assert "Left out: 2 videos" in text
    assert "our clips are 64 px, the paper's 256 px" in text and "drawn scenes" not in text  # these are no shipped weights
    shipped = table([found | {"made": found["made"] | {"weights": "lite", "size": 256}}])
    assert "What sets our row apart from the paper's: the shipped weights learnt from drawn scenes and moved photo" in shipped
    assert "apart" not in table([found | {"made": found["made"] | {"size": 256}}])
    both = table([found, found | {"made": found["made"] | {"layout": "msrvtt"}, "clips": 2048}])
    assert "MSR-VTT: 2,048 clips" in both and both.count("FVD of fewer clips") == 1
    with Image.open(out / "zero_shot-ucf101.png") as sheet:
        assert sheet.width == 4 * 68 + 4  # four pictures of 64 px, as they are kept
        picture = np.asarray(sheet.convert("RGB"), float)
    kept = [video for video in shuffled(read_folder(folder, "ucf101")) if video.caption not in ("diving", "rowing")]
    shown = read_clip(kept[0].path, 64)[0].permute(1, 2, 0).add(1).mul(127.5).numpy()
    assert np.abs(picture[40:104, 4:68] - shown).max() <= 1


def test_what_is_not_in_reach_is_said(pipe, folder, tmp_path, monkeypatch):
    absent = partial(I3D, file=tmp_path / "absent.pt")  # the real class: without its package or its file
    monkeypatch.setattr(zero_shot, "NETWORKS", {"fvd": absent})
    found = zero_shot.run(folder, "ucf101", tmp_path, pipe, 2, progress=False)
    assert found["ours"] == dict.fromkeys(("fvd", "clipsim", "pic")) and "not in reach" in found["not_computed"]["fvd"]
    text = write(tmp_path)
    assert "| ours, measured here | not computed | not computed | not computed | - | - | - |" in text
    assert "FVD is not computed: " in text and "Asked against measured motion" in text


def test_bad_input_is_refused_before_any_work(pipe, folder, tmp_path):
    with pytest.raises(ValueError, match="0 clips cannot be measured"):
        zero_shot.run(folder, "ucf101", tmp_path / "out", pipe, 0)
    with pytest.raises(ValueError, match="Unknown sampler 'x'"):
        zero_shot.run(folder, "ucf101", tmp_path / "out", pipe, sampler="x")
    bad = tmp_path / "bad" / "Rowing"
    bad.mkdir(parents=True)
    (bad / "v_Rowing_g01_c01.avi").write_bytes(b"")
    with pytest.raises(ValueError, match="None of the 1 videos can be used. The first: .*is empty"):
        zero_shot.run(tmp_path / "bad", "ucf101", tmp_path / "out", tmp_path / "no weights")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "ucf101"], "--layout belongs to --videos"),
        (["--count", "5"], "--count belongs to --videos"),
        (["--videos", "{folder}", "--layout", "ucf101"], "--videos takes long: give --out"),
        (["--videos", "{folder}", "--out", "{out}"], "--videos needs --layout"),
        (["--videos", "{folder}", "--layout", "ucf101", "--out", "{out}", "--quick"], "--quick is of no use with --videos"),
        (["--videos", "{folder}", "--layout", "ucf101", "--out", "{out}", "--ablation"], "--ablation is of no use"),
        (["--videos", "{folder}", "--layout", "tgif", "--out", "{out}"], "Unknown layout 'tgif'"),
        (["--videos", "{out}", "--layout", "ucf101", "--out", "{out}"], "There is no folder"),
        (["--videos", "{folder}", "--layout", "ucf101", "--out", "{out}", "--count", "0"], "count is '0'"),
        (["--videos", "{folder}", "--layout", "ucf101", "--out", "{out}", "--device", "abacus"], "device 'abacus' is not"),
    ],
)
def test_the_command_refuses(folder, tmp_path, capsys, options, message):
    out = tmp_path / "out"
    assert main(["evaluate", *(option.format(folder=folder, out=out) for option in options)]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1 and not out.exists()


def test_the_command_writes_the_table(pipe, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(zero_shot, "NETWORKS", {"pic": lambda device: likeness})
    pipe.save_pretrained(tmp_path / "weights")
    options = ["--weights", str(tmp_path / "weights"), "--videos", str(folder), "--layout", "ucf101", "--count", "2"]
    assert main(["evaluate", *options, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "zero_shot-ucf101.json").read_text())
    assert f"| not computed | not computed | {found['ours']['pic']:.4f} | - |" in said
    assert found["made"]["steps"] == 1 and found["made"]["weights"] == str(tmp_path / "weights")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "clips-ucf101",
        "zero_shot-ucf101.json",
        "zero_shot-ucf101.png",
        "zero_shot.md",
    ]
