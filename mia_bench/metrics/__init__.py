"""Point values of membership inference: AUROC, ROC, TPR at a fixed FPR, thresholds, accuracies.

Members are the positive class and a higher score means member. One decision rule holds at every
ROC point and at every threshold: **a row is called a member when `score > tau`, strictly**. Rows
that share a score are decided together and nothing is interpolated.

A *cut* i calls the i highest distinct scores members, i = 0 .. D. Everything but the thresholds
follows from the true and false positives `tp`, `fp` (..., D + 1) of the cuts; the leading axes are
bootstrap replicates. Counts are integers: ties between cuts are exact, and strictly monotone
transforms of the scores change nothing.
"""

from mia_bench.metrics.roc import (
    BLOCK_ENTRIES,
    LOW_RESOLUTION_BUDGET,
    Bools,
    Floats,
    Ints,
    Roc,
    ScoreCuts,
    TprAtFpr,
    auroc,
    auroc_from_counts,
    budget_cut,
    cumulate,
    false_positive_budget,
    gain,
    rates,
    roc_curve,
    too_few,
    tpr_at_fpr,
    tpr_within,
    validate,
)
from mia_bench.metrics.thresholds import (
    CALIBRATED_FPR,
    UNCALIBRATED,
    Thresholds,
    balanced_accuracy,
    fit_thresholds,
    oracle_accuracy,
    permuted_oracle,
)

__all__ = [
    "BLOCK_ENTRIES",
    "CALIBRATED_FPR",
    "LOW_RESOLUTION_BUDGET",
    "UNCALIBRATED",
    "Bools",
    "Floats",
    "Ints",
    "Roc",
    "ScoreCuts",
    "Thresholds",
    "TprAtFpr",
    "auroc",
    "auroc_from_counts",
    "balanced_accuracy",
    "budget_cut",
    "cumulate",
    "false_positive_budget",
    "fit_thresholds",
    "gain",
    "oracle_accuracy",
    "permuted_oracle",
    "rates",
    "roc_curve",
    "too_few",
    "tpr_at_fpr",
    "tpr_within",
    "validate",
]
