"""`-complexity` rows: residuals of scores, thresholds out of fold, labels of evaluation unseen."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from samples import known

from mia_bench.attacks.loss import Loss
from mia_bench.config.schema import CalibrationOptions
from mia_bench.evaluation.attack_scores import measure
from mia_bench.evaluation.inputs import Inputs, Tables, arrange
from mia_bench.metrics.complexity import fit_complexity, out_of_fold_residuals
from mia_bench.storage.feature_table import Table
from mia_bench.utils.errors import MiaError

OPTIONS = SimpleNamespace(
    eval=SimpleNamespace(seed=0, resamples=100), calibration=SimpleNamespace(folds=3)
)


def with_features(rows, ids, **features):
    names = tuple(f"{ids}:{i}" for i in range(len(rows.role)))
    group = np.array([f"{ids}{g}" for g in rows.group])
    return replace(rows, table=Table(names, features), group=group)


def drawn(n: int, seed: int, ids: str):
    """(rows, their covariates): the loss is a line of one covariate and a hint of membership."""
    rng = np.random.default_rng(seed)
    rows = known(n, seed=seed)
    x = rng.normal(size=n)
    loss = 3 + 2 * x - 0.5 * rows.is_member + rng.normal(0, 0.1, n)
    covariates = {"log_png_bytes": x.astype(np.float32), "log_gradient_energy": np.zeros(n)}
    scored = with_features(rows, ids=ids, loss=loss[:, None])
    return scored, replace(scored, table=Table(scored.table.sample_id, covariates))


@pytest.fixture
def inputs() -> Inputs:
    evaluation, evaluated = drawn(120, 1, "e")
    calibration, fitted = drawn(90, 2, "c")
    base, _ = drawn(120, 3, "e")
    base = replace(base, role=evaluation.role, group=evaluation.group)
    return Inputs(
        "loss-complexity", Loss(), evaluation, calibration, base, complexity=(evaluated, fitted)
    )


def matrix(rows):
    names = sorted(rows.table.features)
    return np.stack([rows.table.features[n].astype(float) for n in names], axis=1)


def test_scores_are_residuals_of_the_attacks_own(inputs) -> None:
    table, measured = measure(inputs, {}, OPTIONS)
    plain, before = measure(replace(inputs, complexity=None), {}, OPTIONS)
    evaluated, fitted = map(matrix, inputs.complexity)
    is_known = plain.calibration.to_numpy()
    own = plain.score.to_numpy()
    line = fit_complexity(own[is_known], fitted, inputs.calibration.is_member)
    rows = table[~is_known]
    np.testing.assert_allclose(rows.score, line.residuals(own[~is_known], evaluated))
    on_base = plain.score_base.to_numpy()[~is_known]
    np.testing.assert_allclose(rows.score_base, line.residuals(on_base, evaluated))
    calibration = inputs.calibration
    left = out_of_fold_residuals(
        own[is_known], fitted, calibration.is_member, calibration.group, 3, 0
    )
    np.testing.assert_allclose(table[is_known].score, left)
    chosen = measured.metrics["chosen"]
    assert chosen["complexity_r2"] == pytest.approx(line.r2)
    assert chosen["slope_log_png_bytes"] == pytest.approx(-2, abs=0.1)
    assert chosen["slope_log_gradient_energy"] == 0
    assert before.metrics["chosen"] == {}
    assert before.metrics["auroc"]["value"] < 0.65
    assert measured.metrics["auroc"]["value"] > 0.97


def test_evaluation_labels_change_no_score(inputs) -> None:
    dealt = np.random.default_rng(0).permutation(inputs.evaluation.role)
    assert (dealt != inputs.evaluation.role).any()
    ungrouped = np.array([f"g{i}" for i in range(len(dealt))])  # a group holds one class
    other = replace(inputs.evaluation, role=dealt, group=ungrouped)
    one, _ = measure(inputs, {}, OPTIONS)
    two, _ = measure(replace(inputs, evaluation=other), {}, OPTIONS)
    np.testing.assert_array_equal(one.score, two.score)


def test_calibration_members_do_not_move_the_line(inputs) -> None:
    """Only non-members are regressed: a feature of members alone changes no evaluation score."""
    calibration = inputs.calibration
    loss = np.where(calibration.is_member[:, None], 99.0, calibration.table.features["loss"])
    moved = replace(calibration, table=Table(calibration.table.sample_id, {"loss": loss}))
    one, _ = measure(inputs, {}, OPTIONS)
    two, _ = measure(replace(inputs, calibration=moved), {}, OPTIONS)
    rows = ~one.calibration
    np.testing.assert_array_equal(one.score[rows], two.score[rows])


def test_with_a_split_the_covariates_follow_their_rows() -> None:
    rows, covariates = drawn(160, 4, "e")
    tables = Tables(rows, rows, None, None, halves=True, complexity=(covariates, covariates))
    for halves in ("hashed", "stratified"):
        arranged = arrange("x", Loss(), tables, 0, CalibrationOptions("split", halves=halves))
        assert not arranged.uncalibrated
        evaluated, fitted = arranged.complexity
        assert evaluated.table.sample_id == arranged.evaluation.table.sample_id
        assert fitted.table.sample_id == arranged.calibration.table.sample_id


def test_too_few_non_members_are_one_message(inputs) -> None:
    rows = np.flatnonzero(inputs.calibration.is_member)[:20]
    few = np.concatenate([rows, np.flatnonzero(~inputs.calibration.is_member)[:3]])
    few = np.append(few, np.flatnonzero(~inputs.calibration.is_member)[-1:])
    calibration, (evaluated, fitted) = inputs.calibration.take(few), inputs.complexity
    cut = replace(inputs, calibration=calibration, complexity=(evaluated, fitted.take(few)))
    with pytest.raises(MiaError, match=r"Use larger data\.sizes"):
        measure(cut, {}, OPTIONS)
