"""Shares of rows above calibrated thresholds, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics.called_members import called_members, threshold_at

HUNDRED = np.arange(100.0)


def test_the_threshold_is_the_score_that_so_many_exceed():
    assert threshold_at(HUNDRED, 0.01) == 98
    assert threshold_at(HUNDRED[::-1], 0.05) == 94
    assert threshold_at(HUNDRED[:99], 0.01) is None
    assert threshold_at(HUNDRED[:0], 0.05) is None


def test_shares_are_counted_and_ties_are_not_above():
    rows, members, others = np.array([98.0, 99, 95, 10]), np.array([99.0, 0]), np.array([94.0, 95])
    group = np.array(["a", "b", "c", "d"])
    found = called_members(rows, group, members, others, HUNDRED)
    assert found["n"] == 4
    # pairs (row, other) by hand: 98 and 99 beat both, 95 beats one and ties one, 10 none
    assert found["auroc"] == pytest.approx((2 + 2 + 1.5 + 0) / 8)
    one, five = found["called_members"]["0.01"], found["called_members"]["0.05"]
    assert (one["threshold"], one["value"], one["members"], one["nonmembers"]) == (98, 0.25, 0.5, 0)
    assert (five["threshold"], five["value"], five["members"]) == (94, 0.75, 0.5)
    assert five["nonmembers"] == 0.5
    assert one["lo"] < 0.25 < one["hi"]


def test_near_duplicates_count_less():
    rows, members = np.array([99.0] * 5 + [0.0] * 5), np.array([1.0])
    apart, together = (
        called_members(rows, np.array(group), members, members, HUNDRED)["called_members"]["0.01"]
        for group in (list("abcdefghij"), ["a"] * 5 + ["b"] * 5)
    )
    assert together["hi"] - together["lo"] > apart["hi"] - apart["lo"]


def test_without_a_threshold_the_reason_stands_there():
    found = called_members(HUNDRED, HUNDRED.astype(str), HUNDRED, HUNDRED, HUNDRED[:20])
    assert found["called_members"]["0.01"]["value"] is None
    assert "at least 100 are needed" in found["called_members"]["0.01"]["reason"]
    assert found["called_members"]["0.05"]["threshold"] == 18
