"""The ablation for real at tiny size: what is measured, that it goes on where it was killed, and what the report says of it."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import re
import shutil
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from several import start as start_process

from pix2gif_lite.data.latent_cache import read_latents
from pix2gif_lite.evaluation import ablation, ablation_claims, ablation_pictures, ablation_report
from pix2gif_lite.evaluation.ablation import NAMES, SETTINGS, Budget
from pix2gif_lite.evaluation.paper_tables import TABLE_2
from pix2gif_lite.learning.checkpoints import checkpoints, load_checkpoint, settings_of
from pix2gif_lite.motion import motion_magnitude
from pix2gif_lite.origins.loading import load_component
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import LITE, TINY, VARIANTS
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.scenes import draw, sample_scenes
from pix2gif_lite.sheets import as_picture

BUDGET = Budget(samples=8, batch_size=4, learning_rate=1e-3, warmup_steps=1, scenes=6, test_scenes=2)
MOTIONS = (2, 4, 6, 8, 11, 14, 17, 19)


def run(out: Path, start: Path, seeds: int = 1, names=("base", "full"), budget: Budget = BUDGET) -> dict:
    """The ablation with a checkpoint every step and two s_I; what is tested does not depend on how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "SCALES", (1.0, 1.8))
        patch.setattr(ablation, "CHECKPOINT_EVERY", 1)
        return ablation.run(out, seeds, names, budget, TINY, start, progress=False)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    Pix2GifPipeline.from_components(TINY, build_components(TINY, ["a red balloon is rising"] * 20)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> tuple[Path, dict]:
    """The ablation that nobody touched, base and full."""
    out = tmp_path_factory.mktemp("whole")
    return out, run(out, start)


def without_times(results: dict) -> dict:
    """The results but for seconds, and for what says when and where."""
    results = copy.deepcopy(results)
    for row in (row for by_seed in results["runs"].values() for row in by_seed.values()):
        assert row.pop("made").keys() == {"date", "machine", "commit"}
        assert row.pop("seconds") > 0 and row["trained"].pop("seconds") > 0 and row["trained"].pop("samples_per_second") > 0
    return {name: results[name] for name in ("runs", "floor", "ceiling")}


def test_the_settings_change_what_their_names_say():
    assert NAMES[:6] == VARIANTS and len(set(NAMES)) == len(NAMES) == len({setting.label for setting in SETTINGS})
    before = asdict(ablation.PAPERS_WARP)
    changed = {}
    for setting in SETTINGS:
        preset = setting.of(ablation.PAPERS_WARP)
        changed[setting.name] = {key: value for key, value in asdict(preset).items() if value != before[key]}
    shipped = LITE.with_changes(unet_channels=ablation.PAPERS_WARP.unet_channels, second_look=0.0)  # what is trained, alone
    assert changed.pop("full") == {} and SETTINGS[-1].of(ablation.PAPERS_WARP) == shipped  # "flow-loss"
    for name in VARIANTS[:-1]:
        residual = {} if name.startswith("warp") else {"residual": ablation.FROM_SOURCE}
        assert changed.pop(name) == {"variant": name} | residual
    assert changed["source"] == {"perceptual_target": "source"} and changed["absolute"] == {"flow_mode": "absolute"}
    assert changed["paper-losses"] == {
        "perceptual_target": "source",
        "loss_weights": {"diffusion": 1.0, "perceptual": 0.01, "warp": 0.0, "flow": 0.0, "outline": 0.0, "smooth": 0.0},
    }


def test_without_a_warp_a_frame_is_as_far_from_its_source_as_the_settings_say():
    vae, scenes = load_component("lite", "vae"), sample_scenes(48, "train")
    frames = draw(scenes * 2, [0] * 48 + [2 + 18 * k / 47 for k in range(48)], LITE.image_size).image
    with torch.no_grad():
        source, target = torch.cat([vae.encode(part).latent_dist.mode() for part in frames.split(16)]).chunk(2)
    apart = float((target - source).square().mean().sqrt() * vae.config.scaling_factor)
    assert apart == pytest.approx(ablation.FROM_SOURCE, rel=0.15)


def test_frames_are_measured_as_the_pipeline_makes_them(whole):
    """Each GIF by a call of the pipeline; PSNR in numpy, motion and coherency by their definitions."""
    out, results = whole
    assert json.loads((out / "ablation.json").read_text()) == results
    pipe = Pix2GifPipeline.from_pretrained(out / "full-0")
    measured, dB, moving = [], [], []
    for scene in sample_scenes(2, "test"):
        source = as_picture(scene.at(0, TINY.image_size).image[0])
        how = {"steps": ablation.STEPS, "s_I": 1.8, "s_T": 1.8, "detail": False, "quiet": True}
        made = pipe(source, scene.caption, MOTIONS, seed=scene.index, **how).frames
        exact = draw([scene] * len(MOTIONS), MOTIONS, TINY.image_size)
        measured.append([motion_magnitude(source, frame) for frame in made])
        for k, frame in enumerate(made):
            right = (exact.image[k].permute(1, 2, 0).numpy() + 1) * 127.5
            error = (np.asarray(frame, float) - right) ** 2
            dB.append(10 * math.log10(255**2 / error.mean()))
            moving.append(10 * math.log10(255**2 / error[exact.moving[k, 0].numpy()].mean()))
    found = results["runs"]["full"]["0"]["s_I"]["1.8"]
    curve = np.mean(measured, 0)
    assert found["psnr"] == pytest.approx(np.mean(dB), abs=0.02) and found["moving_psnr"] == pytest.approx(
        np.mean(moving), abs=0.02
    )
    assert found["curve"] == pytest.approx(curve.tolist(), abs=0.3)  # whole grey levels against none
    assert found["curve_l2"] == pytest.approx(np.linalg.norm(np.array(found["curve"]) - MOTIONS))
    assert found["rmse"] == pytest.approx(np.mean([np.sqrt(np.mean((np.array(m) - MOTIONS) ** 2)) for m in measured]), abs=0.3)
    assert "flow_error" in found and "flow_error" not in results["runs"]["base"]["0"]["s_I"]["1.8"]
    guided, plain = (results["runs"]["full"]["0"]["s_I"][s] for s in ("1.8", "1"))
    assert guided["psnr"] != plain["psnr"] and guided["flow_error"] == plain["flow_error"]  # one flow, whatever the guidance
    trained = results["runs"]["full"]["0"]["trained"]
    assert trained["steps"] == 2 and trained["samples"] == 8
    parts = (pipe.unet, pipe.text_encoder, pipe.flow_net, pipe.motion_embedding)
    assert trained["parameters"] == sum(p.numel() for part in parts for p in part.parameters())


def test_the_floor_stands_still_and_the_ceiling_is_the_autoencoder_alone(whole, start):
    _, results = whole
    floor, ceiling = results["floor"], results["ceiling"]
    assert floor["curve"] == [0] * 8 and floor["pearson"] == 0
    assert floor["rmse"] == pytest.approx(math.sqrt(sum(m * m for m in MOTIONS) / 8))  # 11.66
    assert floor["curve_l2"] == pytest.approx(math.sqrt(sum(m * m for m in MOTIONS)))  # 32.97
    vae = Pix2GifPipeline.from_pretrained(start).vae
    expected: dict[str, list[float]] = {"floor": [], "ceiling": []}
    for scene in sample_scenes(2, "test"):
        exact = draw([scene] * 8, MOTIONS, TINY.image_size).image
        source = torch.from_numpy(np.array(as_picture(scene.at(0, TINY.image_size).image[0]))).permute(2, 0, 1) / 127.5 - 1
        with torch.no_grad():
            decoded = vae.decode(vae.encode(exact).latent_dist.mode()).sample.clamp(-1, 1)
        for name, frames in (("floor", source.expand_as(exact)), ("ceiling", decoded)):
            mse = ((frames - exact) / 2).square().mean((1, 2, 3))
            expected[name] += (-10 * mse.log10()).tolist()
    assert floor["psnr"] == pytest.approx(np.mean(expected["floor"]), abs=1e-3)
    assert ceiling["psnr"] == pytest.approx(np.mean(expected["ceiling"]), abs=1e-3)


def test_the_same_command_adds_what_is_missing_on_the_same_latents(whole, start):
    out, before = whole
    kept = [path for name in ("base-0", "full-0", "latents") for path in (out / name).rglob("*.safetensors")]
    times = {path: path.stat().st_mtime_ns for path in kept}
    results = run(out, start, seeds=2, names=("full",))
    assert list(results["runs"]["full"]) == ["0", "1"] and results["runs"]["base"] == before["runs"]["base"]
    assert results["runs"]["full"]["0"] == before["runs"]["full"]["0"]
    assert {path: path.stat().st_mtime_ns for path in kept} == times and any(path.parent.name == "latents" for path in kept)
    folders = [out / name for name in ("base-0", "full-0", "full-1")]
    base, full, other = (settings_of(load_checkpoint(folder / "checkpoints")) for folder in folders)
    apart = {key for key in full if base[key] != full[key]}
    changed = {key for key in full["preset"] if base["preset"][key] != full["preset"][key]}
    assert apart == {"preset"} and changed == {"variant", "residual"}
    assert {key for key in full if other[key] != full[key]} == {"seed"}  # and the data's seed stays 0
    unets = [Pix2GifPipeline.from_pretrained(folder).unet.state_dict() for folder in folders[1:]]
    assert any(not torch.equal(unets[0][name], unets[1][name]) for name in unets[0])
    # what all of them read: E of the first scenes of `train`, seed 0
    latents = read_latents(sorted((out / "latents").glob("train-*.safetensors")))
    scenes = sample_scenes(BUDGET.scenes, "train", 0)
    vae = Pix2GifPipeline.from_pretrained(start).vae
    with torch.no_grad():
        z = vae.encode(draw(scenes, [0] * len(scenes), TINY.image_size).image).latent_dist.mode()
    apart = torch.cdist(latents.source[:].float().flatten(1), z.flatten(1))  # encoded in half precision where that is faster
    assert apart.argmin(1).tolist() == list(range(len(scenes))) and apart.diagonal().max() < 0.1 * apart.max()
    assert latents.captions == [scene.caption for scene in scenes]


def test_bad_input_is_refused_before_anything_is_trained(whole, start, tmp_path):
    out, _ = whole
    held = sorted(out.rglob("*"))
    with pytest.raises(ValueError, match="Unknown variant 'wrap': choose from base, motion-embed, "):
        run(tmp_path / "new", start, names=("full", "wrap"))
    with pytest.raises(ValueError, match="Unknown variant ''"):
        run(tmp_path / "new", start, names=())
    with pytest.raises(ValueError, match="0 seeds"):
        run(tmp_path / "new", start, seeds=0)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="with another budget: give a new folder"):
        run(out, start, names=NAMES, budget=replace(BUDGET, samples=12))
    with pytest.raises(ValueError, match="with another scales"):
        ablation.run(out, 1, NAMES, BUDGET, TINY, start, progress=False)
    with pytest.raises(ValueError, match="with another preset, autoencoder, decoder, text"):
        ablation.run(out, 1, NAMES, BUDGET, LITE, "lite", progress=False)
    assert sorted(out.rglob("*")) == held


