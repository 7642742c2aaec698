"""The learnt look-up: enlarging flows against hand-computed ones and torch's own, where it starts, and that it learns."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from pix2gif_lite.lookup import INTERPOLATIONS, warp
from pix2gif_lite.subcell import MOVES, Places, SubcellWarp, bilinear_logits, enlarge
from pix2gif_lite.warping import FlowNet, FlowPyramid


def one_hot(h: int, w: int, r: int, picks: dict[tuple[int, int, int, int], tuple[int, int]]) -> torch.Tensor:
    """Logits (1, 9 r r, h, w): the place (row i, column j) of the cell (y, x) takes its neighbour at (dy, dx), -1 .. 1.

    Every other place takes its own cell.
    """
    logits = torch.full((9, r, r, h, w), -1e4)
    logits[4] = 0
    for (y, x, i, j), (dy, dx) in picks.items():
        logits[4, i, j, y, x] = -1e4
        logits[3 * (dy + 1) + dx + 1, i, j, y, x] = 0
    return logits.reshape(1, 9 * r * r, h, w)


# enlarge


@pytest.mark.parametrize("r", [2, 3])
def test_each_place_takes_the_neighbour_that_its_logits_name(r: int) -> None:
    h, w = 3, 4
    flow = torch.stack([torch.arange(12.0).reshape(h, w), 100 + torch.arange(12.0).reshape(h, w)])[None]  # no two alike
    picks = {(1, 2, 0, r - 1): (-1, 1), (1, 2, r - 1, 0): (1, -1), (0, 0, 1, 0): (0, 1), (2, 1, 0, 1): (-1, 0)}
    fine = enlarge(flow, one_hot(h, w, r, picks), r)
    expected = r * flow.repeat_interleave(r, 2).repeat_interleave(r, 3)  # in places, and each its own cell's
    for (y, x, i, j), (dy, dx) in picks.items():
        expected[0, :, y * r + i, x * r + j] = r * flow[0, :, y + dy, x + dx]
    assert torch.equal(fine, expected)


def test_beyond_the_edge_the_flow_goes_on() -> None:
    flow = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]])
    picks = {(0, 0, 0, 1): (-1, 1), (0, 1, 1, 0): (0, 1), (1, 0, 1, 1): (1, -1)}  # above the second cell, right, below left
    fine = enlarge(flow, one_hot(2, 2, 2, picks), 2)
    assert fine[0, :, 0, 1].tolist() == [2 * 2.0, 2 * 6.0]
    assert fine[0, :, 1, 2].tolist() == [2 * 2.0, 2 * 6.0]
    assert fine[0, :, 3, 1].tolist() == [2 * 3.0, 2 * 7.0]


def test_shares_are_a_softmax_over_the_neighbours() -> None:
    flow = torch.zeros(1, 2, 1, 2)
    flow[0, :, 0] = torch.tensor([[0.0, 1.0], [0.0, -3.0]])
    logits = one_hot(1, 2, 2, {})
    logits.view(9, 2, 2, 1, 2)[5, 0, 1, 0, 0] = torch.log(torch.tensor(3.0))  # three to one for the cell on the right
    assert enlarge(flow, logits, 2)[0, :, 0, 1].tolist() == pytest.approx([2 * 0.75, 2 * 0.75 * -3])


@pytest.mark.parametrize("r", [1, 2, 3, 4])
def test_the_first_choice_is_bilinear_enlargement(r: int) -> None:
    torch.manual_seed(0)
    flow = torch.randn(2, 2, 5, 7)
    logits = bilinear_logits(r)[None, :, None, None].expand(2, -1, 5, 7)
    assert logits.shape == (2, 9 * r * r, 5, 7)
    expected = r * F.interpolate(flow, scale_factor=r, mode="bilinear", align_corners=False)
    most = r * (flow.amax((2, 3)) - flow.amin((2, 3))).max()
    assert (enlarge(flow, logits, r) - expected).abs().max() < 0.01 * most  # the outermost places too
    if r > 1:  # and no other order of the places: it is not symmetric
        turned = logits.view(2, 9, r, r, 5, 7).transpose(2, 3).reshape(2, 9 * r * r, 5, 7)
        assert (enlarge(flow, turned, r) - expected).abs().max() > 0.1 * most


def test_no_place_moves_further_than_a_neighbour() -> None:
    torch.manual_seed(1)
    flow, r = 8 * torch.randn(2, 2, 6, 5), 3
    fine = enlarge(flow, 5 * torch.randn(2, 9 * r * r, 6, 5), r) / r
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    most, least = F.max_pool2d(padded, 3, stride=1), -F.max_pool2d(-padded, 3, stride=1)
    most, least = (v.repeat_interleave(r, 2).repeat_interleave(r, 3) for v in (most, least))
    assert (fine <= most + 1e-5).all() and (fine >= least - 1e-5).all()
    constant = torch.tensor([1.5, -0.25]).view(1, 2, 1, 1).expand(2, 2, 6, 5)
    still = enlarge(constant, 5 * torch.randn(2, 9 * r * r, 6, 5), r)
    torch.testing.assert_close(still, (r * constant).repeat_interleave(r, 2).repeat_interleave(r, 3))


# the module


def parts(size: tuple[int, int] = (8, 12), batch: int = 2, channels: int = 4) -> tuple[torch.Tensor, ...]:
    """Latents, a flow in cells and FNet's features of 8 channels."""
    torch.manual_seed(2)
    return torch.randn(batch, channels, *size), 1.5 * torch.randn(batch, 2, *size), torch.randn(batch, 8, *size)


