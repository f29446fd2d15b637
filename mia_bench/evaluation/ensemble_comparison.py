"""The ensemble beside the single attacks it is made of, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from mia_bench.metrics import roc
from mia_bench.metrics.summary import paired_difference


def compare(
    scores_by_attack: Mapping[str, ArrayLike],
    ensemble_scores: ArrayLike,
    is_member: ArrayLike,
    group: Sequence[str],
    seed: int,
    calibration_auroc: Mapping[str, float],
) -> dict[str, Any]:
    """The ensemble minus the best single attack on the same evaluation rows, as plain JSON.

    Best is the attack with the highest out-of-fold AUROC on calibration rows, given by attack in
    `calibration_auroc`: chosen on the evaluation rows it would owe part of its lead to luck on
    those rows. The best by evaluation rows is given too, with that remark.

    scores_by_attack, ensemble_scores, is_member, group: (N,) evaluation rows; `difference` as in
    `bootstrap.paired_difference`.
    Raises ValueError as that does, and for attacks without scores or calibration AUROC.
    """
    if not scores_by_attack or set(scores_by_attack) != set(calibration_auroc):
        raise ValueError(
            f"scores of {sorted(scores_by_attack)} and calibration AUROC of "
            f"{sorted(calibration_auroc)}: pass both for the same attacks, one at least"
        )
    aurocs = {a: roc.auroc(s, is_member) for a, s in sorted(scores_by_attack.items())}

    def against(attack: str) -> dict[str, Any]:
        single = scores_by_attack[attack]
        return {
            "attack": attack,
            "auroc": aurocs[attack],
            "calibration_auroc": calibration_auroc[attack],
            "difference": paired_difference(ensemble_scores, single, is_member, group, seed),
        }

    return {
        "auroc": roc.auroc(ensemble_scores, is_member),
        "attacks": len(aurocs),
        "best_by_calibration": against(max(aurocs, key=lambda a: calibration_auroc[a])),
        "best_by_evaluation": {
            **against(max(aurocs, key=lambda a: aurocs[a])),
            "remark": f"chosen as the best of {len(aurocs)} on the rows it is measured on, which "
            "flatters it: its AUROC is likely too high and the difference too low",
        },
    }
