"""Several similarities in one score."""

from __future__ import annotations

import numpy as np

from mia_bench.attacks.components.similarity_scores import standardised


def test_columns_are_standardised_by_others():
    others = np.array([[0.0, 5.0], [2.0, 5.0]])
    found = standardised(np.array([[3.0, 6.0]]), others)
    assert found.tolist() == [[2.0, 1.0]]  # a column without spread is centred alone
