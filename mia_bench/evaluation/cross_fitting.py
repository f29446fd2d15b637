"""Scores of calibration rows by classifiers that never saw their group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mia_bench.attacks import Attack, Floats
from mia_bench.evaluation.labelled_features import LabelledFeatures
from mia_bench.metrics.group_folds import folds_of
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.attacks.components.ensemble import Ensemble


def out_of_fold(attack: Attack | Ensemble, rows: LabelledFeatures, folds: int, seed: int) -> Floats:
    """(N,) scores of calibration rows, each from a calibration without its own fold.

    Raises:
        MiaError: a fold leaves fewer than two rows of a class to fit on.
    """
    fold = folds_of(rows.group, folds, seed)
    scores = np.zeros(len(fold))
    for k in np.unique(fold):
        inside, outside = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        rest = rows.take(outside).calibration(seed)
        if min(rest.is_member.sum(), (~rest.is_member).sum()) < 2:
            raise MiaError(
                f"{len(fold)} calibration rows are too few for {folds} folds by group: use larger "
                "data.sizes for the shadow roles or a smaller calibration.folds."
            )
        scores[inside] = attack.score(rows.take(inside).table.features, rest)
    return scores
