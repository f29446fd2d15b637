"""Adjusted p-values reject where Holm's procedure does."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics.inference.multiple_tests import holm_adjusted
from mia_bench.metrics.permutation import holm

LEVEL = 0.05


def step_down(p_values: dict[str, float]) -> set[str]:
    """Holm's procedure as published: compare ever larger p with level / m, level / (m - 1), ..."""
    flagged = set()
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for rank, (name, p) in enumerate(ordered):
        if p > LEVEL / (len(ordered) - rank):
            break
        flagged.add(name)
    return flagged


def test_the_formula_by_hand():
    adjusted = holm_adjusted({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.9})
    assert adjusted == pytest.approx({"a": 0.04, "b": 0.09, "c": 0.09, "d": 0.9})


def test_they_agree_with_the_procedure():
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = {str(i): float(x) for i, x in enumerate(rng.beta(0.3, 1, size=5))}
        rejected = {name for name, value in holm_adjusted(p).items() if value <= LEVEL}
        assert rejected == set(holm(p, LEVEL)) == step_down(p)


def test_none_is_none():
    assert holm_adjusted({}) == {}
