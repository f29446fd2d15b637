"""Folds and halves keep groups whole."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics.group_folds import calibrating, folds_of, stratified_folds, stratified_half


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


@pytest.mark.parametrize(("members", "others", "folds"), [(15, 15, 2), (7, 30, 3), (3, 5, 5)])
def test_stratified_folds_have_as_many_of_each_class(members, others, folds):
    is_member = np.arange(members + others) < members
    group = np.array([f"g{i}" for i in range(members + others)])
    fold = stratified_folds(group, is_member, folds, 0)
    for kind in (True, False):
        counts = np.bincount(fold[is_member == kind], minlength=folds)
        assert counts.max() - counts.min() <= 1
    order = np.random.default_rng(0).permutation(len(group))
    assert (stratified_folds(group[order], is_member[order], folds, 0) == fold[order]).all()


def test_stratified_folds_keep_groups_whole():
    group, is_member = np.array([f"g{i // 3}" for i in range(60)]), np.arange(60) < 30
    fold = stratified_folds(group, is_member, 4, 1)
    assert all(len(set(fold[group == g])) == 1 for g in set(group))
    half = stratified_half(group, is_member, 0)
    assert half[:30].sum() == half[30:].sum() == 15
