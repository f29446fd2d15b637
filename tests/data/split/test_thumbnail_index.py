"""Thumbnails in cells and blocks join what comparing all of them joins."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.data.split import near_duplicates, thumbnail_index

ROWS, PIXELS = 400, 48


def drawings(spread: float, noise: float, seed: int = 0) -> np.ndarray:
    """Pictures around 12 templates: all on white where `spread` is small."""
    rng = np.random.default_rng(seed)
    templates = 255 - np.abs(rng.normal(0, spread, (12, PIXELS)))
    rows = templates[rng.integers(0, 12, ROWS)] + rng.normal(0, noise, (ROWS, PIXELS))
    return np.clip(rows, 0, 255).astype(np.float32)


def literal(small: np.ndarray, max_rmse: float) -> list[str]:
    """Groups by all pairs, one at a time."""
    first = list(range(len(small)))
    for i, row in enumerate(small.astype(np.float64)):
        near = np.sqrt(np.square(small - row).mean(axis=1)) <= max_rmse
        joined = {first[j] for j in np.flatnonzero(near)} | {first[i]}
        first = [min(joined) if label in joined else label for label in first]
    return [f"{label:03d}" for label in first]


@pytest.mark.parametrize(
    ("spread", "noise"),
    [(90.0, 3.0), (90.0, 5.0), (6.0, 3.0), (1.0, 3.0), (0.0, 0.0), (90.0, 60.0)],
)
def test_the_groups_are_those_of_all_pairs(monkeypatch, spread, noise):
    monkeypatch.setattr(near_duplicates, "ALL_PAIRS_UP_TO", 50)
    monkeypatch.setattr(thumbnail_index, "ROWS_PER_BLOCK", 16)
    monkeypatch.setattr(thumbnail_index, "COLUMNS_PER_STEP", 64)
    small = drawings(spread, noise)
    ids = [f"{row:03d}" for row in range(ROWS)]
    hashes = np.arange(ROWS, dtype=np.uint64)
    groups = near_duplicates.group(ids, hashes, ids, 0, small, 5.0, links="image")
    assert groups == literal(small, 5.0)


def test_pictures_of_one_kind_are_not_compared_pair_by_pair(monkeypatch):
    monkeypatch.setattr(thumbnail_index, "ROWS_PER_BLOCK", 16)
    edges = sum(len(left) for left, _ in thumbnail_index.links(drawings(0.0, 1.0), 5.0))
    assert edges < 20 * ROWS