def test_it_is_told_that_the_caption_is_guided_as_the_picture_and_which_e_and_d_there_were(whole, start):
    made = whole[1]["made"]
    assert made["s_T"] == "as s_I" and made["scales"] == [1.0, 1.8] and made["steps"] == ablation.STEPS
    weights = Pix2GifPipeline.from_pretrained(start).vae.state_dict()
    for name, of_d in (("autoencoder", False), ("decoder", True)):
        some = {key: value for key, value in weights.items() if key.startswith(("decoder", "post_quant")) is of_d}
        digest = hashlib.sha256()
        for key in sorted(some):
            digest.update(key.encode() + some[key].numpy().tobytes())
        assert made[name] == digest.hexdigest()[:16]


def test_another_d_or_another_s_t_is_refused_and_a_file_that_does_not_name_d_goes_on(whole, start, tmp_path):
    _, results = whole
    full = {"full": {"0": results["runs"]["full"]["0"]}}
    for changes, refused in (
        ({}, None),
        ({"decoder": None}, None),
        ({"decoder": "0123456789abcdef"}, "another decoder: "),
        ({"s_T": None}, "another s_T: "),  # from before s_T was s_I, when it stayed at 1
        ({"steps": None}, "another steps: "),  # from before the frames of an ablation had a step count of their own
    ):
        made = {name: value for name, value in (results["made"] | changes).items() if value is not None}
        text = json.dumps(results | {"made": made, "runs": full})
        (tmp_path / "ablation.json").write_text(text)
        if refused:
            with pytest.raises(ValueError, match=refused):
                run(tmp_path, start, names=("full",))
        else:
            assert run(tmp_path, start, names=("full",))["runs"] == full
        assert (tmp_path / "ablation.json").read_text() == text and len([*tmp_path.iterdir()]) == 1


