"""Scores of rows by classifiers that never saw their group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mia_bench.attacks import Attack, Calibration, Floats
from mia_bench.evaluation.labelled_features import LabelledFeatures
from mia_bench.metrics.group_folds import folds_of, stratified_folds
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.attacks.components.ensemble import Ensemble


def out_of_fold(attack: Attack | Ensemble, rows: LabelledFeatures, folds: int, seed: int) -> Floats:
    """(N,) scores of calibration rows, each from a calibration without its own fold.

    Raises:
        MiaError: a fold leaves fewer than two rows of a class to fit on.
    """
    return _by_fold(attack, rows, folds_of(rows.group, folds, seed), folds, seed)


def cross_fitted(
    attack: Attack | Ensemble, rows: LabelledFeatures, folds: int, seed: int
) -> Floats:
    """(N,) the same with as many members and non-members in every fold: for a few rows, all of
    which are both judged and fitted on. Raises MiaError as `out_of_fold`."""
    fold = stratified_folds(rows.group, rows.is_member, folds, seed)
    return _by_fold(attack, rows, fold, folds, seed)


def fits_labels(attack: Attack | Ensemble, rows: LabelledFeatures, seed: int) -> bool:
    """Whether the scores of `attack` depend on who is a member, found out on `rows` themselves.

    What only looks at the features (a scaler) fits nothing in this sense: it may be judged on the
    rows that it saw.
    """
    plain = rows.calibration(seed)
    turned = Calibration(plain.features, ~plain.is_member, plain.group, seed)
    features = rows.table.features
    try:
        return not np.array_equal(attack.score(features, plain), attack.score(features, turned))
    except MiaError:  # too few rows to fit on
        return True


def _by_fold(
    attack: Attack | Ensemble,
    rows: LabelledFeatures,
    fold: npt.NDArray[np.intp],
    folds: int,
    seed: int,
) -> Floats:
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
