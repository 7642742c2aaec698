"""How the studies read: the right figures in the right cells, and sentences that follow the figures whatever they are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite.evaluation.studies_report import findings, guidance_table, studies_figures, studies_markdown
from pix2gif_lite.viz import line_charts


def row(psnr, rmse=1.0, **settings):
    own = {"sampler": "dpmpp_2m", "steps": 2, "s_I": 1.0, "s_T": 1.0, "s_M": None, "noise": "shared"}
    figures = {"psnr": psnr, "moving_psnr": psnr - 8, "still_psnr": psnr + 3, "gap_db": 35 - psnr, "moving_gap_db": 3.0}
    figures |= {"pearson": 0.99, "rmse": rmse, "flicker": 0.25, "still_flicker": 0.125}
    return own | figures | {"psnr_change": psnr - 32, "psnr_change_error": 0.05} | settings


@pytest.fixture
def studies():
    paper = {"sampler": "euler_ancestral", "steps": 20}
    kind = {"psnr": 32.0, "gap_db": 2.0, "gap_db_error": 0.1, "moving_psnr": 24.0, "moving_gap_db": 3.0}
    kind |= {
        "moving_gap_db_error": 0.2,
        "pearson": 0.99,
        "rmse": 1.0,
        "ruler_rmse": 0.4,
        "flow_error": 1.5,
        "ceiling_rmse": 0.75,
    }
    steps = [(1, 0.5), (2, 0.75), (5, 1.5)]
    return {
        "made": {"scenes": 8, "split": "test", "motions": [2, 19], "threads": 2},
        "own": {"sampler": "dpmpp_2m", "steps": 2, "s_I": 1.0, "s_T": 1.0, "s_M": None, "noise": "shared"},
        "noise": [
            row(32.0),
            row(31.75, noise="independent", still_flicker=0.5),
            row(31.0, **paper),
            row(30.5, **paper, noise="independent", still_flicker=None),
        ],
        "motion_guidance": [row(32.0, 1.0), row(31.5, 0.75, s_M=1.5), row(31, 2.0, s_T=2.0), row(32, 2.5, s_T=2.0, s_M=1.0)],
        "guidance": [row(32.0), row(31.0, 0.875, s_T=7.5), row(30.0, s_I=1.8), row(33.0, 3.0, s_I=1.8, s_T=7.5)],
        "coherency": [
            row(32.0, curve_l2=1.5, curve_pearson=0.9995),
            row(31.0, s_I=1.4, s_T=1.4, curve_l2=1.25, curve_pearson=0.999),
        ],
        "steps": [row(32.0 - n / 2, steps=n, seconds=seconds) for n, seconds in steps]
        + [row(30.0 + n / 2, sampler="euler_ancestral", steps=n, seconds=seconds) for n, seconds in steps],
        "two_actions": {
            "one": kind,
            "beside": kind | {"gap_db": 2.5},
            "two": kind | {"gap_db": 3.25, "moving_gap_db": 3.5, "gap_db_error": None},
            "worse_db": 1.25,
            "worse_db_error": 0.125,
            "moving_worse_db": 0.5,
            "moving_worse_db_error": None,
            "scenes": 24,
        },
    }


def test_every_figure_stands_in_its_cell(studies):
    text = studies_markdown(studies)
    lines = text.splitlines()
    assert "| DPM-Solver++(2M), 2 steps, one for all | 32.00 | 0.00 +- 0.05 | 0.25 | 0.125 | 1.00 |" in lines
    assert "| Euler ancestral, 20 steps, one each | 30.50 | -1.50 +- 0.05 | 0.25 | not computed | 1.00 |" in lines
    assert "| s_T = 1, the motion dropped, s_M = 1.5 | 0.9900 | 0.75 | 31.50 | -0.50 +- 0.05 | 23.50 |" in lines
    assert "| s_T = 2, the motion in every branch (the paper's) | 0.9900 | 2.00 | 31.00 | -1.00 +- 0.05 | 23.00 |" in lines
    assert "| PSNR, dB / RMSE a GIF, px | s_T = 1 | s_T = 7.5 |" in lines
    assert "| s_I = 1 | 32.00 / 1.00 | 31.00 / 0.88 |" in lines and "| s_I = 1.8 | 30.00 / 1.00 | 33.00 / 3.00 |" in lines
    assert (
        "| 1 | 1.50 | 0.9995 | 1.00 | 0.9900 | 32.00 |" in lines and "| 1.4 | 1.25 | 0.9990 | 1.00 | 0.9900 | 31.00 |" in lines
    )
    assert "nearest to what was asked for at s_I = 1.4 (L2 1.25 px)" in text
    assert "are 1.25 +- 0.12 dB farther below E/D alone than one, in the moving region 0.50 dB (24" in text
    assert "| DPM-Solver++(2M), 1 | 31.50 | -0.50 +- 0.05 | 23.50 | 0.9900 | 1.00 | 0.50 |" in lines
    assert "| two subjects, both act | 3.25 | 3.50 +- 0.20 | 32.00 | 0.9900 | 1.00 | 0.75 | 0.40 | 1.50 |" in lines
    assert "| one subject, which acts | 2.00 +- 0.10 | 3.00 +- 0.20 | 32.00 | 0.9900 | 1.00 | 0.75 | 0.40 | 1.50 |" in lines
    assert "On 8 scenes of `test` at m = 2, 19," in text and "DPM-Solver++(2M), 2 steps, s_I = 1, s_T = 1," in text
    assert all(sentence in text for sentence in findings(studies).values())
    assert [line for line in lines if line.startswith("#")] == [line for line in lines if line.startswith("### ")]
    for line in lines:  # a table's lines have as many cells as its head, and a blank line before it
        assert not line.startswith("|") or line.endswith("|")


def test_what_the_sentences_say_follows_the_figures(studies):
    said = findings(studies)
    assert "DPM-Solver++(2M), 2 steps: a noise of its own for each frame changes PSNR by -0.25 dB, and what" in said["noise"]
    assert "changes by 0.500 grey levels from frame to frame instead of 0.125." in said["noise"]
    assert said["motion_guidance"] == (
        "At s_T = 1 motion is obeyed best with the motion dropped, s_M = 1.5 (RMSE 0.75 px a GIF), 0.25 px better than with it"
        " in every branch, at -0.50 dB of PSNR. At s_T = 2 motion is obeyed best with the motion in every branch (the paper's)"
        " (RMSE 2.00 px a GIF)."
    )
    assert "PSNR is highest at s_I = 1.8, s_T = 7.5 (33.00 dB; the weights' own way gives 32.00)." in said["guidance"]
    assert "RMSE of motion is lowest at s_I = 1, s_T = 7.5 (0.88 px; the weights' own way gives 1.00)." in said["guidance"]
    assert (
        "DPM-Solver++(2M) is nearest to the exact frames with 1 step (31.50 dB); 5 steps give -2.00 dB in 3 times"
        in said["steps"]
    )
    assert "Euler ancestral is nearest to the exact frames with 5 steps (32.50 dB). Seconds are" in said["steps"]
    assert said["steps"].endswith("one GIF of 2 frames; threads: 2.")
    assert "1.25 +- 0.12 dB farther below E/D alone than one, in the moving region 0.50 dB (24 scenes" in said["two_actions"]

    other = copy.deepcopy(studies)
    other["motion_guidance"][0]["rmse"], other["guidance"][0]["psnr"], other["two_actions"]["worse_db"] = 0.5, 40.0, -0.75
    said = findings(other)
    assert (
        "At s_T = 1 motion is obeyed best with the motion in every branch (the paper's) (RMSE 0.50 px"
        in said["motion_guidance"]
    )
    assert "PSNR is highest at s_I = 1, s_T = 1 (40.00 dB" in said["guidance"]
    assert "are -0.75 +- 0.12 dB farther" in said["two_actions"]


def test_a_guidance_table_with_a_cell_that_was_not_asked(studies):
    assert guidance_table(studies["guidance"][:3]).splitlines()[-1] == "| s_I = 1.8 | 30.00 / 1.00 |  |"


def test_the_figure_shows_the_rows(studies, tmp_path):
    (path,) = studies_figures(studies, tmp_path)
    assert path == tmp_path / "steps.png"
    with Image.open(path) as figure:
        first = np.asarray(figure.convert("RGB"))
    assert first.shape[1] > 2 * first.shape[0]  # three charts beside each other
    studies["steps"][1]["psnr"] += 0.25  # between the others: the axes stay
    studies_figures(studies, tmp_path)
    with Image.open(path) as figure:
        changed = (np.asarray(figure.convert("RGB")) != first).any(axis=(0, 2))
    third = len(changed) // 3
    assert changed[:third].any() and changed[third : 2 * third].any()  # over steps and over seconds
    assert not changed[2 * third :].any()  # motion is as it was


def test_charts_beside_each_other_are_as_many_as_given(tmp_path):
    series = {"a": ([1, 2, 4], [3, 2, 1])}
    one = Image.open(line_charts([{"series": series}], tmp_path / "one.png"))
    two = Image.open(line_charts([{"series": series}, {"series": series, "log": "x"}], tmp_path / "two.png"))
    assert two.width == 2 * one.width and two.height == one.height
