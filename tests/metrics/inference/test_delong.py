"""Against literal pairs, and how often the interval holds the truth for a few rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mia_bench.metrics.inference.delong import delong_interval, placements


def test_placements_are_shares_of_pairs():
    scores, member = np.array([1.0, 2.0, 2.0, 3.0, 0.0]), np.array([1, 1, 0, 0, 0], dtype=bool)

    def above(a, b):
        return np.mean([(a > x) + 0.5 * (a == x) for x in b])

    member_places, other_places = placements(scores, member)
    assert member_places == pytest.approx([above(1.0, [2, 3, 0]), above(2.0, [2, 3, 0])])
    assert other_places == pytest.approx([1 - above(x, [1, 2]) for x in (2.0, 3.0, 0.0)])


def test_the_limits_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    scores, member = rng.normal(size=300) + 0.3 * (np.arange(300) < 120), np.arange(300) < 120
    area, lo, hi = delong_interval(scores, member)
    v = [np.mean(scores[member][i] > scores[~member]) for i in range(120)]
    w = [np.mean(scores[member] > other) for other in scores[~member]]
    error = np.sqrt(np.var(v, ddof=1) / 120 + np.var(w, ddof=1) / 180) / (area * (1 - area))
    odds = np.log(area / (1 - area))
    # Student's quantile of some 200 degrees of freedom is within 1 % of the normal one
    assert np.log(lo / (1 - lo)) == pytest.approx(odds - 1.97 * error, abs=0.01 * error)
    assert np.log(hi / (1 - hi)) == pytest.approx(odds + 1.97 * error, abs=0.01 * error)


def test_the_case_that_asked_for_it():
    """15 members and 9 others at an AUROC near .94: limits that say something."""
    rng = np.random.default_rng(5)
    member = np.arange(24) < 15
    while True:
        scores = rng.normal(size=24) + 2.2 * member
        area, lo, hi = delong_interval(scores, member)
        if abs(area - 0.941) < 0.005:
            break
    assert 0.6 < lo < area < hi < 1


@pytest.mark.parametrize(("swaps", "least"), [(0, 0.6), (1, 0.4), (2, 0.4)])
def test_a_pair_out_of_order_does_not_empty_the_interval(swaps, least):
    """.99 of 10 and 10 rows is not [.17, 1.00] beside 1.00 [.61, 1.00]."""
    scores, member = np.arange(20.0), np.arange(20) >= 10
    scores[9] += swaps + 0.5  # above as many members
    area, lo, hi = delong_interval(scores, member)
    assert area == pytest.approx(1 - swaps / 100, abs=1e-9)
    assert least < lo < area <= hi
    flipped = delong_interval(-scores, member)
    assert flipped == pytest.approx((1 - area, 1 - hi, 1 - lo))


def test_a_few_members_below_all_others_are_covered():
    """The case in which one threshold finds the most: 95 % of 400 less four standard errors."""
    rng, member = np.random.default_rng(2), np.arange(24) < 15
    held = 0
    for _ in range(400):
        shift = np.where(rng.random(24) < 0.95, 50.0, -50.0) * member
        _, lo, hi = delong_interval(rng.normal(size=24) + shift, member)
        held += lo <= 0.95 <= hi
    assert held / 400 >= 0.95 - 0.044


@pytest.mark.first_look
@pytest.mark.parametrize(("n1", "n0", "shift"), [(15, 9, 0.0), (15, 9, 2.2), (30, 30, 1.0)])
def test_small_samples_are_covered(n1, n0, shift):
    """95 % of 400 intervals, less four standard errors (0.044)."""
    rng, member, truth = np.random.default_rng(1), np.arange(n1 + n0) < n1, norm.cdf(shift / 2**0.5)
    held = 0
    for _ in range(400):
        _, lo, hi = delong_interval(rng.normal(size=n1 + n0) + shift * member, member)
        held += lo <= truth <= hi
    assert held / 400 >= 0.95 - 0.044


def test_the_ends():
    apart = np.arange(10.0)
    area, lo, hi = delong_interval(apart, np.arange(10) >= 5)
    assert (area, hi) == (1.0, 1.0)
    assert 0.3 < lo < 0.8
    area, lo, hi = delong_interval(apart, np.arange(10) < 5)
    assert (area, lo) == (0.0, 0.0)
    assert delong_interval(apart, np.arange(10) < 1)[1:] == (None, None)
    assert delong_interval(np.zeros(6), np.arange(6) < 3) == (0.5, 0.0, 1.0)
