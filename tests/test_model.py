"""The glue: what each variant feeds the UNet, that every parameter learns, and the paper's own sizes."""

from __future__ import annotations

import pytest
import torch

from pix2gif_lite import losses
from pix2gif_lite.diffusion import alphas_cumprod, from_residual, predict_x0
from pix2gif_lite.lookup import warp
from pix2gif_lite.model import Pix2GifModel, build_unet, unet_in_channels
from pix2gif_lite.presets import LITE, PAPER, TINY, VARIANTS
from pix2gif_lite.pretrained import build_components
from pix2gif_lite.subcell import MOVES
from pix2gif_lite.text import encode_text, motion_prompt, tokenize

CAPTIONS = ["a red balloon is rising over green hills", "a blue fish swims to the left", "a windmill is spinning"]


def build(variant: str = "full", **changes) -> tuple[Pix2GifModel, dict]:
    parts = build_components(TINY.with_changes(variant=variant, **changes), captions=CAPTIONS)
    model = Pix2GifModel(parts["text_encoder"], parts["motion_embedding"], parts["flow_net"], parts["unet"], variant=variant)
    return model.eval(), parts


@pytest.fixture(scope="module")
def full() -> tuple[Pix2GifModel, dict]:
    return build()


def batch(tokenizer, size: tuple[int, int] = (16, 16)) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    motion = torch.tensor([2.0, 8.0, 20.0])
    prompts = [motion_prompt(caption, m) for caption, m in zip(CAPTIONS, motion.tolist(), strict=True)]
    shape = (3, 4, *size)
    return {
        "input_ids": tokenize(tokenizer, prompts),
        "motion": motion,
        "image_latents": torch.randn(shape),
        "target": torch.randn(shape),
        "z_t": torch.randn(shape),
        "t": torch.tensor([10, 400, 900]),
    }


