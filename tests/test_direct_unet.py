"""The UNet by its shorter way: diffusers' own answer to rounding, and diffusers' own way for whatever it does not know."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel

from pix2gif_lite.fast import direct_unet as module
from pix2gif_lite.fast import laid
from pix2gif_lite.fast.direct_unet import DirectUNet
from pix2gif_lite.model import build_unet
from pix2gif_lite.presets import PRESETS, TINY

ONE_WIDTH = TINY.with_changes(unet_channels=(16,), unet_attention=(False,))  # without a middle, so without any attention
SIZES = {"tiny": TINY, "base": TINY.with_changes(variant="base"), "one width": ONE_WIDTH, "lite": PRESETS["lite"]}


def given(unet: UNet2DConditionModel, batch: int, size: tuple[int, int], text: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return torch.randn(batch, unet.config.in_channels, *size), torch.tensor(700.0), torch.randn(batch, 77, text)


def both(unet: UNet2DConditionModel, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return DirectUNet(unet)(x, t, c)[0], unet(x, t, encoder_hidden_states=c, return_dict=False)[0]


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return build_unet(TINY).eval()


@pytest.fixture
def ways(monkeypatch):
    """How often the shorter way was gone."""
    gone = []
    monkeypatch.setattr(module, "predict", lambda *given, kept=module.predict: gone.append(1) or kept(*given))
    return gone


@pytest.mark.parametrize("preset", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("batch", "size"), [(1, (32, 32)), (3, (16, 24))])
def test_it_is_diffusers_prediction(ways, preset, batch, size):
    torch.manual_seed(0)
    net = build_unet(preset).eval()
    x, t, c = given(net, batch, size, preset.text_width)
    direct, expected = both(net, x, t, c)
    assert len(ways) == 1 and expected.std() > 0.01
    torch.testing.assert_close(direct, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))
    with torch.no_grad():  # time and text count
        assert (DirectUNet(net)(x, torch.tensor(3.0), c)[0] - direct).abs().max() > 1e-3 * expected.std()
        heard = (DirectUNet(net)(x, t, -c)[0] - direct).abs().max() > 1e-3 * expected.std()
        assert heard == (preset is not ONE_WIDTH) == (net.mid_block is not None)
        each = DirectUNet(net)(x, t.expand(batch), c)[0]
    assert torch.equal(each, direct)


def test_it_leaves_what_it_is_given_as_it_was(unet):
    x, t, c = given(unet, 2, (16, 16), TINY.text_width)
    kept, weights = (x.clone(), c.clone()), copy.deepcopy(unet.state_dict())
    both(unet, x, t, c)
    assert torch.equal(x, kept[0]) and torch.equal(c, kept[1])
    assert all(torch.equal(value, weights[name]) for name, value in unet.state_dict().items())
    x = x.contiguous(memory_format=torch.channels_last)
    both(unet, x, t, c)
    assert torch.equal(x, kept[0])


def test_what_the_time_adds_is_worked_out_once_for_each_time(unet, monkeypatch):
    x, _, c = given(unet, 1, (16, 16), TINY.text_width)
    asked = []
    monkeypatch.setattr(module, "shifts", lambda *given, kept=module.shifts: asked.append(float(given[1])) or kept(*given))
    fixed = DirectUNet(unet, fixed=True)
    with torch.no_grad():
        for t in (999, 999, 500, 999):
            (expected,) = unet(x, torch.tensor([t]), encoder_hidden_states=c, return_dict=False)
            torch.testing.assert_close(fixed(x, torch.tensor([t]), c)[0], expected, rtol=1e-4, atol=1e-4)
    assert asked == ([999, 500, 999] if fixed.fixed else [999, 999, 500, 999])


def test_weights_in_bfloat16_answer_in_the_inputs_precision(unet, ways):
    x, t, c = given(unet, 1, (16, 16), TINY.text_width)
    with torch.no_grad():
        expected = unet(x, t, encoder_hidden_states=c, return_dict=False)[0]
        low = DirectUNet(copy.deepcopy(unet).bfloat16())(x, t, c)[0]
    assert low.dtype == torch.float32 and len(ways) == 1
    assert 0 < (low - expected).abs().mean() < 0.03 * expected.std()


def test_what_it_does_not_know_goes_diffusers_way(unet, ways):
    x, t, c = given(unet, 1, (16, 16), TINY.text_width)

    def hooked(net):
        net.mid_block.register_forward_hook(lambda *_: None)

    def adapted(net):
        layer = net.mid_block.attentions[0].transformer_blocks[0].attn1
        layer.to_q = type("Adapted", (torch.nn.Linear,), {})(layer.to_q.in_features, layer.to_q.out_features, bias=False)

    def sliced(net):
        net.set_attention_slice("max")

    def moved(net):
        net.forward = lambda *given, kept=net.forward, **how: kept(*given, **how)  # as an offload does

    def stored_smaller(net):
        net.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)

    def free(net):
        net.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)

    changes = (hooked, adapted, sliced, moved, stored_smaller, free)
    for change in (*changes, lambda net: net.train(), lambda net: net.register_to_config(act_fn="mish")):
        net = copy.deepcopy(unet)
        change(net)
        with torch.no_grad():
            assert not DirectUNet(net).can_predict(x)
        direct, expected = both(net, x, t, c)
        assert torch.equal(direct, expected)
    DirectUNet(unet)(x, t, c)[0].sum().backward()  # with gradients, too
    later = DirectUNet(unet)
    hooked(unet)  # seen although it came later
    both_ways = later(x, t, c)[0], unet(x, t, encoder_hidden_states=c, return_dict=False)[0]
    assert torch.equal(*both_ways)
    unet.mid_block._forward_hooks.clear()
    assert not ways and unet.conv_in.weight.grad.abs().max() > 0
    with torch.no_grad():
        assert DirectUNet(unet).can_predict(x)


def test_a_compiled_unet_runs_what_it_was_compiled_to(unet, ways):
    x, t, c = given(unet, 2, (16, 16), TINY.text_width)
    _, expected = both(unet, x, t, c)
    assert len(ways) == 1
    ran = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]):
        return lambda *inputs: ran.append(1) or graph.forward(*inputs)

    unet.compile(backend=backend)  # as users of diffusers do, with a GPU's kernels
    direct = DirectUNet(unet)
    with torch.no_grad():
        first, second = (direct(x, t, c)[0] for _ in range(2))
    assert len(ways) == 1 and len(ran) >= 2 and torch.equal(first, second)
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-5)
    unet._compiled_call_impl = None
    both(unet, x, t, c)
    assert len(ways) == 2


@pytest.mark.parametrize("preset", SIZES.values(), ids=SIZES)
def test_fixed_weights_give_the_same_and_in_bfloat16_nearly(ways, preset):
    torch.manual_seed(0)
    net = build_unet(preset).eval()
    exact, rounded = DirectUNet(net, fixed=True), DirectUNet(net, fixed=True, inside=torch.bfloat16)
    weights = copy.deepcopy(net.state_dict())
    for batch, size in ((1, (32, 32)), (3, (16, 24)), (1, (32, 32))):  # laid for each size
        x, t, c = given(net, batch, size, preset.text_width)
        with torch.no_grad():
            expected = net(x, t, encoder_hidden_states=c, return_dict=False)[0]
            torch.testing.assert_close(exact(x, t, c)[0], expected, rtol=1e-4, atol=1e-4 * float(expected.std()))
            low = rounded(x, t, c)[0]
        error = float((low - expected).std() / expected.std())
        assert low.dtype == torch.float32 and error < 0.02
        assert error > 1e-4 or not laid.can_lay(torch.bfloat16)  # 2 ** -9 is rounded off each product
    assert len(ways) == 6 and all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())


def test_what_may_change_is_not_kept(unet):
    x, t, c = given(unet, 1, (16, 16), TINY.text_width)
    usual, fixed = DirectUNet(unet), DirectUNet(unet, fixed=True)
    with torch.no_grad():
        before = usual(x, t, c)[0], fixed(x, t, c)[0]
        unet.conv_in.weight.mul_(2)
        after = usual(x, t, c)[0], fixed(x, t, c)[0]
    assert (after[0] - before[0]).abs().max() > 0.01 and torch.equal(after[1], before[1])
    with pytest.raises(ValueError, match="fixed=True"):
        DirectUNet(unet, inside=torch.bfloat16)


def test_laying_is_tried_before_it_is_trusted(monkeypatch):
    laid.can_lay.cache_clear()
    before = torch.get_rng_state()
    assert laid.can_lay() is (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, laid.POINTWISE))
    assert torch.equal(torch.get_rng_state(), before)
    other, unknown = torch.zeros(1, 8, 6, 6), lambda x: torch.add(x, x, x, x)  # another answer; other arguments: TypeError
    for wrong in (lambda self, x: other, lambda self, x: unknown(x)):
        laid.can_lay.cache_clear()
        monkeypatch.setattr(laid.LaidConv, "__call__", wrong)
        assert not laid.can_lay() and not laid.can_lay(torch.bfloat16)
    laid.can_lay.cache_clear()
