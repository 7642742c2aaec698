"""The reference's checkpoint: read safely, every name accounted for, and computing what an independent copy computes."""

from __future__ import annotations

import copy
import json
import os
import re

import pytest
import torch
from accelerate import init_empty_weights
from ldm import FlowNet as ReferenceFlowNet
from ldm import Reference, UNet
from PIL import Image
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import CLIPTextConfig, CLIPTextModel

from pix2gif_lite.model import build_unet
from pix2gif_lite.origins.loading import PARTS
from pix2gif_lite.origins.reference import is_reference, load_reference, load_reference_flow_net, load_reference_parts
from pix2gif_lite.origins.reference_file import read_checkpoint
from pix2gif_lite.origins.reference_keys import UNET, ema_key, unet_key, unet_sizes, vae_key, vae_sizes
from pix2gif_lite.pipeline import Pix2GifPipeline
from pix2gif_lite.presets import PAPER, AutoencoderPreset
from pix2gif_lite.text import EVERYDAY, train_tokenizer

CAPTION = "a red balloon is rising"
ROWS, VOCABULARY = 64, 600


def text_encoder(width: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=width // 64,
        bos_token_id=VOCABULARY - 2,
        eos_token_id=VOCABULARY - 1,
    )
    return CLIPTextModel(config)


def make_reference(width: int = 256, flow_bias: bool = True, **unet: object) -> tuple[Reference, UNet]:
    """The independent model, whose UNet holds the averaged weights, and a UNet with the raw ones."""
    torch.manual_seed(0)
    reference = Reference(text_encoder(width), width, UNet(context=width, **unet), ROWS, flow_bias)
    raw = UNet(context=width, **unet)
    with torch.no_grad():
        for module in reference.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as after some training, each channel otherwise
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.3, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
                module.num_batches_tracked.fill_(7)
        reference.flownet.predict_flow0[0].weight.mul_(6)  # places all over the grid, some of them outside
        reference.flownet.predict_flow0[0].bias.copy_(torch.tensor([0.3, -0.6]))
    return reference.eval(), raw.eval()


