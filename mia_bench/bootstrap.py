"""95 % percentile intervals from a bootstrap of near-duplicate groups, stratified by membership.

In each class as many groups as there are get drawn with replacement (Efron & Tibshirani 1993, ch. 8
and 13): every row gets an integer weight that depends on seed, group labels and membership, not on
scores or row order. All metrics and all score vectors share the weights: differences are paired.

Intervals are conditional on target, shadow and calibrated thresholds. The decision rule is that of
`metrics`: `score > tau`, strictly. Where the sample separates perfectly the interval is [1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mia_bench import metrics
from mia_bench.metrics import BLOCK, Bools, Cuts, Floats, Ints, Thresholds, TprAtFpr

FPRS = (0.01, 0.001)
KEPT = 1 << 22  # entries of one set of weights that stays in memory, 32 MB
_kept: dict[tuple[bytes, bytes, int, int], list[Ints]] = {}
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """Value on the full data and its 95 % interval; what is None is explained by `reason`."""

    value: float | None
    lo: float | None
    hi: float | None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """{"value", "lo", "hi"} and, where there is one, "reason"."""
        return {k: v for k, v in asdict(self).items() if k != "reason" or v is not None}


@dataclass(frozen=True)
class Bootstrap:
    """Row weights by resampled groups: `row_group` (N,) indexes `member_group` (G,)."""

    row_group: Ints
    member_group: Bools
    seed: int
    n_resamples: int

    @classmethod
    def of(
        cls, is_member: ArrayLike, group: Sequence[str], seed: int, n_resamples: int = 2000
    ) -> Bootstrap:
        """From membership (N,) and group labels (N,).

        Raises ValueError when lengths differ, a label is no string, a group holds both classes, or
        n_resamples < 1.
        """
        if n_resamples < 1:
            raise ValueError(f"n_resamples is {n_resamples}: ask for at least one, better 2000")
        y = np.asarray(is_member, dtype=np.bool_)
        labels, row_group = np.unique(_labels(group, y.size), return_inverse=True)
        member_rows = np.bincount(row_group, weights=y)
        mixed = np.flatnonzero((member_rows > 0) & (member_rows < np.bincount(row_group)))
        if mixed.size:
            raise ValueError(
                f"{mixed.size} groups hold members and non-members, the first is "
                f"'{labels[mixed[0]]}': split whole near-duplicate groups, never their rows"
            )
        return cls(row_group.astype(np.int64), member_rows > 0, seed, n_resamples)

    @property
    def reason(self) -> str | None:
        """Why there can be no interval, or None: one group resampled is that group again."""
        members = int(self.member_group.sum())
        for name, n in (("member", members), ("non-member", self.member_group.size - members)):
            if n < 2:
                return f"{n} {name} group: an interval needs at least 2 groups in each class"
        return None

    def weights(self) -> Iterator[Ints]:
        """Blocks (b, N) of row weights, n_resamples rows in all; the same at every call."""
        if self.row_group.size * self.n_resamples > KEPT:
            yield from self._drawn()
            return
        key = (self.row_group.tobytes(), self.member_group.tobytes(), self.seed, self.n_resamples)
        if key not in _kept:  # all cells of a target are judged on the same rows
            _kept.clear()
            _kept[key] = list(self._drawn())
        yield from _kept[key]

    def _drawn(self) -> Iterator[Ints]:
        strata = [np.flatnonzero(self.member_group), np.flatnonzero(~self.member_group)]
        # one stream per class, read replicate by replicate: the block size cannot matter
        streams = [np.random.default_rng([self.seed, stratum]) for stratum in (1, 2)]
        size = max(1, BLOCK // self.row_group.size)
        for start in range(0, self.n_resamples, size):
            b = min(size, self.n_resamples - start)
            counts = np.empty((b, self.member_group.size), dtype=np.int64)
            for groups, rng in zip(strata, streams, strict=True):
                counts[:, groups] = _draw(rng, b, groups.size)
            yield counts[:, self.row_group]

    def replicates(self, statistic: Callable[[Ints], dict[str, Floats]]) -> dict[str, Floats]:
        """(1 + n_resamples,) of each metric, full data first; `statistic` maps (b, N) to (b,)."""
        unit = np.ones((1, self.row_group.size), dtype=np.int64)
        blocks = [statistic(weights) for weights in chain([unit], self.weights())]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def interval(self, replicates: Floats) -> Interval:
        """Percentile interval of one metric, as `replicates` returns it."""
        value = float(replicates[0])
        if self.reason is not None:
            return Interval(value, None, None, self.reason)
        lo, hi = np.quantile(replicates[1:], QUANTILES)
        return Interval(value, float(lo), float(hi))


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
    s, y = metrics.validate(scores, is_member)
    boot, cuts = Bootstrap.of(y, group, seed, n_resamples), Cuts.of(s, y)

    def statistic(weights: Ints) -> dict[str, Floats]:
        tp, fp = cuts.count(weights)
        tpr, false = metrics.rates(tp, fp, cuts.at(thresholds.tau_acc))
        found = {"auroc": metrics.area(tp, fp), "asr": 0.5 + (tpr - false) / 2}
        found |= {f"{fpr:g}": metrics.tpr_within(tp, fp, fpr) for fpr in FPRS}
        if thresholds.tau_fpr01 is not None:
            tpr, false = metrics.rates(tp, fp, cuts.at(thresholds.tau_fpr01))
            found |= {"tpr_calibrated": tpr, "realised_fpr": false}
        return found

    known = {name: boot.interval(v) for name, v in boot.replicates(statistic).items()}
    absent = Interval(None, None, None, thresholds.reason or "no threshold was calibrated")
    points = {f"{fpr:g}": metrics.tpr_at_fpr(s, y, fpr) for fpr in FPRS}
    names = ("auroc", "asr", "tpr_calibrated", "realised_fpr")
    return {
        **{name: known.get(name, absent).to_json() for name in names},
        "tpr_at_fpr": {name: _at_fpr(point, known[name]) for name, point in points.items()},
        "asr_oracle": metrics.oracle_accuracy(s, y),
        "asr_oracle_permuted": metrics.permuted_oracle(s, y, seed),
        "n_members": int(y.sum()),
        "n_nonmembers": int((~y).sum()),
        "thresholds": asdict(thresholds),
        "flags": _flags(points, thresholds, boot),
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
    _, y = metrics.validate(scores_a, is_member)
    boot = Bootstrap.of(y, group, seed, n_resamples)
    a, b = Cuts.of(scores_a, y), Cuts.of(scores_b, y)

    def statistic(weights: Ints) -> dict[str, Floats]:
        of_a, of_b = a.count(weights), b.count(weights)
        return {
            "auroc": metrics.area(*of_a) - metrics.area(*of_b),
            "0.01": metrics.tpr_within(*of_a, 0.01) - metrics.tpr_within(*of_b, 0.01),
        }

    values = boot.replicates(statistic)
    d = values["auroc"][1:]
    p = min(1.0, 2 * (1 + min(int((d <= 0).sum()), int((d >= 0).sum()))) / (d.size + 1))
    auroc = boot.interval(values["auroc"]).to_json()
    at_fpr = _at_fpr(metrics.tpr_at_fpr(scores_a, y, 0.01), boot.interval(values["0.01"]))
    return {
        "auroc": {**auroc, "p_value": p if boot.reason is None else None},
        "tpr_at_fpr": {"0.01": at_fpr},
    }


def _at_fpr(point: TprAtFpr, interval: Interval) -> dict[str, Any]:
    """The interval, or the reason why the point is undefined, with the budget it rests on."""
    shown = interval if point.value is not None else Interval(None, None, None, point.reason)
    return {**shown.to_json(), "k": point.k, "low_resolution": point.low_resolution}


def _flags(points: dict[str, TprAtFpr], thresholds: Thresholds, boot: Bootstrap) -> list[str]:
    """What a reader of the numbers must know, as stable identifiers."""
    resolutions = {f"tpr_{name.replace('.', '_')}": point.k for name, point in points.items()}
    resolutions["tau_fpr01"] = thresholds.fpr01_k
    flags = [
        f"{'undefined' if k < 1 else 'low_resolution'}_{name}"
        for name, k in resolutions.items()
        if k < metrics.LOW_RESOLUTION
    ]
    return flags if boot.reason is None else [*flags, "no_interval"]


def _labels(group: Sequence[str], n: int) -> NDArray[np.str_]:
    """Group labels (n,), refused where a missing label would silently join rows into one group."""
    if len(group) != n:
        raise ValueError(f"{len(group)} group labels for {n} rows: pass one label per row")
    bad = next((i for i, label in enumerate(group) if not isinstance(label, str)), None)
    if bad is not None:
        raise ValueError(f"group label {group[bad]!r} at index {bad} is no string: label every row")
    return np.asarray(group, dtype=np.str_)


def _draw(rng: np.random.Generator, b: int, n: int) -> Ints:
    """How often each of n groups occurs in n draws with replacement, b times over: (b, n)."""
    drawn = rng.integers(n, size=(b, n))
    drawn += n * np.arange(b)[:, None]
    return np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n)