def test_a_run_that_is_finished_is_measured_and_not_trained_again(whole, start, tmp_path, monkeypatch):
    out, results = whole
    shutil.copytree(out / "full-0", tmp_path / "full-0")
    (tmp_path / "full-0" / "checkpoints").rename(tmp_path / "elsewhere")  # to train on from would take these
    monkeypatch.setattr(ablation, "train_model", None)  # whoever calls it fails
    again = run(tmp_path, start, names=("full",))
    assert without_times(again)["runs"]["full"]["0"] == without_times(results)["runs"]["full"]["0"]
    assert again["floor"] == results["floor"] and not (tmp_path / "latents").exists()
    # half a run, or one that was saved only in part, is trained on
    for name in ("summary.json", "model_index.json"):
        (tmp_path / "ablation.json").unlink()
        (tmp_path / "full-0" / name).rename(tmp_path / name)
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            run(tmp_path, start, names=("full",))
        (tmp_path / name).rename(tmp_path / "full-0" / name)
        (tmp_path / "ablation.json").write_text("")


# ------------------------------------------------------------------------------------------------------------------ killed


def killed(out: Path, start: Path, folder: str, name: str) -> None:
    """An ablation that is killed as it is about to give a file or folder of that name its name."""

    def watch(happening: str, args: tuple) -> None:
        if happening == "os.rename" and Path(args[1]).name == name and folder in str(args[1]):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    run(out, start)


