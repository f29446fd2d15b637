"""secmi_f.py against its formula, one sample at a time, and beside SecMI, whose walk it shares."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.attacks.frequency.secmi_f import SecMIF
from mia_bench.attacks.secmi import SecMI


def test_equals_the_formula(literal, measure, attack_fixtures, low_pass):
    expected = []
    for i in literal.rows:
        z, c = literal.z0(i), literal.batch.caption[i]
        for t in range(0, 40, 10):
            z = literal.move(z, literal.eps(z, t, c), t, t + 10)
        there = literal.move(z, literal.eps(z, 40, c), 40, 50)
        back = literal.move(there, literal.eps(there, 50, c), 50, 40)
        difference = low_pass(back, 2, 0.2, "square") - low_pass(z, 2, 0.2, "square")
        expected.append(-float(difference.square().sum()))
    attack = SecMIF(t_sec=40, radius=2)
    features = measure(attack, literal.target, literal.batch)
    scores = attack.score(features, attack_fixtures.NOTHING)
    # a difference of latents that are nearly equal loses digits of float32
    np.testing.assert_allclose(scores, expected, rtol=5e-3)
    assert attack.nfe == (6, 0)
    assert literal.target.queries["asked"] == literal.target.queries["forward"] == 6 * 4
    attack_fixtures.assert_row_by_row(attack, features)


def test_a_constant_model_returns_every_image(answering, measure):
    case = answering(lambda z, _: 0 * z + 1)
    features = measure(SecMIF(t_sec=20), case.target, case.batch)
    assert np.abs(features["rings"]).max() < 1e-8


def test_beside_secmi_it_costs_nothing(literal):
    target, batch = literal.target, literal.batch
    target.start_attack()
    error = SecMI(t_sec=20).features(target, batch)["error"]
    target.start_attack()
    rings = SecMIF(t_sec=20).features(target, batch)["rings"]
    assert target.queries["forward"] == 4 * 4
    assert target.queries["asked"] == 8 * 4
    np.testing.assert_allclose(rings.detach().sum(1), error.detach(), rtol=1e-4)
    target.start_attack()
    SecMIF(t_sec=30).features(target, batch)  # another walk
    assert target.queries["forward"] == 9 * 4


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="multiple of k=10"):
        SecMIF(t_sec=15)
    with pytest.raises(ValueError, match="radius=0"):
        SecMIF(radius=0)
