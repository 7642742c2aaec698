"""FNet and IM against the reference's names and a computation from weights alone; both learn what they are for."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from pix2gif_lite.lookup import warp
from pix2gif_lite.warping import FlowNet, InjectionModule, Mixing


@pytest.mark.parametrize("width", [256, 512, 768])
def test_injection_equals_its_parts(width: int) -> None:
    torch.manual_seed(0)
    module = InjectionModule(width)
    torch.nn.init.normal_(module.norm.weight)
    torch.nn.init.normal_(module.norm.bias)
    c_L = torch.randn(2, 77, width)
    stride = width // 256
    padded = F.pad(c_L, (1, 1))
    taps = torch.stack([padded[:, :, k : k + width : stride] for k in range(3)], dim=-1)  # (B, 77, 256, 3)
    x = torch.einsum("btlk,otk->bol", taps, module.linear.weight) + module.linear.bias[:, None]  # (B, 16, 256)
    mean, variance = x.mean(dim=(1, 2), keepdim=True), x.var(dim=(1, 2), keepdim=True, correction=0)
    x = (x - mean) / (variance + 1e-5).sqrt() * module.norm.weight.T + module.norm.bias.T
    torch.testing.assert_close(module(c_L), x.clamp(min=0).reshape(2, 16, 16, 16), rtol=1e-4, atol=1e-4)


def test_a_width_that_cannot_be_strided_is_an_error() -> None:
    with pytest.raises(ValueError, match="width 300.*multiple of 256"):
        InjectionModule(300)


def reference_shapes() -> dict[str, tuple[int, ...]]:
    """Weights of a reference checkpoint under `flownet.`, from the paper's sizes: name -> shape, without the biases."""
    shapes = {}
    convs = {
        "conv0": (64, 4), "conv1": (64, 64), "conv1_1": (128, 64), "conv2": (128, 128), "conv2_1": (128, 128),
        "inter_conv1": (32, 50), "inter_conv0": (16, 18),
    }  # fmt: skip
    for name, (outputs, inputs) in convs.items():
        shapes[f"{name}.0.weight"] = (outputs, inputs, 3, 3)
        shapes[f"{name}.1.weight"] = shapes[f"{name}.1.running_mean"] = (outputs,)
    for name, (inputs, outputs) in {"deconv1": (128, 32), "deconv0": (50, 16)}.items():
        shapes[f"{name}.0.weight"] = (inputs, outputs, 4, 4)
        shapes[f"{name}.1.weight"] = shapes[f"{name}.1.running_mean"] = (outputs,)
    for scale, inputs in {2: 128, 1: 32, 0: 16}.items():
        shapes[f"predict_flow{scale}.0.weight"] = (2, inputs, 3, 3)
    for name in ("upsampled_flow2_to_1", "upsampled_flow1_to_0"):
        shapes[f"{name}.weight"] = (2, 2, 4, 4)
    shapes["injection1.linear.weight"] = (16, 77, 3)
    shapes["injection1.norm.weight"] = (256, 16)
    return shapes


def test_names_and_shapes_are_the_reference_checkpoints() -> None:
    net = FlowNet(text_width=768, norm="batch", flow_mode="absolute")
    ours = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    for name, shape in reference_shapes().items():
        assert ours.pop(name) == shape, name
    assert all(name.endswith(("bias", "running_var", "num_batches_tracked")) for name in ours), ours


