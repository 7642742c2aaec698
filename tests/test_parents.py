"""Starting weights: before training we compute what the parent computes, and diffusers' own pipelines say what that is."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from pix2gif_lite.model import Pix2GifModel
from pix2gif_lite.origins.parent_layout import fitted
from pix2gif_lite.origins.parents import is_parent, load_parent, load_parent_vae, widen_conv_in
from pix2gif_lite.origins.small_parent import write_small_parent
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import LITE, PAPER
from pix2gif_lite.pretrained import LITE_WEIGHTS
from pix2gif_lite.text import encode_text, motion_prompt, tokenize

PRESET = PAPER.with_changes(image_size=64, latent_size=8, motion_rows=32)
CAPTION = "a red balloon is rising"
STRINGS = [
    "a cat",
    "A  Red\tBALLOON\nis rising! The optical flow is twelve.",
    "it's the dog's, they're 1234 don't",
    "naïve Ünïcode, 日本語, العربية, 🎈🎈 and e\u0301",
    "<|startoftext|> in <|endoftext|> the middle <|ENDOFTEXT|>",
    "  ",
    "",
    "¡¿#$%^&*()_+</w>",
    "word " * 200,
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[int, Path]:
    """Random parents by their input channels: 4 as Stable Diffusion, 8 as InstructPix2Pix."""
    return {channels: write_small_parent(tmp_path_factory.mktemp("parent") / "p", channels) for channels in (4, 8)}


@pytest.fixture(scope="module")
def loaded(folders) -> dict[int, tuple[dict, object]]:
    """What `load_parent` makes of them, with a FlowNet that has something to say."""
    both = {channels: load_parent(folder, PRESET) for channels, folder in folders.items()}
    for parts, _ in both.values():
        weight = parts["flow_net"].predict_flow0[0].weight
        with torch.no_grad():
            weight.copy_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    return both


@pytest.fixture()
def copy(folders, tmp_path) -> Path:
    """An InstructPix2Pix to spoil."""
    return Path(shutil.copytree(folders[8], tmp_path / "copy"))


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    from pix2gif_lite.scenes import sample_scenes

    pixels = sample_scenes(1, seed=3)[0].at(0, 64).image[0].permute(1, 2, 0)
    return Image.fromarray(((pixels + 1) * 127.5).round().to(torch.uint8).numpy())


def change(path: Path, **values) -> None:
    """Entries of a JSON file changed; None takes one out."""
    settings = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


@pytest.mark.parametrize("channels", [4, 8])
def test_eps_is_the_parents_eps(channels, folders, loaded):
    parts, preset = loaded[channels]
    model = Pix2GifModel.from_parts(parts, preset).eval()
    parent = UNet2DConditionModel.from_pretrained(folders[channels] / "unet").eval()
    g = torch.Generator().manual_seed(1)
    z_t, E = torch.randn(2, 3, 4, 8, 8, generator=g)
    c_T = encode_text(parts["text_encoder"], tokenize(parts["tokenizer"], ["a cat", "", "a dog runs"]))
    t = torch.tensor([0, 400, 999])
    with torch.no_grad():
        c_L = model.add_motion(c_T, torch.tensor([2, 11, 31]))
        _, z_W = model.warp(E, c_L)
        assert (z_W - E).abs().max() > 0.1  # what the new channels get is neither nothing nor a copy
        ours = model(z_t, t, E, z_W, c_L)
        theirs = parent(z_t if channels == 4 else torch.cat([z_t, E], 1), t, encoder_hidden_states=c_T).sample
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() < 1e-5
    wide, narrow = parts["unet"].conv_in.weight, parent.conv_in.weight
    assert wide.shape[1] == parts["unet"].config.in_channels == 12
    assert torch.equal(wide[:, :channels], narrow) and not wide[:, channels:].any()


def frames_of_both(ours, theirs, picture, steps, s_I, s_T, seed=3, **options):
    """The last latent, and what the decoder makes of it in [0, 1], of our pipeline and of diffusers'; same noise for both."""
    decoded, states = [], []
    hook = ours.vae.decoder.register_forward_hook(lambda module, args, out: decoded.append(out))
    frame = ours(picture, CAPTION, 12, steps=steps, s_I=s_I, s_T=s_T, seed=seed, detail=False, callback=states.append)
    hook.remove()
    theirs.scheduler.set_timesteps(steps)
    sigma = float(theirs.scheduler.init_noise_sigma)  # diffusers' Euler starts at sigma, ours at sqrt(1 + sigma^2)

    def reference(kind):
        g = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, 4, 8, 8, generator=g) * math.sqrt(1 + sigma**2) / sigma
        prompt = motion_prompt(CAPTION, 12)
        return theirs(
            prompt, num_inference_steps=steps, guidance_scale=s_T, latents=noise, generator=g, output_type=kind, **options
        ).images

    latents = (states[-1]["denoised"], reference("latent"))
    pixels = ((decoded[-1] / 2 + 0.5).clamp(0, 1), reference("pt"))
    levels = (np.asarray(frame.frames[0], int), np.asarray(reference("pil")[0], int))
    return latents, pixels, levels


