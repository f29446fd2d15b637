"""Folds and halves keep groups whole."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics.group_folds import calibrating, folds_of


def test_folds_follow_groups_and_the_seed():
    group = np.array([f"g{i % 40}" for i in range(400)])
    fold = folds_of(group, 5, 0)
    assert all(len(set(fold[group == g])) == 1 for g in set(group))
    assert set(fold) == set(range(5))
    assert (folds_of(group, 5, 1) != fold).any()
    assert (folds_of(group[::-1], 5, 0)[::-1] == fold).all()


@pytest.mark.parametrize("folds", [2, 4, 5])
def test_the_calibrating_half_is_spread_over_all_folds(folds):
    group = np.array([f"g{i}" for i in range(400)])
    half = calibrating(group, 0)
    assert 160 < half.sum() < 240
    inside = np.bincount(folds_of(group, folds, 0)[half], minlength=folds)
    assert (inside > half.sum() / folds / 2).all()
    assert (calibrating(group[::-1], 0)[::-1] == half).all()
    assert (calibrating(group, 1) != half).any()
