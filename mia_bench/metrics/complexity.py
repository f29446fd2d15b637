"""Scores without what the complexity of images explains of them: `-complexity` rows.

Among calibration non-members, where membership moves nothing, least squares give
    s = w0 + sum_k w_k x_k + r,        x: covariates of the image
and the score of a row is what the line leaves of it, s - w0 - sum_k w_k x_k. The line of a
calibration row is fitted without the rows of its own fold, by near-duplicate group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mia_bench.metrics.group_folds import folds_of

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]

SPARE_ROWS = 2  # non-members beyond one per covariate that a line is fitted on
SAME = 1e-9  # of a covariate's size; what spreads less is constant, and explains nothing


@dataclass(frozen=True)
class ComplexityFit:
    """A line: `slopes` (K,) are in units of the score per unit of the covariate; `r2` is the share
    of the scores' variance, among the rows it was fitted on, that it explains."""

    intercept: float
    slopes: Floats
    r2: float

    def residuals(self, scores: Floats, covariates: Floats) -> Floats:
        """(N,) scores minus the line, at covariates (N, K)."""
        left: Floats = scores - self.intercept - covariates @ self.slopes
        return left


def fit_complexity(scores: Floats, covariates: Floats, is_member: Labels) -> ComplexityFit:
    """Least squares of scores (N,) on covariates (N, K), among the non-members of these rows.

    Raises:
        ValueError: fewer non-members than K + 2.
    """
    s, x = scores[~is_member], covariates[~is_member]
    if len(s) < x.shape[1] + SPARE_ROWS:
        raise ValueError(
            f"{len(s)} non-members are left to regress scores on {x.shape[1]} measures of "
            f"complexity; at least {x.shape[1] + SPARE_ROWS} are needed"
        )
    mean, spread = x.mean(axis=0), x.std(axis=0)
    varies = spread > SAME * np.maximum(1.0, np.abs(mean))
    slopes = np.zeros(x.shape[1])
    # in units of their own spread, so that no covariate is lost beside a larger one
    units = (x[:, varies] - mean[varies]) / spread[varies]
    slopes[varies] = np.linalg.lstsq(units, s - s.mean(), rcond=None)[0] / spread[varies]
    intercept = float(s.mean() - mean @ slopes)
    left, total = s - intercept - x @ slopes, float(s.var())
    return ComplexityFit(intercept, slopes, 1 - float(left.var()) / total if total > 0 else 0.0)


def out_of_fold_residuals(
    scores: Floats,
    covariates: Floats,
    is_member: Labels,
    group: npt.NDArray[np.str_],
    folds: int,
    seed: int,
) -> Floats:
    """(N,) residuals of calibration rows, each from a line fitted without the rows of its fold.

    Raises:
        ValueError: as `fit_complexity`, for a fold.
    """
    fold = folds_of(group, folds, seed)
    left = np.zeros(len(scores))
    for k in np.unique(fold):
        inside = fold == k
        line = fit_complexity(scores[~inside], covariates[~inside], is_member[~inside])
        left[inside] = line.residuals(scores[inside], covariates[inside])
    return left
