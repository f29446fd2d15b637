"""One classifier over the features of every attack of a run: how much they tell together.

As CDI's scoring model (Dubinski et al., CVPR 2025, arXiv 2411.12858) it is a logistic regression on
standardised features of several attacks (ensemble_features.py); fitted on calibration rows alone,
it scores row by row as an attack does. It makes no query of its own. Features wider than
`max_columns` are left out.
    logistic  argmin_w  C sum balanced log-loss + |w|^2 / 2,   C by the held-out log-loss of 5 folds
              of near-duplicate groups
    boosted   150 trees of depth 2, each on 70 % of the rows and 30 % of the columns
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mia_bench.attacks.base import Calibration, Features, Floats
from mia_bench.attacks.components.ensemble_features import Preparation, width
from mia_bench.utils.errors import MiaError

PENALTY_FOLDS = 5
INVERSE_PENALTIES = tuple(float(c) for c in 10.0 ** np.arange(-4, 2.1, 0.5))
TOP_COLUMNS = 5
MIN_ROWS_PER_CLASS = 2
TREES = {
    "n_estimators": 150,
    "max_depth": 2,
    "learning_rate": 0.05,
    "subsample": 0.7,
    "colsample_bytree": 0.3,
    "reg_lambda": 5.0,
    "min_child_weight": 5.0,
    "n_jobs": 1,
}


@dataclass(frozen=True)
class Ensemble:
    """Args: `model`; `max_columns` of a feature, above which it is left out, as maps are."""

    model: Literal["logistic", "boosted"] = "logistic"
    max_columns: int = 64
    version: ClassVar[int] = 1

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """(N,) log-odds of membership, row by row.

        Raises:
            MiaError: values that are not finite, a feature of the calibration rows that is missing,
                nothing to fit on, or fewer than two calibration rows of a class.
        """
        prepare, table = self._prepared(calibration)
        z = prepare(features)
        if self.model == "boosted":
            trees = boosted(table, calibration)
            return np.asarray(trees.predict(z, output_margin=True), dtype=np.float64)
        line = logistic(table, calibration)
        return np.asarray((z * line.weight).sum(axis=1) + line.intercept)

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """The five columns that carry the score, and C of the logistic model.

        Signed coefficients per robust standard deviation, or shares of the gain of all trees.
        "clid.loss[4,:]" is the effect of index 4 of the first axis, "clid.loss" the mean.
        """
        prepare, table = self._prepared(calibration)
        if self.model == "boosted":
            return _top(prepare.names, boosted(table, calibration).feature_importances_)
        line = logistic(table, calibration)
        return {"C": line.C} | _top(prepare.names, line.weight)

    def left_out(self, features: Features) -> dict[str, int]:
        """Features wider than `max_columns`, with their widths."""
        return {n: width(x) for n, x in features.items() if width(x) > self.max_columns}

    def _prepared(self, calibration: Calibration) -> tuple[Preparation, Floats]:
        """What turns features into columns, and the calibration rows' own (N, C)."""
        members, others = int(calibration.is_member.sum()), int((~calibration.is_member).sum())
        if min(members, others) < MIN_ROWS_PER_CLASS:
            raise MiaError(
                f"{members} members and {others} non-members are left to fit an ensemble on; at "
                f"least {MIN_ROWS_PER_CLASS} of each are needed. Use larger data.sizes for the "
                "calibration rows, or a larger calibration.folds."
            )
        skipped = self.left_out(calibration.features)
        kept = {n: x for n, x in calibration.features.items() if n not in skipped}
        prepare = Preparation.of(kept)
        return prepare, prepare(kept)


@dataclass(frozen=True)
class LinearModel:
    """Log-odds z @ weight + intercept."""

    weight: Floats
    intercept: float
    C: float


def logistic(table: Floats, calibration: Calibration) -> LinearModel:
    """Ridge logistic regression on (N, C) columns; the strongest of equally good penalties.

    Raises:
        MiaError: no fold by group leaves both classes to fit on.
    """
    from mia_bench.metrics.group_folds import folds_of

    y, fold = calibration.is_member, folds_of(calibration.group, PENALTY_FOLDS, calibration.seed)
    losses = np.zeros(len(INVERSE_PENALTIES))
    tried = 0
    for k in np.unique(fold):
        test, train = fold == k, fold != k
        if len(np.unique(y[train])) < 2:
            continue
        tried += 1
        weight = np.where(y, 0.5 / y[train].mean(), 0.5 / (~y)[train].mean())[test]
        for i, C in enumerate(INVERSE_PENALTIES):
            line = _line(table[train], y[train], C)
            odds = np.where(y[test], 1, -1) * (table[test] @ line.weight + line.intercept)
            losses[i] += (weight * np.logaddexp(0, -odds)).sum()
    if not tried:
        raise MiaError(
            f"{len(y)} calibration rows are too few to choose a penalty on, by group: use larger "
            "data.sizes for the calibration rows."
        )
    return _line(table, y, INVERSE_PENALTIES[int(np.argmin(losses))])


def boosted(table: Floats, calibration: Calibration) -> Any:
    """Trees on (N, C) columns, fitted; keyed by the calibration's seed."""
    from xgboost import XGBClassifier

    trees = XGBClassifier(**TREES, random_state=calibration.seed)
    return trees.fit(table, calibration.is_member.astype(int))


def _line(table: Floats, y: NDArray[np.bool_], C: float) -> LinearModel:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=C, class_weight="balanced", solver="newton-cholesky", max_iter=1000
    )
    model.fit(table, y)
    return LinearModel(np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0]), C)


def _top(names: Sequence[str], weight: Floats) -> dict[str, float]:
    """The largest by magnitude; zeros carry nothing."""
    order = np.argsort(-np.abs(weight), kind="stable")[:TOP_COLUMNS]
    return {names[i]: float(weight[i]) for i in order if weight[i] != 0}
