"""The metrics of metrics.json with 95 % intervals that take near-duplicate groups as the unit.

TPR at a fixed FPR and differences get percentiles of resampled groups. These are too short near 0
and 1 and where next to no false positive is allowed: `intervals` has what is used there, and
docs/honesty.md how often each covers.

Intervals are conditional on target, shadow and calibrated thresholds. The decision rule is that of
`metrics`: `score > tau`, strictly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mia_bench.metrics import registry, roc
from mia_bench.metrics.bootstrap import QUANTILES, Bootstrap
from mia_bench.metrics.evaluation_rows import ALL_DRAWS, Draws, EvaluationRows
from mia_bench.metrics.measures import tpr_entry, unlike_percentiles
from mia_bench.metrics.roc import Bools, Floats, Ints, ScoreCuts
from mia_bench.metrics.thresholds import Thresholds

Statistic = Callable[[Ints], dict[str, Floats]]
MAX_MULTIPLIED_PAIRS = 1 << 20  # member-non-member pairs beyond which counting cuts is faster
EXTREME_AUROC = 0.99  # an AUROC beyond which its interval covers more than 95 %


def evaluate(
    scores: ArrayLike,
    is_member: ArrayLike,
    group: Sequence[str],
    thresholds: Thresholds,
    seed: int,
    n_resamples: int = 2000,
    whole_set: bool = False,
    with_limits: bool = True,
    draws: Draws = ALL_DRAWS,
) -> dict[str, Any]:
    """The entries of metrics.json that follow from scores, as plain JSON values without NaN or inf.

    scores, is_member, group: (N,) evaluation rows; `thresholds` come from calibration rows.
    Every metric of `registry.METRICS`; those of the whole set only with `whole_set`.
    Without `with_limits` nothing is drawn: bounds are None, and values that rest on draws absent.
    Raises ValueError as `metrics.validate` and `Bootstrap.of` do.
    """
    rows = EvaluationRows.of(
        scores, is_member, group, thresholds, seed, n_resamples, with_limits, draws
    )
    measured = registry.measure(rows, whole_set)
    return {
        **measured,
        "n_members": int(rows.is_member.sum()),
        "n_nonmembers": int((~rows.is_member).sum()),
        "thresholds": asdict(thresholds),
        "flags": _flags(rows, registry.value(measured, "auroc")),
    }


def paired_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    is_member: ArrayLike,
    group: Sequence[str],
    seed: int,
    n_resamples: int = 2000,
) -> dict[str, Any]:
    """Metrics of a minus those of b on the same rows and resamples, keyed as in `evaluate`.

    The two-sided p-value of the AUROC difference d inverts the percentile interval,
    p = min(1, 2 (1 + min(#{d* <= 0}, #{d* >= 0})) / (n_resamples + 1)) over the replicates d*: at
    least 2 / (n_resamples + 1), and None where there is no interval.
    Raises ValueError as `evaluate` does.
    """
    _, y = roc.validate(scores_a, is_member)
    boot = Bootstrap.of(y, group, seed, n_resamples)
    a, b = ScoreCuts.of(scores_a, y), ScoreCuts.of(scores_b, y)

    def statistic(weights: Ints) -> dict[str, Floats]:
        of_a, of_b = a.count(weights), b.count(weights)
        return {
            "auroc": roc.auroc_from_counts(*of_a) - roc.auroc_from_counts(*of_b),
            "0.01": roc.tpr_within(*of_a, 0.01) - roc.tpr_within(*of_b, 0.01),
        }

    values = boot.replicates(statistic)
    p = _two_sided_p(values["auroc"][1:])
    auroc = boot.interval(values["auroc"]).to_json()
    at_fpr = tpr_entry(roc.tpr_at_fpr(scores_a, y, 0.01), boot.interval(values["0.01"]))
    return {
        "auroc": {**auroc, "p_value": p if boot.reason is None else None},
        "tpr_at_fpr": {"0.01": at_fpr},
    }


def _two_sided_p(d: Floats) -> float:
    return min(1.0, 2 * (1 + min(int((d <= 0).sum()), int((d >= 0).sum()))) / (d.size + 1))


def auroc_replicates(
    scores: ArrayLike,
    is_member: ArrayLike,
    group: Sequence[str],
    seed: int,
    n_resamples: int = 2000,
) -> Floats:
    """AUROC (1 + n_resamples,) on all rows and on every resample; (1,) where no interval exists.

    Those of one attack minus those of another on the same rows are the replicates of
    `paired_difference`: kept once per attack, they answer for every pair of attacks.
    Raises ValueError as `evaluate` does.
    """
    s, y = roc.validate(scores, is_member)
    boot = Bootstrap.of(y, group, seed, n_resamples)
    if boot.reason is not None:
        return np.array([roc.auroc(s, y)])
    by_pairs = y.sum() * (~y).sum() <= MAX_MULTIPLIED_PAIRS
    return boot.replicates(_by_pairs(s, y) if by_pairs else _by_cuts(s, y))["auroc"]


def _by_cuts(s: Floats, y: Bools) -> Statistic:
    cuts = ScoreCuts.of(s, y)
    return lambda weights: {"auroc": roc.auroc_from_counts(*cuts.count(weights))}


def _by_pairs(s: Floats, y: Bools) -> Statistic:
    """The same to the bit, as a matrix product over pairs: a fifth of the time for few rows."""
    higher = s[y][:, None] > s[~y]
    # twice the points of a pair, whole numbers far below 2^24: exact in single precision
    points = (2 * higher + (s[y][:, None] == s[~y])).astype(np.float32)

    def statistic(weights: Ints) -> dict[str, Floats]:
        members, others = weights[:, y], weights[:, ~y]
        won = members.astype(np.float32) @ points
        twice_u = np.einsum("bn,bn->b", won.astype(np.float64), others.astype(np.float64))
        return {"auroc": twice_u / (2 * members.sum(axis=1) * others.sum(axis=1))}

    return statistic


def difference_of_replicates(a: Floats, b: Floats) -> dict[str, float | None]:
    """The AUROC entry of `paired_difference` from `auroc_replicates` of both."""
    d = a - b
    if d.size == 1:
        return {"value": float(d[0]), "lo": None, "hi": None, "p_value": None}
    lo, hi = np.quantile(d[1:], QUANTILES)
    p = _two_sided_p(d[1:])
    return {"value": float(d[0]), "lo": float(lo), "hi": float(hi), "p_value": p}


def _flags(rows: EvaluationRows, auroc: float | None) -> list[str]:
    """What a reader of the numbers must know, as stable identifiers.

    `few_false_positives_*`, `no_member_missed_*`, `extreme_auroc`: an interval that is longer than
    95 % asks for. `uncalibrated`: no threshold was fixed.
    """
    points, thresholds = rows.tpr_points, rows.thresholds
    budgets = {f"tpr_{name.replace('.', '_')}": point.k for name, point in points.items()}
    if thresholds.tau_acc is not None:
        budgets["tau_fpr01"] = thresholds.fpr01_k
    flags = [
        f"{'undefined' if k < 1 else 'low_resolution'}_{name}"
        for name, k in budgets.items()
        if k < roc.LOW_RESOLUTION_BUDGET
    ]
    flags += [
        f"{reason}_tpr_{name.replace('.', '_')}"
        for reason in ("few_false_positives", "no_member_missed")
        for name, point in points.items()
        if unlike_percentiles(point)[reason]
    ]
    if auroc is not None and not 1 - EXTREME_AUROC <= auroc <= EXTREME_AUROC:
        flags.append("extreme_auroc")
    if rows.bootstrap.reason is not None:
        flags.append("no_interval")
    return flags if thresholds.tau_acc is not None else [*flags, "uncalibrated"]