def flows_by_hand(net: FlowNet, z: torch.Tensor, c_L: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The three tanh outputs of a batch-norm FlowNet in eval mode, from its weights alone."""
    p = net.state_dict()

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, *(p[f"{name}.1.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return norm(name, F.conv2d(x, p[f"{name}.0.weight"], p[f"{name}.0.bias"], stride, padding=1))

    def deconv(name: str, x: torch.Tensor) -> torch.Tensor:
        return norm(name, F.conv_transpose2d(x, p[f"{name}.0.weight"], p[f"{name}.0.bias"], stride=2, padding=1))

    def act(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    def head(k: int, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(F.conv2d(x, p[f"predict_flow{k}.0.weight"], p[f"predict_flow{k}.0.bias"], padding=1))

    def up(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(x, p[f"{name}.weight"], p[f"{name}.bias"], stride=2, padding=1)

    x = act(conv("conv0", z))
    x = act(conv("conv1_1", act(conv("conv1", x, 2))))
    x = act(conv("conv2_1", act(conv("conv2", x, 2))))
    flow2 = head(2, x)
    cat1 = torch.cat([act(deconv("deconv1", x)), up("upsampled_flow2_to_1", flow2), net.injection1(c_L)], dim=1)
    flow1 = head(1, conv("inter_conv1", cat1))
    cat0 = torch.cat([act(deconv("deconv0", cat1)), up("upsampled_flow1_to_0", flow1)], dim=1)
    return head(0, conv("inter_conv0", cat0)), flow1, flow2


def test_flows_equal_a_computation_by_hand_in_both_modes() -> None:
    torch.manual_seed(0)
    net = FlowNet(flow_width=16, norm="batch", flow_mode="absolute")
    for name, value in net.state_dict().items():
        if "num_batches" not in name:
            value.copy_(torch.rand(value.shape) + 0.5 if "running_var" in name else 0.2 * torch.randn(value.shape))
    net.eval()
    z, c_L = torch.randn(2, 4, 32, 32), torch.randn(2, 77, 256)
    expected = flows_by_hand(net, z, c_L)
    pyramid = net(z, c_L)
    assert pyramid.places is None  # nothing is looked up between cells
    for ours, by_hand in zip(pyramid[:3], expected, strict=True):
        torch.testing.assert_close(ours, by_hand)

    displacement = FlowNet(flow_width=16, norm="batch")
    displacement.load_state_dict(net.state_dict())
    pyramid = displacement.eval()(z, c_L)
    for flow, by_hand, half in zip(pyramid[:3], expected, (16, 8, 4), strict=True):  # half of each grid, in its own cells
        torch.testing.assert_close(flow, half * by_hand)


def test_training_starts_at_the_identity() -> None:
    torch.manual_seed(0)
    net = FlowNet()
    flow = net(torch.randn(4, 4, 32, 32), torch.randn(4, 77, 256)).flow0
    assert 0 < flow.abs().mean() < 0.03  # cells


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_other_sizes_and_half_the_grid_is_the_most(norm: str) -> None:
    torch.manual_seed(0)
    net = FlowNet(flow_width=16, norm=norm).eval()
    net.predict_flow0[0].bias.data.fill_(50)  # tanh = 1
    flow0, flow1, flow2, *_ = net(torch.randn(2, 4, 24, 40), torch.randn(2, 77, 256))
    assert [tuple(f.shape) for f in (flow0, flow1, flow2)] == [(2, 2, 24, 40), (2, 2, 12, 20), (2, 2, 6, 10)]
    torch.testing.assert_close(flow0[:, 0], torch.full((2, 24, 40), 20.0))  # x: half the width
    torch.testing.assert_close(flow0[:, 1], torch.full((2, 24, 40), 12.0))  # y: half the height
    with pytest.raises(ValueError, match="30 x 32 cells"):
        net(torch.randn(1, 4, 30, 32), torch.randn(1, 77, 256))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"norm": "layer"}, "norm 'layer'"),
        ({"flow_mode": "up"}, "flow mode 'up'"),
        ({"interpolation": "nearest"}, "interpolation 'nearest'"),
        ({"flow_width": 10}, "flow_width 10"),
        ({"subcells": -1}, "subcells -1"),
        ({"subcells": 2.5}, "subcells 2.5"),
        ({"subcells": 4, "flow_mode": "absolute"}, "subcells=4 refines displacements, not flow_mode='absolute'"),
    ],
)
def test_wrong_settings_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowNet(**wrong)


def test_round_trip_is_equal_to_the_bit(tmp_path) -> None:
    torch.manual_seed(0)
    net = FlowNet(flow_width=16, norm="batch", flow_mode="absolute").eval()
    net.save_pretrained(tmp_path)
    again = FlowNet.from_pretrained(tmp_path).eval()
    z, c_L = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 256)
    for a, b in zip(net(z, c_L)[:3], again(z, c_L)[:3], strict=True):
        assert torch.equal(a, b)


def test_it_learns_to_move_by_what_the_text_says() -> None:
    torch.manual_seed(0)
    net = FlowNet(flow_width=16)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    c_L = torch.randn(2, 77, 256)  # two texts: look one cell to the right, look one cell down
    way = torch.zeros(2, 2, 16, 16)
    way[0, 0] = way[1, 1] = 1
    for _ in range(50):
        z = F.interpolate(torch.randn(8, 4, 5, 5), size=(16, 16), mode="bicubic", align_corners=False)
        which = torch.randint(0, 2, (8,))
        error = (warp(z, net(z, c_L[which]).flow0) - warp(z, way[which])).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    z = F.interpolate(torch.randn(2, 4, 5, 5), size=(16, 16), mode="bicubic", align_corners=False)
    flow = net(z, c_L).flow0[:, :, 4:12, 4:12]
    assert (flow - way[:, :, 4:12, 4:12]).abs().mean() < 0.3  # cells, away from the edges; at the start it is 0.5


def flow_error_after_training(**ours: object) -> float:
    """Cells, root mean square: "what is light moves by one cell, to where the text says", fine shapes, no two alike."""
    torch.manual_seed(0)
    net = FlowNet(flow_width=16, **ours)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    c_L, way = torch.randn(4, 77, 256), torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    errors = []
    for _ in range(240):
        light = (torch.randn(8, 1, 16, 16) > 0).float()
        which = torch.randint(0, 4, (8,))
        flow = net(light.expand(8, 4, 16, 16), c_L[which]).flow0
        error = (flow - light * way[which][:, :, None, None]).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    return math.sqrt(sum(errors[-20:]) / 20)


def test_skips_and_mixing_let_a_flow_end_where_an_object_does() -> None:
    # No flow at all is 0.5 cells off, half the flow everywhere 0.35: all that 8 x 8 cells can say of shapes so fine.
    assert flow_error_after_training(skips=True, mixing=1) < 0.2 < 0.33 < flow_error_after_training()


def test_sizes_of_skips_and_mixing() -> None:
    net = FlowNet(flow_width=16, widths=(24, 8), text_maps=5, skips=True, mixing=3)
    assert len(net.mixing1) == 3 and len(net.mixing0) == 2
    assert net.merge1.weight.shape == (24, 24 + 2 + 5, 1, 1)
    assert net.skip1.weight.shape == (24, 32, 1, 1) and net.skip0.weight.shape == (8, 16, 1, 1)
    assert not any(parameter.any() for skip in (net.skip0, net.skip1) for parameter in skip.parameters())
    assert net(torch.randn(1, 4, 24, 40), torch.randn(1, 77, 256)).flow0.shape == (1, 2, 24, 40)


def test_a_mixing_block_equals_its_formula() -> None:
    torch.manual_seed(0)
    block = Mixing(16, 8, "group")
    x, pooled = torch.randn(2, 16, 5, 5), torch.randn(2, 8)
    p = dict(block.named_parameters())
    h = F.group_norm(x, 2, p["conv1.0.weight"], p["conv1.0.bias"])
    h = F.conv2d(h * torch.sigmoid(h), p["conv1.2.weight"], p["conv1.2.bias"], padding=1)
    h = F.group_norm(h, 2, p["norm2.weight"], p["norm2.bias"])
    scale, shift = (pooled @ p["modulation.weight"].T + p["modulation.bias"])[:, :, None, None].split(16, 1)
    h = h * (1 + scale) + shift
    expected = x + F.conv2d(h * torch.sigmoid(h), p["conv2.1.weight"], p["conv2.1.bias"], padding=1)
    torch.testing.assert_close(block(x, pooled), expected)