def written(reference: Reference, raw: UNet) -> dict[str, torch.Tensor]:
    """The state dict that Lightning's checkpoint of it holds: raw UNet, its average, CLIP's old names, the schedule."""
    state = {}
    for name, weight in reference.state_dict().items():
        name = name.replace("cond_stage_model.transformer.", "cond_stage_model.transformer.text_model.")
        if name.startswith("model."):
            state["model_ema." + name.removeprefix("model.").replace(".", "")] = weight
        else:
            state[name] = weight
    state |= {"model.diffusion_model." + name: weight for name, weight in raw.state_dict().items()}
    state["model_ema.decay"], state["model_ema.num_updates"] = torch.tensor(0.9999), torch.tensor(12, dtype=torch.int32)
    state["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    state["betas"], state["alphas_cumprod"] = betas.float(), torch.cumprod(1 - betas, 0).float()
    state["posterior_variance"], state["logvar"] = torch.ones(1000), torch.zeros(1000)
    return state


def lightning(state: dict[str, torch.Tensor]) -> dict[str, object]:
    return {"epoch": 6, "global_step": 25000, "pytorch-lightning_version": "1.4.2", "state_dict": state, "loops": None}


@pytest.fixture(scope="module")
def made():
    return make_reference()


@pytest.fixture(scope="module")
def state(made):
    return written(*made)


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "model.ckpt"
    torch.save(lightning(state), path)
    return path


def save(state: dict[str, torch.Tensor], folder) -> object:
    path = folder / "changed.safetensors"
    save_file({name: weight.detach().clone().contiguous() for name, weight in state.items()}, path)
    return path


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert theirs.std() > 0.01  # not the equality of two zeros
    assert_close(ours, theirs, rtol=0, atol=1e-4)


@torch.no_grad()
def compare(ours, reference: Reference, unet: UNet, cells: int = 32) -> None:
    """c_L, the three flows, z_W and eps of both."""
    g = torch.Generator().manual_seed(1)
    latent, z_t = 4 * torch.randn(2, 4, cells, cells, generator=g), torch.randn(2, 4, cells, cells, generator=g)
    ids, motion, t = torch.randint(VOCABULARY, (2, 77), generator=g), torch.tensor([5, 63]), torch.tensor([981, 3])

    c_L = reference.text(ids, motion)
    z_W, flows = reference.warp(latent, c_L)
    eps = unet(torch.cat((z_t, latent, z_W), 1), t, c_L)
    assert flows[0].abs().max() > 0.9 and (z_W == 0).float().mean() < 0.5  # at the edge, but a picture all the same

    close(ours.condition(ids, motion), c_L)
    for flow, theirs in zip(ours.flow_net(latent, c_L)[:3], flows, strict=True):
        close(flow, theirs)
    F, warped = ours.warp(latent, c_L)
    close(F, flows[0])
    close(warped, z_W)
    close(ours(z_t, t, latent, z_W, c_L), eps)
    whole = ours.condition(ids, motion)  # and from end to end, none of the reference's numbers in between
    close(ours(z_t, t, latent, ours.warp(latent, whole)[1], whole), eps)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"width": 768, "multiples": (1, 2, 2), "attention": (True, False, True), "heads": 2, "flow_bias": False},
        {"multiples": (1, 1, 2), "layers": 2, "attention": (False, True, False), "heads": 8, "channels": 64},
    ],
    ids=["two levels", "three levels, text of 768, convolutions without a bias", "two layers a level"],
)
def test_equal_to_the_reference(sizes, tmp_path):
    reference, raw = make_reference(**sizes)
    path = tmp_path / "model.ckpt"
    torch.save(lightning(written(reference, raw)), path)
    ours = load_reference(path, num_heads=sizes.get("heads", 4))
    assert not ours.training and {p.dtype for p in ours.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in ours.parameters())
    assert ours.flow_net.config.flow_mode == "absolute" and ours.variant == "full" and ours.residual is None
    compare(ours, reference, reference.model.diffusion_model)


def test_raw_weights_are_other_weights(file, made):
    reference, raw = made
    compare(load_reference(file, 4, use_ema=False), reference, raw)
    with pytest.raises(AssertionError, match="not close"):
        compare(load_reference(file, 4), reference, raw)
    with pytest.raises(AssertionError, match="not close"):  # the heads are not in the shapes
        compare(load_reference(file, 8), reference, reference.model.diffusion_model)


def test_safetensors_half_precision_and_an_old_ckpt(state, made, tmp_path):
    reference, raw = made
    expected = [p.sum() for p in load_reference(save(state, tmp_path), 4).parameters()]
    compare(load_reference(tmp_path / "changed.safetensors", 4), reference, reference.model.diffusion_model)

    old = tmp_path / "old.ckpt"
    torch.save(lightning(state), old, _use_new_zipfile_serialization=False)
    assert_close([p.sum() for p in load_reference(old, 4).parameters()], expected, rtol=0, atol=0)

    half = {name: weight.half() if weight.is_floating_point() and name != "betas" else weight for name, weight in state.items()}
    rounded = copy.deepcopy(reference)
    for p in rounded.parameters():
        p.data = p.data.half().float()
    for b in rounded.buffers():
        b.data = b.data.half().float() if b.is_floating_point() else b.data
    torch.save(lightning(half), tmp_path / "half.ckpt")
    compare(load_reference(tmp_path / "half.ckpt", 4), rounded, rounded.model.diffusion_model)


def test_the_weights_do_not_hang_on_the_file(state, tmp_path):
    path = save(state, tmp_path)
    model = load_reference(path, 4)
    before = [p.detach().clone() for p in model.parameters()]
    path.write_bytes(bytes(path.stat().st_size))  # a mapped tensor would turn to zeros
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_text_encoder_saved_by_transformers_5(state, made, tmp_path):
    new = {name.replace("transformer.text_model.", "transformer."): weight for name, weight in state.items()}
    compare(load_reference(save(new, tmp_path), 4), made[0], made[0].model.diffusion_model)


