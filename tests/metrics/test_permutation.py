"""Permutation p-values over groups, and Holm's procedure."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics import permutation
from mia_bench.metrics.permutation import base_p_value, holm, permuted_labels, sequential_p_value

N = 120


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).random(N) < 0.5


def group() -> np.ndarray:
    return np.array([f"g{i}" for i in range(N)])


def test_permutations_move_whole_groups(monkeypatch, labels):
    monkeypatch.setattr(permutation, "PERMUTATIONS", 199)
    groups = np.array([f"g{i // 3}" for i in range(N)])
    label = np.repeat(labels[: N // 3], 3)
    drawn = list(permuted_labels(label, groups, 0))
    assert len(drawn) == permutation.PERMUTATIONS == 199
    for one in drawn[:20]:
        assert all(len(set(one[groups == g])) == 1 for g in np.unique(groups))
        assert one.sum() == label.sum()
    assert any((one != label).any() for one in drawn)


def test_sequential_p_values():
    assert sequential_p_value(0.9, iter([0.5] * 999)) == 1 / 1000
    assert sequential_p_value(0.5, iter([0.6] * 999)) == 1.0
    assert sequential_p_value(0.5, iter([0.4, 0.6] * 500)) == 10 / 20


def test_sequential_p_values_are_uniform_or_more_under_the_null():
    rng = np.random.default_rng(0)
    p = [sequential_p_value(rng.random(), iter(rng.random(999))) for _ in range(2000)]
    for level in (0.01, 0.05, 0.2):
        # three binomial standard errors above the level
        assert np.mean(np.array(p) <= level) <= level + 3 * np.sqrt(level / 2000)


def test_base_p_value_sees_a_base_that_knows_the_members(labels):
    scores = np.random.default_rng(2).normal(size=N)
    assert base_p_value(scores, labels, group(), 0) > 0.01
    assert base_p_value(scores + labels, labels, group(), 0) < 0.01


@pytest.mark.parametrize(
    ("p_values", "flagged"),
    [
        ({}, []),
        ({"a": 0.04}, ["a"]),
        ({"a": 0.04, "b": 0.9}, []),
        ({"a": 0.01, "b": 0.04}, ["a", "b"]),
        ({"a": 0.04, "b": 0.03, "c": 0.01}, ["c"]),
    ],
)
def test_holm_by_hand(p_values, flagged):
    assert holm(p_values) == flagged