def test_killed_between_runs_and_inside_a_run_it_ends_as_if_nobody_had_touched_it(whole, start, tmp_path):
    _, results = whole
    for folder, name in ((tmp_path.name, "ablation.json"), ("full-0", "step-0000002")):
        process = start_process(killed, tmp_path, start, folder, name)
        process.join(600)
        assert process.exitcode == -signal.SIGKILL
        if name == "ablation.json":  # the first run was trained and measured, and nothing says so yet
            assert (tmp_path / "base-0" / "model_index.json").is_file() and not (tmp_path / "ablation.json").exists()
    # the second has one step of two behind it
    assert list(json.loads((tmp_path / "ablation.json").read_text())["runs"]) == ["base"]
    assert [path.name for path in checkpoints(tmp_path / "full-0" / "checkpoints")] == ["step-0000001"]
    assert not (tmp_path / "full-0" / "unet").exists()
    done = (tmp_path / "base-0" / "unet" / "diffusion_pytorch_model.safetensors").stat().st_mtime_ns
    again = run(tmp_path, start)
    assert (tmp_path / "base-0" / "unet" / "diffusion_pytorch_model.safetensors").stat().st_mtime_ns == done
    kept = {name: {"0": results["runs"][name]["0"]} for name in ("base", "full")}  # another test may have added a seed
    assert without_times(again) == without_times(results | {"runs": kept})


# ------------------------------------------------------------------------------------------------------------- the report