def agree(latents, pixels, levels) -> None:
    assert (latents[0] - latents[1]).abs().max() / latents[1].abs().max() < 1e-5
    assert pixels[1].std() > 0.1 and (pixels[0] - pixels[1]).abs().max() < 1e-5
    assert np.abs(levels[0] - levels[1]).max() <= 1  # 8 bits: a half may round to either side


@pytest.fixture(scope="module")
def instruct(folders):
    from diffusers import StableDiffusionInstructPix2PixPipeline

    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(folders[8], safety_checker=None)
    assert type(pipe.scheduler) is EulerAncestralDiscreteScheduler
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize(("steps", "s_I", "s_T"), [(4, 1, 1), (4, 1.8, 7.5), (10, 1.8, 7.5), (4, 1, 7.5), (4, 2.2, 1.5)])
def test_the_frame_is_instruct_pix2pixs(steps, s_I, s_T, loaded, instruct, scene):
    parts, preset = loaded[8]
    ours = Pix2GifPipeline.from_components(preset, parts)
    agree(*frames_of_both(ours, instruct, scene, steps, s_I, s_T, image=scene, image_guidance_scale=s_I))


def test_every_scale_counts_in_that_frame(loaded, instruct, scene):
    ours = Pix2GifPipeline.from_components(loaded[8][1], loaded[8][0])
    frames = [
        frames_of_both(ours, instruct, scene, 4, s_I, s_T, image=scene, image_guidance_scale=s_I)[0][0]
        for s_I, s_T in [(1, 7.5), (1.8, 7.5), (1.8, 3)]
    ]
    assert (frames[0] - frames[1]).abs().max() > 0.1 < (frames[1] - frames[2]).abs().max()


@pytest.mark.parametrize("s_T", [1, 7.5])
def test_the_frame_is_stable_diffusions(s_T, folders, loaded, scene):
    from diffusers import StableDiffusionPipeline

    theirs = StableDiffusionPipeline.from_pretrained(folders[4], safety_checker=None)
    theirs.set_progress_bar_config(disable=True)
    theirs.scheduler = EulerAncestralDiscreteScheduler.from_config(theirs.scheduler.config, timestep_spacing="linspace")
    ours = Pix2GifPipeline.from_components(loaded[4][1], loaded[4][0])
    agree(*frames_of_both(ours, theirs, scene, 5, 1, s_T, height=64, width=64))


def test_it_saves_and_loads_as_our_weights_do(loaded, scene, tmp_path):
    parts, preset = loaded[8]
    ours = Pix2GifPipeline.from_components(preset, parts)
    ours.save_pretrained(tmp_path)
    again = Pix2GifPipeline.from_pretrained(tmp_path)
    assert not is_parent(tmp_path) and again.config.prediction_type == "epsilon" and not again.config.scale_image_latents
    one, other = (pipe(scene, CAPTION, [0, 6], steps=3).frames[1] for pipe in (ours, again))
    assert np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("published", [False, True])
def test_the_tokenizer_gives_clips_ids(published, copy, tmp_path):
    if published:  # how Stable Diffusion v1.5 has it: special tokens with flags
        special = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        start, end = ({"content": token, **special} for token in ("<|startoftext|>", "<|endoftext|>"))
        change(
            copy / "tokenizer" / "tokenizer_config.json",
            backend=None,
            add_prefix_space=False,
            do_lower_case=True,
            errors="replace",
            bos_token=start,
            eos_token=end,
            unk_token=end,
        )
    theirs = CLIPTokenizer.from_pretrained(copy / "tokenizer")
    ours = load_parent(copy, PRESET)[0]["tokenizer"]
    ours.save_pretrained(tmp_path / "saved")
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path / "saved")
    wanted = theirs(STRINGS, padding="max_length", truncation=True, max_length=77)["input_ids"]
    assert len({tuple(ids) for ids in wanted}) == len(STRINGS) - 1  # "" and spaces are the same
    for tokenizer in (ours, again):
        assert tokenize(tokenizer, STRINGS).tolist() == wanted
        assert (tokenizer.model_max_length, len(tokenizer)) == (77, len(theirs))
        assert tokenizer.special_tokens_map == theirs.special_tokens_map


