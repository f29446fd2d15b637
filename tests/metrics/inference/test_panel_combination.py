"""The mean of ranks, by hand, and that it looks at no label and no scale."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics.inference.panel_combination import combined_score, placed_score


def test_the_formula_by_hand():
    scores = [[10.0, 30.0, 20.0], [1.0, 1.0, 5.0]]
    assert combined_score(scores) == pytest.approx([(1 + 1.5) / 8, (3 + 1.5) / 8, (2 + 3) / 8])


def test_scales_do_not_matter():
    scores = np.random.default_rng(0).normal(size=(3, 20))
    stretched = np.stack([np.exp(scores[0]), scores[1] * 1e6, scores[2] - 5])
    assert combined_score(scores) == pytest.approx(combined_score(stretched))


@pytest.mark.parametrize("scores", [[], [1.0, 2.0]])
def test_other_shapes_are_refused(scores):
    with pytest.raises(ValueError, match="shape"):
        combined_score(scores)


def test_a_placed_score_is_that_of_the_row_added_alone():
    rng = np.random.default_rng(3)
    table, added = rng.integers(0, 9, (3, 20)).astype(float), rng.integers(-2, 11, (3, 6))
    placed = placed_score(added, table)
    for j in range(6):
        alone = combined_score(np.column_stack([table, added[:, j]]))
        assert placed[j] == pytest.approx(alone[-1])
    with pytest.raises(ValueError, match="attacks differ"):
        placed_score(added[:2], table)
