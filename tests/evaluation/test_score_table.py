"""Any table of scores gets the metrics of a run; what cannot be judged says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mia_bench.evaluation.score_table import score_table_metrics
from mia_bench.metrics import fit_thresholds
from mia_bench.metrics.inference.dataset_inference import dataset_test
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


def twice(rows, first, calibration):
    """With one more row of an image that is calibrated on, or not."""
    row = rows[rows.calibration == first].iloc[:1]
    return pd.concat([rows, row.assign(calibration=calibration)], ignore_index=True)


def test_metrics_are_those_of_the_protocol():
    """Thresholds from calibration rows, everything else from the others; AUC as scikit-learn's."""
    rows = table()
    measured = score_table_metrics(rows, {}, 3, 200)
    evaluated, calibration = rows[~rows.calibration], rows[rows.calibration]
    thresholds = fit_thresholds(calibration.score, calibration.is_member)
    groups = evaluated.group.tolist()
    arguments = (evaluated.score, evaluated.is_member, groups, thresholds, 3, 200)
    expected = {**evaluate(*arguments, whole_set=True), "controls": {}}
    assert measured.metrics == expected
    value = roc_auc_score(evaluated.is_member, evaluated.score)
    assert measured.metrics["auroc"]["value"] == pytest.approx(value, abs=1e-12)
    in_sets = dataset_test(evaluated.score, evaluated.is_member, groups, 3)
    assert measured.metrics["dataset_test"] == in_sets
    assert len(measured.rows) == 100


def test_calibration_rows_move_thresholds_alone():
    rows = table()
    moved = rows.assign(score=rows.score + 5 * rows.calibration)
    a, b = (score_table_metrics(t, {}, 0, 200).metrics for t in (rows, moved))
    assert a["auroc"] == b["auroc"]
    assert a["asr"] != b["asr"]


def test_without_calibration_rows_the_calibrated_figures_are_absent_with_the_reason():
    found = score_table_metrics(table(calibrated=False), {}, 0, 200).metrics
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
        (lambda t: t.assign(group=t.calibration.astype(str)), "hold members and non-members"),
        (lambda t: twice(t, True, False), "1 images are among the calibration rows and among the"),
        (lambda t: twice(t, True, True), "1 sample ids occur twice among the calibration rows"),
        (
            lambda t: t.assign(group=t.group.mask(t.index.isin([0, 159]), "pair")),
            "1 groups of near-duplicates are among the calibration rows .* first is 'pair'",
        ),
    ],
)
def test_what_cannot_be_judged_says_why(change, said):
    with pytest.raises(MiaError, match=said):
        score_table_metrics(change(table()), {}, 0, 200)


def test_a_base_column_is_a_control_and_flags_go_over_all_controls():
    rows = table().assign(score_base=table(seed=1).score)
    blind = {"blind_image": {"auroc": 0.5, "p_value": 0.9}}
    metrics = score_table_metrics(rows, blind, 0, 200).metrics
    assert list(metrics["controls"]) == ["blind_image", "base"]
    base = metrics["controls"]["base"]
    evaluated = rows[~rows.calibration]
    assert base["auroc"]["value"] == roc_auc_score(evaluated.is_member, evaluated.score_base)
    assert base["p_value"] <= 0.01  # the scores of the base tell members as well
    assert "control_base" in metrics["flags"]
    assert "control_blind_image" not in metrics["flags"]
    assert "dataset_test" not in base


def test_stored_draws_can_stand_in():
    """Without drawing again: the same values, and bounds, p-values and set size as stored."""
    rows = table().assign(score_base=table(seed=1).score)
    stored = score_table_metrics(rows, {}, 0, 400).metrics
    assert score_table_metrics(rows, {}, 0, 1).metrics != stored
    assert score_table_metrics(rows, {}, 0, 1, stored).metrics == stored
    other = {**stored, "auroc": {"value": 0.1, "lo": 0.0, "hi": 0.2}, "dataset_test": {"x": 1}}
    quick = score_table_metrics(rows, {}, 0, 1, other).metrics
    assert quick["auroc"] == {"value": stored["auroc"]["value"], "lo": 0.0, "hi": 0.2}
    assert quick["dataset_test"] == {"x": 1}