def test_the_preset_says_what_the_parent_is(copy):
    change(copy / "scheduler" / "scheduler_config.json", prediction_type="v_prediction", beta_end=0.013)
    change(copy / "scheduler" / "scheduler_config.json", num_train_timesteps=500)
    parts, preset = load_parent(copy, PRESET.with_changes(flow_norm="group", flow_mode="absolute"), seed=4)
    assert (preset.prediction_type, preset.beta_start, preset.beta_end) == ("v_prediction", 0.00085, 0.013)
    assert (preset.train_timesteps, preset.image_size, preset.latent_size) == (500, 64, 8)
    assert (preset.text_width, preset.text_tokens, preset.text_layers, preset.text_heads) == (256, 77, 1, 4)
    assert (preset.unet_channels, preset.unet_attention, preset.unet_layers) == ((32, 64), (True, False), 1)
    assert (preset.unet_heads, preset.unet_norm_groups) == (4, 8)
    sizes = preset.autoencoder
    assert (sizes.patch, sizes.channels, sizes.layers, sizes.norm_groups) == (1, (8, 8, 16, 16), 1, 4)
    assert preset.learning_rate == PAPER.learning_rate and preset.s_I == PAPER.s_I  # a parent says nothing of these
    how = parts["flow_net"].config
    assert (how.text_width, how.tokens, how.norm, how.flow_mode) == (256, 77, "group", "absolute")
    assert tuple(parts["motion_embedding"].embedding.weight.shape) == (32, 256)
    assert not parts["motion_embedding"].embedding.weight.any()
    assert parts["vae"].config.scaling_factor == 0.18215 and parts["vae"].downsampling == 8


