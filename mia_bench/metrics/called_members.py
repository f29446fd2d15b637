"""How many rows of another kind are called members, at thresholds fixed on calibration rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mia_bench.metrics.intervals import rate
from mia_bench.metrics.roc import Floats, auroc, false_positive_budget, too_few

CALLED_FPRS = (0.01, 0.05)


def threshold_at(nonmembers: Floats, fpr: float) -> float | None:
    """The smallest score that at most floor(n fpr) calibration `nonmembers` (n,) exceed; None where
    that is not one of them."""
    if not nonmembers.size or not (allowed := int(false_positive_budget(nonmembers.size, fpr))):
        return None
    return float(np.sort(nonmembers)[nonmembers.size - 1 - allowed])


def called_members(
    scores: Floats,
    group: NDArray[np.str_],
    members: Floats,
    nonmembers: Floats,
    calibration_nonmembers: Floats,
) -> dict[str, Any]:
    """What metrics.json says of rows that are no data.

    Args:
        scores: of the rows, (N,); `group`: of near-duplicates, (N,).
        members, nonmembers: scores of evaluation rows.
        calibration_nonmembers: scores that fix the thresholds.

    Returns:
        `n`; `auroc` of the rows against non-members; by FPR the `threshold` and the share of rows
        above it with its 95 % interval, and of `members` and `nonmembers`, or the `reason` why
        there is none.
    """
    labels = np.repeat([True, False], [scores.size, nonmembers.size])
    shares: dict[str, Any] = {}
    for fpr in CALLED_FPRS:
        tau = threshold_at(calibration_nonmembers, fpr)
        if tau is None:
            reason = too_few(calibration_nonmembers.size, fpr)
            shares[f"{fpr:g}"] = {"value": None, "lo": None, "hi": None, "reason": reason}
            continue
        _, codes = np.unique(group, return_inverse=True)
        share = rate(scores > tau, codes)
        shares[f"{fpr:g}"] = {
            "value": share.value,
            "lo": share.lo,
            "hi": share.hi,
            "threshold": tau,
            "members": float((members > tau).mean()),
            "nonmembers": float((nonmembers > tau).mean()),
        }
    area = auroc(np.concatenate([scores, nonmembers]), labels)
    return {"n": int(scores.size), "auroc": area, "called_members": shares}
