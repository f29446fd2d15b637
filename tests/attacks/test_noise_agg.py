"""NoiseAgg against its formula, one sample at a time, and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mia_bench.attacks import Calibration, query_fields
from mia_bench.attacks.noise_agg import NoiseAgg, TunedNoiseAgg

DELTA = 1e-8
D = 4 * 8 * 8


def walk(literal, i, reading, caption, draw):
    """The five predictions of one sample, as flat float64 vectors."""
    z0, n = literal.z0(i), literal.noise(i, 80, draw)
    if reading == "i":
        z = literal.a(80) * z0 + literal.b(80) * (0.1 * n)
    elif reading == "ii":
        z = z0 + 0.1 * n
    else:
        z = literal.a(80) * z0 + literal.b(80) * n
    predictions = []
    for t in (80, 70, 60, 50, 40):
        e = literal.eps(z, t, caption)
        predictions.append(e.flatten().double().numpy())
        z = literal.move(z, e, t, t - 10)
    return predictions


def measures(E):
    """The four measures of a list of vectors, as the paper prints them."""
    k = len(E)
    pairs = [(x, y) for x in E for y in E]
    mean = sum(E) / k
    others = [[y for j, y in enumerate(E) if j != i] for i in range(k)]
    nearest = [min(np.linalg.norm(x - y) for y in rest) for x, rest in zip(E, others, strict=True)]
    return {
        "l2": -math.log(sum(np.sum((x - y) ** 2) for x, y in pairs) / k**2 + DELTA),
        "l1": -math.log(sum(np.sum(abs(x - y)) for x, y in pairs) / k**2 + DELTA),
        "centroid": -math.log(sum(np.linalg.norm(x - mean) for x in E) / k + DELTA),
        "density": sum(1 / (d + DELTA) for d in nearest) / k,
    }


@pytest.mark.first_look
@pytest.mark.parametrize("reading", ["i", "ii", "iii"])
@pytest.mark.parametrize("caption", ["caption", "empty"])
def test_equals_the_formula(literal, measure, reading, caption):
    attack = NoiseAgg(reading=reading, caption=caption, n_draw=2)
    found = measure(attack, literal.target, literal.batch)
    for i in literal.rows:
        text = literal.batch.caption[i] if caption == "caption" else ""
        for draw in range(2):
            expected = measures(walk(literal, i, reading, text, draw))
            # Differences of predictions lose digits: about 1e-4 of a spread, after five moves.
            for name, value in expected.items():
                assert found[name][i, draw] == pytest.approx(value, rel=5e-4, abs=5e-4)


def test_predictions_that_march_in_step_give_the_values_worked_out(answering, measure):
    # eps = t / 10 in every element: 8, 7, 6, 5, 4 whatever the walk does.
    case = answering(lambda z, t: torch.zeros_like(z) + t / 10)
    found = measure(NoiseAgg(), case.target, case.batch)
    expected = {
        "l2": -math.log(4 * D),  # mean of (i - j)^2 over five in a row is 4
        "l1": -math.log(1.6 * D),  # mean of |i - j|
        "centroid": -math.log(1.2 * math.sqrt(D)),  # mean of |i - 2|
        "density": 1 / math.sqrt(D),  # neighbours are 1 apart in every element
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], np.full((4, 1), value), rtol=1e-5)


def test_predictions_that_agree_are_as_concentrated_as_delta_allows(answering, measure):
    case = answering(lambda z, _: torch.ones_like(z))
    found = measure(NoiseAgg(delta=1e-4), case.target, case.batch)
    for name in ("l2", "l1", "centroid"):
        np.testing.assert_allclose(found[name], -math.log(1e-4), rtol=1e-5)
    np.testing.assert_allclose(found["density"], 1e4, rtol=1e-5)


def test_l2_is_twice_the_mean_square_distance_to_the_centroid(literal):
    E = walk(literal, 0, "i", "", 0)
    centroid = sum(E) / 5
    twice = 2 * sum(np.sum((x - centroid) ** 2) for x in E) / 5
    assert measures(E)["l2"] == pytest.approx(-math.log(twice + DELTA))


@pytest.mark.parametrize("n_draw", [1, 3])
def test_k_queries_per_draw(literal, measure, n_draw):
    attack = NoiseAgg(n_draw=n_draw)
    measure(attack, literal.target, literal.batch)
    assert attack.nfe == (5 * n_draw, 0)
    assert literal.target.queries["asked"] == 5 * n_draw * 4


def test_one_table_serves_every_measure(attack_fixtures):
    names = ("l2", "l1", "centroid", "density")
    table = np.array([[1.0, 3.0], [5.0, 7.0], [0.0, 1.0]], dtype=np.float32)
    features = {name: table * (i + 1) for i, name in enumerate(names)}
    for i, name in enumerate(names):
        attack = NoiseAgg(measure=name, n_draw=2)
        scores = attack.score(features, attack_fixtures.NOTHING)
        assert scores.tolist() == [2.0 * (i + 1), 6.0 * (i + 1), 0.5 * (i + 1)]
        attack_fixtures.assert_row_by_row(attack, features)
    assert "measure" not in query_fields(NoiseAgg())


def test_close_predictions_score_higher_under_every_measure(answering, measure, attack_fixtures):
    spread = {}
    for step in (1, 10):
        case = answering(lambda z, t, step=step: torch.zeros_like(z) + t / step)
        spread[step] = measure(NoiseAgg(), case.target, case.batch)
    for name in spread[1]:
        attack = NoiseAgg(measure=name)
        near, far = (attack.score(spread[s], attack_fixtures.NOTHING) for s in (10, 1))
        assert (near > far).all()


def test_walks_that_cannot_be_made_are_refused(literal):
    with pytest.raises(ValueError, match="too small"):
        NoiseAgg(t=30)
    with pytest.raises(ValueError, match="k=1"):
        NoiseAgg(k=1)
    for reading in ("i", "ii", "iii"):
        with pytest.raises(ValueError, match="1000 is outside the schedule"):
            NoiseAgg(t=1000, reading=reading).features(literal.target, literal.batch)


def test_the_parts_multiply_to_the_spread(literal, measure):
    found = measure(NoiseAgg(parts=True), literal.target, literal.batch)
    assert set(found) == {"l2", "l1", "centroid", "density", "size", "relative"}
    for i in literal.rows:
        E = np.array(walk(literal, i, "i", literal.batch.caption[i], 0))
        size = float((E.mean(0) ** 2).sum())
        assert found["size"][i, 0] == pytest.approx(-math.log(size + DELTA), abs=1e-3)
    spread = np.exp(-found["size"]) * np.exp(-found["relative"])
    np.testing.assert_allclose(spread, np.exp(-found["l2"]), rtol=1e-2)


def test_parts_are_in_the_key_where_they_are_stored():
    assert "parts" not in query_fields(NoiseAgg())
    assert query_fields(NoiseAgg(parts=True))["parts"] is True
    with pytest.raises(ValueError, match="measure=size is stored with parts=true"):
        NoiseAgg(measure="size")


@pytest.mark.first_look
def test_the_tuned_choice_is_the_best_on_calibration_rows(literal, measure):
    attack = TunedNoiseAgg(schedules=((40, 10), (80, 10)), readings=("i", "iii"))
    assert attack.nfe == (20, 0)
    assert attack.asks_at(1000) == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    found = measure(attack, literal.target, literal.batch)["l2"]
    plain = measure(NoiseAgg(reading="iii"), literal.target, literal.batch)["l2"]
    np.testing.assert_allclose(found[:, 3], plain[:, 0], rtol=1e-4)
    # only the third choice tells members
    rng = np.random.default_rng(0)
    member = np.arange(40) % 2 == 0
    columns = rng.normal(size=(40, 4))
    columns[:, 2] += 3 * member
    known = Calibration({"l2": columns}, member, np.arange(40).astype(str))
    np.testing.assert_array_equal(attack.score({"l2": columns}, known), columns[:, 2])
    assert attack.chosen(known) == {"t": 80, "m": 10, "reading": 0}