def waken(module: SubcellWarp) -> SubcellWarp:
    """Random weights where training starts at 0."""
    torch.manual_seed(3)
    for parameter in (*module.fold[-1].parameters(), module.choose[-1].weight, module.compare.weight, module.moves.weight):
        torch.nn.init.normal_(parameter, std=0.5)
    torch.nn.init.normal_(module.draw.weight, std=3.0)  # O from 0 to 1
    torch.nn.init.zeros_(module.draw.bias)
    return module


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(8, 12), (5, 3), (1, 1)])
def test_it_starts_as_the_plain_look_up(interpolation: str, size: tuple[int, int]) -> None:
    latents, flow, features = parts(size)
    module = SubcellWarp(channels=4, features=8, r=3, width=16)
    (same, places), fine = module.refine(latents, flow, features), (3 * size[0], 3 * size[1])
    assert torch.equal(same, flow)
    assert [part.shape for part in places] == [(2, 2, *fine), (2, 12, *fine), (2, 1, *fine), (2, 1, *fine)]
    moves = torch.tensor(MOVES).sigmoid()
    for share in places.moving, places.arriving:
        torch.testing.assert_close(share, moves.expand_as(share))
    z_W, plain = module(latents, flow, places, interpolation), warp(latents, flow, interpolation=interpolation)
    torch.testing.assert_close(z_W, plain + (1 - moves).square() * (latents - plain))  # 0.2 % stay
    assert not torch.allclose(waken(module)(latents, flow, places, interpolation), z_W)  # and is more than that, later


def test_what_is_added_is_unfolded_looked_up_by_places_and_folded() -> None:
    latents, _, features = parts()
    module = waken(SubcellWarp(channels=4, features=8, r=2, width=16))
    flow = torch.zeros(2, 2, 8, 12)
    flow[:, 0], flow[:, 1] = 0.5, -1.0  # by one place right, two places up: whole places, so nothing is interpolated
    rows, columns = (torch.arange(16) - 2).clamp(0), (torch.arange(24) + 1).clamp(max=23)
    _, places = module.refine(latents, flow, features)
    _, U, marks, arriving = places
    assert U.shape == (2, 12, 16, 24) and torch.equal(U, module.unfold(latents))  # three times the channels, r times the sides
    torch.testing.assert_close(arriving, marks[:, :, rows][:, :, :, columns])
    assert 0.2 < marks.std()
    moved, plain = U[:, :, rows][:, :, :, columns], warp(latents, flow)
    nothing, everything = torch.zeros_like(marks), torch.ones_like(marks)
    for outlines in (
        (marks, arriving),
        (nothing, nothing),
        (everything, everything),
        (everything, nothing),
        (nothing, everything),
    ):
        here, there = outlines
        a = (1 - here) * (1 - there)
        mixed = (1 - a) * moved + a * U
        coarse = a.unflatten(2, (8, 2)).unflatten(4, (12, 2)).mean((3, 5))  # (2, 1, 8, 12): the mean of a cell's places
        between = (1 - coarse) * plain + coarse * latents
        shuffled = F.pixel_unshuffle(mixed, 2), F.pixel_unshuffle(torch.cat(outlines, 1), 2)
        seen = F.conv2d(shuffled[0], module.fold[1].weight, module.fold[1].bias) + module.compare(between)
        seen = seen + F.conv2d(shuffled[1], module.moves.weight)
        given = places._replace(moving=here, arriving=there)
        torch.testing.assert_close(given.staying, a)
        torch.testing.assert_close(module(latents, flow, given), between + module.fold[2:](seen), rtol=1e-4, atol=1e-4)


