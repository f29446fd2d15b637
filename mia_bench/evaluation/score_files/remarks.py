"""What a reader of figures made from a file of scores must know before believing them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mia_bench.evaluation.score_files import measuring
from mia_bench.evaluation.score_files.measuring import Scores
from mia_bench.metrics.evaluation_rows import FPRS
from mia_bench.metrics.registry import entry
from mia_bench.metrics.roc import false_positive_budget

TIED_SHARE = 0.1  # share of the allowed false positives that ties may cost without a word


def remarks(scores: Scores) -> list[str]:
    """What a reader of the figures must know before believing them."""
    metrics = scores.measured.metrics
    auroc, tpr = entry(metrics, "auroc"), entry(metrics, "tpr_at_fpr_0_01")
    lines = []
    if auroc["hi"] is not None and auroc["hi"] < 0.5:
        lines.append(
            f"members score lower than non-members (AUC {auroc['value']:.3f}). A higher score must "
            "mean member: if this is a loss or a distance, add negate=true; if 1 marks "
            "non-members, swap the labels."
        )
    if metrics["thresholds"]["tau_acc"] is None:
        lines.append(
            "no calibration rows, so ASR, TPR and FPR at a calibrated threshold are absent; the "
            "oracle ASR is chosen on the rows it is measured on. Mark rows of known membership "
            "with calibration=true to get them."
        )
    if tpr.get("reason"):
        lines.append(f"{tpr['reason']}.")
    if len(scores.table) > measuring.LARGE_ROWS:
        large = measuring.LARGE_DRAWS
        lines.append(
            f"of more than {measuring.LARGE_ROWS:,} rows, intervals rest on fewer resamples "
            "(resamples=2000 draws as many as for a small file), the permuted oracle on "
            f"{large.permutations} permutations, and the set size on {large.set_groups:,} groups "
            "of each class."
        )
    return [*lines, *_tie_remarks(scores)]


def _tie_remarks(scores: Scores) -> list[str]:
    """Where rows of one score decide a TPR: fewer false positives are made than are allowed."""
    lines = []
    roc, metrics = scores.measured.roc, scores.measured.metrics
    n = metrics["n_nonmembers"]
    false_positives = np.rint(roc.fpr * n).astype(np.int64)
    for rate in FPRS:
        allowed = int(false_positive_budget(n, rate))
        if allowed < 1:
            continue
        cut = int(np.flatnonzero(false_positives <= allowed)[-1])
        made = int(false_positives[cut])
        if made <= (1 - TIED_SHARE) * allowed and cut + 1 < len(false_positives):
            tied = int(false_positives[cut + 1]) - made
            lines.append(
                f"ties decide the TPR at {100 * rate:g} % FPR: {allowed} false positives are "
                f"allowed, but the next {tied} non-members share one score, so {made} are made and "
                f"the TPR of {roc.tpr[cut]:.3f} is that at {100 * roc.fpr[cut]:.2g} % FPR."
            )
    return lines


def joint_remarks(files: Sequence[Scores]) -> list[str]:
    """The remarks of all files, each once, with the names of those it is about."""
    about: dict[str, list[str]] = {}
    for scores in files:
        for line in remarks(scores):
            about.setdefault(line, []).append(scores.name)
    return [f"{', '.join(names)}: {line}" for line, names in about.items()]
