"""Against simulation: the stated leak is found about as often as stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mia_bench.metrics.inference.exact_permutation import permutation_test
from mia_bench.metrics.inference.panel_combination import combined_score
from mia_bench.metrics.inference.power import smallest_leak, smallest_rank_leak
from mia_bench.metrics.inference.rank_test import rank_test

SETS = 200


def shift_of(area: float) -> float:
    return float(norm.ppf(area) * 2**0.5)


@pytest.mark.parametrize(("n1", "n0", "alpha"), [(30, 30, 0.01), (15, 40, 0.05)])
def test_the_permutation_test_has_the_power_stated(n1, n0, alpha):
    """0.8 within 0.12: four standard errors of 200 sets, and a normal approximation."""
    area = smallest_leak(n1, n0, alpha)
    rng, member, found = np.random.default_rng(0), np.arange(n1 + n0) < n1, 0
    for _ in range(SETS):
        scores = combined_score([rng.normal(size=n1 + n0) + shift_of(area) * member])
        found += permutation_test(scores, member, 0, draws=999).p_value <= alpha
    assert abs(found / SETS - 0.8) < 0.12


@pytest.mark.parametrize(("pictures", "variants"), [(20, 9), (8, 19)])
def test_the_rank_test_has_the_power_stated(pictures, variants):
    area = smallest_rank_leak(pictures, variants, 0.05)
    rng, found = np.random.default_rng(0), 0
    for _ in range(SETS):
        scores = rng.normal(size=(pictures, variants + 1))
        scores[:, 0] += shift_of(area)
        found += rank_test(scores[:, 0].tolist(), list(scores[:, 1:])).p_value <= 0.05
    assert abs(found / SETS - 0.8) < 0.12


def test_more_pictures_show_smaller_leaks():
    leaks = [smallest_leak(n, n, 0.01) for n in (10, 30, 100, 1000)]
    assert leaks == sorted(leaks, reverse=True)
    assert 0.5 < leaks[-1] < 0.55
    assert smallest_rank_leak(50, 19, 0.01) < smallest_rank_leak(10, 19, 0.01)


def test_sizes_that_can_show_nothing():
    assert smallest_leak(3, 3, 0.01) is None
    assert smallest_leak(1, 30, 0.01) is None
    assert smallest_rank_leak(1, 19, 0.01) is None
    assert smallest_rank_leak(2, 19, 0.01) is not None
