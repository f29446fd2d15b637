"""Columns of an ensemble: main effects of logarithms, each once."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.attacks.components.ensemble_features import Effects, Preparation


def test_effects_are_those_of_an_analysis_of_variance_of_the_logarithms():
    x = np.random.default_rng(0).uniform(1, 2, (20, 2, 3))
    found = dict(Effects.of("x", x)(x))
    y = np.log(x)
    mean = np.array([y[i].mean() for i in range(20)])
    np.testing.assert_allclose(found.pop("x"), mean)
    for i in range(2):
        np.testing.assert_allclose(found.pop(f"x[{i},:]"), y[:, i].mean(1) - mean, atol=1e-15)
    for j in range(3):
        np.testing.assert_allclose(found.pop(f"x[:,{j}]"), y[:, :, j].mean(1) - mean, atol=1e-15)
    assert not found


@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
def test_logarithms_keep_the_order_and_are_taken_where_there_is_one_sign(sign):
    x = np.array([1.0, 2.0, 4.0, 8.0]) * (sign or 1) - (0 if sign else 3)
    ((name, values),) = Effects.of("x", x)(x)
    assert name == "x"
    assert (np.argsort(values) == np.argsort(x)).all()
    assert np.allclose(np.diff(values, 2), 0) == bool(sign)  # evenly spaced logarithms


def test_effects_that_repeat_or_do_not_vary_are_dropped():
    x = np.random.default_rng(0).uniform(1, 2, (50, 2, 3))
    features = {"a.x": x, "b.constant": np.ones((50, 4)), "c.copies": np.repeat(x[:, :1, 0], 3, 1)}
    names = Preparation.of(features).names
    assert names == ("a.x", "a.x[0,:]", "a.x[:,0]", "a.x[:,1]", "a.x[:,2]")
