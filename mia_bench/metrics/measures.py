"""What each metric of registry.py measures of the rows that a run is evaluated on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mia_bench.metrics import intervals
from mia_bench.metrics.bootstrap import Interval
from mia_bench.metrics.evaluation_rows import EvaluationRows
from mia_bench.metrics.inference.dataset_inference import dataset_test
from mia_bench.metrics.roc import TprAtFpr
from mia_bench.metrics.thresholds import best_accuracy, permuted_oracle

FEW_FALSE_POSITIVES = 4  # fewer allowed than this, and percentiles miss the truth too often
NO_THRESHOLD = "no threshold was calibrated"


def auroc(rows: EvaluationRows) -> dict[str, Any]:
    """Area under the ROC curve; interval as `intervals.auroc_interval` has it."""
    boot, replicates = rows.bootstrap, rows.curve_replicates["auroc"]
    value = float(replicates[0])
    if boot.reason is not None or not rows.with_limits:
        return Interval(value, None, None, boot.reason).to_json()
    all_called, none_called = (
        intervals.jeffreys(ideal, boot.worth(member=ideal == 1)) for ideal in (1.0, 0.0)
    )
    left_open = partial(intervals.left_by_threshold, rows.scores, rows.is_member, boot.row_group)
    limits = intervals.auroc_interval(value, replicates[1:], all_called, none_called, left_open)
    return Interval(value, *limits).to_json()


def tpr_at(fpr: str) -> Callable[[EvaluationRows], dict[str, Any]]:
    """TPR at a fixed FPR, one of FPRS as text, with the false positives it rests on."""

    def measure(rows: EvaluationRows) -> dict[str, Any]:
        point, boot = rows.tpr_points[fpr], rows.bootstrap
        if not rows.with_limits:
            return tpr_entry(point, Interval(point.value, None, None, boot.reason))
        interval = boot.interval(rows.curve_replicates[fpr])
        if boot.reason is None and any(unlike_percentiles(point).values()):
            limits = intervals.rare_tpr(
                *(rows.scores, rows.is_member, boot.row_group),
                *(float(fpr), boot.seed, boot.n_resamples),
            )
            interval = Interval(point.value, *limits)
        return tpr_entry(point, interval)

    return measure


def tpr_entry(point: TprAtFpr, interval: Interval) -> dict[str, Any]:
    """The interval, or the reason why the point is undefined, with the budget it rests on."""
    defined = interval if point.value is not None else Interval(None, None, None, point.reason)
    return {**defined.to_json(), "k": point.k, "low_resolution": point.low_resolution}


def unlike_percentiles(point: TprAtFpr) -> dict[str, bool]:
    """Which reasons there are not to use percentiles: groups drawn again miss no member either."""
    return {
        "few_false_positives": 1 <= point.k < FEW_FALSE_POSITIVES,
        "no_member_missed": point.value == 1,
    }


def asr(rows: EvaluationRows) -> dict[str, Any]:
    """Balanced accuracy at tau_acc."""
    tau = rows.thresholds.tau_acc
    if tau is None:
        return _absent(rows)
    if not rows.with_limits:
        accuracy = 0.5 + (_share(rows, tau, True) - _share(rows, tau, False)) / 2
        return Interval(accuracy, None, None, rows.bootstrap.reason).to_json()
    tpr, fpr = _rates(rows, tau)
    limits = intervals.balanced_accuracy_interval(tpr, fpr)
    return _with_limits(rows, 0.5 + (tpr.value - fpr.value) / 2, *limits)


def tpr_calibrated(rows: EvaluationRows) -> dict[str, Any]:
    """TPR at tau_fpr01."""
    tau = rows.thresholds.tau_fpr01
    return _absent(rows) if tau is None else _rate(rows, tau, True)


def realised_fpr(rows: EvaluationRows) -> dict[str, Any]:
    """FPR at tau_fpr01, which was to be 0.01."""
    tau = rows.thresholds.tau_fpr01
    return _absent(rows) if tau is None else _rate(rows, tau, False)


def _rates(
    rows: EvaluationRows, tau: float
) -> tuple[intervals.RateInterval, intervals.RateInterval]:
    """(TPR, FPR) of `score > tau`."""
    tpr, fpr = (
        intervals.rate(rows.scores[of] > tau, rows.bootstrap.row_group[of])
        for of in (rows.is_member, ~rows.is_member)
    )
    return tpr, fpr


def _share(rows: EvaluationRows, tau: float, members: bool) -> float:
    """The share of one class with `score > tau`."""
    return float((rows.scores[rows.is_member == members] > tau).mean())


def _rate(rows: EvaluationRows, tau: float, members: bool) -> dict[str, Any]:
    if not rows.with_limits:
        share = _share(rows, tau, members)
        return Interval(share, None, None, rows.bootstrap.reason).to_json()
    rate = _rates(rows, tau)[0 if members else 1]
    return _with_limits(rows, rate.value, rate.lo, rate.hi)


def _with_limits(rows: EvaluationRows, value: float, lo: float, hi: float) -> dict[str, Any]:
    reason = rows.bootstrap.reason
    interval = Interval(value, lo, hi) if reason is None else Interval(value, None, None, reason)
    return interval.to_json()


def _absent(rows: EvaluationRows) -> dict[str, Any]:
    return Interval(None, None, None, rows.thresholds.reason or NO_THRESHOLD).to_json()


def set_size(rows: EvaluationRows) -> dict[str, Any]:
    """Images that dataset inference needs, and the test that says so."""
    return dataset_test(
        rows.scores, rows.is_member, rows.group, rows.seed, most_groups=rows.draws.set_groups
    )


def asr_oracle(rows: EvaluationRows) -> float:
    """Balanced accuracy at the best threshold of the evaluation rows themselves."""
    return best_accuracy(*rows.counts)


def asr_oracle_permuted(rows: EvaluationRows) -> float:
    """Its mean under permuted labels."""
    return permuted_oracle(rows.scores, rows.is_member, rows.seed, rows.draws.permutations)
