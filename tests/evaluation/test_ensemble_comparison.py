"""The ensemble is compared with the attack that calibration rows would have chosen."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mia_bench.evaluation.ensemble_comparison import compare
from mia_bench.metrics.summary import paired_difference


def scores(seed: int, shift: float, member: np.ndarray) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=member.size) + shift * member


def test_the_best_attack_is_chosen_on_calibration_rows():
    member = np.arange(120) < 60
    group = [f"g{i}" for i in range(120)]
    weak, strong, ensemble = (scores(i, shift, member) for i, shift in enumerate((0.2, 1.0, 2.0)))
    by_attack = {"weak": weak, "strong": strong}
    comparison = compare(by_attack, ensemble, member, group, 0, {"weak": 0.9, "strong": 0.6})
    chosen, flattered = comparison["best_by_calibration"], comparison["best_by_evaluation"]
    assert (chosen["attack"], flattered["attack"]) == ("weak", "strong")
    assert chosen["auroc"] == roc_auc_score(member, weak)
    assert chosen["difference"] == paired_difference(ensemble, weak, member, group, 0)
    assert comparison["auroc"] == roc_auc_score(member, ensemble)
    assert "flatters" in flattered["remark"]


@pytest.mark.parametrize("calibration", [{}, {"other": 0.5}])
def test_attacks_without_both_figures_are_refused(calibration):
    with pytest.raises(ValueError, match="pass both for the same attacks"):
        compare({"a": [1.0, 0.0]}, [1.0, 0.0], [True, False], ["x", "y"], 0, calibration)
