"""What moves as one: the fit against polynomials it must find again, and where a new network starts."""

from __future__ import annotations

import pytest
import torch

from pix2gif_lite.bodies import Bodies, fit_bodies
from pix2gif_lite.lookup import identity_grid
from pix2gif_lite.warping import FlowNet


def turn(h: int, w: int, angle: float, centre: tuple[float, float]) -> torch.Tensor:
    """The flow (1, 2, h, w) of a turn by `angle` around `centre`."""
    angle = torch.tensor(angle)
    x, y = identity_grid(h, w) - torch.tensor(centre)[:, None, None]
    return torch.stack([x * angle.cos() - y * angle.sin() - x, x * angle.sin() + y * angle.cos() - y])[None]


def sway(h: int, w: int, foot: float) -> torch.Tensor:
    """The flow (1, 2, h, w) of something that leans to the right, by the square of the height above its foot."""
    _, y = identity_grid(h, w)
    return torch.stack([-0.01 * (foot - y).square(), torch.zeros(h, w)])[None]


def box(h: int, w: int, top: int, left: int, side: int) -> torch.Tensor:
    weight = torch.zeros(1, 1, h, w)
    weight[..., top : top + side, left : left + side] = 1
    return weight


@pytest.mark.parametrize("r", [1, 4])
def test_a_turn_and_a_sway_side_by_side_are_each_found_exactly(r: int) -> None:
    h, w = 32, 64
    bodies = torch.cat([box(h, w, 5, 3, 20), box(h, w, 8, 37, 18)], dim=1)
    flows = torch.cat([turn(h, w, 0.3, (12.0, 14.0)), sway(h, w, 30.0)])
    flow = (bodies[0, :, None] * flows).sum(0, keepdim=True)  # 0 where neither is
    found = fit_bodies(flow, bodies, r)
    for k in range(2):
        inside = bodies[0, k] > 0
        assert (found[0, k] - flows[k])[:, inside].abs().max() < 0.02  # of up to 9 pixels


def test_a_body_knows_better_than_its_places() -> None:
    h = w = 64
    weight, exact = box(h, w, 10, 10, 40), turn(h, w, 0.2, (30.0, 30.0))
    noisy = exact + torch.randn(1, 2, h, w, generator=torch.Generator().manual_seed(0))
    error = (fit_bodies(noisy, weight, 4)[0, 0] - exact[0])[:, weight[0, 0] > 0]
    assert error.square().mean().sqrt() < 2 * (6 / 1600) ** 0.5  # six numbers from 1,600 places: the noise, a sixteenth of it


def test_beyond_its_reach_a_body_moves_as_at_its_end_and_none_does_not_move() -> None:
    weight = box(64, 64, 28, 28, 8)
    found = fit_bodies(turn(64, 64, 0.5, (32.0, 32.0)), torch.cat([weight, 0 * weight], dim=1), 4)
    assert found[0, 0].abs().max() < 6  # three spreads of 2.3 px away the turn is 3.5 px; at the picture's edge it were 22
    assert found[0, 1].abs().max() == 0


def test_shares_are_shares_and_trust_decides() -> None:
    torch.manual_seed(0)
    bodies, features, flow = Bodies(8, 2, 2), torch.randn(3, 8, 5, 6), torch.randn(3, 2, 10, 12)
    own, trust = bodies.shares(features), bodies.trust(features)
    assert own.shape == (3, 2, 10, 12) and trust.shape == (3, 1, 10, 12)
    torch.testing.assert_close(own.sum(1), torch.ones(3, 10, 12))
    everywhere = torch.ones(3, 1, 10, 12)
    fitted = (own[:, :, None] * fit_bodies(flow, own, 2)).sum(1)
    torch.testing.assert_close(bodies(flow, features, everywhere), (1 - trust) * flow + trust * fitted)
    torch.nn.init.constant_(bodies.together.bias, -100)
    torch.testing.assert_close(bodies(flow, features, everywhere), flow)
    assert bodies(0 * flow, features, everywhere).abs().max() == 0  # a network that says nothing starts at the identity


def test_the_places_come_to_know_their_bodies() -> None:
    """Two halves of a picture turn apart, a noisy flow is given, and only the flow's own error says who belongs together."""
    torch.manual_seed(0)
    h, w, r = 32, 32, 2
    exact = turn(h, w, 0.3, (8.0, 16.0))
    exact[..., w // 2 :] = turn(h, w, -0.3, (24.0, 16.0))[..., w // 2 :]
    features = torch.zeros(1, 4, h // r, w // r)
    features[:, 0, :, : w // r // 2] = 1
    features[:, 1, :, w // r // 2 :] = 1
    bodies = Bodies(4, r, 2)
    optimizer = torch.optim.Adam(bodies.parameters(), lr=0.1)
    noisy = exact + 0.5 * torch.randn_like(exact)
    errors = []
    for _ in range(80):
        error = (bodies(noisy, features, torch.ones(1, 1, h, w)) - exact).norm(dim=1).mean()
        errors.append(float(error.detach()))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert errors[0] > 0.5 and errors[-1] < 0.1
    left, right = bodies.shares(features)[0, :, 0, 0], bodies.shares(features)[0, :, 0, -1]
    assert left.argmax() != right.argmax() and min(left.max(), right.max()) > 0.9


def test_bodies_need_places() -> None:
    with pytest.raises(ValueError, match="bodies 2 with subcells=0: give a whole number, 0 where subcells is 0."):
        FlowNet(flow_width=16, subcells=0, bodies=2)
    with pytest.raises(ValueError, match="bodies -1"):
        FlowNet(flow_width=16, subcells=2, bodies=-1)


def test_autocast_does_not_round_a_body() -> None:
    flow, weight = turn(32, 32, 0.3, (12.0, 14.0)), box(32, 32, 5, 3, 20)
    with torch.autocast("cpu", torch.bfloat16):
        found = fit_bodies(flow, weight, 4)
    assert found.dtype == torch.float32 and torch.equal(found, fit_bodies(flow, weight, 4))
