"""PIA and PIAN against their formulas, one sample at a time, and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mia_bench.attacks.pia import PIA, normalised


@pytest.mark.parametrize("normalise", [False, True])
def test_equals_the_formula(literal, measure, normalise):
    expected = []
    for i in literal.rows:
        z0, c = literal.z0(i), literal.batch.caption[i]
        e0 = literal.eps(z0, 0, c)
        if normalise:
            e0 = e0 * math.sqrt(2 / math.pi) / e0.abs().mean()
        e_t = literal.eps(literal.a(500) * z0 + literal.b(500) * e0, 500, c)
        expected.append(float((e0 - e_t).abs().pow(4).sum()) ** 0.25)
    # A batched U-Net rounds differently from single rows: about 1e-6 of its output.
    found = measure(PIA(normalise=normalise), literal.target, literal.batch)["distance"]
    np.testing.assert_allclose(found, expected, rtol=5e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_a_silent_model_predicts_the_same_nothing_twice(answering, measure, normalise):
    case = answering(lambda z, _: 0 * z)
    found = measure(PIA(normalise=normalise), case.target, case.batch)["distance"]
    assert found.tolist() == [0, 0, 0, 0]


def test_a_linear_model_gives_the_value_worked_out(answering, measure):
    # eps = w z: e0 = w z0, and at z_t = (a + b w) z0 it says w (a + b w) z0.
    w = 0.5
    case = answering(lambda z, _: w * z)
    a, b = case.a(300), case.b(300)
    norms = [float(case.z0(i).pow(4).sum()) ** 0.25 for i in case.rows]
    found = measure(PIA(t=300), case.target, case.batch)["distance"]
    np.testing.assert_allclose(found, w * abs(1 - a - b * w) * np.array(norms), rtol=1e-5)


def test_normalised_noise_has_the_mean_magnitude_of_a_gaussian():
    e = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 7
    magnitude = normalised(e).abs().mean(dim=(1, 2, 3))
    torch.testing.assert_close(magnitude, torch.full((3,), math.sqrt(2 / math.pi)))
    assert 0.79 < magnitude[0] < 0.80  # a unit Gaussian's; the paper's printed constant gives 1.25


def test_two_queries_per_sample(literal, measure):
    attack = PIA()
    measure(attack, literal.target, literal.batch)
    assert attack.nfe == (2, 0)
    assert literal.target.queries["asked"] == literal.target.queries["forward"] == 2 * 4


def test_a_small_distance_is_a_member(attack_fixtures):
    features = {"distance": np.array([1.0, 5.0, 3.0], dtype=np.float32)}
    assert PIA().score(features, attack_fixtures.NOTHING).tolist() == [-1.0, -5.0, -3.0]
    attack_fixtures.assert_row_by_row(PIA(), features)


def test_steps_outside_the_schedule_are_refused(literal):
    with pytest.raises(ValueError, match="1000 is outside the schedule"):
        PIA(t=1000).features(literal.target, literal.batch)
    with pytest.raises(ValueError, match="t=-1"):
        PIA(t=-1)