@pytest.mark.parametrize("width", [256, 768])
def test_flow_net_alone(width, tmp_path):
    torch.manual_seed(3)
    theirs = ReferenceFlowNet(width, n=32).eval()
    latent, text = torch.randn(2, 4, 32, 32), torch.randn(2, 77, width)
    state = {"flownet." + name: weight for name, weight in theirs.state_dict().items()}
    ours = load_reference_flow_net(save(state, tmp_path), text_width=width)
    with torch.no_grad():
        for flow, expected in zip(ours(latent, text)[:3], theirs(latent, text), strict=True):
            assert_close(flow, expected, rtol=0, atol=1e-5)
    assert load_reference_flow_net(tmp_path / "changed.safetensors").config.text_width == 768
    with_table = state | {"interval_embedding.embedding.weight": torch.zeros(8, width), "somebody.else": torch.zeros(2)}
    assert load_reference_flow_net(save(with_table, tmp_path)).config.text_width == width


@torch.no_grad()
def test_autoencoder(file, made):
    vae, theirs = load_reference_parts(file, 4, tokenizer=tokenizer())["vae"], made[0].first_stage_model
    g = torch.Generator().manual_seed(2)
    pictures, latents = torch.rand(2, 3, 64, 48, generator=g) * 2 - 1, torch.randn(2, 4, 16, 12, generator=g)
    close(vae.encode(pictures).latent_dist.mode(), theirs.mode(pictures))
    close(vae.decode(latents).sample, theirs.decode(latents))
    assert vae.config.scaling_factor == 0.18215 and vae.config.patch == 1 and vae.downsampling == 4


def tokenizer():
    return train_tokenizer([CAPTION] * 20, VOCABULARY, 77)


def test_two_steps_in_a_pipeline(file, state, made, tmp_path):
    preset = PAPER.with_changes(image_size=128, latent_size=32, flow_mode="absolute", text_width=256, motion_rows=ROWS)
    parts = load_reference_parts(file, num_heads=4, tokenizer=tokenizer())
    assert parts.keys() == PARTS.keys() and all(isinstance(parts[name], kind) for name, kind in PARTS.items())
    pipe = Pix2GifPipeline.from_components(preset, parts)
    picture = Image.effect_mandelbrot((128, 128), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    run = {"caption": CAPTION, "motion": [4, 16], "steps": 2, "seed": 0}
    result = pipe(picture, **run)
    assert [frame.size for frame in result.frames] == [(128, 128)] * 2
    assert result.frames[0].tobytes() != result.frames[1].tobytes()

    # The flow it reports is the reference's: a place in (-1, 1), counted in cells from where each cell is.
    reference, pixels = made[0], torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(128, 128, 3)
    with torch.no_grad():
        latent = reference.first_stage_model.mode(pixels.permute(2, 0, 1)[None] / 127.5 - 1)
        prompt = f"{CAPTION} The optical flow is sixteen."
        ids = torch.tensor([tokenizer()(prompt, padding="max_length", max_length=77)["input_ids"]])
        z_W, flows = reference.warp(latent, reference.text(ids, torch.tensor([16])))
    here = torch.arange(32).float()
    there = (flows[0][0] + 1) * 16 - 0.5
    close(result.flow[1][0], there[0] - here[None, :])
    close(result.flow[1][1], there[1] - here[:, None])

    pipe.save_pretrained(tmp_path / "saved")  # and back from a folder of ours
    again = Pix2GifPipeline.from_pretrained(tmp_path / "saved")
    assert again.flow_net.config.flow_mode == "absolute" and again.image_scale == 1
    with torch.no_grad():
        warped = again.model.warp(latent, reference.text(ids, torch.tensor([16])))[1]
    close(warped, z_W)

    scaled = save(state | {"scale_factor": torch.tensor(0.25)}, tmp_path)
    assert load_reference_parts(scaled, 4, tokenizer=tokenizer())["vae"].config.scaling_factor == 0.25
    without = {name: weight for name, weight in state.items() if not name.startswith("first_stage_model.")}
    with pytest.raises(ValueError, match="holds no autoencoder"):
        load_reference_parts(save(without, tmp_path), 4, tokenizer=tokenizer())
    load_reference(tmp_path / "changed.safetensors", 4)  # the network alone needs none


def test_tokenizer_from_a_folder_of_ours_of_clip_or_the_hub(file, tmp_path):
    tokenizer().save_pretrained(tmp_path / "words")
    words = load_reference_parts(file, 4, tokenizer=tmp_path / "words")["tokenizer"]
    assert words(CAPTION)["input_ids"] == tokenizer()(CAPTION)["input_ids"]

    # As CLIP's authors saved theirs: the bytes, the bytes that end a word, one merged pair, start and end.
    signs = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    vocabulary = [*signs, *(sign + "</w>" for sign in signs), "ba", "<|startoftext|>", "<|endoftext|>"]
    clip = tmp_path / "clip" / "tokenizer"
    clip.mkdir(parents=True)
    (clip / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(vocabulary)}))
    (clip / "merges.txt").write_text("#version: 0.2\nb a\n")
    (clip / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}')
    for place in (clip, str(clip.parent)):
        words = load_reference_parts(file, 4, tokenizer=place)["tokenizer"]
        names = words.convert_ids_to_tokens(words("Bat a")["input_ids"])
        assert names == ["<|startoftext|>", "ba", "t</w>", "a</w>", "<|endoftext|>"]
    assert words("a", padding="max_length")["input_ids"] == [513, 256 + 64, *[514] * 75]  # "a" is the 65th sign

    for other in (train_tokenizer([EVERYDAY] * 3, 700, 77), train_tokenizer([CAPTION] * 20, VOCABULARY, 64)):
        said = rf"{len(other)} ids and texts of {other.model_max_length} tokens, .* 600 and 77: give the tokenizer"
        with pytest.raises(ValueError, match=said):
            load_reference_parts(file, 4, tokenizer=other)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="There is no tokenizer in .*empty"):
        load_reference_parts(file, 4, tokenizer=tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="openai/clip-vit-large-patch14"):  # the tests are offline
        load_reference_parts(file, 4, cache_dir=tmp_path / "cache")


