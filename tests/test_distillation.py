"""Distillation: the teacher is the sampler itself, only the student learns, and its few steps come to end where many do."""

from __future__ import annotations

import copy
import functools
import json
import os
import signal

import pytest
import torch
from torch.testing import assert_close

from pix2gif_lite import cli, pretrained
from pix2gif_lite.data.latent_cache import cache_scenes
from pix2gif_lite.diffusion import alphas_cumprod
from pix2gif_lite.distillation import train_turbo
from pix2gif_lite.distilled import check_distilled, check_step_counts, parse_counts, saved_step_counts, smaller
from pix2gif_lite.learning.decoder_training import train_decoder
from pix2gif_lite.learning.distillation_job import DistillationJob
from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.origins.loading import PARTS, load_component
from pix2gif_lite.origins.starting import starting_parts
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import LITE, TINY
from pix2gif_lite.pretrained import build_components, resolve_weights
from pix2gif_lite.text import motion_prompt, tokenize

CAPTION = "a red balloon is rising"
QUICK = {"progress_bar": False, "cpu": True, "mixed_precision": "no", "scenes": 4, "targets": 2, "held_out": 2, "log_every": 1}
GUIDED = TINY.with_changes(s_I=1.4, s_T=2.5)


@functools.cache
def random_parts():
    return build_components(TINY, [CAPTION] * 20)


