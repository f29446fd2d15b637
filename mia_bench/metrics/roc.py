"""Point values of membership inference: AUROC, ROC, TPR at a fixed FPR, thresholds, accuracies.

Members are the positive class and a higher score means member. One decision rule holds at every
ROC point and at every threshold: **a row is called a member when `score > tau`, strictly**. Rows
that share a score are decided together and nothing is interpolated.

A *cut* i calls the i highest distinct scores members, i = 0 .. D. Everything but the thresholds
follows from the true and false positives `tp`, `fp` (..., D + 1) of the cuts; the leading axes are
bootstrap replicates. Counts are integers: ties between cuts are exact, and strictly monotone
transforms of the scores change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LOW_RESOLUTION_BUDGET = (
    10  # fewer allowed false positives than this make a TPR a matter of single rows
)

BLOCK_ENTRIES = 1 << 16  # entries of one (replicates, N) array: 0.5 MB, small enough for the cache


@dataclass(frozen=True)
class Roc:
    """ROC points from (0, 0) to (1, 1), one per cut; all arrays are (D + 1,) float64.

    Point i is what `score > threshold[i]` gives. Thresholds fall strictly and are all finite: the
    distinct scores from the highest down, then the next float below the lowest one.
    """

    fpr: Floats
    tpr: Floats
    threshold: Floats


@dataclass(frozen=True)
class TprAtFpr:
    """TPR with at most `k` false positives; `value` is None, with a `reason`, when k < 1."""

    value: float | None
    k: int
    reason: str | None
    low_resolution: bool


def validate(scores: ArrayLike, is_member: ArrayLike) -> tuple[Floats, Bools]:
    """(scores (N,) float64, is_member (N,) bool) of any two equally long vectors.

    Raises ValueError for other shapes, labels but 0/1, non-finite scores, or one class only.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(is_member)
    if s.ndim != 1 or s.shape != y.shape:
        raise ValueError(
            f"scores have shape {s.shape} and is_member {y.shape}: pass one score and one label "
            "per row, both of shape (N,)"
        )
    if y.dtype != np.bool_ and not np.isin(y, (0, 1)).all():
        raise ValueError(
            "is_member must be boolean or 0/1: pass True for members, False for the rest"
        )
    bad = np.flatnonzero(~np.isfinite(s))
    if bad.size:
        raise ValueError(
            f"scores hold {bad.size} non-finite values of {s.size}, the first is {s[bad[0]]} at "
            f"index {bad[0]}: find out why the attack produced them, no row is dropped silently"
        )
    y = y.astype(np.bool_)
    for name, n in (("members", int(y.sum())), ("non-members", int((~y).sum()))):
        if n == 0:
            raise ValueError(
                f"is_member has no {name} among {y.size} rows: score rows of both classes"
            )
    return s, y


@dataclass(frozen=True)
class ScoreCuts:
    """Rows in falling order of score: `order` (N,) row indices, `positive` (N,) their membership.

    `distinct` (D,) holds the distinct scores, `ends` (D,) how many rows lie at or above each.
    """

    distinct: Floats
    order: Ints
    positive: Ints
    ends: Ints

    @classmethod
    def of(cls, scores: ArrayLike, is_member: ArrayLike) -> ScoreCuts:
        """Inputs as in `validate`, which raises ValueError."""
        s, y = validate(scores, is_member)
        order = np.argsort(-s, kind="stable")
        distinct, counts = np.unique(s, return_counts=True)
        ends = np.cumsum(counts[::-1])
        return cls(distinct[::-1], order, y[order].astype(np.int64), ends)

    def count(self, weights: Ints | None = None) -> tuple[Ints, Ints]:
        """(tp, fp), each (..., D + 1), of integer row weights (..., N), by default of ones."""
        if weights is None:
            weights = np.ones_like(self.order)
        falling = weights[..., self.order]
        tp = cumulate(falling * self.positive, self.ends)
        return tp, cumulate(falling, self.ends) - tp

    def at(self, tau: float) -> int:
        """The cut that `score > tau` makes."""
        return int(np.count_nonzero(self.distinct > tau))

    def tau(self, cut: int) -> float:
        """A threshold that makes this cut: the midpoint inside, the nearest float at both ends."""
        if cut == 0:
            return float(self.distinct[0])
        if cut == self.distinct.size:
            return float(np.nextafter(self.distinct[-1], -np.inf))
        high, low = float(self.distinct[cut - 1]), float(self.distinct[cut])
        middle = low / 2 + high / 2  # halved first: the sum of two large scores may overflow
        return middle if middle < high else low  # neighbouring floats have none between