def test_the_published_configs_are_the_paper_preset():
    """Stable Diffusion v1.5's own, as published (entries without a size left out); InstructPix2Pix's differ in in_channels."""
    unet = {"attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768}
    unet |= {"in_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64}
    unet |= {"down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]}
    vae = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32}
    text = {"hidden_size": 768, "max_position_embeddings": 77, "num_attention_heads": 12, "num_hidden_layers": 12}
    text |= {"vocab_size": 49408, "eos_token_id": 2}
    scheduler = {"beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000}
    configs = {"unet": unet, "vae": vae, "text_encoder": text, "scheduler": scheduler, "tokenizer": {"model_max_length": 77}}
    assert fitted(PAPER, configs, "sd") == PAPER
    assert fitted(PAPER, configs | {"unet": unet | {"in_channels": 8}}, "instruct") == PAPER


def test_a_hub_id_is_a_folder_in_the_cache(folders, tmp_path):
    cached = tmp_path / "models--me--parent"
    shutil.copytree(folders[8], cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    hub = {"cache_dir": tmp_path, "local_files_only": True}
    parts, preset = load_parent("me/parent", PRESET, vae="me/parent", **hub)
    here, same = load_parent(folders[8], PRESET)
    assert preset == same
    for name in ("vae", "unet", "text_encoder"):
        wanted = here[name].state_dict()
        assert all(torch.equal(weight, wanted[key]) for key, weight in parts[name].state_dict().items()), name
    with pytest.raises(FileNotFoundError, match="me/other"):
        load_parent("me/other", PRESET, **hub)


def test_a_seed_fixes_flow_net_and_the_random_state_is_left_alone(folders):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    flows = [load_parent(folders[8], PRESET, seed=seed)[0]["flow_net"].state_dict() for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(flows[0][key], flows[1][key]) for key in flows[0])
    assert not torch.equal(flows[0]["conv0.0.weight"], flows[2]["conv0.0.weight"])


@pytest.mark.parametrize(("channels", "variant", "seen"), [(4, "base", 8), (8, "base", 8), (8, "warp", 8), (4, "full", 12)])
def test_variants_widen_as_far_as_they_see(channels, variant, seen, folders):
    parts, preset = load_parent(folders[channels], PRESET.with_changes(variant=variant))
    assert parts["unet"].conv_in.in_channels == seen
    Pix2GifModel.from_parts(parts, preset)


def test_widening_never_loses_a_channel(loaded):
    unet = loaded[8][0]["unet"]
    assert widen_conv_in(unet, 12) is unet and unet.conv_in.in_channels == 12
    with pytest.raises(ValueError, match="12 input channels: 8 would lose"):
        widen_conv_in(unet, 8)


def test_half_precision_comes_in_as_float32_frozen_parts_in_eval_mode(copy):
    for file in copy.rglob("*.safetensors"):
        half = {name: w.half() if w.is_floating_point() else w for name, w in load_file(file).items()}
        save_file(half, file, metadata={"format": "pt"})
    parts, _ = load_parent(copy, PRESET)
    for name in ("vae", "text_encoder", "unet", "flow_net", "motion_embedding"):
        assert not parts[name].training and {p.dtype for p in parts[name].parameters()} == {torch.float32}, name


def test_an_autoencoder_with_the_names_of_old_diffusers(copy, loaded):
    """The published ones were saved before its attention was renamed."""
    file, names = copy / "vae" / "diffusion_pytorch_model.safetensors", {"to_out.0": "proj_attn"}
    names |= {f"to_{letter}": word for letter, word in zip("qkv", ("query", "key", "value"), strict=True)}
    renamed = {}
    for name, weight in load_file(file).items():
        for new, old in names.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        renamed[name] = weight
    assert any("proj_attn" in name for name in renamed)
    save_file(renamed, file, metadata={"format": "pt"})
    ours, x = load_parent(copy, PRESET)[0]["vae"], torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.equal(ours.encode(x).latent_dist.mode(), loaded[8][0]["vae"].encode(x).latent_dist.mode())


# Another autoencoder.


def other_vae(folder: Path, **changes) -> Path:
    sizes = {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "sample_size": 64} | changes
    blocks = len(sizes["block_out_channels"])
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * blocks, "up_block_types": ("UpDecoderBlock2D",) * blocks}
    AutoencoderKL(**kinds, **sizes).save_pretrained(folder)
    return folder


def test_the_autoencoder_can_be_replaced(folders, tmp_path):
    torch.manual_seed(1)
    alone = other_vae(tmp_path / "alone")
    whole = shutil.copytree(folders[8], tmp_path / "whole")
    shutil.rmtree(whole / "vae")
    shutil.copytree(alone, whole / "vae")
    wanted = AutoencoderKL.from_pretrained(alone).state_dict()
    for vae in (alone, str(whole), whole / "vae"):
        parts, preset = load_parent(folders[8], PRESET, vae=vae)
        found = parts["vae"].state_dict()
        assert found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)
        assert not parts["vae"].training
    assert torch.equal(load_parent_vae(alone).decoder.conv_in.weight, wanted["decoder.conv_in.weight"])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"latent_channels": 16}, "latents of 16 channels, the UNet reads 4: choose"),
        ({"block_out_channels": (8, 8, 8)}, "latents of 4 px a cell, the UNet reads 8: choose"),
        ({"scaling_factor": 0.13025}, "latents of 0.13025 scaling factor, the UNet reads 0.18215: choose"),
    ],
)
def test_an_autoencoder_of_other_latents_is_refused(changes, match, folders, tmp_path):
    with pytest.raises(ValueError, match=match):
        load_parent(folders[8], PRESET, vae=other_vae(tmp_path / "vae", **changes))


def test_what_is_no_autoencoder_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="holds a UNet2DConditionModel, no AutoencoderKL"):
        load_parent(folders[8], PRESET, vae=folders[8] / "unet")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_parent(folders[8], PRESET, vae=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="There are no weights in .*empty"):
        load_parent(folders[8], PRESET, vae=tmp_path / "empty")


# What does not fit is refused by the configs alone: these folders hold no weights that could be loaded.


@pytest.fixture()
def hollow(copy) -> Path:
    for file in copy.rglob("*.safetensors"):
        save_file({"nothing": torch.zeros(1)}, file)
    return copy


