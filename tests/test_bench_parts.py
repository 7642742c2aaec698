"""A benchmark that is stopped keeps what it measured, and goes on with the rest."""

from __future__ import annotations

import json

import pytest
from test_bench import SMALL

from pix2gif_lite import bench
from pix2gif_lite.benchmark import bench_parts, bench_quality
from pix2gif_lite.benchmark.bench_parts import PARTS, Parts
from pix2gif_lite.cli import main
from pix2gif_lite.evaluation.generating import generate_for


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(pipe, tmp_path, monkeypatch, capsys):
    pipe.save_pretrained(tmp_path / "weights")
    out, begun, judged = tmp_path / "out", [], []
    whole_row = bench.run_row

    def row(row, *how):
        begun.append(row.key)
        if begun == ["reference", "diffusers", "diffusers_batched", "ours_guided"]:
            raise KeyboardInterrupt
        return whole_row(row, *how)

    def judging(pipe, part, motions, steps, *rest, **how):
        judged.append(steps)
        return generate_for(pipe, part, motions, steps, *rest, **how)

    def stopped(*how):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run_row", row)
    monkeypatch.setattr(bench, "slider_moves", stopped)
    monkeypatch.setattr(bench, "QUICK", SMALL)
    monkeypatch.setattr(bench_quality, "generate_for", judging)
    command = ["bench", "--out", str(out), "--weights", str(tmp_path / "weights"), "--quick"]
    assert main(command) == 130
    assert f"What is measured in {out} is kept: the same command goes on." in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [PARTS]
    first = json.loads((out / PARTS).read_text())
    assert list(first["parts"]) == ["matrix rate", "reference", "diffusers", "diffusers_batched"] and judged == [2]
    assert main([*command, "--scenes", "2"]) == 2
    assert "has another scenes: give another folder, or remove bench-parts.json" in capsys.readouterr().err
    assert main(command) == 130
    second = json.loads((out / PARTS).read_text())
    assert second["sittings"] == 2 and second["seconds"] > first["seconds"]
    assert {name: second["parts"][name] for name in first["parts"]} == first["parts"]
    assert begun.count("reference") == 1 and begun.count("ours_guided") == 2
    assert second["parts"]["ours_guided"]["psnr"] == first["parts"]["reference"]["psnr"]
    # ours_guided asks as the reference does and ours_12, in two steps, as ours_100: neither was made again
    assert sorted(judged) == [2, 2, 2, 4, 12]


def test_parts_are_measured_once_and_their_time_adds_up(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(bench_parts.time, "perf_counter", lambda: now[0])
    first = Parts(tmp_path, {"plan": (1, 2)})
    now[0] += 7
    assert first.get("a", lambda: {"x": (1, 2)}) == {"x": [1, 2]}
    now[0] = 0.0  # another process's clock
    again = Parts(tmp_path, {"plan": (1, 2)})
    now[0] += 5
    assert again.get("a", lambda: pytest.fail("measured twice")) == {"x": [1, 2]} and (again.sittings, again.seconds) == (2, 12)
    with pytest.raises(ValueError, match="has another plan"):
        Parts(tmp_path, {"plan": (1, 3)})
    again.end()
    assert list(tmp_path.iterdir()) == [] and Parts(tmp_path, {}).sittings == 1
    Parts(None, {}).end()