@dataclass(frozen=True)
class RankedRows:
    """Both classes in falling order of score, for counts under many weights of the rows.

    `member` (n1,), `other` (n0,): where a row's weight stands; `above`, `reached` (n0,): how many
    members lie above each non-member, and how many at or above it.
    """

    member: Ints
    other: Ints
    above: Ints
    reached: Ints

    @classmethod
    def of(cls, scores: ArrayLike, is_member: ArrayLike) -> RankedRows:
        """Inputs as in `validate`, which raises ValueError; weights are those of the rows (N,)."""
        s, y = validate(scores, is_member)
        member, other = (
            rows[np.argsort(-s[rows], kind="stable")]
            for rows in (np.flatnonzero(y), np.flatnonzero(~y))
        )
        above, reached = (np.searchsorted(-s[member], -s[other], side) for side in SIDES)
        return cls(member, other, above, reached)

    def by(self, place: Ints) -> RankedRows:
        """The same where row i has the weight at `place[i]`: of its group, say."""
        return replace(self, member=place[self.member], other=place[self.other])

    def curve(
        self, member: Ints, other: Ints, fprs: Sequence[float]
    ) -> tuple[Floats, list[Floats]]:
        """AUROC (b,) and TPR (b,) within each of `fprs`, of integer weights (b, ...) in which the
        two classes are looked up: what `auroc_from_counts` and `tpr_within` make of all cuts."""
        true = np.zeros((len(member), self.member.size + 1), dtype=np.int64)
        np.cumsum(member[:, self.member], axis=1, out=true[:, 1:])
        false = other[:, self.other]
        n1, n0 = true[:, -1], false.sum(axis=1)
        twice_u = np.einsum("bn,bn->b", false, true[:, self.above])
        twice_u += np.einsum("bn,bn->b", false, true[:, self.reached])
        rates = []
        for fpr in fprs:
            first = _first_beyond(false, false_positive_budget(n0, fpr))
            above = np.take_along_axis(true, self.above[first][:, None], axis=1)
            rates.append(np.asarray(above[:, 0] / n1))
        return twice_u / (2 * n1 * n0), rates


SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")
FIRST_LOOK = 1024  # columns


def _first_beyond(weights: Ints, budget: Ints) -> Ints:
    """(b,) the first column up to which `weights` (b, n) add up to more than `budget` (b,)."""
    columns = FIRST_LOOK
    while True:
        sums = np.cumsum(weights[:, :columns], axis=1)
        if columns >= weights.shape[1] or (sums[:, -1] > budget).all():
            return np.asarray((sums <= budget[:, None]).sum(axis=1))
        columns *= 4


def cumulate(values: Ints, ends: Ints) -> Ints:
    """Sums of the first 0, ends[0], ends[1], ... values of the last axis: (..., D + 1)."""
    out = np.zeros((*values.shape[:-1], ends.size + 1), dtype=np.int64)
    out[..., 1:] = np.cumsum(values, axis=-1, dtype=np.int64)[..., ends - 1]
    return out


def auroc_from_counts(tp: Ints, fp: Ints) -> Floats:
    """AUROC (...,): a non-member loses to the members above it and draws with those beside it.

    U / (n1 n0) with the Mann-Whitney U of mid-ranks; also the trapezoids under the ROC.
    """
    twice_u: Ints = (np.diff(fp) * (tp[..., :-1] + tp[..., 1:])).sum(axis=-1)
    return twice_u / (2 * tp[..., -1] * fp[..., -1])


