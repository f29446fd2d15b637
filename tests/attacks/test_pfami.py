"""PFAMI against its formula, one sample at a time, and values worked out by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from mia_bench.attacks import Calibration, query_fields
from mia_bench.attacks.loss import Loss
from mia_bench.attacks.pfami import LAMBDAS, PFAMI, centre_crop
from mia_bench.target import Batch
from mia_bench.utils.errors import MiaError

GRID = range(0, 500, 50)


def loss(literal, i, t, draw, fraction=None):
    """l of one sample, or of its crop, at one timestep with one draw of noise."""
    crop = partial(centre_crop, fraction=fraction) if fraction else None
    e = literal.noise(i, t, draw)
    z_t = literal.a(t) * literal.z0(i, crop) + literal.b(t) * e
    return float((literal.eps(z_t, t, literal.batch.caption[i]) - e).square().mean())


def delta(literal, i, crop, t, paired):
    clean = loss(literal, i, t, 0)
    return (loss(literal, i, t, 0 if paired else 1 + crop, LAMBDAS[crop]) - clean) / clean


@pytest.mark.first_look
@pytest.mark.parametrize("paired", [False, True])
def test_equals_the_formula(literal, measure, paired):
    found = measure(PFAMI(paired=paired), literal.target, literal.batch)["delta"]
    expected = [[[delta(literal, i, 5, t, paired) for t in GRID]] for i in literal.rows]
    # A relative difference of two losses of about 1, each good to about 1e-6.
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.long
@pytest.mark.first_look
def test_the_matrix_has_one_row_per_crop(literal, measure):
    attack = PFAMI(timesteps=(0, 450), decision="nns")
    found = measure(attack, literal.target, literal.batch)["delta"]
    expected = [
        [[delta(literal, i, crop, t, False) for t in (0, 450)] for crop in range(10)]
        for i in literal.rows
    ]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    one = measure(PFAMI(timesteps=(0, 450)), literal.target, literal.batch)["delta"]
    np.testing.assert_allclose(found[:, 5:6], one, atol=2e-5)


def test_the_grid_is_the_papers():
    np.testing.assert_allclose(LAMBDAS, [0.95 - 0.25 * i / 9 for i in range(10)])
    assert LAMBDAS[PFAMI().crop] == pytest.approx(0.8111, abs=1e-4)
    assert PFAMI().timesteps == tuple(GRID)


def test_a_silent_model_gives_the_value_worked_out(answering, measure):
    # eps = 0: l is the mean square of the noise, so delta is a ratio of two draws.
    case = answering(lambda z, _: 0 * z)
    found = measure(PFAMI(), case.target, case.batch)["delta"]
    for i in case.rows:
        square = [[float(case.noise(i, t, d).square().mean()) for t in GRID] for d in (0, 6)]
        np.testing.assert_allclose(found[i, 0], np.divide(square[1], square[0]) - 1, atol=1e-5)
    paired = measure(PFAMI(paired=True), case.target, case.batch)["delta"]
    np.testing.assert_array_equal(paired, np.zeros((4, 1, 10)))


def test_a_crop_of_a_plain_image_changes_nothing(random_target, random_batch, measure):
    some = random_batch(3)
    plain = Batch(some.sample_id, torch.full_like(some.image, 0.3), some.caption)
    found = measure(PFAMI(paired=True, decision="nns"), random_target(), plain)["delta"]
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_a_crop_of_a_ramp_is_the_middle_of_the_ramp():
    ramp = torch.arange(20.0).expand(1, 3, 20, 20)
    found = centre_crop(ramp, 0.7)  # columns 3 to 16
    pixel = torch.arange(1, 19)
    expected = 3 + (pixel + 0.5) * 14 / 20 - 0.5  # bilinear, half-pixel centres
    torch.testing.assert_close(found[0, 0, 7, 1:19], expected)
    assert found.shape == ramp.shape
    assert found[0, 0, 0, 0] == 3
    assert found[0, 0, 0, 19] == 16
    torch.testing.assert_close(centre_crop(ramp, 0.95)[0, 0, 0, 0], torch.tensor(0.0))


@pytest.mark.first_look
def test_queries_and_what_is_shared(literal, measure):
    target, batch = literal.target, literal.batch
    assert (PFAMI().nfe, PFAMI(decision="nns").nfe) == ((20, 0), (110, 0))
    measure(PFAMI(), target, batch)
    assert target.queries["asked"] == target.queries["forward"] == 20 * 4
    assert target.queries["encode"] == 2 * 4

    with torch.no_grad():
        Loss(t=450).features(target, batch)
        before = target.queries["forward"]
        PFAMI().features(target, batch)  # its clean term at t = 450 is Loss's query
        assert target.queries["forward"] - before == 19 * 4
        target.start_attack()
        before, asked = target.queries["forward"], target.queries["asked"]
        PFAMI(decision="nns").features(target, batch)
        assert target.queries["forward"] - before == 90 * 4  # clean and lambda_5 are known
        assert target.queries["asked"] - asked == 110 * 4  # and yet counted as its own


def test_a_large_rise_is_a_member(attack_fixtures):
    features = {"delta": np.array([[[0.1, 0.3]], [[0.0, -0.2]], [[1.0, 0.0]]])}
    scores = PFAMI().score(features, attack_fixtures.NOTHING)
    np.testing.assert_allclose(scores, [0.2, -0.1, 0.5])
    attack_fixtures.assert_row_by_row(PFAMI(), features)


def separable(n, seed=0):
    """Matrices whose members rise by 0.3 more."""
    rng = np.random.default_rng(seed)
    is_member = np.arange(n) % 2 == 0
    rise = 0.1 * rng.normal(size=(n, 10, 10)) + 0.3 * is_member[:, None, None]
    return Calibration({"delta": rise.astype(np.float32)}, is_member, np.arange(n).astype(str))


@pytest.mark.long
def test_the_network_finds_members_by_their_rise(attack_fixtures):
    known, fresh = separable(40), separable(20, seed=1)
    attack = PFAMI(decision="nns", steps=12)
    scores = attack.score(fresh.features, known)
    assert scores[fresh.is_member].min() > scores[~fresh.is_member].max()
    # Batches of another size round differently in the last digits of float32.
    attack_fixtures.assert_row_by_row(attack, fresh.features, known, rtol=1e-4)


def test_a_network_needs_rows():
    few = separable(18)
    with pytest.raises(MiaError, match="fewer calibration rows than a classifier needs"):
        PFAMI(decision="nns").score(few.features, few)


def test_fields_that_ask_and_fields_that_score():
    asked = {"timesteps", "crop", "decision", "paired"}
    assert set(query_fields(PFAMI())) == asked
    with pytest.raises(ValueError, match="crop=10"):
        PFAMI(crop=10)
    with pytest.raises(ValueError, match="none negative"):
        PFAMI(timesteps=(-50, 0))


def test_steps_outside_the_schedule_are_refused(literal):
    with pytest.raises(ValueError, match="t=1000 is outside the schedule"):
        PFAMI(timesteps=(0, 1000)).features(literal.target, literal.batch)
