"""Thresholds fixed on calibration rows, and accuracies at a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mia_bench.metrics.roc import (
    BLOCK_ENTRIES,
    Ints,
    ScoreCuts,
    budget_cut,
    cumulate,
    false_positive_budget,
    gain,
    rates,
    too_few,
)

CALIBRATED_FPR = 0.01


@dataclass(frozen=True)
class Thresholds:
    """Decision thresholds for `score > tau`, fixed on calibration rows and used on others.

    `fpr01_k` is the number of false positives that `tau_fpr01` allows on the calibration rows;
    `tau_fpr01` is None, with a `reason`, when that is below one; without calibration rows both
    are. Raises ValueError when a threshold is not finite.
    """

    tau_acc: float | None
    tau_fpr01: float | None
    fpr01_k: int
    reason: str | None = None

    def __post_init__(self) -> None:
        for name, tau in (("tau_acc", self.tau_acc), ("tau_fpr01", self.tau_fpr01)):
            if tau is not None and not math.isfinite(tau):
                raise ValueError(f"{name} is {tau}: fit it on finite scores with fit_thresholds")


UNCALIBRATED = Thresholds(None, None, 0, "no calibration rows: no threshold can be fixed honestly")


def fit_thresholds(scores: ArrayLike, is_member: ArrayLike) -> Thresholds:
    """Thresholds from calibration rows, whose scores must be out-of-fold where anything is fitted.

    `tau_acc` maximises balanced accuracy and lies midway between the neighbouring distinct scores;
    of several equally good cuts it takes the middle one, of an even number the stricter middle one.
    `tau_fpr01` is the smallest score that at most k = floor(n_nonmember * 0.01) non-members exceed;
    on fresh rows it realises (k + 1) / (n_nonmember + 1) in expectation.
    Inputs as in `validate`, which raises ValueError.
    """
    cuts = ScoreCuts.of(scores, is_member)
    tp, fp = cuts.count()
    gains = gain(tp, fp)
    best = np.flatnonzero(gains == gains.max())
    tau_acc = cuts.tau(int(best[(best.size - 1) // 2]))
    k = int(false_positive_budget(fp[-1], CALIBRATED_FPR))
    if k < 1:
        return Thresholds(tau_acc, None, k, too_few(int(fp[-1]), CALIBRATED_FPR))
    return Thresholds(tau_acc, float(cuts.distinct[budget_cut(fp, CALIBRATED_FPR)]), k)


def balanced_accuracy(scores: ArrayLike, is_member: ArrayLike, tau: float) -> float:
    """(TPR + TNR) / 2 of `score > tau`. Inputs as in `validate`, which raises ValueError."""
    cuts = ScoreCuts.of(scores, is_member)
    tpr, fpr = rates(*cuts.count(), cuts.at(tau))
    return float(0.5 + (tpr - fpr) / 2)


def oracle_accuracy(scores: ArrayLike, is_member: ArrayLike) -> float:
    """Highest balanced accuracy over all thresholds, chosen on the very rows it is measured on.

    At least 0.5 by construction: read it beside `permuted_oracle`. Inputs as in `validate`, which
    raises ValueError.
    """
    return best_accuracy(*ScoreCuts.of(scores, is_member).count())


def best_accuracy(tp: Ints, fp: Ints) -> float:
    """`oracle_accuracy` from the true and false positives (D + 1,) of all cuts."""
    return float(0.5 + gain(tp, fp).max() / (2 * tp[-1] * fp[-1]))


def permuted_oracle(scores: ArrayLike, is_member: ArrayLike, seed: int, n: int = 200) -> float:
    """Mean of `oracle_accuracy` over n random permutations of the labels: what blind luck gets.

    Rows are permuted one by one, without regard to near-duplicate groups. Inputs as in `validate`;
    raises ValueError as it does, and for n < 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: ask for at least one permutation")
    cuts = ScoreCuts.of(scores, is_member)
    tp, fp = cuts.count()
    n1, n0 = int(tp[-1]), int(fp[-1])
    rng, size, total = np.random.default_rng(seed), max(1, BLOCK_ENTRIES // cuts.order.size), 0
    labels = cuts.positive.astype(np.int8)  # small: a permutation jumps about in it
    by_chance = n1 * (tp + fp)
    for start in range(0, n, size):
        block = np.tile(labels, (min(size, n - start), 1))
        true = cumulate(rng.permuted(block, axis=1), cuts.ends)
        true *= n1 + n0  # (TPR - FPR) n1 n0 is true n0 - (rows - true) n1
        true -= by_chance
        total += int(true.max(axis=-1).sum())
    return float(0.5 + total / (2 * n * n0 * n1))