def rates(tp: Ints, fp: Ints, cut: int) -> tuple[Floats, Floats]:
    """(TPR, FPR) of one cut, each (...,)."""
    return tp[..., cut] / tp[..., -1], fp[..., cut] / fp[..., -1]


def false_positive_budget(n_nonmember: ArrayLike, fpr: float) -> Ints:
    """k = floor(n_nonmember * fpr), where rounding costs nothing: 100 * 0.29 < 29 allows 29.

    Raises ValueError unless 0 < fpr < 1. TPR at a low FPR as the figure of merit: Carlini et al.
    2022 (arXiv 2112.03570).
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr is {fpr}: give a rate strictly between 0 and 1")
    n = np.asarray(n_nonmember)
    return np.asarray(np.minimum(np.floor(n * fpr + 1e-9), n - 1), dtype=np.int64)


def budget_cut(fp: Ints, fpr: float) -> Ints:
    """(...,) the last cut with at most k false positives, k from the replicate's non-members."""
    k = false_positive_budget(fp[..., -1:], fpr)
    return np.asarray((fp <= k).sum(axis=-1) - 1)


def tpr_within(tp: Ints, fp: Ints, fpr: float) -> Floats:
    """(...,) TPR at `budget_cut`; where k is 0, the TPR without any false positive."""
    cut = budget_cut(fp, fpr)[..., None]
    return np.asarray(np.take_along_axis(tp, cut, axis=-1)[..., 0] / tp[..., -1])


def gain(tp: Ints, fp: Ints) -> Ints:
    """(TPR - FPR) n1 n0 of every cut, (..., D + 1); balanced accuracy is 0.5 + gain / (2 n1 n0)."""
    return np.asarray(tp * fp[..., -1:] - fp * tp[..., -1:])


def auroc(scores: ArrayLike, is_member: ArrayLike) -> float:
    """P(member > non-member) + P(equal) / 2: 0.5 is chance. Raises ValueError as `validate`."""
    return float(auroc_from_counts(*ScoreCuts.of(scores, is_member).count()))


def roc_curve(scores: ArrayLike, is_member: ArrayLike) -> Roc:
    """All ROC points; see `Roc`. Inputs as in `validate`, which raises ValueError."""
    cuts = ScoreCuts.of(scores, is_member)
    tp, fp = cuts.count()
    threshold = np.append(cuts.distinct, cuts.tau(cuts.distinct.size))
    return Roc(fpr=fp / fp[-1], tpr=tp / tp[-1], threshold=threshold)


def tpr_at_fpr(scores: ArrayLike, is_member: ArrayLike, fpr: float) -> TprAtFpr:
    """Share of members strictly above the smallest score that at most k non-members exceed.

    That is the (k + 1)-th highest non-member score, k = floor(n_nonmember * fpr). Rows tied with it
    are not flagged: fewer than k false positives may occur, never more.
    Inputs as in `validate`; raises ValueError as it does, and for fpr outside (0, 1).
    """
    return tpr_within_budget(*ScoreCuts.of(scores, is_member).count(), fpr)


def tpr_within_budget(tp: Ints, fp: Ints, fpr: float) -> TprAtFpr:
    """`tpr_at_fpr` from the true and false positives (D + 1,) of all cuts."""
    k = int(false_positive_budget(fp[-1], fpr))
    if k < 1:
        return TprAtFpr(None, k, too_few(int(fp[-1]), fpr), low_resolution=True)
    return TprAtFpr(
        float(tpr_within(tp, fp, fpr)), k, None, low_resolution=k < LOW_RESOLUTION_BUDGET
    )


def too_few(n_nonmember: int, fpr: float) -> str:
    return (
        f"{n_nonmember} non-members allow no false positive at FPR {fpr:g}: "
        f"at least {math.ceil(1 / fpr - 1e-9)} are needed"
    )
