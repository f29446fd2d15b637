"""SimA against its formula, one sample at a time, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks.sima import SimA


def test_equals_the_formula(literal, measure):
    expected = []
    for i in literal.rows:
        eps = literal.eps(literal.z0(i), 100, literal.batch.caption[i])
        expected.append(sum(abs(float(e)) ** 4 for e in eps.flatten()))
    # Sums of 256 fourth powers in float32, and a batched U-Net, round to about 1e-6.
    found = measure(SimA(), literal.target, literal.batch)["norm"]
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_a_constant_prediction_has_the_norm_of_its_constant(answering, measure):
    case = answering(lambda z, t: torch.zeros_like(z) + t / 100)  # 1 at t = 100, 2 at t = 200
    for t, p, value in ((100, 4, 1.0), (200, 4, 16.0), (200, 2, 4.0)):
        found = measure(SimA(t=t, p=p), case.target, case.batch)["norm"]
        np.testing.assert_array_equal(found, np.full(4, 4 * 8 * 8 * value))


def test_the_clean_latent_is_fed_unscaled(answering, measure):
    case = answering(lambda z, _: z)
    found = measure(SimA(t=900, p=2), case.target, case.batch)["norm"]
    z0 = torch.stack([case.z0(i) for i in case.rows])
    np.testing.assert_allclose(found, z0.square().sum(dim=(1, 2, 3)), rtol=1e-5)


def test_one_query_per_sample(literal, measure):
    attack = SimA()
    measure(attack, literal.target, literal.batch)
    assert attack.nfe == (1, 0)
    assert literal.target.queries["asked"] == literal.target.queries["forward"] == 4


def test_a_small_norm_is_a_member(attack_fixtures):
    features = {"norm": np.array([1.0, 5.0, 3.0], dtype=np.float32)}
    scores = SimA().score(features, attack_fixtures.NOTHING)
    assert scores.tolist() == [-1.0, -5.0, -3.0]
    attack_fixtures.assert_row_by_row(SimA(), features)


def test_steps_outside_the_schedule_are_refused(literal):
    with pytest.raises(ValueError, match="outside the schedule of 1000"):
        SimA(t=1000).features(literal.target, literal.batch)
    with pytest.raises(ValueError, match="t=-1"):
        SimA(t=-1)