def test_a_thing_moves_with_its_outline_and_the_backdrop_stays() -> None:
    """By hand, in places: a thing at columns 2 and 3 goes one to the right; the flow goes on far beyond it."""
    marks = torch.tensor([0.0, 0, 1, 1, 0, 0, 0, 0]).view(1, 1, 1, 8).expand(1, 1, 2, 8)
    U = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 12, 2, 8)
    flow = torch.zeros(1, 2, 2, 8)
    flow[:, 0] = -1
    places = Places(flow, U, marks, warp(marks, flow))
    assert places.arriving[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert places.staying[0, 0, 0].tolist() == [1, 1, 0, 0, 0, 1, 1, 1]
    shown = warp(U, flow) + places.staying * (U - warp(U, flow))
    assert shown[0, 0, 0].tolist() == [0, 1, 1, 2, 3, 5, 6, 7]  # where it left, column 2, the backdrop from beside it


def test_a_dropped_picture_gives_0_and_the_others_do_not_notice() -> None:
    latents, flow, features = parts(batch=3)
    module = waken(SubcellWarp(channels=4, features=8, r=2, width=16))
    latents[1] = 0
    _, places = module.refine(latents, flow, features)
    z_W = module(latents, flow, places)
    assert not z_W[1].any()
    for k in (slice(0, 1), slice(2, 3)):
        alone = module(latents[k], flow[k], Places(*(part[k] for part in places)))
        torch.testing.assert_close(z_W[k], alone)
    latents[1, 0, 0, 0] = 1e-3  # nearly dropped is not dropped
    assert module(latents, flow, places)[1].abs().mean() > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    latents, flow, features = parts()
    module = waken(SubcellWarp(channels=4, features=8, r=2, width=16))
    exact = module(latents, *module.refine(latents, flow, features))
    module.to(dtype)
    _, places = module.refine(latents.to(dtype), flow, features.to(dtype))
    low = module(latents.to(dtype), flow, places)
    assert places.flow.dtype == places.moving.dtype == torch.float32 and low.dtype == dtype
    assert (low.float() - exact).abs().mean() < 0.03 * exact.abs().mean()


def test_after_a_few_steps_every_parameter_has_a_gradient() -> None:
    latents, flow, features = parts()
    module = SubcellWarp(channels=4, features=8, r=2, width=16)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    target = torch.randn_like(latents)
    idle = []
    for _ in range(4):
        optimiser.zero_grad()
        (module(latents, *module.refine(latents, flow, features)) - target).square().mean().backward()
        idle.append({name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-7})
        optimiser.step()
    first = {f"fold.{len(module.fold) - 1}.{kind}" for kind in ("weight", "bias")} | {"draw.weight", "draw.bias"}
    assert {name for name, _ in module.named_parameters()} - idle[0] == first  # the layers that are 0,
    assert idle[-1] == set()


def test_it_learns_what_lies_between_cells() -> None:
    # A cell's 2 x 2 pixels are its channels. By half a cell every pixel belongs to a neighbour, another channel of it:
    # no average of cells says so.
    torch.manual_seed(0)
    module = SubcellWarp(channels=4, features=8, r=2, width=16)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2)
    flow = torch.tensor([0.5, -0.5]).view(1, 2, 1, 1).expand(4, 2, 6, 6)

    def example() -> tuple[torch.Tensor, torch.Tensor]:
        picture = torch.randn(4, 1, 12, 12)
        return F.pixel_unshuffle(picture, 2), F.pixel_unshuffle(torch.roll(picture, (1, -1), (2, 3)), 2)

    for _ in range(150):
        latents, moved = example()
        _, places = module.refine(latents, flow, torch.zeros(4, 8, 6, 6))
        error = (module(latents, flow, places, "bicubic") - moved).square()
        optimiser.zero_grad()
        error.mean().backward()
        optimiser.step()
    latents, moved = example()
    inner = (..., slice(1, -1), slice(1, -1))  # what rolls in at the edge nobody can know
    with torch.no_grad():
        learnt = module(latents, *module.refine(latents, flow, torch.zeros(4, 8, 6, 6)), "bicubic")
    learnt, plain = ((z - moved)[inner].square().mean().sqrt() for z in (learnt, warp(latents, flow, interpolation="bicubic")))
    assert learnt < 0.3 * plain


# in FlowNet


def small(**changes: object) -> FlowNet:
    """A FlowNet whose flow is not the identity and whose look-up has something to say."""
    torch.manual_seed(0)
    net = FlowNet(**{"flow_width": 16, "subcells": 2, "interpolation": "bicubic", **changes}).eval()
    torch.nn.init.normal_(net.predict_flow0[0].weight, std=0.05)
    waken(net.subcell)
    return net


