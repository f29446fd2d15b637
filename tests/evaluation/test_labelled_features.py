"""Stored features beside their rows: out-of-fold by group, base features matched by sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from samples import known

from mia_bench.attacks.clid import CLiD
from mia_bench.evaluation.cross_fitting import out_of_fold
from mia_bench.metrics import auroc
from mia_bench.storage.feature_table import Table
from mia_bench.utils.errors import MiaError


class Spy:
    """Scores a row by how many calibration rows share its group: must be zero out of fold."""

    def score(self, features, calibration):
        seen = set(calibration.features["mark"].ravel())
        return np.array([float(mark in seen) for mark in features["mark"].ravel()])


def test_no_row_is_scored_by_a_fit_that_saw_its_group():
    rows = known()
    marks = np.unique(rows.group, return_inverse=True)[1].astype(np.float32)[:, None]
    spied = replace(rows, table=Table(rows.table.sample_id, {"mark": marks}))
    assert out_of_fold(Spy(), spied, 5, 0).sum() == 0


@pytest.mark.parametrize("decision", ["threshold", "classifier"])
def test_out_of_fold_scores_are_honest_where_nothing_is_to_be_learned(decision):
    """In-sample, a boosted classifier separates noise; out of fold it must not."""
    attack, rows = CLiD(decision=decision), known(400, signal=0.0)
    inside = attack.score(rows.table.features, rows.calibration(0))
    outside = out_of_fold(attack, rows, 5, 0)
    assert abs(auroc(outside, rows.is_member) - 0.5) < 0.09  # 3 standard errors at 200 + 200
    if decision == "classifier":
        assert auroc(inside, rows.is_member) > 0.65


def test_too_few_rows_to_fit_on_is_a_clear_error():
    rows = known(4)
    with pytest.raises(MiaError, match=r"too few for 5 folds|smaller calibration\.folds"):
        out_of_fold(CLiD(), rows, 5, 0)


def test_base_features_are_matched_by_sample_id():
    rows, base = known(10, seed=1), known(10, seed=2)
    shuffled = base.take(np.random.default_rng(0).permutation(10))
    difference = rows.minus(shuffled).table.features["loss"]
    expected = rows.table.features["loss"] - base.table.features["loss"]
    np.testing.assert_array_equal(difference, expected)
