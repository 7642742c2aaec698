"""The options of `evaluate`: what does not go together is one sentence before any work, and a finished ablation is printed."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from pix2gif_lite import cli
from pix2gif_lite.data.latent_cache import fingerprint
from pix2gif_lite.evaluation.ablation import MOTIONS, PAPERS_WARP, SCALES, STEPS, Budget
from pix2gif_lite.origins.loading import load_component


def refused(capsys, *options: str) -> str:
    """What the command says when it ends with code 2: one line."""
    assert cli.main(["evaluate", *options]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("option", ["--variants full", "--seeds 2", "--samples 160"])
def test_options_of_the_ablation_alone_are_refused(capsys, option):
    flag = option.split()[0]
    assert f"{flag} belongs to --ablation: give it, or leave {flag} out." in refused(capsys, *option.split())


@pytest.mark.parametrize("option", ["--quick", "--scenes 4", "--steps 3", "--sampler dpmpp_2m"])
def test_options_of_the_quality_table_do_not_go_with_the_ablation(capsys, tmp_path, option):
    said = refused(capsys, "--ablation", "--out", str(tmp_path / "out"), *option.split())
    assert f"{option.split()[0]} is for the weights' own evaluation, not for --ablation" in said
    assert not (tmp_path / "out").exists()


def test_the_ablation_needs_a_folder_that_it_can_write(capsys, tmp_path):
    assert "give --out, the folder that keeps what is done" in refused(capsys, "--ablation")
    (tmp_path / "file").write_text("")
    assert "is a file: give a folder" in refused(capsys, "--ablation", "--out", str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--variants full,wrap", "Unknown variant 'wrap': choose from base, motion-embed, warp"),
        ("--variants ,", "Unknown variant ''"),
        ("--seeds 0", "seeds"),
        ("--samples 15", "samples"),
        ("--samples many", "many"),
        ("--weights nowhere/at-all", "nowhere/at-all"),
    ],
)
def test_values_out_of_range_are_refused_before_the_folder_is_made(capsys, tmp_path, options, words):
    assert words in refused(capsys, "--ablation", "--out", str(tmp_path / "out"), *options.split())
    assert not (tmp_path / "out").exists()


@pytest.fixture
def done(tmp_path):
    """A folder whose ablation of two settings has ended: made as `run` makes it, of 160 samples, with figures made up."""

    def measured(rmse: float) -> dict:
        figures = {"rmse": rmse, "pearson": 0.9, "curve_l2": rmse, "curve_pearson": 0.9, "curve": [m / rmse for m in MOTIONS]}
        return figures | {"psnr": 30.0, "moving_psnr": 20.0, "still_psnr": 38.0, "seen_psnr": 31.0}

    made = {"preset": "lite", "budget": asdict(Budget(samples=160)), "motions": list(MOTIONS), "scales": list(SCALES)}
    made |= {
        name: fingerprint(load_component("lite", part)) for name, part in (("autoencoder", "vae"), ("text", "text_encoder"))
    }
    made |= {"s_T": "as s_I", "steps": STEPS, "unet": list(PAPERS_WARP.unet_channels)}
    made |= {"command": "pix2gif-lite", "date": "today", "machine": "here", "commit": None}
    trained = {"steps": 10, "samples": 160, "seconds": 5.0, "parameters": 2_000_000}
    runs = {
        name: {"0": {"trained": trained, "s_I": {f"{s:g}": measured(rmse) for s in SCALES}, "seconds": 9.0}}
        for name, rmse in (("base", 4.0), ("full", 2.0))
    }
    results = {"made": made, "runs": runs, "floor": measured(11.0), "ceiling": measured(1.0)}
    (tmp_path / "ablation.json").write_text(json.dumps(results))
    return tmp_path


def test_an_ablation_that_is_done_is_not_done_again_but_read_and_reported(done, capsys):
    before = json.loads((done / "ablation.json").read_text())
    options = ["--variants", "base, full", "--seeds", "1", "--samples", "160"]
    assert cli.main(["evaluate", "--ablation", "--out", str(done), *options]) == 0
    said = capsys.readouterr().out
    assert "| full: Warp-concat with L_P | 1 | 2.00 / 0.9000 |" in said
    assert (
        "`full` obeys the number better than `base`: **partly in the one seed there is**." in said
    )  # RMSE is better, Pearson is the same
    assert (done / "ablation.md").read_text().strip() == said.strip()
    assert sorted(path.name for path in done.iterdir()) == ["ablation-curves.png", "ablation.json", "ablation.md"]
    assert json.loads((done / "ablation.json").read_text()) == before


def test_another_budget_in_the_same_folder_is_refused(done, capsys):
    said = refused(capsys, "--ablation", "--out", str(done), "--variants", "full", "--samples", "320")
    assert "were made with another budget: give a new folder" in said
    assert [path.name for path in done.iterdir()] == ["ablation.json"]