INDEX, UNET, TEXT = "model_index.json", "unet/config.json", "text_encoder/config.json"
SCHEDULER = "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({INDEX: {"text_encoder_2": ["transformers", "CLIPTextModel"]}}, "has a text_encoder_2: give Stable Diffusion v1.5"),
        ({INDEX: {"unet": None, "transformer": ["diffusers", "T"]}}, "has no unet: give"),
        ({INDEX: {"flow_net": ["pix2gif_lite.warping", "FlowNet"]}}, "is a Pix2Gif already"),
        ({INDEX: {"text_encoder": ["transformers", "T5EncoderModel"]}}, "is a T5EncoderModel, not a CLIPTextModel"),
        ({INDEX: {"scheduler": [None, None]}}, "scheduler in .* is absent"),
        ({UNET: {"in_channels": 9}}, "UNet of 9 input channels for latents of 4 .an inpainting"),
        ({UNET: {"out_channels": 8}}, "UNet for latents of 8 channels, but its autoencoder makes 4"),
        ({UNET: {"cross_attention_dim": 768}}, "hears texts of width 768, but its text encoder writes 256"),
        ({UNET: {"cross_attention_dim": 320}, TEXT: {"hidden_size": 320}}, "texts of width 320, and FNet reads multiples"),
        ({UNET: {"addition_embed_type": "text_time"}}, "more than time and text .addition_embed_type"),
        ({SCHEDULER: {"beta_schedule": "squaredcos_cap_v2"}}, "noise schedule that is squaredcos_cap_v2, not scaled_linear"),
        ({SCHEDULER: {"trained_betas": [0.1, 0.2]}}, "noise schedule"),
        ({SCHEDULER: {"rescale_betas_zero_snr": True}}, "noise schedule rescaled"),
        ({SCHEDULER: {"prediction_type": "sample"}}, "predicts 'sample', not epsilon or v_prediction"),
        ({TEXT: {"vocab_size": 100}}, "has 2048 entries, its text encoder 100"),
    ],
)
def test_another_layout_or_size_is_refused_before_weights_are_read(changes, match, hollow):
    for file, values in changes.items():
        change(hollow / file, **values)
    with pytest.raises(ValueError, match=match) as caught:
        load_parent(hollow, PRESET)
    assert "\n" not in str(caught.value)


def test_presets_that_no_parent_fits(hollow):
    for preset in (LITE, PRESET.with_changes(residual=0.07), PRESET.with_changes(scale_image_latents=True)):
        with pytest.raises(ValueError, match="scale_image_latents=False and residual=None"):
            load_parent(hollow, preset)
    with pytest.raises(ValueError, match="pictures of 100 px: set image_size to a multiple of 32"):
        load_parent(hollow, PRESET.with_changes(image_size=100))
    with pytest.raises(ValueError, match="Unknown variant 'fuller'"):
        load_parent(hollow, PRESET.with_changes(variant="fuller"))


def test_folders_that_are_no_parents(tmp_path, folders):
    assert is_parent(folders[4]) and is_parent(str(folders[8])) and not is_parent(LITE_WEIGHTS)
    assert not is_parent(tmp_path) and not is_parent(tmp_path / "nowhere")
    (tmp_path / INDEX).write_text("[1]")
    assert not is_parent(tmp_path)
    (tmp_path / INDEX).unlink()
    with pytest.raises(FileNotFoundError, match="holds no model_index.json, so it is no diffusers pipeline"):
        load_parent(tmp_path, PRESET)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_parent(tmp_path / "nowhere", PRESET)
    with pytest.raises(ValueError, match="has no scheduler"):
        load_parent("lite", PRESET)


# Half a download, and files that are not what they say.

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def lost_shard(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = {name: f"diffusion_pytorch_model-0000{1 + k % 2}-of-00002.safetensors" for k, name in enumerate(sorted(weights))}
    first = sorted(names.values())[0]
    save_file({name: w for name, w in weights.items() if names[name] == first}, folder / "unet" / first)
    index = {"metadata": {"total_size": 1}, "weight_map": names}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "text_encoder/model.safetensors"), folder / "text_encoder/pytorch_model.bin")
    (folder / "text_encoder/model.safetensors").unlink()


def lost_key(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    del weights["conv_out.weight"]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (lambda f: (f / WEIGHTS).unlink(), FileNotFoundError, "no weights in .*unet"),
        (lambda f: shutil.rmtree(f / "vae"), FileNotFoundError, "no weights in .*vae"),
        (lambda f: shutil.rmtree(f / "scheduler"), FileNotFoundError, "scheduler"),
        (lambda f: (f / SCHEDULER).write_text("{"), ValueError, "not readable as JSON"),
        (lambda f: (f / "tokenizer/merges.txt").unlink(), FileNotFoundError, "merges.txt"),
        (lambda f: (f / "tokenizer/vocab.json").write_text('{"a": "b"}'), ValueError, "tokenizer in .* cannot be used"),
        (lambda f: change(f / UNET, in_channels=4), ValueError, "unet' cannot be used .*conv_in"),
        (cut, ValueError, "cut short"),
        (lost_shard, FileNotFoundError, "names diffusion_pytorch_model-00002-of-00002.safetensors, which is not there"),
        (pickled, ValueError, "pytorch_model.bin' are a pickle, .*save them as safetensors"),
        (lost_key, ValueError, "conv_out.weight is missing"),
    ],
)
def test_half_a_download_is_named(spoil, error, match, copy):
    spoil(copy)
    with pytest.raises(error, match=match) as caught:
        load_parent(copy, PRESET)
    assert "\n" not in str(caught.value)
