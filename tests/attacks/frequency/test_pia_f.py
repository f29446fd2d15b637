"""pia_f.py against its formula, one sample at a time, and beside PIA, whose queries it shares."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.attacks.frequency.pia_f import PIAF
from mia_bench.attacks.pia import PIA


def test_equals_the_formula(literal, measure, attack_fixtures, low_pass):
    expected = []
    for i in literal.rows:
        z0, c = literal.z0(i), literal.batch.caption[i]
        a, b = literal.a(500), literal.b(500)
        z_t = a * z0 + b * literal.eps(z0, 0, c)
        clean = (z_t - b * literal.eps(z_t, 500, c)) / a
        difference = low_pass(clean, 1, 0.2, "square") - low_pass(z0, 1, 0.2, "square")
        expected.append(-float(difference.square().sum()))
    attack = PIAF()
    features = measure(attack, literal.target, literal.batch)
    scores = attack.score(features, attack_fixtures.NOTHING)
    # the literal error is a difference of latents, which loses digits of float32
    np.testing.assert_allclose(scores, expected, rtol=5e-3)
    assert literal.target.queries["asked"] == literal.target.queries["forward"] == 2 * 4
    attack_fixtures.assert_row_by_row(attack, features)


def test_a_linear_model_gives_the_value_worked_out(answering, measure, low_pass, attack_fixtures):
    # eps = w z: e0 = w z0, and at z_t = (a + b w) z0 it says w (a + b w) z0
    w = 0.5
    case = answering(lambda z, _: w * z)
    a, b = case.a(300), case.b(300)
    attack = PIAF(t=300, radius=3, filter="circle", floor=0.0)
    scores = attack.score(measure(attack, case.target, case.batch), attack_fixtures.NOTHING)
    energy = [float(low_pass(case.z0(i), 3, 0.0, "circle").square().sum()) for i in case.rows]
    factor = (b / a * w * (1 - a - b * w)) ** 2
    np.testing.assert_allclose(-scores, factor * np.array(energy), rtol=1e-4)


def test_beside_pia_it_costs_nothing(literal):
    target, batch = literal.target, literal.batch
    PIA().features(target, batch)
    assert target.queries["forward"] == 2 * 4
    target.start_attack()
    PIAF().features(target, batch)
    assert target.queries["forward"] == 2 * 4
    assert target.queries["asked"] == 4 * 4
    target.start_attack()
    PIA(normalise=True).features(target, batch)  # the prediction at the clean latent is PIA's
    assert target.queries["forward"] == 3 * 4
    assert target.queries["asked"] == 6 * 4


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="t=-1"):
        PIAF(t=-1)
    with pytest.raises(ValueError, match="floor=2"):
        PIAF(floor=2)
