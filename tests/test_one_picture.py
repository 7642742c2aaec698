"""FlowNet that remembers a picture: the network's own answers, and half of its layers not run again."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pix2gif_lite.fast import laid
from pix2gif_lite.fast.one_picture import OnePicture, SameAgain
from pix2gif_lite.presets import PRESETS
from pix2gif_lite.pretrained import build_components


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = build_components(PRESETS["lite"], ["a red balloon is rising"] * 20)["flow_net"].eval()
    with torch.no_grad():
        for weight in net.parameters():  # layers that start at 0 say something too
            weight.add_(0.02 * torch.randn_like(weight))
    return net


def answer(net, E, c_L):
    with torch.no_grad():
        flows = net(E, c_L)
        return flows.seen, net.look_up(E, flows)


@pytest.mark.parametrize("lay", [True, False])
def test_it_is_the_networks_answer_for_every_picture_and_motion(net, monkeypatch, lay):
    can = laid.can_lay()
    monkeypatch.setattr(laid, "can_lay", lambda *_: lay and can)
    share = 1e-3 if lay else 0.0  # of the answer's spread: convolutions that are laid add up in another order
    torch.manual_seed(1)
    E, c_L, quick = torch.randn(2, 1, 4, 32, 32), torch.randn(3, 1, 77, 256), OnePicture(net)
    for picture, text in ((0, 0), (0, 1), (1, 1), (1, 2), (0, 2), (0, 2)):
        for got, expected in zip(answer(quick, E[picture], c_L[text]), answer(net, E[picture], c_L[text]), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=share * float(expected.std()))
    before = answer(quick, E[0], c_L[0])
    E[0] += 1  # in the same memory, another picture
    for got, old, expected in zip(answer(quick, E[0], c_L[0]), before, answer(net, E[0], c_L[0]), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=share * float(expected.std()))
        assert (got - old).abs().max() > 0.01 * expected.std()


def test_another_motion_costs_what_depends_on_it(net, monkeypatch):
    monkeypatch.setattr(laid, "can_lay", lambda *_: False)  # torch's counter does not know laid convolutions
    E, c_L, quick, counts = torch.randn(1, 4, 32, 32), torch.randn(3, 1, 77, 256), OnePicture(net), []
    for text in c_L:
        with FlopCounterMode(display=False) as counter:
            answer(quick, E, text)
        counts.append(counter.get_total_flops())
    with FlopCounterMode(display=False) as counter:
        answer(net, E, c_L[0])
    assert counts[0] == counter.get_total_flops() and counts[1] == counts[2] < 0.65 * counts[0]


def test_where_somebody_watches_or_learns_it_is_the_network_itself(net):
    E, c_L, quick = torch.randn(1, 4, 32, 32), torch.randn(1, 77, 256), OnePicture(net)
    seen = []
    hook = net.conv0.register_forward_hook(lambda *given: seen.append(1))
    answer(quick, E, c_L)
    answer(quick, E, c_L)
    hook.remove()
    assert len(seen) == 2 and torch.equal(quick(E, c_L).flow0, net(E, c_L).flow0) and quick(E, c_L).flow0.requires_grad
    assert quick.config is net.config and quick.dtype == torch.float32
    assert len(list(quick.parameters())) == len(list(net.parameters()))


def test_an_answer_that_was_written_to_is_made_again():
    calls = []
    again, x = SameAgain(lambda *given: calls.append(1) or sum(given) + 1), torch.zeros(2)
    first = again(x)
    assert again(x) is first and len(calls) == 1
    first.add_(5)
    assert again(x).tolist() == [1, 1] and len(calls) == 2
    x.add_(1)
    assert again(x).tolist() == [2, 2] and len(calls) == 3
    assert again(x, x).tolist() == again(x, x).tolist() == [3, 3] and len(calls) == 5
    assert again(x.view(1, 2)).shape == (1, 2)
