"""fremia.py against its formula, one sample at a time, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.attacks.frequency.fremia import FreMIA
from mia_bench.attacks.loss import Loss


@pytest.mark.parametrize(("shape", "floor"), [("square", 0.2), ("circle", 0.0), ("circle", 0.2)])
def test_equals_the_formula(literal, measure, attack_fixtures, low_pass, shape, floor):
    expected = []
    for i in literal.rows:
        z0, e, c = literal.z0(i), literal.noise(i, 500), literal.batch.caption[i]
        a, b = literal.a(500), literal.b(500)
        z_t = a * z0 + b * e
        clean = (z_t - b * literal.eps(z_t, 500, c)) / a
        difference = low_pass(clean, 1, floor, shape) - low_pass(z0, 1, floor, shape)
        expected.append(-float(difference.square().sum()))
    attack = FreMIA(filter=shape, floor=floor)
    features = measure(attack, literal.target, literal.batch)
    scores = attack.score(features, attack_fixtures.NOTHING)
    # the literal error is a difference of latents, which loses digits of float32
    np.testing.assert_allclose(scores, expected, rtol=2e-3)
    assert literal.target.queries["asked"] == literal.target.queries["forward"] == 4
    attack_fixtures.assert_row_by_row(attack, features)


def test_a_silent_model_misses_the_low_frequencies_of_the_noise(
    answering, measure, attack_fixtures, low_pass
):
    case = answering(lambda z, _: 0 * z)
    attack = FreMIA(t=300, radius=2, filter="circle", floor=0.0)
    features = measure(attack, case.target, case.batch)
    energy = [low_pass(case.noise(i, 300), 2, 0.0, "circle").square().sum() for i in case.rows]
    ratio = (case.b(300) / case.a(300)) ** 2
    np.testing.assert_allclose(
        -attack.score(features, attack_fixtures.NOTHING), ratio * np.array(energy), rtol=1e-4
    )


def test_without_a_floor_to_fall_to_it_is_the_loss(literal, measure, attack_fixtures):
    attack = FreMIA(floor=1.0)
    scores = attack.score(measure(attack, literal.target, literal.batch), attack_fixtures.NOTHING)
    loss = measure(Loss(t=500), literal.target, literal.batch)["loss"][:, 0]
    ratio = (literal.b(500) / literal.a(500)) ** 2
    np.testing.assert_allclose(-scores, ratio * loss * 4 * 8 * 8, rtol=1e-4)


def test_tuned_reports_what_it_chose(examine, memorize):
    exam = examine(FreMIA(decision="tuned"), memorize(30))
    attack = FreMIA(decision="tuned")
    assert attack.chosen(exam.known).keys() == {"radius", "floor", "square"}
    assert FreMIA().chosen(exam.known) == {}
    chosen = attack.chosen(exam.known)
    index = (1.0, 0.5, 2.0, 3.0, 4.0, 6.0, 8.0).index(chosen["radius"])
    passed = exam.rows["passed"][:, index].astype(float)
    rest = exam.rows["rings"].sum(1, dtype=float)
    whole = passed[:, 1] if chosen["square"] else passed[:, 0]
    half = passed[:, 2] if chosen["square"] else 0
    s = chosen["floor"]
    expected = whole + (1 + s) ** 2 / 4 * half + s**2 * (rest - whole - half)
    np.testing.assert_allclose(-attack.score(exam.rows, exam.known), expected)


def test_a_filter_larger_than_the_latents_is_refused(literal):
    with pytest.raises(ValueError, match=r"radius=5 .* larger than the 8 x 8 latents"):
        FreMIA(radius=5).features(literal.target, literal.batch)
    with pytest.raises(ValueError, match="radius=0"):
        FreMIA(radius=0)
