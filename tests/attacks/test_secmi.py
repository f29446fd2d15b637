"""SecMI against its formula, one sample at a time, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks import Calibration, query_fields
from mia_bench.attacks.secmi import SecMI
from mia_bench.utils.errors import MiaError


def round_trip(literal, i, t_sec):
    """z' - z~ of one sample."""
    z, c = literal.z0(i), literal.batch.caption[i]
    t = 0
    while t < t_sec:
        z, t = literal.move(z, literal.eps(z, t, c), t, t + 10), t + 10
    up = literal.move(z, literal.eps(z, t_sec, c), t_sec, t_sec + 10)
    return literal.move(up, literal.eps(up, t_sec + 10, c), t_sec + 10, t_sec) - z


@pytest.mark.first_look
@pytest.mark.parametrize("t_sec", [140, 100])
def test_equals_the_formula(literal, measure, t_sec):
    found = measure(SecMI(t_sec=t_sec), literal.target, literal.batch)["error"]
    expected = [float(round_trip(literal, i, t_sec).square().sum()) for i in literal.rows]
    # z' - z~ is a small difference of large numbers: float32 leaves it three to four digits.
    np.testing.assert_allclose(found, expected, rtol=5e-3)


@pytest.mark.long
@pytest.mark.first_look
def test_maps_are_the_magnitudes_behind_the_error(literal, measure):
    maps = measure(SecMI(decision="nns"), literal.target, literal.batch)["map"]
    assert maps.shape == (4, 4, 8, 8)
    expected = torch.stack([round_trip(literal, i, 140).abs() for i in literal.rows]).numpy()
    np.testing.assert_allclose(maps, expected, atol=5e-6)  # latents of about 1 in float32
    error = measure(SecMI(), literal.target, literal.batch)["error"]
    np.testing.assert_allclose(np.square(maps).sum(axis=(1, 2, 3)), error, rtol=1e-5)


def test_a_prediction_that_never_changes_comes_back_exactly(answering, measure):
    case = answering(lambda z, _: torch.ones_like(z))
    found = measure(SecMI(), case.target, case.batch)["error"]
    np.testing.assert_allclose(found, 0, atol=1e-10)  # 256 squares of float32's last digit


def test_a_linear_model_gives_the_value_worked_out(answering, measure):
    # eps = w z turns a move t -> s into z * g, so the round trip is z~ (g up * g down - 1).
    w = 3.0
    case = answering(lambda z, _: w * z)

    def g(t, s):
        return case.a(s) * (1 - case.b(t) * w) / case.a(t) + case.b(s) * w

    inverted = np.prod([g(t, t + 10) for t in range(0, 140, 10)])
    factor = inverted * (g(140, 150) * g(150, 140) - 1)
    expected = [factor**2 * float(case.z0(i).square().sum()) for i in case.rows]
    found = measure(SecMI(), case.target, case.batch)["error"]
    np.testing.assert_allclose(found, expected, rtol=1e-3)  # float32 in a small difference


def test_the_steps_walked_and_their_number(answering, measure):
    asked = []

    def answer(z, t):
        asked.append(int(t[0]))
        return 0.1 * z

    case = answering(answer)
    attack = SecMI()
    measure(attack, case.target, case.batch)
    assert asked == [*range(0, 140, 10), 140, 150]
    assert attack.nfe == (16, 0)
    assert case.target.queries["asked"] == 16 * 4
    assert SecMI(t_sec=100).nfe == (12, 0)


def test_a_small_error_is_a_member(attack_fixtures):
    features = {"error": np.array([1.0, 5.0, 3.0], dtype=np.float32)}
    assert SecMI().score(features, attack_fixtures.NOTHING).tolist() == [-1.0, -5.0, -3.0]
    attack_fixtures.assert_row_by_row(SecMI(), features)


def separable(n, seed=0, unit=1e-3):
    """Maps whose members have half the error, in small units."""
    rng = np.random.default_rng(seed)
    is_member = np.arange(n) % 2 == 0
    scale = unit * np.where(is_member, 0.5, 1.0)[:, None, None, None]
    maps = np.abs(rng.normal(size=(n, 4, 8, 8)) * scale).astype(np.float32)
    return Calibration({"map": maps}, is_member, np.arange(n).astype(str), seed=seed)


@pytest.mark.long
def test_the_network_finds_members_by_their_small_maps(attack_fixtures):
    known, fresh = separable(64), separable(24, seed=1)
    attack = SecMI(decision="nns", epochs=6, batch=16)
    scores = attack.score(fresh.features, known)
    assert scores[fresh.is_member].min() > scores[~fresh.is_member].max()
    # Batches of another size round differently in the last digits of float32.
    attack_fixtures.assert_row_by_row(attack, fresh.features, known, rtol=1e-4)


@pytest.mark.long
def test_units_of_the_latents_do_not_matter():
    attack = SecMI(decision="nns", epochs=2, batch=16)
    scores = [attack.score(separable(12, 1, u).features, separable(24, 0, u)) for u in (1.0, 0.5)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3)


def test_a_network_needs_rows():
    few = separable(18)
    with pytest.raises(MiaError, match="fewer calibration rows than a classifier needs"):
        SecMI(decision="nns").score(few.features, few)


def test_only_statistics_are_compared_with_the_base():
    assert SecMI().statistics
    assert not SecMI(decision="nns").statistics
    assert set(query_fields(SecMI())) == {"t_sec", "k", "decision"}


def test_walks_that_cannot_be_made_are_refused(literal):
    with pytest.raises(ValueError, match="multiple of k=10"):
        SecMI(t_sec=145)
    with pytest.raises(ValueError, match="1000 is outside the schedule"):
        SecMI(t_sec=900, k=100).features(literal.target, literal.batch)


@pytest.mark.first_look
def test_the_error_is_the_change_of_the_prediction(literal, measure):
    """z' - z~ = (a_t b_u / a_u - b_t) (e_t - e_u): how wrong a prediction is plays no part."""
    found = measure(SecMI(), literal.target, literal.batch)["error"]
    a, b = literal.a, literal.b
    factor = a(140) * b(150) / a(150) - b(140)
    for i in literal.rows:
        z, c = literal.z0(i), literal.batch.caption[i]
        for t in range(0, 140, 10):
            z = literal.move(z, literal.eps(z, t, c), t, t + 10)
        here = literal.eps(z, 140, c)
        there = literal.eps(literal.move(z, here, 140, 150), 150, c)
        expected = factor**2 * float((here - there).square().sum())
        assert found[i] == pytest.approx(expected, rel=1e-2)  # a small difference in float32
