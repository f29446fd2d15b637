"""Scores of calibration rows come from fits that never saw their near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from samples import known

from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.loss import Loss
from mia_bench.evaluation.cross_fitting import cross_fitted, fits_labels, out_of_fold
from mia_bench.metrics.group_folds import folds_of, stratified_folds
from mia_bench.utils.errors import MiaError


@dataclass
class Recording:
    """An attack that notes which groups it was fitted on, and scores by a feature's sum."""

    fits: list[set[str]] = field(default_factory=list)

    def score(self, features: Any, calibration: Any) -> Any:
        self.fits.append(set(calibration.group))
        first = next(iter(features.values()))
        return first.reshape(len(first), -1).sum(axis=1)


def test_no_row_is_scored_by_a_fit_on_its_own_group():
    rows, attack = known(60), Recording()
    scores = out_of_fold(attack, rows, 3, 0)
    fold = folds_of(rows.group, 3, 0)
    for k, fitted_on in zip(np.unique(fold), attack.fits, strict=True):
        assert fitted_on.isdisjoint(rows.group[fold == k])
        assert fitted_on | set(rows.group[fold == k]) == set(rows.group)
    first = next(iter(rows.table.features.values()))
    np.testing.assert_allclose(scores, first.reshape(len(first), -1).sum(axis=1))


def test_too_few_rows_for_the_folds_say_what_to_change():
    with pytest.raises(MiaError, match=r"too few for 3 folds.*data\.sizes"):
        out_of_fold(Recording(), known(4), 3, 0)


def test_stratified_folds_share_no_group_either():
    rows, attack = known(24), Recording()
    cross_fitted(attack, rows, 3, 0)
    fold = stratified_folds(rows.group, rows.is_member, 3, 0)
    for k, fitted_on in zip(np.unique(fold), attack.fits, strict=True):
        assert fitted_on.isdisjoint(rows.group[fold == k])


@pytest.mark.parametrize(
    ("attack", "fits"),
    [
        (Loss(), False),
        (CLiD(timesteps=(440,)), True),
        (CLiD(timesteps=(440,), alpha=0.5), False),
        (CLiD(timesteps=(440,), decision="classifier"), True),
    ],
    ids=["loss", "alpha chosen", "alpha fixed", "classifier"],
)
def test_what_fits_on_labels_is_found_out(attack, fits):
    assert fits_labels(attack, known(60), 0) is fits
