"""95 % limits where percentiles of resampled groups are too short: near 0 and 1, and in the tail.

    rates at a fixed threshold   Jeffreys' interval (Brown, Cai, DasGupta 2001, Statist. Sci. 16) on
                                 the effective number of rows (Korn, Graubard 1998, Surv. Methodol.)
    balanced accuracy            from the two rates' limits, square and add (Newcombe 1998, method
                                 10; Zou, Donner 2008, Statist. Med. 27)
    AUROC                        logit(AUROC) +- 1.96 times its bootstrap standard error (Pepe 2003,
                                 The Statistical Evaluation of Medical Tests, section 5.2); where it
                                 rests on few rows out of order, Student's t in place of 1.96,
                                 within what the best threshold leaves open [ours]
    TPR at an FPR that allows    the Bayesian bootstrap of the ROC curve (Rubin 1981; Gu, Ghosal,
    three false positives or     Roy 2008, Statist. Med. 27), with half a group of prior beyond
    fewer, or that is 1          either end

All take near-duplicate groups as the unit. A rate r of N rows in groups of m_g rows, x_g of them
above the threshold, is worth n rows drawn one by one:
    n = r (1 - r) / v,   v = G / (G - 1) sum_g (x_g - r m_g)^2 / N^2,   N^2 / sum m_g^2 <= n <= N
The lower end is what groups of equal rows are worth, and n itself where v is 0. How often each
interval covers: docs/honesty.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mia_bench.metrics import roc
from mia_bench.metrics.roc import BLOCK_ENTRIES, Bools, Floats, Ints

QUANTILES = (0.025, 0.975)
Z = 1.959963984540054
FEW_OUT_OF_ORDER = 20
Limits = tuple[float, float]


@dataclass(frozen=True)
class RateInterval:
    """A share of rows, with its limits; they enclose it."""

    value: float
    lo: float
    hi: float


def rate(flagged: Bools, group: NDArray[np.integer]) -> RateInterval:
    """The share of `flagged` (N,) rows of one class; `group` (N,) labels of near-duplicates."""
    value, n = effective_rows(flagged, group)
    return jeffreys(value, n)


def effective_rows(flagged: Bools, group: NDArray[np.integer]) -> tuple[float, float]:
    """(r, n): see the module. Raises ValueError without rows."""
    if not flagged.size:
        raise ValueError("a rate needs rows: none are left of this class")
    _, where = np.unique(group, return_inverse=True)
    size = np.bincount(where).astype(np.float64)
    hits = np.bincount(where, weights=flagged)
    rows, groups = size.sum(), size.size
    r = float(hits.sum() / rows)
    least = float(rows**2 / (size**2).sum())
    variance = float(((hits - r * size) ** 2).sum() / rows**2) * groups / max(1, groups - 1)
    if variance == 0:
        return r, least
    return r, float(np.clip(r * (1 - r) / variance, least, rows))


def jeffreys(value: float, n: float) -> RateInterval:
    """Quantiles of Beta(r n + 1/2, (1 - r) n + 1/2); 0 below a rate of 0, 1 above a rate of 1."""
    from scipy.stats import beta

    lo, hi = beta.ppf(QUANTILES, value * n + 0.5, (1 - value) * n + 0.5)
    lo, hi = 0.0 if value == 0 else float(lo), 1.0 if value == 1 else float(hi)
    return RateInterval(value, min(lo, value), max(hi, value))


def balanced_accuracy_interval(tpr: RateInterval, fpr: RateInterval) -> Limits:
    """Of 0.5 + (TPR - FPR) / 2, whose two rates are independent."""
    middle = 0.5 + (tpr.value - fpr.value) / 2
    down = np.hypot(tpr.value - tpr.lo, fpr.hi - fpr.value) / 2
    up = np.hypot(tpr.hi - tpr.value, fpr.value - fpr.lo) / 2
    return float(middle - down), float(middle + up)


def auroc_interval(
    value: float,
    replicates: Floats,
    member: RateInterval,
    nonmember: RateInterval,
    left_open: Callable[[], Limits] | None = None,
) -> Limits:
    """Of an AUROC from its bootstrap `replicates` (b,).

    An AUROC A of variance v is worth k = A (1 - A) min(A, 1 - A) / v rows out of order. A count of
    k gives its own variance 2 k + 1 degrees of freedom (Satterthwaite 1946, Biometrics Bull. 2; the
    one is Jeffreys' half event), which matters where k is below 20.
    Where members and non-members are apart there is no error to resample. Then a threshold calls
    all members (`member`, a rate of 1) and none of the others (`nonmember`, a rate of 0), and a
    curve through (u, l) has at least the area l (1 - u). Scores all the wrong way: the mirror.

    Args:
        left_open: `left_by_threshold` of the rows. Asked where few rows are out of order: what the
            spread of next to no errors says reaches from near 0 to 1 there.
    """
    if value in (0, 1):
        least = member.lo * (1 - nonmember.hi)
        return (least, 1.0) if value == 1 else (0.0, 1 - least)
    odds = np.log(value / (1 - value))
    error = replicates.std(ddof=1) / (value * (1 - value)) if replicates.size > 1 else 0.0
    quantile = _quantile(value, error)
    reach = quantile * error
    lo, hi = 1 / (1 + np.exp(-(odds + np.array([-reach, reach]))))
    least, most = left_open() if left_open is not None and quantile > Z else (0.0, 1.0)
    return float(min(max(lo, least), value)), float(max(min(hi, most), value))


def left_by_threshold(scores: Floats, is_member: Bools, group: Ints) -> Limits:
    """Between which an AUROC lies by the two rates of the best threshold, of rows (N,).

    A threshold that calls a share p of members and f of others puts p (1 - f) of the pairs in
    order. The lower limit has Jeffreys' limits of p and f at the threshold with the largest p - f;
    the upper one is its mirror image. [ours]
    """
    return _in_order(scores, is_member, group), 1 - _in_order(-scores, is_member, group)


def _in_order(scores: Floats, is_member: Bools, group: Ints) -> float:
    cuts = roc.ScoreCuts.of(scores, is_member)
    called = scores > cuts.tau(int(np.argmax(roc.gain(*cuts.count()))))
    true, false = (rate(called[of], group[of]) for of in (is_member, ~is_member))
    return true.lo * (1 - false.hi)


def _quantile(value: float, error: float) -> float:
    """How many standard errors the interval of an AUROC reaches; `error` is that of its logit."""
    from scipy.stats import t

    if error == 0:
        return Z
    out_of_order = min(value, 1 - value) / (value * (1 - value) * error**2)
    return (
        float(t.ppf(QUANTILES[1], 2 * out_of_order + 1)) if out_of_order < FEW_OUT_OF_ORDER else Z
    )


def rare_tpr(
    scores: Floats, is_member: Bools, group: Ints, fpr: float, seed: int, draws: int
) -> Limits:
    """Of the TPR at a true rate `fpr` of false positives, from `draws` of both populations.

    A draw gives every group an Exp(1) weight, and Gamma(1/2) times the size of a group to the
    unseen above the highest and below the lowest score; the threshold is the lowest at which the
    weight of the non-members above stays within `fpr`. Without such a threshold the TPR is 0.
    """
    rng = np.random.default_rng([seed, 3])
    of = {kind: np.argsort(-scores[is_member == kind], kind="stable") for kind in (True, False)}
    falling = {kind: scores[is_member == kind][of[kind]] for kind in of}
    labels = {kind: group[is_member == kind][of[kind]] for kind in of}
    rates, size = [], max(1, BLOCK_ENTRIES // scores.size)
    for start in range(0, draws, size):
        b = min(size, draws - start)
        member, other = (_masses(rng, labels[kind], b) for kind in (True, False))
        allowed = (other <= fpr).sum(axis=1) - 1  # non-members above the threshold, -1: none is
        tau = falling[False][np.minimum(allowed, falling[False].size - 1)]
        above = np.searchsorted(-falling[True], -tau)
        rates.append(np.where(allowed < 0, 0.0, member[np.arange(b), above]))
    value = roc.tpr_at_fpr(scores, is_member, fpr).value
    lo, hi = np.quantile(np.concatenate(rates), QUANTILES)
    if value is None:
        return float(lo), float(hi)
    return float(min(lo, value)), float(max(hi, value))


def _masses(rng: np.random.Generator, label: Ints, b: int) -> Floats:
    """(b, N + 1) weight above the highest of N falling scores, then down to each, of all 1."""
    _, where = np.unique(label, return_inverse=True)
    size = np.bincount(where).astype(np.float64)
    unseen = rng.standard_gamma(0.5, (b, 2)) * (size**2).sum() / size.sum()
    rows = rng.standard_exponential((b, size.size))[:, where]
    down = np.cumsum(np.column_stack([unseen[:, :1], rows]), axis=1)
    return np.asarray(down / (down[:, -1:] + unseen[:, 1:]))
