"""The rows metrics are measured on: checked once, counted once."""

from __future__ import annotations

import numpy as np
import pytest
from samples import mixed_groups

from mia_bench.metrics import Thresholds, bootstrap, roc
from mia_bench.metrics.bootstrap import Bootstrap
from mia_bench.metrics.evaluation_rows import EvaluationRows

THRESHOLDS = Thresholds(0.35, None, 0, "too few")


def rows(n_resamples: int = 50) -> EvaluationRows:
    s, y, group = mixed_groups(4)
    return EvaluationRows.of(s, y, group, THRESHOLDS, 3, n_resamples)


def test_an_interval_of_any_function_of_the_curve_is_that_of_the_bootstrap():
    """AUROC as a statistic of one's own, against the replicates that metrics share."""
    some = rows()
    interval = some.percentile_interval(roc.auroc_from_counts)
    shared = some.curve_replicates["auroc"]
    assert interval.value == shared[0] == roc.auroc(some.scores, some.is_member)
    lo, hi = np.quantile(shared[1:], (0.025, 0.975))
    assert (interval.lo, interval.hi) == (lo, hi)


def test_the_shared_pass_is_made_once(monkeypatch):
    some = rows()
    first = some.curve_replicates
    monkeypatch.setattr(Bootstrap, "weights", lambda _: pytest.fail("drawn again"))
    assert some.curve_replicates is first
    assert set(some.tpr_points) == {"0.01", "0.001"}


def test_many_rows_are_counted_by_group_with_the_same_draws(monkeypatch):
    """Weights of rows are kept for few rows, and not made for many."""
    few = rows().curve_replicates
    monkeypatch.setattr(bootstrap, "KEPT_WEIGHTS", 0)
    monkeypatch.setattr(Bootstrap, "weights", lambda _: pytest.fail("weights of rows"))
    many = rows().curve_replicates
    assert few.keys() == many.keys() == {"auroc", "0.01", "0.001"}
    for name, values in few.items():
        np.testing.assert_array_equal(many[name], values)


def test_without_groups_enough_there_is_a_reason():
    some = EvaluationRows.of([1.0, 0.0, 0.5], [True, False, False], list("abb"), THRESHOLDS, 0, 10)
    interval = some.percentile_interval(roc.auroc_from_counts)
    assert interval.lo is None
    assert "at least 2 groups" in str(interval.reason)


@pytest.mark.parametrize(
    ("scores", "member", "group", "said"),
    [
        ([np.nan, 0.0], [True, False], "ab", "non-finite"),
        ([1.0, 0.0], [True, True], "ab", "no non-members"),
        ([1.0, 0.0], [True, False], "aa", "hold members and non-members"),
    ],
)
def test_rows_that_cannot_be_measured_say_why(scores, member, group, said):
    with pytest.raises(ValueError, match=said):
        EvaluationRows.of(scores, member, list(group), THRESHOLDS, 0, 10)
