"""The metrics of metrics.json with 95 % intervals that take near-duplicate groups as the unit.

TPR at a fixed FPR and differences get percentiles of resampled groups. These are too short near 0
and 1 and where next to no false positive is allowed: `intervals` has what is used there, and
docs/honesty.md how often each covers.

Intervals are conditional on target, shadow and calibrated thresholds. The decision rule is that of
`metrics`: `score > tau`, strictly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from numpy.typing import ArrayLike

from mia_bench.metrics import intervals, roc
from mia_bench.metrics.bootstrap import Bootstrap, Interval
from mia_bench.metrics.roc import Bools, Floats, Ints, ScoreCuts, TprAtFpr
from mia_bench.metrics.thresholds import Thresholds, oracle_accuracy, permuted_oracle

FPRS = (0.01, 0.001)
FEW_FALSE_POSITIVES = (
    4  # fewer allowed false positives than this, and percentiles miss the truth too often
)
EXTREME_AUROC = 0.99  # an AUROC beyond which its interval covers more than 95 %


def evaluate(
    scores: ArrayLike,
    is_member: ArrayLike,
    group: Sequence[str],
    thresholds: Thresholds,
    seed: int,
    n_resamples: int = 2000,
) -> dict[str, Any]:
    """The entries of metrics.json that follow from scores, as plain JSON values without NaN or inf.

    scores, is_member, group: (N,) evaluation rows; `thresholds` come from calibration rows.
    `asr` is the balanced accuracy at tau_acc, `tpr_calibrated` and `realised_fpr` are at tau_fpr01.
    Raises ValueError as `metrics.validate` and `Bootstrap.of` do.
    """
    s, y = roc.validate(scores, is_member)
    boot, cuts = Bootstrap.of(y, group, seed, n_resamples), ScoreCuts.of(s, y)

    def statistic(weights: Ints) -> dict[str, Floats]:
        tp, fp = cuts.count(weights)
        tails = {f"{fpr:g}": roc.tpr_within(tp, fp, fpr) for fpr in FPRS}
        return {"auroc": roc.auroc_from_counts(tp, fp), **tails}

    points = {f"{fpr:g}": roc.tpr_at_fpr(s, y, fpr) for fpr in FPRS}
    replicates = boot.replicates(statistic)
    known = {name: boot.interval(v) for name, v in replicates.items()}
    known |= _at_thresholds(s, y, boot, thresholds)
    if boot.reason is None:
        known["auroc"] = _area(boot, replicates["auroc"])
        known |= dict(_rare(s, y, boot, points))
    absent = Interval(None, None, None, thresholds.reason or "no threshold was calibrated")
    names = ("auroc", "asr", "tpr_calibrated", "realised_fpr")
    return {
        **{name: known.get(name, absent).to_json() for name in names},
        "tpr_at_fpr": {name: _at_fpr(point, known[name]) for name, point in points.items()},
        "asr_oracle": oracle_accuracy(s, y),
        "asr_oracle_permuted": permuted_oracle(s, y, seed),
        "n_members": int(y.sum()),
        "n_nonmembers": int((~y).sum()),
        "thresholds": asdict(thresholds),
        "flags": _flags(points, thresholds, boot, known["auroc"]),
    }


def _area(boot: Bootstrap, replicates: Floats) -> Interval:
    value = float(replicates[0])
    all_of_them, none_of_them = (
        intervals.jeffreys(ideal, boot.worth(member=ideal == 1)) for ideal in (1.0, 0.0)
    )
    return Interval(
        value, *intervals.auroc_interval(value, replicates[1:], all_of_them, none_of_them)
    )


def _rare(
    s: Floats, y: Bools, boot: Bootstrap, points: dict[str, TprAtFpr]
) -> Iterator[tuple[str, Interval]]:
    """TPR where 1 <= k < FEW, and where it is 1: groups drawn again miss no member either."""
    for name, point in points.items():
        if any(_past_percentiles(point).values()):
            limits = intervals.rare_tpr(
                s, y, boot.row_group, float(name), boot.seed, boot.n_resamples
            )
            yield name, Interval(point.value, *limits)


def _past_percentiles(point: TprAtFpr) -> dict[str, bool]:
    """Which of the reasons there are to distrust percentiles of resampled groups hold."""
    return {
        "few_false_positives": 1 <= point.k < FEW_FALSE_POSITIVES,
        "no_member_missed": point.value == 1,
    }


def _at_thresholds(
    s: Floats, y: Bools, boot: Bootstrap, thresholds: Thresholds
) -> dict[str, Interval]:
    """asr, and where tau_fpr01 is known tpr_calibrated and realised_fpr."""

    def rates(tau: float) -> tuple[intervals.RateInterval, intervals.RateInterval]:
        tpr, fpr = (intervals.rate(s[at] > tau, boot.row_group[at]) for at in (y, ~y))
        return tpr, fpr

    def interval(value: float, lo: float, hi: float) -> Interval:
        if boot.reason is not None:
            return Interval(value, None, None, boot.reason)
        return Interval(value, lo, hi)

    tpr, fpr = rates(thresholds.tau_acc)
    found = {
        "asr": interval(
            0.5 + (tpr.value - fpr.value) / 2, *intervals.balanced_accuracy_interval(tpr, fpr)
        )
    }
    if thresholds.tau_fpr01 is not None:
        tpr, fpr = rates(thresholds.tau_fpr01)
        found["tpr_calibrated"] = interval(tpr.value, tpr.lo, tpr.hi)
        found["realised_fpr"] = interval(fpr.value, fpr.lo, fpr.hi)
    return found


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
    d = values["auroc"][1:]
    p = min(1.0, 2 * (1 + min(int((d <= 0).sum()), int((d >= 0).sum()))) / (d.size + 1))
    auroc = boot.interval(values["auroc"]).to_json()
    at_fpr = _at_fpr(roc.tpr_at_fpr(scores_a, y, 0.01), boot.interval(values["0.01"]))
    return {
        "auroc": {**auroc, "p_value": p if boot.reason is None else None},
        "tpr_at_fpr": {"0.01": at_fpr},
    }


def _at_fpr(point: TprAtFpr, interval: Interval) -> dict[str, Any]:
    """The interval, or the reason why the point is undefined, with the budget it rests on."""
    shown = interval if point.value is not None else Interval(None, None, None, point.reason)
    return {**shown.to_json(), "k": point.k, "low_resolution": point.low_resolution}


def _flags(
    points: dict[str, TprAtFpr], thresholds: Thresholds, boot: Bootstrap, auroc: Interval
) -> list[str]:
    """What a reader of the numbers must know, as stable identifiers.

    `few_false_positives_*`, `no_member_missed_*`, `extreme_auroc`: an interval that is longer than
    95 % asks for.
    """
    resolutions = {f"tpr_{name.replace('.', '_')}": point.k for name, point in points.items()}
    resolutions["tau_fpr01"] = thresholds.fpr01_k
    flags = [
        f"{'undefined' if k < 1 else 'low_resolution'}_{name}"
        for name, k in resolutions.items()
        if k < roc.LOW_RESOLUTION_BUDGET
    ]
    flags += [
        f"{reason}_tpr_{name.replace('.', '_')}"
        for reason in ("few_false_positives", "no_member_missed")
        for name, point in points.items()
        if _past_percentiles(point)[reason]
    ]
    if auroc.value is not None and not 1 - EXTREME_AUROC <= auroc.value <= EXTREME_AUROC:
        flags.append("extreme_auroc")
    return flags if boot.reason is None else [*flags, "no_interval"]
