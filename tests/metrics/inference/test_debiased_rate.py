"""The formula by hand, the bound without a TPR, and how often the interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics.inference.debiased_rate import Decisions, debiased_rate


def test_the_formula_by_hand():
    share = debiased_rate(Decisions(50, 100), Decisions(10, 100), Decisions(80, 100))
    assert share.value == pytest.approx((0.5 - 0.1) / (0.8 - 0.1))
    assert share.lo < share.value < share.hi
    assert not share.is_bound


def test_without_used_pictures_it_is_a_lower_bound():
    share = debiased_rate(Decisions(50, 100), Decisions(10, 100))
    assert share.value == pytest.approx(0.4 / 0.9)
    assert share.is_bound
    assert (
        share.value < debiased_rate(Decisions(50, 100), Decisions(10, 100), Decisions(8, 10)).value
    )


def test_nothing_used_is_nothing():
    share = debiased_rate(Decisions(2, 40), Decisions(4, 40))
    assert (share.value, share.lo) == (0.0, 0.0)


@pytest.mark.long
def test_the_interval_holds_the_truth():
    """300 sets, 60 % used, TPR 0.7, FPR 0.1: 95 %, less four standard errors."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        called = rng.binomial(60, 0.7) + rng.binomial(40, 0.1)
        unused, used = Decisions(rng.binomial(80, 0.1), 80), Decisions(rng.binomial(80, 0.7), 80)
        share = debiased_rate(Decisions(called, 100), unused, used)
        held += share.lo <= 0.6 <= share.hi
    assert held / 300 >= 0.95 - 0.05


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ((Decisions(0, 0), Decisions(1, 2)), "has none"),
        ((Decisions(1, 2), Decisions(1, 2), Decisions(1, 2)), "no more"),
    ],
)
def test_what_says_nothing_is_refused(sets, message):
    with pytest.raises(ValueError, match=message):
        debiased_rate(*sets)