def made_up(rmse: dict[str, list[float]], scales=(1.0, 1.4, 1.8)) -> dict:
    """Results in which only the figures that are given differ: RMSE by setting and seed; all else follows from it."""

    def row(value: float) -> dict:
        curve = [m * (1 - value / 100) for m in MOTIONS]
        figures = {"rmse": value, "pearson": 1 - value / 100, "curve_l2": 2 * value, "curve_pearson": 0.5, "curve": curve}
        return figures | {"psnr": 30 - value, "moving_psnr": 20 - value, "still_psnr": 40 - value, "seen_psnr": 31.0}

    runs = {
        name: {
            str(seed): {
                "trained": {"steps": 5, "samples": 80, "seconds": 100.0 + 2 * seed, "parameters": 1_500_000},
                "s_I": {f"{s:g}": row(value + k) for k, s in enumerate(scales)},
                "seconds": 150.0,
            }
            for seed, value in enumerate(values)
        }
        for name, values in rmse.items()
    }
    made = {"budget": asdict(BUDGET), "motions": list(MOTIONS), "scales": list(scales), "preset": "tiny"}
    made |= {"s_T": "as s_I", "steps": 5, "unet": [16, 32]}
    made |= {"command": "pix2gif-lite evaluate --ablation", "date": "today", "machine": "here", "commit": "abc"}
    return {"made": made, "floor": row(11.0), "ceiling": row(0.5), "runs": runs}