def test_names_and_sizes_are_those_of_stable_diffusion():
    """At full size, on names alone: diffusers' converters, which go the other way, bring every name of ours back."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    with init_empty_weights():
        unet = build_unet(PAPER)
        sizes = AutoencoderPreset(patch=1, channels=(128, 256, 512, 512)).channels
        kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = AutoencoderKL(**kinds, block_out_channels=sizes, layers_per_block=2)
    weights = {UNET + unet_key(name, 2, PAPER.unet_attention): weight for name, weight in unet.state_dict().items()}
    back = convert_ldm_unet_checkpoint(dict(weights), dict(unet.config))
    assert back.keys() == unet.state_dict().keys()
    assert all(back[name] is weights[UNET + unet_key(name, 2, PAPER.unet_attention)] for name in back)
    read = unet_sizes({name.removeprefix(UNET): weight.shape for name, weight in weights.items()})
    assert read == {name: unet.config[name] for name in read} and read["in_channels"] == 12
    assert "model.diffusion_model.output_blocks.8.2.conv.weight" in weights  # as in every file of Stable Diffusion v1
    assert ema_key("input_blocks.0.0.weight") == "diffusion_modelinput_blocks00weight"

    weights = {"first_stage_model." + vae_key(name, 4): weight for name, weight in vae.state_dict().items()}
    back = convert_ldm_vae_checkpoint(dict(weights), dict(vae.config))
    assert back.keys() == vae.state_dict().keys()
    assert all(back[name] is weights["first_stage_model." + vae_key(name, 4)] for name in back)
    read = vae_sizes({name.removeprefix("first_stage_model."): weight.shape for name, weight in weights.items()})
    assert read == {name: vae.config[name] for name in read}
    assert "first_stage_model.decoder.up.3.upsample.conv.weight" in weights


NEEDED = [
    "model.diffusion_model.input_blocks.0.0.weight",
    "model.diffusion_model.input_blocks.2.0.op.weight",
    "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
    "model.diffusion_model.output_blocks.1.2.conv.bias",
    "cond_stage_model.transformer.text_model.final_layer_norm.bias",
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "flownet.conv0.0.weight",
    "flownet.conv1_1.1.running_var",
    "flownet.predict_flow1.0.bias",
    "flownet.injection1.norm.weight",
]


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_key_is_named(name, state, tmp_path):
    path = save({key: weight for key, weight in state.items() if key != name}, tmp_path)
    with pytest.raises(ValueError, match=rf"1 missing \({re.escape(name)}\)"):
        load_reference(path, 4, use_ema=False)


def test_keys_of_the_average(state, tmp_path):
    name = "model_ema.diffusion_modelout2bias"
    path = save({key: weight for key, weight in state.items() if key != name}, tmp_path)
    with pytest.raises(ValueError, match=rf"1 missing \({name}\)"):
        load_reference(path, 4)
    path = save(state | {"model_ema.diffusion_modelout7bias": torch.zeros(4)}, tmp_path)
    with pytest.raises(ValueError, match=r"1 unexpected \(model_ema.diffusion_modelout7bias\)"):
        load_reference(path, 4)
    path = save({key: weight for key, weight in state.items() if not key.startswith("model_ema.")}, tmp_path)
    with pytest.raises(ValueError, match=r"no averaged UNet \(model_ema\.\*\): give use_ema=False"):
        load_reference(path, 4)
    load_reference(path, 4, use_ema=False)


@pytest.mark.parametrize(
    "name",
    ["model.diffusion_model.label_emb.0.0.weight", "flownet.conv3.0.weight", "discriminator.0.weight", "flownet"]
    + ["cond_stage_model.transformer.text_model.more", "interval_embedding.bias", "cond_stage_model.model.ln_final.bias"],
)
def test_an_unexpected_key_is_named(name, state, tmp_path):
    with pytest.raises(ValueError, match=rf"1 unexpected \({re.escape(name)}\)"):
        load_reference(save(state | {name: torch.zeros(2)}, tmp_path), 4, use_ema=False)


def test_many_keys_are_counted_and_ten_listed(state, tmp_path):
    with pytest.raises(ValueError) as caught:
        load_reference(save(state | {f"flownet.more{k:02}": torch.zeros(1) for k in range(25)}, tmp_path), 4)
    assert "25 unexpected (flownet.more00, " in str(caught.value) and "flownet.more09, ...)" in str(caught.value)
    assert "more10" not in str(caught.value)
    empty = {name: weight for name, weight in state.items() if not name.startswith("flownet.")}
    with pytest.raises(ValueError, match=r"holds no FlowNet \(flownet\.\*\)"):
        load_reference(save(empty, tmp_path), 4)


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("model.diffusion_model.out.2.bias", (5,), r"out.2.bias: \(5,\) instead of \(4,\)"),
        ("flownet.conv1.0.weight", (64, 64, 5, 5), r"conv1.0.weight: \(64, 64, 5, 5\) instead of \(64, 64, 3, 3\)"),
        ("interval_embedding.embedding.weight", (64, 128), "multiple of 256"),
        ("interval_embedding.embedding.weight", (64,), "shapes of the motion embedding"),
        ("flownet.conv0.0.weight", (64,), "shapes of the FlowNet"),
        ("model.diffusion_model.input_blocks.0.0.weight", (32, 8, 3, 3), "12 input channels, not 8"),
    ],
)
def test_wrong_shapes(name, shape, said, state, tmp_path):
    with pytest.raises(ValueError, match=said):
        load_reference(save(state | {name: torch.zeros(shape)}, tmp_path), 4, use_ema=False)


def test_heads_and_schedule(file, state, tmp_path):
    for heads in (5, 0, -4):
        with pytest.raises(ValueError, match=f"num_heads {heads} does not divide the (32|64) channels"):
            load_reference(file, heads)
    with pytest.raises(ValueError, match="another noise schedule"):
        load_reference(save(state | {"betas": torch.linspace(0.0001, 0.02, 1000)}, tmp_path), 4)
    with pytest.raises(ValueError, match="another noise schedule"):
        load_reference(save(state | {"betas": state["betas"][:500]}, tmp_path), 4)


class Trap:
    """What a pickle can do to whoever opens it."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(zipped, state, tmp_path):
    trap = tmp_path / "sprung"
    path = tmp_path / "evil.ckpt"
    torch.save(lightning(state) | {"callbacks": Trap(trap)}, path, _use_new_zipfile_serialization=zipped)
    for load in (load_reference, load_reference_flow_net, load_reference_parts):
        with pytest.raises(ValueError, match=r"mkdir\), and to open that can run code: .* safetensors.torch.save_file"):
            load(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)  # the trap works
    assert trap.exists()


