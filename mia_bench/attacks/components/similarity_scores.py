"""Similarities of several tasks or views in one score: standard deviations from what non-members
have, or votes at thresholds that few of them pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mia_bench.attacks.base import Floats
from mia_bench.metrics import false_positive_budget
from mia_bench.metrics.roc import Bools


def require_measured(compare: str, measures: Sequence[str]) -> None:
    """Raises ValueError where what scores is not among what is stored."""
    if compare not in measures:
        raise ValueError(
            f"compare={compare} is not measured: use measures=[{','.join((*measures, compare))}]"
        )


def standardised(values: Floats, others: Floats) -> Floats:
    """(N, columns) in standard deviations from the mean of `others`, calibration non-members."""
    spread = others.std(axis=0)
    z: Floats = (values - others.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return z


def vote_thresholds(similarity: Floats, is_member: Bools, fpr: float) -> Floats:
    """(tasks,) of similarities (N, tasks): at most `fpr` of the non-members lie above."""
    others = np.sort(similarity[~is_member], axis=0)
    allowed = int(false_positive_budget(len(others), fpr))
    thresholds: Floats = others[len(others) - 1 - allowed]
    return thresholds