def tiny_parts():
    """TINY's parts, with a flow that is not the identity and a UNet whose estimates are not z_W alone."""
    parts, generator = copy.deepcopy(random_parts()), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (parts["flow_net"].predict_flow0[0].weight, parts["unet"].conv_out.weight):
            weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    parts["vae"].register_to_config(scaling_factor=0.8)
    return parts


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    Pix2GifPipeline.from_components(TINY, tiny_parts()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def latents(weights, tmp_path_factory):
    return cache_scenes(load_component(weights, "vae"), tmp_path_factory.mktemp("latents"), 6, 2, 64, progress_bar=False)


@pytest.fixture(scope="module")
def turbo(weights, tmp_path_factory):
    """A folder of weights distilled from those for two steps, and what `fit` said."""
    folder = tmp_path_factory.mktemp("turbo")
    summary = train_turbo(TINY, folder, weights, steps=2, distilled_steps=[2, 1], teacher_steps=3, **QUICK)
    return folder, summary


def make_job(latents, preset=TINY, **options):
    parts = tiny_parts()
    model = Pix2GifModel.from_parts(parts, preset)
    return DistillationJob(preset, model, parts["tokenizer"], parts["vae"], latents, **options).eval()


# --------------------------------------------------------------------------------------------------------- the teacher


@pytest.mark.parametrize("preset", [TINY, GUIDED], ids=["unguided", "guided"])
def test_the_teacher_ends_where_the_pipeline_does(latents, picture, preset):
    job = make_job(latents, preset, distilled_steps=(1, 2), teacher_steps=5)
    parts = {name: getattr(job.model, name) for name in ("text_encoder", "motion_embedding", "flow_net", "unet")}
    pipe = Pix2GifPipeline.from_components(preset, parts | {"vae": job.vae, "tokenizer": job.tokenizer}, calibrate=False)
    seen = []
    pipe(picture, CAPTION, [6], steps=5, seed=3, detail=False, callback=lambda state: seen.append(state), quiet=True)

    ids = tokenize(pipe.tokenizer, [motion_prompt(CAPTION, 6)])
    noise = torch.randn(1, *latents.source.shape[1:], generator=torch.Generator().manual_seed(3))
    E, m = pipe.encode(picture), torch.tensor([6])
    batch = job.batch([0])._replace(source=E, input_ids=ids, motion=m, noise=noise)
    end = job.teacher_end(noise, job.conditions(batch))
    assert_close(end, seen[-1]["denoised"], rtol=1e-4, atol=1e-5)
    assert float((end - seen[0]["denoised"]).abs().max()) > 1e-2  # there is a way to go
    assert float((job.teacher_end(noise, job.conditions(batch._replace(motion=m + 9))) - end).abs().max()) > 1e-3


# --------------------------------------------------------------------------------------------------------- the student


def test_the_loss_is_the_one_in_the_docstring(latents):
    """By hand: two steps of a straight line, the second from where the first led, no gradient through the state."""
    job = make_job(latents, distilled_steps=(1, 2), teacher_steps=4)
    batch = job.batch(range(3))
    ac, s = alphas_cumprod(TINY), TINY.residual
    high, low = (((1 - ac[t]) / ac[t]).sqrt() for t in (999, 499))
    terms = job(batch)
    terms["loss"].backward()
    gradient = job.model.unet.conv_out.weight.grad.clone()
    job.zero_grad()

    with torch.no_grad():
        c_L = job.model.condition(batch.input_ids, batch.motion)
        image = job.image_scale * batch.source
        _, z_W = job.model.warp(image, c_L)
        end = job.teacher_end(batch.noise, job.conditions(batch))

    def D(y, t):  # v-prediction: x_0 = sqrt(a) z - sqrt(1 - a) v
        z = ac[t].sqrt() * y
        v = job.model(z, torch.full((3,), t), image, z_W, c_L)
        return ac[t].sqrt() * z - (1 - ac[t]).sqrt() * v

    y_1 = batch.noise * (1 + high**2).sqrt()
    first = D(y_1, 999)
    y_2 = (first + low / high * (y_1 - first)).detach()
    square = [((made - end) ** 2).mean() * (1 + s**2 / sigma**2) for made, sigma in ((first, high), (D(y_2, 499), low))]
    by_hand = {"end_1": square[0], "end_2": (square[0] + square[1]) / 2}
    for name, value in by_hand.items():
        assert_close(terms[name], value, rtol=1e-4, atol=1e-7)
    loss = (by_hand["end_1"] + by_hand["end_2"]) / 2
    assert_close(terms["loss"], loss, rtol=1e-4, atol=1e-7)
    loss.backward()
    assert_close(gradient, job.model.unet.conv_out.weight.grad, rtol=1e-3, atol=1e-7)


def test_samples_are_keyed_by_their_number(latents):
    job = make_job(latents)
    batch, alone = job.batch(range(30, 42)), job.batch([37])
    for name in ("source", "target", "input_ids", "motion", "noise"):
        assert torch.equal(getattr(batch, name)[7], getattr(alone, name)[0]), name
    assert not batch.drop_image.any() and not batch.drop_motion.any()
    assert len({row.numpy().tobytes() for row in batch.noise}) == 12
    assert not torch.equal(batch.noise, make_job(latents, seed=1).batch(range(30, 42)).noise)


@pytest.mark.parametrize(
    "preset, rate, left",  # guidance is further to go
    [(TINY, 1e-3, 0.5), (GUIDED, 4e-3, 0.7)],
    ids=["unguided", "guided"],
)
def test_a_gradient_reaches_the_student_alone_and_it_comes_to_end_where_the_teacher_does(latents, preset, rate, left):
    job = make_job(latents, preset, distilled_steps=(1, 2), teacher_steps=6).train()
    assert job.model.unet.training and not job.teacher.unet.training and not job.model.text_encoder.training
    trained = {name for name, p in job.named_parameters() if p.requires_grad}
    assert trained == {f"model.unet.{name}" for name, _ in job.model.unet.named_parameters()}
    still = {name: p.detach().clone() for name, p in job.named_parameters() if name not in trained}
    assert any(name.startswith("teacher.unet.") for name in still)

    batch = job.batch(range(4))
    branches = job.conditions(batch)
    end = job.teacher_end(batch.noise, branches)

    def distance(steps):
        with torch.no_grad():
            return float((job.student_way(batch.noise, branches, steps)[-1].denoised - end).square().mean())

    before = {steps: distance(steps) for steps in (1, 2)}
    optimizer = torch.optim.AdamW([p for p in job.parameters() if p.requires_grad], lr=rate)
    for step in range(12):
        job(batch)["loss"].backward()
        if step == 0:
            assert all(p.grad.abs().max() > 0 for p in job.model.unet.parameters())
            assert all(p.grad is None for name, p in job.named_parameters() if name not in trained)
        optimizer.step()
        optimizer.zero_grad()
    assert all(distance(steps) < left * before[steps] for steps in (1, 2)), (before, distance(1), distance(2))
    assert torch.equal(job.teacher_end(batch.noise, branches), end)
    assert all(torch.equal(p, still[name]) for name, p in job.named_parameters() if name in still)


def test_what_is_measured_starts_at_the_teachers_own_few_steps(latents):
    job = make_job(latents, distilled_steps=(1, 3), teacher_steps=4, held_out=latents)
    first = job.measure()
    pairs = latents.motion.numel()
    batch = job._undropped(job.held_out_sets.pairs(job.held_out_sets.every("scenes")), torch.zeros(pairs, 4, 16, 16))
    assert len(batch.source) == pairs == 12
    for steps in (1, 3):  # the student is the teacher still, which here is not guided
        assert first[f"val_end_{steps}"] == pytest.approx(first[f"val_end_{steps}_teacher"], rel=1e-4)
    assert first["val_end_1"] > first["val_end_3"] > 0  # fewer steps end further away
    assert first["val_loss"] == pytest.approx((first["val_end_1"] + first["val_end_3"]) / 2)
    with torch.no_grad():
        for p in job.teacher.unet.parameters():
            p.zero_()  # held-out ends are remembered
        job.model.unet.conv_out.weight.zero_()
        job.model.unet.conv_out.bias.zero_()
    later = job.measure()
    assert {k: v for k, v in later.items() if "teacher" in k} == {k: v for k, v in first.items() if "teacher" in k}
    # A UNet that says nothing gives z_W from pure noise: the distance of the exact latent is that of the warp.
    everything = job.conditions(batch)["full"].z_W
    exact = float((everything - job.scale * batch.target).square().mean())
    assert later["val_exact_1"] == pytest.approx(exact, rel=0.02)
    assert make_job(latents).measure() == {}


# -------------------------------------------------------------------------------------------------------- from end to end


def unet_of(folder):
    return load_component(folder, "unet").state_dict()


def test_the_saved_weights_know_their_steps_and_take_no_others(turbo, weights, picture):
    folder, summary = turbo
    assert summary["steps"] == 2 and {"val_end_1", "val_end_2_teacher", "val_exact_1"} <= summary.keys()
    saved = json.loads((folder / "model_index.json").read_text())
    assert saved["distilled_steps"] == [1, 2] and saved["sampling_steps"] == 1
    assert "| distilled steps | 1, 2 |" in (folder / "README.md").read_text()
    for name in PARTS:
        if name != "tokenizer":
            old, new = (load_component(place, name).state_dict() for place in (weights, folder))
            same = [torch.equal(old[key], new[key]) for key in old]
            assert not all(same) if name == "unet" else all(same), name

    pipe = Pix2GifPipeline.from_pretrained(folder)
    calls = []
    default = pipe(picture, CAPTION, [5], callback=calls.append)
    assert len(calls) == 1 and calls[0]["n"] == 1
    again = pipe(picture, CAPTION, [5], steps=1, s_I=1, s_T=1.0, s_M=1, sampler="dpmpp_2m")
    assert again.frames[0].tobytes() == default.frames[0].tobytes()
    pipe(picture, CAPTION, [5], steps=2, callback=calls.append)
    assert len(calls) == 3

    def refuses(*args, **options):
        raise AssertionError("a model ran")

    pipe.encode = refuses
    for options, message in (
        ({"steps": 4}, "distilled for 1, 2 steps, not 4"),
        ({"s_I": 1.5}, "s_I is 1.5: leave it at 1"),
        ({"s_T": 0}, "s_T is 0: leave it at 1"),
        ({"s_M": 2}, "s_M is 2: leave it at 1"),
        ({"interval": (0.25, 2)}, r"interval is \(0.25, 2.0\): leave it out"),
        ({"sampler": "euler_ancestral"}, "the sampler dpmpp_2m, not euler_ancestral"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe(picture, CAPTION, [5], **options)
    whole = Pix2GifPipeline.from_pretrained(weights)
    assert whole.config.distilled_steps is None
    whole(picture, CAPTION, [5], steps=3, s_T=2)  # others take anything


def test_a_distilled_unet_is_no_teacher_and_stays_distilled(turbo, tmp_path):
    folder, _ = turbo
    with pytest.raises(ValueError, match=r"distilled_steps=\[1, 2\]"):
        train_turbo(TINY, tmp_path, folder, steps=1, **QUICK)
    with pytest.raises(ValueError, match=r"distilled_steps=\[1, 2\]"):
        train_decoder(TINY, tmp_path, folder, steps=1, cpu=True, progress_bar=False)
    same = TINY.with_changes(distilled_steps=(1, 2))
    assert starting_parts(folder, same, unet_stays=True).preset.distilled_steps == (1, 2)
    assert starting_parts(folder, TINY).preset.distilled_steps is None  # all of it is trained on, as any other


def test_resume_is_exact_to_the_bit_and_knows_its_teacher(weights, turbo, tmp_path):
    options = QUICK | {
        "steps": 4,
        "batch_size": 3,
        "distilled_steps": (1, 2),
        "teacher_steps": 3,
        "latents": tmp_path / "latents",
    }
    train_turbo(TINY, tmp_path / "whole", weights, **options)

    def stop(state):
        if state["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_turbo(TINY, tmp_path / "parts", weights, callback=stop, callback_every=1, **options)
    with pytest.raises(ValueError, match="another teacher_weights"):
        changed = tiny_parts()
        with torch.no_grad():
            changed["unet"].conv_out.bias.add_(1e-3)
        Pix2GifPipeline.from_components(TINY, changed).save_pretrained(tmp_path / "other")
        train_turbo(TINY, tmp_path / "parts", tmp_path / "other", resume=True, **options)
    train_turbo(TINY, tmp_path / "parts", weights, resume=True, **options)
    whole, parts = unet_of(tmp_path / "whole"), unet_of(tmp_path / "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()] for name in ("whole", "parts")
    ]
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in logs]
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_the_command_trains_and_generate_refuses_what_it_was_not_made_for(weights, picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture.save("picture.png")
    quick = ["--preset", "tiny", "--scenes", "2", "--cpu", "--steps", "1", "--mixed-precision", "no"]
    steps = ["--distilled-steps", "2,3", "--teacher-steps", "4"]
    assert cli.main(["train", "turbo", "--init", str(weights), "--out", "turbo", *quick, *steps]) == 0
    assert "turbo: trained for 1 steps" in capsys.readouterr().out
    made = [
        "generate",
        "--weights",
        "turbo",
        "--image",
        "picture.png",
        "--caption",
        CAPTION,
        "--motion",
        "3,6",
        "--out",
        "a.gif",
    ]
    assert cli.main(made) == 0 and (tmp_path / "a.gif").is_file()
    for asked, word in ((["--steps", "5"], "distilled for 2, 3 steps, not 5"), (["--s-T", "3"], "s_T is 3")):
        capsys.readouterr()
        assert cli.main([*made, *asked]) != 0
        error = capsys.readouterr().err.strip()
        assert word in error and "\n" not in error and "Traceback" not in error


@pytest.mark.parametrize(
    "options, words",
    [
        (["turbo"], "--init lite"),
        (["turbo", "--init", "lite", "--distilled-steps", "1,12"], "1, 12"),
        (["turbo", "--init", "lite", "--distilled-steps", "1,two"], "'two'"),
        (["turbo", "--init", "lite", "--distilled-steps", ""], "none"),
        (["turbo", "--init", "lite", "--teacher-steps", "4"], "the teacher's: 4"),
        (["turbo", "--init", "lite", "--only", "unet"], "--only"),
        (["turbo", "--init", "lite", "--lora", "4"], "--lora"),
        (["turbo", "--init", "lite", "--photo-share", "0.5"], "--photo-share"),
        (["model", "--teacher-steps", "9"], "train turbo"),
        (["decoder", "--init", "lite", "--distilled-steps", "1"], "train turbo"),
        (["model", "--student-channels", "32,64"], "train turbo"),
        (["turbo", "--init", "lite", "--decoder-channels", "48"], "--decoder-channels is for `train decoder`"),
        (["decoder", "--init", "lite", "--decoder-channels", "4x"], "The width '4x' is no whole number"),
        (["decoder", "--init", "lite", "--decoder-channels", ""], "--decoder-channels '': give widths above 0"),
        (["decoder", "--init", "lite", "--decoder-channels", "0"], "--decoder-channels '0': give widths above 0"),
        (["decoder", "--init", "lite", "--decoder-channels", "40"], "a multiple of 16"),
        (["turbo", "--init", "lite", "--student-channels", "32,x"], "The width 'x' is no whole number"),
        (["turbo", "--init", "lite", "--student-channels", "32,40"], "of width 40: give multiples of 16"),
        (["turbo", "--init", "lite", "--student-channels", ""], "of 0 widths: give 1 to 4"),
        (["turbo", "--init", "lite", "--student-channels", "16,16,16,16,16"], "of 5 widths: give 1 to 4"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_heavy(options, words, tmp_path, capsys):
    assert cli.main(["train", *options, "--out", str(tmp_path / "x")]) != 0
    error = capsys.readouterr().err.strip()
    assert words in error and "Traceback" not in error
    assert not (tmp_path / "x").exists()


def test_a_smaller_student_starts_at_the_warp_and_learns(weights, picture, tmp_path):
    """A UNet of an eighth of the weights, silent at first; it is saved, loaded and asked like any other."""
    options = QUICK | {"distilled_steps": (1, 2), "teacher_steps": 3, "latents": tmp_path / "latents", "batch_size": 4}
    options["student_channels"] = (8,)
    said = {
        name: train_turbo(TINY, tmp_path / name, weights, steps=steps, learning_rate=rate, **options)
        for name, steps, rate in (("new", 1, 1e-12), ("small", 30, 5e-3))
    }
    new, small, old = (load_component(place, "unet") for place in (tmp_path / "new", tmp_path / "small", weights))
    assert tuple(small.config.block_out_channels) == (8,) and 8 * small.num_parameters() < old.num_parameters()
    for name in ("end_1", "end_2"):
        assert said["small"][f"val_{name}"] < 0.8 * said["new"][f"val_{name}"]
        assert said["small"][f"val_{name}_teacher"] == pytest.approx(said["new"][f"val_{name}_teacher"])  # the same teacher

    states = []
    pipe = Pix2GifPipeline.from_pretrained(tmp_path / "new", calibrate=False)
    pipe(picture, CAPTION, [5], callback=states.append, quiet=True)
    with torch.no_grad():
        c_L = pipe.model.condition(tokenize(pipe.tokenizer, [motion_prompt(CAPTION, 5)]), torch.tensor([5]))
        _, z_W = pipe.model.warp(pipe.encode(picture) * pipe.image_scale, c_L)
    assert new.conv_out.weight.abs().max() < 1e-9
    assert_close(states[0]["denoised"], z_W, rtol=0, atol=0.02 * float(z_W.abs().max()))
    with pytest.raises(ValueError, match="student_channels"):  # a run goes on with the student that it has
        train_turbo(TINY, tmp_path / "new", weights, steps=2, resume=True, **options | {"student_channels": (16,)})


def test_a_smaller_unet_keeps_its_attention_where_it_was():
    small = smaller(LITE, [32, 64, 96])
    assert (small.unet_channels, small.unet_attention) == ((32, 64, 96), (False, False, True))
    for wrong in ([], [16] * 5):
        with pytest.raises(ValueError, match=f"of {len(wrong)} widths: give 1 to 4"):
            smaller(LITE, wrong)
    for width in (0, -16, 40, 16.5):
        with pytest.raises(ValueError, match=f"of width {width}: give multiples of 16"):
            smaller(LITE, [32, width])


def test_step_counts():
    assert check_step_counts([4, 1, 2, 1]) == (1, 2, 4) == parse_counts("1, 2,4")
    for wrong in ([], [0], [1.5], [True], [12], [1, -2]):
        with pytest.raises(ValueError, match="whole numbers from 1"):
            check_step_counts(wrong)
    check_distilled(None, 50, "euler_ancestral", (7.5, 1.8, 3.0))
    check_distilled([1, 2], 2, "dpmpp_2m", (1, 1, None), None)
    check_distilled(None, 50, "euler_ancestral", (7.5, 1.8, 3.0), (0.25, 2.0))


def test_a_folder_that_says_nonsense_of_its_steps_is_refused():
    assert saved_step_counts(None) is None and saved_step_counts([1, 2]) == saved_step_counts((1, 2)) == (1, 2)
    for wrong in (4, True, "1,2", [], [0], [1.5], [True], ["2"], {"1": 2}):
        with pytest.raises(ValueError, match="distilled_steps is .* such as"):
            Pix2GifPipeline.from_components(TINY, random_parts(), distilled_steps=wrong)


@pytest.mark.parametrize("teacher_steps", [1001, 12.5])
def test_a_teacher_of_more_steps_than_times_is_refused_before_anything_is_encoded(weights, tmp_path, teacher_steps):
    with pytest.raises(ValueError, match=f"steps is {teacher_steps}"):
        train_turbo(TINY, tmp_path / "x", weights, teacher_steps=teacher_steps, **QUICK)
    assert not (tmp_path / "x").exists()


def test_lite_turbo_is_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "TURBO_WEIGHTS", tmp_path / "lite-turbo")
    with pytest.raises(FileNotFoundError, match="'lite-turbo' are not shipped.*train turbo --init lite"):
        resolve_weights("lite-turbo")
    (tmp_path / "lite-turbo").mkdir()
    assert resolve_weights("lite-turbo") == str(tmp_path / "lite-turbo")
