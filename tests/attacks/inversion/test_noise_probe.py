"""Noise as a probe: base inverts, target generates; against a loop over one image's steps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mia_bench.attacks.inversion.noise_probe import NoiseProbe
from mia_bench.utils.errors import MiaError


@pytest.fixture
def pair(literal, random_target, tiny_unet):
    """The target of `literal` beside a base whose network has other weights."""
    torch.manual_seed(1)
    unet = copy.deepcopy(tiny_unet)
    for weight in unet.parameters():
        weight.data.add_(0.05 * torch.randn_like(weight))
    base = random_target(literal.target.prediction_type, unet=unet)
    literal.target.put_beside(base)
    return literal, base


@pytest.mark.first_look
def test_equals_the_formula(pair, measure, attack_fixtures) -> None:
    case, base = pair
    of_base = attack_fixtures.Literal(base, case.batch)
    found = measure(NoiseProbe(4, 3), case.target, case.batch)["distance"]
    expected = []
    for i in case.rows:
        caption, z = case.batch.caption[i], case.z0(i)
        clean = True
        # 4 moves: clean -> 0 -> 333 -> 666 -> 999, eps at the step each leaves
        for here, there in ((0, 0), (0, 333), (333, 666), (666, 999)):
            eps_c, eps_0 = of_base.eps(z, here, caption), of_base.eps(z, here, "")
            e = 2 * eps_c - eps_0
            if clean:
                z, clean = of_base.a(0) * z + of_base.b(0) * e, False
            else:
                z = of_base.move(z, e, here, there)
        for here, there in ((999, 500), (500, 0), (0, None)):
            eps_c, eps_0 = case.eps(z, here, caption), case.eps(z, here, "")
            e = eps_0 + 3.5 * (eps_c - eps_0)
            last = (z - case.b(0) * e) / case.a(0)
            z = last if there is None else case.move(z, e, here, there)
        x_gen = case.target.latents.decode(z[None])[0].clamp(-1, 1)
        expected.append(float((case.batch.image[i] - x_gen).square().sum().sqrt()))
    np.testing.assert_allclose(found, expected, rtol=2e-3)  # chained predictions in float32


def test_the_bases_queries_are_counted_with_the_targets(pair, measure) -> None:
    case, base = pair
    attack = NoiseProbe(4, 3)
    assert attack.nfe == (14, 0)
    assert NoiseProbe().nfe == (300, 0)
    measure(attack, case.target, case.batch)
    assert case.target.queries["asked"] == case.target.queries["forward"] == 14 * 4
    assert base.queries is case.target.queries
    assert {*attack.asks_at(1000)} == {0, 333, 666, 500, 999}


def test_a_constant_prediction_returns_the_image(answering, measure) -> None:
    """Both models answer e wherever they are asked: every move undoes another."""
    case = answering(lambda z, _: torch.full_like(z, 0.3))
    found = measure(NoiseProbe(5, 3), case.target, case.batch)["distance"]
    for i in case.rows:
        restored = case.target.latents.decode(case.z0(i)[None])[0].clamp(-1, 1)
        distance = (case.batch.image[i] - restored).square().sum().sqrt().item()
        assert found[i] == pytest.approx(distance, rel=2e-3)


def test_a_target_that_answers_otherwise_does_not(answering, measure) -> None:
    """Target e + d, base e: the clean image is off by d (b_T / a_T - 0), worked out by hand."""
    case = answering(lambda z, _: torch.full_like(z, 0.3))
    other = answering(lambda z, _: torch.full_like(z, 0.301))
    other.target.put_beside(case.target)
    found = measure(NoiseProbe(5, 3), other.target, other.batch)["distance"]
    off = -0.001 * case.b(999) / case.a(999)
    for i in case.rows:
        restored = case.target.latents.decode(case.z0(i)[None] + off)[0].clamp(-1, 1)
        distance = (case.batch.image[i] - restored).square().sum().sqrt().item()
        assert found[i] == pytest.approx(distance, rel=5e-3)


def test_near_is_member(attack_fixtures) -> None:
    features = {"distance": np.array([1.0, 5.0, 3.0], dtype=np.float32)}
    assert NoiseProbe().score(features, attack_fixtures.NOTHING).tolist() == [-1, -5, -3]
    attack_fixtures.assert_row_by_row(NoiseProbe(), features)


def test_more_steps_than_a_schedule_has_are_refused() -> None:
    assert max(NoiseProbe(1000, 1000).asks_at(1000)) == 999
    for attack, option in (
        (NoiseProbe(steps=2000), "steps=2000"),
        (NoiseProbe(inversion_steps=1001), "inversion_steps=1001"),
    ):
        with pytest.raises(MiaError, match=f"^{option} do not fit into a schedule of 1000"):
            attack.asks_at(1000)


def test_senseless_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps=1 must be at least 2"):
        NoiseProbe(steps=1)
