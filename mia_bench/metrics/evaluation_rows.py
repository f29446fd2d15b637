"""The rows that metrics are measured on, with what several metrics share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mia_bench.metrics import roc
from mia_bench.metrics.bootstrap import Bootstrap, Interval
from mia_bench.metrics.roc import Bools, Floats, Ints, RankedRows, ScoreCuts, TprAtFpr
from mia_bench.metrics.thresholds import Thresholds

FPRS = (0.01, 0.001)
Statistic = Callable[[Ints, Ints], Floats]
"""From true and false positives (b, D + 1) at every cut of the scores to one value a row (b,)."""


@dataclass(frozen=True)
class Draws:
    """How much is drawn beside the resamples of intervals; less for what is very large."""

    permutations: int = 200
    """Of the labels, for the oracle's mean."""
    set_groups: int | None = None
    """Groups of each class, drawn at random, that the test of the whole set looks at."""


ALL_DRAWS = Draws()


@dataclass(frozen=True)
class EvaluationRows:
    """Scores (N,), membership (N,) and near-duplicate groups (N,) of the evaluation rows.

    `thresholds` were fixed on calibration rows, which are not among these. Higher scores mean
    member, and a row is called a member when `score > tau`, strictly.
    """

    scores: Floats
    is_member: Bools
    group: Sequence[str]
    thresholds: Thresholds
    bootstrap: Bootstrap
    cuts: ScoreCuts
    with_limits: bool = True
    """False: values alone are wanted; what rests on random draws is left out."""
    draws: Draws = ALL_DRAWS

    @classmethod
    def of(
        cls,
        scores: ArrayLike,
        is_member: ArrayLike,
        group: Sequence[str],
        thresholds: Thresholds,
        seed: int,
        n_resamples: int,
        with_limits: bool = True,
        draws: Draws = ALL_DRAWS,
    ) -> EvaluationRows:
        """Checked rows. Raises ValueError as `metrics.validate` and `Bootstrap.of` do."""
        s, y = roc.validate(scores, is_member)
        bootstrap = Bootstrap.of(y, group, seed, n_resamples)
        return cls(s, y, group, thresholds, bootstrap, ScoreCuts.of(s, y), with_limits, draws)

    @property
    def seed(self) -> int:
        return self.bootstrap.seed

    def percentile_interval(self, statistic: Statistic) -> Interval:
        """A function of the ROC curve on these rows, with percentiles of resampled groups.

        Where there are fewer than two groups of a class, the value alone and the reason.
        """

        def of_weights(weights: Ints) -> dict[str, Floats]:
            return {"value": statistic(*self.cuts.count(weights))}

        return self.bootstrap.interval(self.bootstrap.replicates(of_weights)["value"])

    @cached_property
    def curve_replicates(self) -> dict[str, Floats]:
        """(1 + n_resamples,) AUROC and TPR at every one of FPRS, counted in one pass.

        Without limits, (1,): the values alone.
        """

        ranked = RankedRows.of(self.scores, self.is_member)

        def of_rows(weights: Ints) -> dict[str, Floats]:
            return _named(*ranked.curve(weights, weights, FPRS))

        if not self.with_limits:
            return of_rows(np.ones((1, self.scores.size), dtype=np.int64))
        if self.bootstrap.kept:
            return self.bootstrap.replicates(of_rows)
        by_group = ranked.by(self.bootstrap.group_place)
        return self.bootstrap.replicates_of_groups(
            lambda member, other: _named(*by_group.curve(member, other, FPRS))
        )

    @cached_property
    def counts(self) -> tuple[Ints, Ints]:
        """True and false positives (D + 1,) at every cut."""
        return self.cuts.count()

    @cached_property
    def tpr_points(self) -> dict[str, TprAtFpr]:
        """TPR at every one of FPRS, by its text."""
        return {f"{fpr:g}": roc.tpr_within_budget(*self.counts, fpr) for fpr in FPRS}


def _named(auroc: Floats, tprs: Sequence[Floats]) -> dict[str, Floats]:
    return {"auroc": auroc, **{f"{fpr:g}": tpr for fpr, tpr in zip(FPRS, tprs, strict=True)}}
