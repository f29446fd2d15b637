"""Against a literal enumeration of all ranks, and the promise P(p <= a) <= a."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mia_bench.metrics.inference.rank_test import rank_test, smallest_rank_p, uniform_sum


def literal(above, sizes) -> float:
    """All ways in which the published versions may rank, one after the other."""
    ways = list(product(*(range(n + 1) for n in sizes)))
    return sum(sum(way) <= sum(above) for way in ways) / len(ways)


def test_it_is_the_share_of_all_rankings():
    published, variants = [2.5, 0.1, 9.0], [[1, 2, 3], [0, 0, 5, 6], [1, 2]]
    result = rank_test(published, variants)
    assert result.pictures == (2 / 4, 3 / 5, 1 / 3)
    assert result.p_value == pytest.approx(literal([1, 2, 0], [3, 4, 2]))


def test_one_picture_has_the_p_of_its_rank():
    assert rank_test([1.0], [[2.0, 0.5, 0.2, 0.1]]).p_value == pytest.approx(2 / 5)


def test_equal_scores_count_against_membership():
    assert rank_test([1.0, 1.0], [[1.0] * 4, [1.0] * 4]).p_value == pytest.approx(1.0)


def test_first_of_all_is_the_smallest_p():
    result = rank_test([9.0] * 3, [[1.0] * 9] * 3)
    assert result.p_value == pytest.approx(0.001)
    assert result.p_value == pytest.approx(smallest_rank_p([9] * 3))


def test_the_distribution_of_the_sum():
    two_dice = np.array([1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1]) / 36
    assert uniform_sum([5, 5]) == pytest.approx(two_dice)


def test_false_alarms_stay_below_the_level():
    rng = np.random.default_rng(0)
    hits = fisher = 0
    for _ in range(1000):
        scores = rng.normal(size=(6, 8)) + rng.normal(size=(6, 1))
        result = rank_test(scores[:, 0].tolist(), list(scores[:, 1:]))
        hits, fisher = hits + (result.p_value <= 0.05), fisher + (result.fisher <= 0.05)
    assert hits <= 50 + 4 * np.sqrt(1000 * 0.05 * 0.95)
    assert fisher <= 50 + 4 * np.sqrt(1000 * 0.05 * 0.95)


@pytest.mark.parametrize(
    ("published", "variants", "message"),
    [
        ([], [], "0 published"),
        ([1.0], [[]], "no variants"),
        ([1.0], [], "1 published scores for 0"),
        ([float("nan")], [[1.0]], "not finite"),
    ],
)
def test_what_cannot_be_ranked_is_refused(published, variants, message):
    with pytest.raises(ValueError, match=message):
        rank_test(published, variants)
