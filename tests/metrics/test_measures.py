"""What the entries of the registry measure, against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest
from samples import mixed_groups

from mia_bench.metrics import Thresholds
from mia_bench.metrics.evaluation_rows import EvaluationRows
from mia_bench.metrics.measures import asr, asr_oracle, realised_fpr, tpr_calibrated

TAU_ACC, TAU_FPR = 0.35, 1.9


def test_rates_at_calibrated_thresholds_are_shares_of_rows():
    scores, is_member, group = mixed_groups(4)
    rows = EvaluationRows.of(scores, is_member, group, Thresholds(TAU_ACC, TAU_FPR, 2), 3, 60)

    def share(tau: float, member: bool) -> float:
        return float(
            np.mean([s > tau for s, y in zip(scores, is_member, strict=True) if y == member])
        )

    assert tpr_calibrated(rows)["value"] == pytest.approx(share(TAU_FPR, True))
    assert realised_fpr(rows)["value"] == pytest.approx(share(TAU_FPR, False))
    balanced = [0.5 + (share(tau, True) - share(tau, False)) / 2 for tau in (TAU_ACC, *scores)]
    assert asr(rows)["value"] == pytest.approx(balanced[0])
    assert asr_oracle(rows) == pytest.approx(max(balanced))


def test_without_a_threshold_there_is_a_reason_and_no_figure():
    rows = EvaluationRows.of(*mixed_groups(4), Thresholds(None, None, 0, "too few"), 3, 60)
    for measure in (asr, tpr_calibrated, realised_fpr):
        figure = measure(rows)
        assert (figure["value"], figure["reason"]) == (None, "too few")