def run(model: Pix2GifModel, data: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
    c_L = model.condition(data["input_ids"], data["motion"])
    _, z_W = model.warp(data["image_latents"], c_L)
    return model(data["z_t"], data["t"], data["image_latents"], z_W, c_L), z_W


# variants


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_feeds_the_unet_what_the_table_says(variant: str) -> None:
    model, parts = build(variant)
    data = batch(parts["tokenizer"])
    E, z_t, motion = data["image_latents"], data["z_t"], data["motion"]
    with torch.no_grad():
        prediction, z_W = run(model, data)
        c_T = encode_text(parts["text_encoder"], data["input_ids"])
        c_L = c_T + parts["motion_embedding"].embedding.weight[motion.long()][:, None]
        warped = warp(E, parts["flow_net"](E, c_L).flow0, interpolation=TINY.interpolation)
        warped = warped + (1 - torch.tensor(MOVES).sigmoid()) ** 2 * (E - warped)  # as an untrained look-up does
        c, x = {
            "base": (c_T, [z_t, E]),
            "motion-embed": (c_L, [z_t, E]),
            "warp": (c_L, [z_t, warped]),
            "warp-add": (c_L, [z_t, E + warped]),
            "warp-concat": (c_L, [z_t, E, warped]),
            "full": (c_L, [z_t, E, warped]),
        }[variant]
        expected = parts["unet"](torch.cat(x, dim=1), data["t"], encoder_hidden_states=c).sample
    assert 4 * len(x) == unet_in_channels(variant)
    torch.testing.assert_close(prediction, expected)
    if variant in ("base", "motion-embed"):
        assert z_W is None and model.flow_net is None
    else:
        torch.testing.assert_close(z_W, warped)
    further = run(model, {**data, "motion": motion + 1})[0]  # same words, another number
    assert torch.equal(further, prediction) == (variant == "base")


def test_wrong_combinations_are_named(full) -> None:
    model, parts = full
    text, M, unet = parts["text_encoder"], parts["motion_embedding"], parts["unet"]
    with pytest.raises(ValueError, match="Unknown variant 'fulll'"):
        unet_in_channels("fulll")
    with pytest.raises(ValueError, match="Variant base needs a UNet of 8 input channels, not 12"):
        Pix2GifModel(text, M, None, unet, "base")
    with pytest.raises(ValueError, match="Variant full needs a FlowNet"):
        Pix2GifModel(text, M, None, unet)
    with pytest.raises(ValueError, match="Variant full needs a motion embedding"):
        Pix2GifModel(text, None, parts["flow_net"], unet)
    with pytest.raises(ValueError, match="residual needs v_prediction, not 'epsilon'"):
        Pix2GifModel.from_parts(parts, TINY.with_changes(prediction_type="epsilon"))
    with pytest.raises(ValueError, match="residual of 0.15 needs the schedule"):
        Pix2GifModel(text, M, parts["flow_net"], unet, residual=0.15)
    with pytest.raises(ValueError, match="needs z_W"):
        model.unet_input(torch.zeros(1, 4, 16, 16), torch.zeros(1, 4, 16, 16), None)


@pytest.mark.parametrize("variant", ["base", "warp", "full"])
def test_a_residual_model_is_the_papers_unet_put_around_its_guess(variant: str) -> None:
    preset = TINY.with_changes(variant=variant)
    parts = build_components(preset, captions=CAPTIONS)
    plain = Pix2GifModel.from_parts(parts, preset.with_changes(residual=None)).eval()
    residual = Pix2GifModel.from_parts(parts, preset).eval()
    data = batch(parts["tokenizer"])
    data["t"] = torch.tensor([0, 400, 999])
    with torch.no_grad():
        says, z_W = run(plain, data)
        v, _ = run(residual, data)
        guess = data["image_latents"] if variant == "base" else z_W
        expected = from_residual(says, data["z_t"], guess, data["t"], alphas_cumprod(preset), preset.residual)
        torch.testing.assert_close(v, expected, atol=1e-6, rtol=1e-5)
        x0 = predict_x0(data["z_t"], v, data["t"], alphas_cumprod(preset), "v_prediction")
    # at pure noise: the guess, and a correction of `residual` times what the UNet says
    torch.testing.assert_close(x0[2], guess[2] - preset.residual * says[2], atol=0.02, rtol=0.01)


# conditions


def test_a_dropped_picture_gives_a_warp_of_zero(full) -> None:
    model, parts = full
    data = batch(parts["tokenizer"])
    c_L = model.condition(data["input_ids"], data["motion"])
    flow, z_W = model.warp(torch.zeros_like(data["image_latents"]), c_L)
    assert torch.equal(z_W, torch.zeros_like(z_W)) and flow.shape == (3, 2, 32, 32)  # of 2 x 2 places a cell


def test_a_dropped_motion_leaves_the_text(full) -> None:
    model, parts = full
    data = batch(parts["tokenizer"])
    c_T = encode_text(model.text_encoder, data["input_ids"])
    c_L = model.condition(data["input_ids"], data["motion"], keep_motion=torch.tensor([False, True, False]))
    assert torch.equal(c_L[[0, 2]], c_T[[0, 2]])
    assert (c_L[1] - c_T[1]).abs().max() > 0.1
    assert torch.equal(model.add_motion(c_T, data["motion"]), model.condition(data["input_ids"], data["motion"]))


def test_other_sizes_run_and_a_batch_is_its_samples(full) -> None:
    model, parts = full
    assert model.latent_multiple == 4
    data = batch(parts["tokenizer"], size=(12, 20))
    with torch.no_grad():
        together = run(model, data)[0]
        alone = run(model, {name: value[1:2] for name, value in data.items()})[0]
    assert together.shape == (3, 4, 12, 20)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_autocast_changes_little(full) -> None:
    model, parts = full
    data = batch(parts["tokenizer"])
    with torch.no_grad():
        exact = run(model, data)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low, z_W = run(model, data)
    assert z_W.dtype == torch.float32  # the warp looks up in float32 whatever the rest does
    assert (low.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


# learning


def test_after_two_steps_every_parameter_has_a_gradient() -> None:
    model, parts = build()
    model.train()
    data = batch(parts["tokenizer"])
    phi = losses.DecoderFeatures(parts["vae"])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)  # large: see the two steps below

    def backward() -> None:
        optimiser.zero_grad()
        prediction, z_W = run(model, data)
        terms = {
            "diffusion": losses.diffusion_loss(prediction, data["target"]),
            "perceptual": losses.perceptual_loss(phi(z_W), phi(data["target"])),
            "warp": losses.warp_loss(z_W, data["target"]),
        }
        losses.total_loss(terms, TINY.loss_weights).backward()

    for _ in range(2):  # the learnt look-up has two layers that start at 0, one behind the other: see test_subcell.py
        backward()
        optimiser.step()
    backward()
    largest = {name: p.grad.abs().max().item() for name, p in model.named_parameters()}
    # A key's bias shifts all of a query's scores alike, which softmax ignores: zero in exact arithmetic, a trace here.
    idle = [name for name, value in largest.items() if value < 1e-6]
    assert idle == ["text_encoder.encoder.layers.0.self_attn.k_proj.bias"]
    assert largest[idle[0]] > 0
    # Of the two tables, exactly the rows that this batch reads.
    read = model.motion_embedding.embedding.weight.grad.abs().sum(dim=1).nonzero().flatten()
    assert read.tolist() == [2, 8, 20]
    words = model.text_encoder.embeddings.token_embedding.weight.grad.abs().sum(dim=1).nonzero().flatten()
    assert words.tolist() == data["input_ids"].unique().tolist()


# sizes


def test_heads_are_a_number_of_heads() -> None:
    unet = build_unet(LITE)
    attention = unet.mid_block.attentions[0].transformer_blocks[0].attn2
    assert attention.heads == LITE.unet_heads
    assert [type(b).__name__.startswith("CrossAttn") for b in unet.down_blocks] == list(LITE.unet_attention)
    assert [type(b).__name__.startswith("CrossAttn") for b in unet.up_blocks] == list(reversed(LITE.unet_attention))


def test_the_papers_unet_is_stable_diffusions_with_eight_more_channels() -> None:
    with torch.device("meta"):
        unet = build_unet(PAPER)
    assert tuple(unet.conv_in.weight.shape) == (320, 12, 3, 3)
    # Stable Diffusion v1.5's UNet has 859,520,964 parameters, 4 channels in.
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964 + 8 * 320 * 3 * 3
