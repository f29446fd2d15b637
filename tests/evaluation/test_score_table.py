"""Any table of scores gets the metrics of a run; what cannot be judged says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mia_bench.evaluation.score_table import differences, judge, with_bounds
from mia_bench.metrics import fit_thresholds
from mia_bench.metrics.summary import evaluate
from mia_bench.utils.errors import MiaError


def table(n: int = 100, seed: int = 0, calibrated: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    member = np.tile([True, False], n)
    ids = [f"x{i}" for i in range(2 * n)]
    known = np.arange(2 * n) < n if calibrated else np.zeros(2 * n, dtype=bool)
    return pd.DataFrame(
        {
            "sample_id": ids,
            "group": ids,
            "is_member": member,
            "score": rng.normal(size=2 * n) + member,
            "calibration": known,
        }
    )


def test_metrics_are_those_of_the_protocol():
    """Thresholds from calibration rows, everything else from the others; AUC as scikit-learn's."""
    rows = table()
    found = judge(rows, 3, 200)
    judged, known = rows[~rows.calibration], rows[rows.calibration]
    thresholds = fit_thresholds(known.score, known.is_member)
    groups = judged.group.tolist()
    expected = evaluate(judged.score, judged.is_member, groups, thresholds, 3, 200)
    assert found.metrics == expected
    value = roc_auc_score(judged.is_member, judged.score)
    assert found.metrics["auroc"]["value"] == pytest.approx(value, abs=1e-12)
    assert len(found.rows) == 100


def test_calibration_rows_move_thresholds_alone():
    rows = table()
    moved = rows.assign(score=rows.score + 5 * rows.calibration)
    a, b = judge(rows, 0, 200).metrics, judge(moved, 0, 200).metrics
    assert a["auroc"] == b["auroc"]
    assert a["asr"] != b["asr"]


def test_without_calibration_rows_the_calibrated_figures_are_absent_with_the_reason():
    found = judge(table(calibrated=False), 0, 200).metrics
    for name in ("asr", "tpr_calibrated", "realised_fpr"):
        assert found[name]["value"] is None
        assert "no calibration rows" in found[name]["reason"]
    assert found["thresholds"]["tau_acc"] is None
    assert "uncalibrated" in found["flags"]
    assert found["auroc"]["lo"] < found["auroc"]["value"] < found["auroc"]["hi"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="calibration"), "no column calibration"),
        (lambda t: t.assign(score=np.nan), "non-finite"),
        (lambda t: t.assign(is_member=t.is_member | ~t.calibration), "no non-members"),
        (lambda t: t.assign(is_member=t.is_member | t.calibration), "calibration rows: .*no non-"),
        (lambda t: t.assign(sample_id="same"), "99 sample ids occur twice"),
        (lambda t: t.assign(group="one"), "hold members and non-members"),
    ],
)
def test_what_cannot_be_judged_says_why(change, said):
    with pytest.raises(MiaError, match=said):
        judge(change(table()), 0, 200)


def test_differences_name_the_figure_and_ignore_rounding():
    found = judge(table(), 0, 200).metrics
    assert differences(found, found) == []
    nearly = {**found, "auroc": {**found["auroc"], "value": found["auroc"]["value"] + 1e-12}}
    assert differences(nearly, found) == []
    wrong = {**found, "auroc": {**found["auroc"], "value": 0.123}}
    (said,) = differences(wrong, found)
    assert said.startswith("auroc value")
    assert said.endswith("stored 0.1230")
    assert any("asr is not stored" in s for s in differences({**found, "asr": None}, found))


def test_stored_bounds_can_stand_in():
    stored, quick = judge(table(), 0, 400).metrics, judge(table(), 0, 1).metrics
    assert quick["auroc"]["lo"] != stored["auroc"]["lo"]
    with_bounds(quick, stored)
    assert quick["auroc"] == stored["auroc"]
    assert quick["tpr_at_fpr"]["0.01"] == stored["tpr_at_fpr"]["0.01"]
