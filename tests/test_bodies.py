"""What moves as one: the fit against polynomials it must find again, and where a new network starts."""

from __future__ import annotations

import pytest
import torch

from pix2gif_lite.bodies import Bodies, Hold, fit_bodies
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


def firm(stiff: float = 0.0, rigid: float = 0.0) -> Hold:
    """Of one body."""
    return Hold(torch.tensor([[stiff]]), torch.tensor([[rigid]]))


def test_what_is_rigid_keeps_its_shape() -> None:
    weight = box(64, 64, 10, 10, 40)
    exact = turn(64, 64, 0.2, (29.5, 29.5))
    stretch = 0.05 * (identity_grid(64, 64) - 29.5) * torch.tensor([1.0, -1.0])[:, None, None]
    loose, rigid = (fit_bodies(exact + stretch, weight, 4, firm(rigid=how))[0, 0] for how in (0.0, 50.0))
    inside = weight[0, 0] > 0
    assert (loose - exact[0] - stretch)[:, inside].abs().max() < 0.01
    assert (rigid - exact[0])[:, inside].abs().max() < 0.02  # a turn costs nothing, of a stretch by a pixel nothing is left


def test_what_is_stiff_does_not_bend() -> None:
    weight, exact = box(64, 64, 10, 10, 40), turn(64, 64, 0.2, (30.0, 30.0))
    bent = exact + sway(64, 64, 49.0)
    loose, stiff = (fit_bodies(bent, weight, 4, firm(stiff=s))[0, 0, :, 10:50, 10:50] for s in (0.0, 50.0))
    second = [flow.diff(n=2, dim=1).abs().max() for flow in (loose, stiff)]  # of y: of a linear flow there is none
    assert second[0] == pytest.approx(0.02, abs=1e-3) and second[1] < 1e-3


def test_a_firm_body_forgets_what_its_places_are_wrong_about() -> None:
    """Noise as smooth as a convolution's: two numbers a place are wrong alike over a quarter of the body."""
    weight, exact = box(64, 64, 10, 10, 40), turn(64, 64, 0.2, (30.0, 30.0))
    noise = torch.randn(32, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    wrong = exact + torch.nn.functional.interpolate(noise, (64, 64), mode="bicubic")

    def error(hold: Hold | None) -> float:
        made = fit_bodies(wrong, weight.expand(32, -1, -1, -1), 4, hold)[:, 0]
        return float((made - exact)[..., weight[0, 0] > 0].square().mean().sqrt())

    assert error(firm()) == pytest.approx(error(None), abs=1e-5)
    four, six, twelve = error(firm(50.0, 50.0)), error(firm(50.0)), error(None)
    # Of 25 pairs of numbers all counts: what is left of the noise is as the root of how many numbers the flow has.
    assert four / six == pytest.approx((4 / 6) ** 0.5, abs=0.05) and six / twelve == pytest.approx((6 / 12) ** 0.5, abs=0.1)


def test_a_new_body_is_loose_and_learns_how_firm_it_is() -> None:
    """Noisy turns of one feature, and bent flows of another, whose noise is none: each is held as it moves."""
    torch.manual_seed(0)
    h, w, r = 32, 32, 2
    source, bodies = box(h, w, 4, 4, 24).expand(2, -1, -1, -1), Bodies(2, r, 1)
    features = torch.eye(2)[:, :, None, None].expand(2, 2, h // r, w // r)
    exact = torch.cat([turn(h, w, 0.3, (16.0, 12.0)), 5 * sway(h, w, 28.0)])
    own = bodies.shares(features)
    fresh = bodies.bodies(features, own * source)
    torch.testing.assert_close(fresh.hold.stiff, torch.full((2, 1), 0.00248), atol=1e-5, rtol=0)  # e^-6
    assert fresh.trust.abs().max() == 0
    optimizer = torch.optim.Adam(bodies.parameters(), lr=0.1)
    for _ in range(60):
        given = exact + torch.nn.functional.interpolate(torch.randn(2, 2, 4, 4), (h, w), mode="bicubic")
        error = ((bodies(given, features, source, source) - exact).norm(dim=1) * source[:, 0]).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    (stiff, rigid), _ = bodies.bodies(features, own * source)
    assert stiff[0] > 10 * stiff[1] and rigid[0] > 10 * rigid[1]
    assert bodies.trust(features, own, bodies.bodies(features, own * source)).mean() > 0.8


def test_shares_are_shares_and_trust_decides() -> None:
    torch.manual_seed(0)
    bodies, features, flow = Bodies(8, 2, 2), torch.randn(3, 8, 5, 6), torch.randn(3, 2, 10, 12)
    own, everywhere = bodies.shares(features), torch.ones(3, 1, 10, 12)
    known = bodies.bodies(features, own)
    trust = bodies.trust(features, own, known)
    assert own.shape == (3, 2, 10, 12) and trust.shape == (3, 1, 10, 12)
    torch.testing.assert_close(own.sum(1), torch.ones(3, 10, 12))
    fitted = (own[:, :, None] * fit_bodies(flow, own, 2, known.hold)).sum(1)
    torch.testing.assert_close(bodies(flow, features, everywhere, everywhere), (1 - trust) * flow + trust * fitted)
    torch.nn.init.constant_(bodies.together.bias, -100)
    torch.testing.assert_close(bodies(flow, features, everywhere, everywhere), flow)
    said = bodies(0 * flow, features, everywhere, everywhere)
    assert said.abs().max() == 0  # a network that says nothing starts at the identity


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
    noisy, everywhere = exact + 0.5 * torch.randn_like(exact), torch.ones(1, 1, h, w)
    errors = []
    for _ in range(80):
        error = (bodies(noisy, features, everywhere, everywhere) - exact).norm(dim=1).mean()
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