def test_flow_net_gives_both_flows_and_looks_up_with_them() -> None:
    net = small(subcells=3)
    z, c_L = torch.randn(2, 4, 12, 20), torch.randn(2, 77, 256)
    with torch.no_grad():
        flows = net(z, c_L)
        assert flows.flow0.shape == (2, 2, 12, 20) and flows.finest.shape == (2, 2, 36, 60)
        z_W = net.look_up(z, flows)
        torch.testing.assert_close(z_W, net.subcell(z, flows.flow0, flows.places, "bicubic"))
        assert (z_W - warp(z, flows.flow0, interpolation="bicubic")).abs().mean() > 0.1
    # the flow itself is that of the same network without a learnt look-up
    plain = FlowNet(flow_width=16, interpolation="bicubic").eval()
    plain.load_state_dict({name: value for name, value in net.state_dict().items() if not name.startswith("subcell.")})
    with torch.no_grad():
        assert torch.equal(plain(z, c_L).flow0, flows.flow0) and plain(z, c_L).places is None
        assert torch.equal(plain.look_up(z, flows), warp(z, flows.flow0, interpolation="bicubic"))


def test_one_picture_for_all_is_looked_at_once_and_gives_the_same() -> None:
    net = small(skips=True, mixing=1)
    torch.manual_seed(4)
    z, c_L, batches = torch.randn(1, 4, 8, 12), torch.randn(3, 77, 256), []
    for part in (net.conv0[0], net.conv2[0], net.subcell.unfold[0], net.subcell.fold[-1], net.predict_flow0[0]):
        part.register_forward_hook(lambda module, given, out: batches.append(len(out)))
    with torch.no_grad():
        flows = net(z.expand(3, -1, -1, -1), c_L)
        z_W = net.look_up(z.expand(3, -1, -1, -1), flows)
        assert batches == [1, 1, 3, 1, 3]  # down, the flow; unfolded once; folded
        same = net(z.repeat(3, 1, 1, 1), c_L)
        expected = net.look_up(z.repeat(3, 1, 1, 1), same)
    for flow, other in zip((*flows[:3], *flows.places), (*same[:3], *same.places), strict=True):
        torch.testing.assert_close(flow.expand_as(other), other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(z_W, expected, rtol=1e-4, atol=1e-4)
    assert (z_W[0] - z_W[1]).abs().max() > 1e-3  # the texts differ


def test_saved_and_loaded_it_is_the_same(tmp_path) -> None:
    net = small(skips=True, mixing=1)
    net.save_pretrained(tmp_path)
    again = FlowNet.from_pretrained(tmp_path).eval()
    assert again.config.subcells == 2
    weights, loaded = net.state_dict(), again.state_dict()
    assert weights.keys() == loaded.keys() and all(torch.equal(weights[name], loaded[name]) for name in weights)
    z, c_L = torch.randn(1, 4, 8, 12), torch.randn(1, 77, 256)
    with torch.no_grad():  # close: a file's tensors may lie at other addresses, and sums be rounded elsewhere
        torch.testing.assert_close(net.look_up(z, net(z, c_L)), again.look_up(z, again(z, c_L)), rtol=1e-4, atol=1e-4)


def test_a_config_from_before_there_were_subcells_has_none(tmp_path) -> None:
    net = FlowNet(flow_width=16, interpolation="bicubic").eval()
    net.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config.pop("subcells") == 0
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    old = FlowNet.from_pretrained(tmp_path).eval()
    assert old.subcell is None
    z, c_L = torch.randn(1, 4, 8, 12), torch.randn(1, 77, 256)
    with torch.no_grad():
        flows = old(z, c_L)
        expected = warp(z, net(z, c_L).flow0, interpolation="bicubic")
        torch.testing.assert_close(old.look_up(z, flows), expected, rtol=1e-4, atol=1e-4)


def test_the_flow_that_is_seen_is_0_where_more_stays_than_moves() -> None:
    flow, places = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 2, 4)
    places[:, 0] = torch.tensor([[2.0, 3, 4, 5], [2, 3, 4, 5]])  # in places
    moving = torch.tensor([[1.0, 0.1, 0.6, 0.1], [1, 0.1, 0.4, 0]]).view(1, 1, 2, 4)
    arriving = torch.tensor([[0.0, 0, 0, 0.8], [0, 0, 0, 0]]).view(1, 1, 2, 4)
    pyramid = FlowPyramid(flow, flow, flow, Places(places, torch.zeros(1, 12, 2, 4), moving, arriving))
    assert pyramid.seen.tolist() == [[[[2, 0, 4, 5], [2, 0, 0, 0]], [[0] * 4, [0] * 4]]] and pyramid.finest is places
    assert FlowPyramid(flow, flow, flow).seen is flow
    two = FlowPyramid(*(torch.arange(2.0).view(2, 1, 1, 1).expand(2, 2, 4, 4) for _ in range(3)), None)
    assert two.of(torch.tensor([False, True])).flow0.unique().tolist() == [1]
