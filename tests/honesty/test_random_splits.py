"""Real features of the base, split again and again: nothing is to be found, and nothing is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mia_bench.honesty.random_splits import Base, holds_chance, split
from mia_bench.storage.feature_table import Table

SPLITS = 200


@pytest.fixture(scope="module")
def base(base_rows: pd.DataFrame) -> Base:
    loss = base_rows.filter(like="loss").to_numpy().reshape(-1, 5, 3)
    return Base(Table(tuple(base_rows.sample_id), {"loss": loss}), list(base_rows.group))


@pytest.mark.long
def test_random_splits_of_base_features_cover_chance(base: Base) -> None:
    """0.95 of 200 with a standard error of 0.0154: three of them either way."""
    held = holds_chance(base.scores(), base.group, 180, SPLITS, 200)
    assert 0.904 <= np.mean(held) <= 0.996


def test_a_split_that_follows_the_scores_does_not(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = base.scores()
    high = {g for g, s in zip(base.group, scores, strict=True) if s > np.median(scores)}

    def biased(group: list[str], *_: int) -> np.ndarray:
        return np.array([g in high for g in group])

    monkeypatch.setattr("mia_bench.honesty.random_splits.split", biased)
    assert not any(holds_chance(scores, base.group, 180, 3, 100))


def test_splits_keep_groups_and_sizes(base: Base) -> None:
    members = np.zeros(len(base.group))
    for seed in range(100):
        member = split(base.group, 180, seed)
        members += member
        assert abs(member.sum() - 180) <= 11
        assert not {g for g, m in zip(base.group, member, strict=True) if m} & {
            g for g, m in zip(base.group, member, strict=True) if not m
        }
    # 180 of 580 on average, every row: 31 of 100 with a standard error of 4.6
    assert 31 - 5 * 4.6 < members.min() <= members.max() < 31 + 5 * 4.6
