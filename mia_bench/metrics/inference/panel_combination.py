"""One score of several attacks, by a rule that is fixed before any of them is run.

    combined_i = mean over attacks of rank_i / (N + 1)

Ranks are mid-ranks among all N rows. No label is looked at, so a test that holds for the scores of
one attack holds for the combination, and one p-value answers for the panel. The rule is ours: it
needs no scale, and an attack that finds nothing costs power but no validity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mia_bench.metrics.roc import Floats

RULE = "mean of ranks, one-sided"


def combined_score(scores: ArrayLike) -> Floats:
    """(N,) in (0, 1) from scores (attacks, N). Raises ValueError for another shape or no attack."""
    from scipy.stats import rankdata

    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise ValueError(f"scores have shape {table.shape}: pass (attacks, N), one attack or more")
    ranks: NDArray[np.float64] = rankdata(table, axis=1)
    return np.asarray(ranks.mean(axis=0) / (table.shape[1] + 1))


def placed_score(scores: ArrayLike, among: ArrayLike) -> Floats:
    """(M,) combined scores that rows of scores (attacks, M) would have, each added alone to the N
    rows of `among` (attacks, N). Raises ValueError for shapes that do not belong together."""
    added, table = np.asarray(scores, dtype=np.float64), np.asarray(among, dtype=np.float64)
    if added.ndim != 2 or table.ndim != 2 or len(added) != len(table):
        raise ValueError(f"scores have shapes {added.shape} and {table.shape}: attacks differ")
    below = (table[:, None, :] < added[:, :, None]).sum(axis=2)
    equal = (table[:, None, :] == added[:, :, None]).sum(axis=2)
    return np.asarray((below + equal / 2 + 1).mean(axis=0) / (table.shape[1] + 2))