def test_a_lightning_file_with_objects_is_refused_and_converts_as_told(state, made, tmp_path):
    path = tmp_path / "objects.ckpt"
    torch.save(lightning(state) | {"hyper_parameters": PAPER}, path)
    with pytest.raises(ValueError, match=r"pix2gif_lite.presets.Preset\)"):
        load_reference(path, 4)
    save_file(torch.load(path, weights_only=False)["state_dict"], tmp_path / "converted.safetensors")
    compare(load_reference(tmp_path / "converted.safetensors", 4), made[0], made[0].model.diffusion_model)


def test_files_that_are_no_checkpoint(file, state, tmp_path):
    path = tmp_path / "no.ckpt"
    for missing in (path, tmp_path, tmp_path / "no.safetensors"):
        with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
            load_reference(missing)
    whole = file.read_bytes()
    cut = [whole[:n] for n in (0, 3, 1000, len(whole) // 2, len(whole) - 10)]
    for content in (*cut, b"this is no checkpoint at all", bytes(range(7, 200))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read as a checkpoint \(\w+\): it is cut short"):
            load_reference(path)
    tensors = save(state, tmp_path)
    whole = tensors.read_bytes()
    for content in (b"", whole[:5], whole[: len(whole) // 2], b"version https://git-lfs.github.com/spec/v1"):
        tensors.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            load_reference(tensors)
    for content in ([torch.zeros(1)], {"state_dict": [1, 2]}, {"state_dict": {"a": 3}}, {3: torch.zeros(1)}, {"epoch": 3}):
        torch.save(content, path)
        with pytest.raises(ValueError, match="holds no state_dict of named weights"):
            load_reference(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="holds no motion embedding"):
        load_reference(path)


def test_told_by_the_name(file, tmp_path):
    assert is_reference(file) and is_reference(str(file)) and not is_reference(tmp_path)
    assert not is_reference("timbrooks/instruct-pix2pix") and not is_reference(tmp_path / "none.ckpt")
    (tmp_path / "folder.ckpt").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"")
    assert not is_reference(tmp_path / "folder.ckpt") and not is_reference(tmp_path / "weights.bin")


def test_reading_maps_the_file(tmp_path):
    """64 MB are opened without being read: the process has not grown by them."""
    path = tmp_path / "large.ckpt"
    torch.save({"state_dict": {"flownet.large": torch.ones(16_000_000)}}, path)

    def own_memory() -> int:  # bytes that are no copy of a file's
        with open("/proc/self/status") as status:
            return 1024 * next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

    before = own_memory()
    checkpoint = read_checkpoint(path)
    assert checkpoint.weights["flownet.large"].sum() == 16_000_000
    assert own_memory() - before < 16_000_000


def test_stable_diffusion_s_own_file_and_no_tokenizer_within_reach(file, state, tmp_path):
    plain = {name: weight for name, weight in state.items() if not name.startswith(("flownet.", "interval_embedding."))}
    with pytest.raises(ValueError, match=r"holds no motion embedding.*Stable Diffusion, but as a folder"):
        load_reference_parts(save(plain, tmp_path), 4, cache_dir=tmp_path / "cache", local_files_only=True)
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer: give one as tokenizer \(--tokenizer\).*clip-vit"):
        load_reference_parts(file, 4, cache_dir=tmp_path / "cache", local_files_only=True)