def cells(text: str) -> dict[str, list[str]]:
    """The lines of a Markdown table by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    return {row[0]: row[1:] for row in rows}


LABELS = {setting.name: setting.label for setting in SETTINGS}


def test_table_2_has_means_and_spreads_and_the_papers_rows():
    found = cells(ablation_report.table(made_up({"base": [5.0, 6.0, 7.0], "full": [1.5]})))
    assert found["L2 / Pearson of the averaged curve"] == ["seeds", "s_I = 1", "s_I = 1.4", "s_I = 1.8"]
    # seeds 5, 6, 7: L2 10, 12, 14, and 2 more at each further s_I
    assert found[LABELS["base"]] == ["3", *(f"{v} +- 2.00 / 0.5000 +- 0.0000" for v in ("12.00", "14.00", "16.00"))]
    assert found[LABELS["full"]] == ["1", "3.00 / 0.5000", "5.00 / 0.5000", "7.00 / 0.5000"]
    assert found["copy of the source (floor)"] == ["", *["22.00 / 0.5000"] * 3]
    assert found["exact frame through E, D (ceiling)"] == ["", *["1.00 / 0.5000"] * 3]
    for method in TABLE_2:  # the paper measured nothing at s_I = 1
        assert found[f"*the paper's own: {method}*"][:2] == ["", ""]
    assert found["*the paper's own: Pix2Gif*"][2:] == ["*1.746 / 0.995*", "*2.944 / 0.997*"]
    assert found["*the paper's own: InstructPix2Pix*"][2] == "*23.429 / -0.229*"
    assert LABELS["warp"] not in found


def test_the_table_of_gifs_is_stricter_and_has_no_rows_of_the_papers():
    results = made_up({"base": [5.0, 6.0, 7.0]})
    found = cells(ablation_report.table(results, "gif"))
    assert found[LABELS["base"]][1] == "6.00 +- 1.00 / 0.9400 +- 0.0100"
    assert not any("paper" in label for label in found)
    with pytest.raises(ValueError, match="No table of 'frames'"):
        ablation_report.table(results, "frames")


def test_the_table_without_guidance_says_what_a_run_took():
    results = made_up({"base": [5.0, 6.0, 7.0], "full": [1.0, 2.0]})
    for run_of in results["runs"]["full"].values():
        run_of["s_I"]["1"]["flow_error"] = 2.5
    found = cells(ablation_report.own_table(results))
    base = ["3", "6.00 +- 1.00", "0.9400 +- 0.0100", "24.00 +- 1.00", "14.00 +- 1.00", "34.00 +- 1.00", "-", "100", "1.50"]
    assert found[LABELS["base"]] == base
    assert found[LABELS["full"]][6:] == ["2.50 +- 0.00", "100", "1.50"]
    assert found["copy of the source (floor)"] == ["", "11.00", "0.8900", "19.00", "9.00", "29.00", "-", "", ""]


def said(results: dict) -> dict[str, str]:
    """The verdicts by claim: the word and what follows."""
    split = [re.fullmatch(r"(.*): \*\*(.*)\*\*\. (.*)", line) for line in ablation_claims.verdicts(results)]
    return {found[1]: f"{found[2]}: {found[3]}" for found in split if found}


def test_a_claim_holds_where_all_seeds_agree_fails_where_none_does_and_else_they_disagree():
    values = {name: [9.0, 9.5, 10.0] for name in VARIANTS}
    values |= {"base": [12.0, 13.0, 14.0], "full": [5.0, 5.5, 9.0], "warp-concat": [5.5, 5.0, 9.5], "warp-add": [4.0, 4.5, 8.0]}
    results = made_up(values)
    found = said(results)
    assert found["`full` obeys the number better than `base`"] == (
        "holds: RMSE a GIF: `full` 6.50, `base` 13.00 px, lower by 6.50 +- 1.32 px, in 3 of 3 seeds."
        " Pearson a GIF: `full` 0.9350, `base` 0.8700, higher by 0.0650 +- 0.0132, in 3 of 3 seeds."
    )
    assert found["`full` obeys the number better than `warp-concat`"].startswith(
        "the seeds disagree: RMSE a GIF: `full` 6.50, `warp-concat` 6.67 px, lower by 0.17 +- 0.58 px, in 2 of 3 seeds."
    )
    assert found["`full` obeys the number better than `warp-add`"].startswith(
        "does not hold: RMSE a GIF: `full` 6.50, `warp-add` 5.50 px, higher by 1.00 +- 0.00 px, in 3 of 3 seeds."
    )
    # of five comparisons the closest: warp and motion-embed, 3, 3.5, 4 px apart
    worst = found["The paper: `base` is the worst of all"]
    assert worst == "holds: RMSE a GIF: `motion-embed` 9.50, `base` 13.00 px, lower by 3.50 +- 0.50 px, in 3 of 3 seeds."
    # also at the paper's s_I every variant is asked, and the one that comes nearest to contradicting is shown
    guided = found["At the paper's own s_I, `full` is nearer the asked curve than any other variant"]
    assert guided.startswith("the seeds disagree: L2 of the averaged curve: `full` 17.00, `warp-add` 15.00 px, higher by 2.00")
    first = ablation_claims.verdicts(results)[0]
    order = ["warp-add", "full", "warp-concat", "motion-embed", "warp", "base"]
    assert re.findall("`(.*?)`", first) == order and first.startswith(
        "RMSE a GIF at s_I = 1, best first: `warp-add` 5.50 +- 2.18, "
    )
    for by_seed in results["runs"]["warp-add"].values():
        by_seed["s_I"]["1"]["pearson"] = 0.5  # better by one figure and worse by the other
    assert said(results)["`full` obeys the number better than `warp-add`"].startswith("partly: RMSE a GIF: `full` 6.50, ")
    assert not any(claim.startswith("Ours") for claim in found)  # none of these was trained


def test_only_the_seeds_that_both_have_are_compared_and_a_tie_is_no_win():
    results = made_up({"full": [5.0, 1.0], "source": [6.0], "absolute": [5.0, 1.0]})
    assert ablation_claims.gains(results, "full", "source", "rmse") == [1.0]
    found = said(results)
    source = found["Ours: L_P against the target is better than against the source (Eq. 7)"]
    assert source.startswith(
        "holds in the one seed there is: RMSE a GIF: `full` 5.00, `source` 6.00 px, lower by 1.00 px, in 1 of 1 seeds."
    )
    assert found["Ours: a flow of displacements is better than one of absolute places"].startswith("does not hold")
    assert said(made_up({"full": [1.0]})) == {}


def test_what_reads_the_same_is_equal_and_no_win():
    results = made_up({"full": [5.0], "source": [5.004]})
    row = results["runs"]["source"]["0"]["s_I"]["1"]
    row["pearson"] = results["runs"]["full"]["0"]["s_I"]["1"]["pearson"]
    row["moving_psnr"] = 14.0
    claim = "Ours: L_P against the target is better than against the source (Eq. 7)"
    assert said(results)[claim].startswith(
        "partly in the one seed there is: RMSE a GIF: `full` 5.00, `source` 5.00 px, equal."
        " PSNR, moving region: `full` 15.00, `source` 14.00 dB, higher by 1.00 dB, in 1 of 1 seeds."
    )
    results = made_up({"full": [5.0, 6.0], "source": [6.0, 5.0]})
    assert "px, equal on average, 0.00 +- 1.41 px, over 2 seeds." in said(results)[claim]


def test_how_little_l_p_weighs_is_worked_out_from_the_runs():
    results = made_up({"full": [5.0, 6.0], "warp-concat": [4.0, 5.0]})
    claim = "`full` obeys the number better than `warp-concat`"
    assert (
        "Likely why: The two differ in L_P alone, which is small in the loss: its weight is 0.01, that of L_W 0.3."
        in (said(results)[claim])
    )
    for seed, values in (("0", (0.3, 0.05)), ("1", (0.1, 0.03))):  # 0.2 and 0.04 on average: 0.002 and 0.012
        results["runs"]["full"][seed]["trained"] |= dict(zip(("val_perceptual", "val_warp"), values, strict=True))
    assert "at the end of training 0.01 x 0.200, where L_W is 0.3 x 0.040, 6 times as much." in said(results)[claim]
    assert "{" not in " ".join(ablation_claims.verdicts(results))


def test_the_notes_say_how_the_frames_were_sampled():
    results = made_up({"base": [5.0], "full": [1.0]})
    results["made"]["steps"] = 7
    said_below = ablation_report.notes(results)
    assert "s_T is s_I in every column" in said_below and "dpmpp_2m with 7 steps." in said_below
    assert "Others at commit" not in said_below
    for commit, name in (("abc1234", "base"), (results["made"]["commit"], "full")):
        results["runs"][name]["0"]["made"] = {"date": "today", "machine": "this", "commit": commit}
    assert ablation_report.notes(results).endswith(" Others at commit abc1234.")


def test_what_learns_from_the_exact_flow_is_compared_with_what_does_not():
    results = made_up({"subcell": [2.0, 2.0], "flow-loss": [1.0, 1.0]})
    for name, error in (("subcell", 0.5), ("flow-loss", 0.25)):
        for each in results["runs"][name].values():
            each["s_I"]["1"]["flow_error"] = error
    claim = "Ours: F and O that learn from the exact flow too (L_F, L_O, bodies, calibration) are better"
    assert claim in said(results)
    trained = {setting.name for setting in SETTINGS}
    compared = {name for each in ablation_claims.CLAIMS for a, b, *_ in each.comparisons for name in (a, b)}
    assert compared == trained  # every setting has a claim


def test_what_decides_among_the_variants_with_a_warp():
    results = made_up({"base": [9.0, 9.0], "warp": [1.0, 2.0], "full": [2.0, 3.0]})
    assert ablation_claims.what_decides(results) == ""  # nobody measured a flow
    for name in ("warp", "full"):
        for each in results["runs"][name].values():
            each["s_I"]["1"]["flow_error"] = each["s_I"]["1"]["rmse"] / 2
    said_so = ablation_claims.what_decides(results)
    assert "over their 4 runs" in said_so and "(correlation 1.00)" in said_so
    assert f"are {0.5**0.5:.2f} px apart (standard deviation), the variants' means {0.5**0.5:.2f} px." in said_so
    assert said_so in ablation_claims.verdicts(results)
    del results["runs"]["warp"]["1"]
    assert ablation_claims.what_decides(results) == ""


def test_l_p_gives_up_motion_where_frames_move_less_and_follow_better():
    results = made_up({"full": [5.0, 5.0], "warp-concat": [6.0, 6.0]})
    claim = "The paper: L_P gives up some extent of motion for control, here against the target"
    assert said(results)[claim].startswith("partly")  # by made_up full moves further: 95% of what was asked against 94%
    for run_of in results["runs"]["full"].values():
        run_of["s_I"]["1"]["curve"] = [m / 2 for m in MOTIONS]
    held = said(results)[claim]
    assert held.startswith("holds: mean measured motion: `full` 5.06, `warp-concat` 9.52 px, lower by ")
    assert "Pearson a GIF: `full` 0.9500, `warp-concat` 0.9400, higher by 0.0100 +- 0.0000, in 2 of 2 seeds." in held


def test_where_a_claim_fails_the_likely_reason_stands_beside_it():
    results = made_up({"full": [5.0, 5.0], "warp": [4.0, 4.0], "warp-concat": [6.0, 6.0]})
    found = said(results)
    assert "Likely why: Lite's UNet says how the frame differs" in found["`full` obeys the number better than `warp`"]
    assert "Likely why" not in found["`full` obeys the number better than `warp-concat`"]


def test_the_best_s_i_and_the_motions_that_are_not_told_apart_are_named():
    results = made_up({"base": [5.0, 6.0], "full": [1.0]})  # by made_up a larger s_I is worse
    for seed, rise in (("0", 0.0), ("1", 0.4)):
        row = results["runs"]["base"][seed]["s_I"]
        row["1"]["curve"] = [2, 3, 6, 6, 6, 6, 6, 6 + rise]  # 0.2 on average, of 13 that are asked
        row["1.8"]["rmse"] = 0.5
    lines = ablation_claims.verdicts(results)
    assert lines[2] == "RMSE a GIF at s_I = 1.8, best first: `base` 0.50 +- 0.00, `full` 3.00 px."
    assert lines[4] == (
        "The s_I with the lowest RMSE a GIF: `base` 1.8, `full` 1."
        " With the lowest L2 in the paper's table: InstructPix2Pix 1.4, Pix2Gif-Base 1.6, Pix2Gif 1.4."
        " Likely why more does not help: what s_I = s_T adds is the whole prediction less the one that sees neither picture"
        " nor caption, which about 0 of the 8 samples teach."
    )
    assert lines[5] == (
        "Motions that are not told apart, the averaged curve being flat:"
        " `base` from m = 6 on (it rises by 0.20 px, where 13 are asked)."
    )
    assert not any("flat" in line for line in ablation_claims.verdicts(made_up({"base": [5.0], "full": [1.0]})))


def test_the_report_is_written_beside_the_results(whole):
    out, results = whole
    written = ablation_pictures.write_report(out, results)
    assert [path.name for path in written] == ["ablation.md", "ablation.webp", "ablation-curves.png"]
    text = (out / "ablation.md").read_text()
    for part in (ablation_report.table(results), ablation_report.own_table(results), *ablation_claims.verdicts(results)):
        assert part in text
    assert f"on 2 held-out scenes at m = 2, 4, 6, 8, 11, 14, 17, 19, {TINY.sampler} with {ablation.STEPS} steps" in text
    assert f"`{results['made']['command']}`" in text and "Each run: 8 samples in batches of 4" in text
    for path in written[1:]:
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_the_sheet_shows_each_settings_own_frames(whole):
    out, _ = whole
    image = np.asarray(ablation_pictures.picture(out, scenes=(1, 0), motions=(6, 19), size=TINY.image_size)).astype(int)
    side, step = TINY.image_size, TINY.image_size + 4
    assert image.shape[1] == 4 + 6 * step
    scenes = sample_scenes(2, "test")
    tops = [image.shape[0] - (3 - row) * (step + 18) + 18 for row in range(3)]  # exact, base, full
    for column, scene in ((0, scenes[1]), (3, scenes[0])):
        source = as_picture(scene.at(0, side).image[0])
        exact = draw([scene] * 2, (6, 19), side).image
        shown = {tops[0]: exact}
        for top, name in zip(tops[1:], ("base-0", "full-0"), strict=True):
            pipe = Pix2GifPipeline.from_pretrained(out / name)
            asked = {"steps": ablation.STEPS, "s_I": 1, "s_T": 1, "detail": False, "quiet": True}
            frames = pipe(source, scene.caption, (6, 19), seed=scene.index, **asked).frames
            shown[top] = frames
        for top, frames in shown.items():
            for k, picture in enumerate([source, *frames]):
                left = 4 + (column + k) * step
                cell = image[top : top + side, left : left + side]
                assert np.abs(cell - np.asarray(as_picture(picture), int)).max() <= 1


def test_without_runs_there_is_no_sheet_and_without_results_no_figure(tmp_path):
    assert ablation_pictures.picture(tmp_path) is None
    results = made_up({"full": [1.0, 2.0], "base": [5.0]})
    assert [path.name for path in ablation_pictures.write_report(tmp_path, results)] == ["ablation.md", "ablation-curves.png"]
    with pytest.raises(ValueError, match="Nothing was measured at s_I = 3"):
        ablation_pictures.figure(results, tmp_path / "none.png", "3")
    assert not (tmp_path / "none.png").exists()
