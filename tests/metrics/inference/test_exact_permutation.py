"""Against a literal enumeration, a literal loop, and the promise P(p <= a) <= a."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mia_bench.metrics.inference import exact_permutation
from mia_bench.metrics.inference.exact_permutation import (
    permutation_test,
    refitted_test,
    smallest_p,
)


def literal(scores, member) -> float:
    """Every choice of members, one after the other."""
    n1 = int(np.sum(member))
    observed = scores[member].mean() - scores[~member].mean()
    values = []
    for chosen in combinations(range(len(scores)), n1):
        labels = np.isin(np.arange(len(scores)), chosen)
        values.append(scores[labels].mean() - scores[~labels].mean())
    return float(np.mean(np.array(values) >= observed - 1e-12))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_share_of_all_labellings(seed):
    rng = np.random.default_rng(seed)
    scores, member = np.round(rng.normal(size=9), 1), np.arange(9) < 4
    result = permutation_test(scores, member, 0)
    assert result.exact
    assert result.assignments == 126
    assert result.p_value == pytest.approx(literal(scores, member), abs=1e-12)


def test_separate_sets_have_the_smallest_p():
    scores, member = np.arange(10.0), np.arange(10) >= 7
    assert permutation_test(scores, member, 0).p_value == 1 / 120 == smallest_p(3, 7)


def test_equal_scores_say_nothing():
    assert permutation_test(np.ones(8), np.arange(8) < 3, 0).p_value == 1.0


def test_drawn_labellings_agree_with_all(monkeypatch):
    rng = np.random.default_rng(3)
    scores, member = rng.normal(size=12) + 0.8 * (np.arange(12) < 6), np.arange(12) < 6
    exact = permutation_test(scores, member, 0).p_value
    monkeypatch.setattr(exact_permutation, "ENUMERABLE_ASSIGNMENTS", 10)
    drawn = permutation_test(scores, member, 0, draws=20_000)
    assert not drawn.exact
    error = 4 * np.sqrt(exact * (1 - exact) / 20_000) + 1 / 20_001  # four standard errors
    assert abs(drawn.p_value - exact) < error
    monkeypatch.setattr(exact_permutation, "BLOCK_ENTRIES", 100)
    assert permutation_test(scores, member, 0, draws=20_000) == drawn
    assert smallest_p(6, 6, 99) == 0.01


def test_one_is_added_to_both_counts(monkeypatch):
    monkeypatch.setattr(exact_permutation, "ENUMERABLE_ASSIGNMENTS", 0)
    scores, member = np.arange(60.0), np.arange(60) >= 30
    assert permutation_test(scores, member, 0, draws=99).p_value == 0.01


def test_a_statistic_of_the_labels_is_computed_again_for_each():
    scores, member = np.arange(40.0), np.arange(40) >= 20

    def statistic(labels):
        return float(scores[labels].mean())

    assert refitted_test(statistic, member, 0, 99).p_value == 0.01
    assert refitted_test(statistic, ~member, 0, 99).p_value == 1.0


def test_false_alarms_stay_below_every_level():
    """1,000 null sets of 4 + 5 skewed scores; four standard errors above the level at most."""
    rng, member = np.random.default_rng(0), np.arange(9) < 4
    p = np.array(
        [permutation_test(rng.exponential(size=9), member, 0).p_value for _ in range(1000)]
    )
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 4 * np.sqrt(level * (1 - level) / 1000)
