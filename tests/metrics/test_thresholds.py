"""Thresholds and accuracies against searches over every threshold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from mia_bench.metrics import (
    UNCALIBRATED,
    Thresholds,
    auroc,
    balanced_accuracy,
    fit_thresholds,
    oracle_accuracy,
    permuted_oracle,
    roc,
    tpr_at_fpr,
)

# members 3 2 2 1, non-members 2 1 0 0
HAND_SCORES = np.array([3.0, 2, 2, 1, 2, 1, 0, 0])


HAND_LABELS = np.array([True] * 4 + [False] * 4)


def draw(seed: int, n: int = 300, digits: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores shifted by 0.7 for members; few digits make heavy ties."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    s = rng.normal(size=n) + 0.7 * y
    return (s if digits is None else np.round(s, digits)), y


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Integer scores, often tied, of at least one member and one non-member."""
    score = st.integers(-20, 20)
    members = draw(st.lists(score, min_size=1, max_size=40))
    nonmembers = draw(st.lists(score, min_size=1, max_size=40))
    labels = [True] * len(members) + [False] * len(nonmembers)
    return np.array(members + nonmembers, dtype=float), np.array(labels)


def literal_tpr(s: np.ndarray, y: np.ndarray, k: int) -> tuple[float, float]:
    """(TPR, tau): the smallest score that at most k non-members exceed, tried one by one."""
    for tau in sorted(s):
        if sum(v > tau for v in s[~y]) <= k:
            return sum(v > tau for v in s[y]) / y.sum(), tau
    raise AssertionError("the highest score is exceeded by none")


@pytest.mark.first_look
@pytest.mark.parametrize("digits", [None, 0])
@pytest.mark.parametrize("seed", range(4))
def test_fitted_thresholds_are_the_best_there_are(seed: int, digits: int | None) -> None:
    s, y = draw(seed, digits=digits)
    fitted = fit_thresholds(s, y)
    candidates = [*s, s.min() - 1]
    best = max(balanced_accuracy_score(y, s > tau) for tau in candidates)
    assert balanced_accuracy(s, y, fitted.tau_acc) == pytest.approx(best, abs=1e-12)
    assert oracle_accuracy(s, y) == pytest.approx(best, abs=1e-12)
    assert fitted.fpr01_k == int((~y).sum() * 0.01)
    assert fitted.tau_fpr01 == literal_tpr(s, y, fitted.fpr01_k)[1]


def test_tau_acc_by_hand() -> None:
    def tau(members: list[float], nonmembers: list[float]) -> float:
        y = [True] * len(members) + [False] * len(nonmembers)
        return fit_thresholds(members + nonmembers, y).tau_acc

    assert tau([4, 6], [1, 2]) == 3  # midway between 2 and 4
    # falling: 9m 8n 7m 6n 5m 4n; cuts after 9, 7 and 5 are equally good, the middle one is taken
    assert tau([9, 7, 5], [8, 6, 4]) == 6.5
    assert tau([9, 7], [8, 6]) == 8.5  # cuts after 9 and 7: the stricter one
    assert tau([1, 1], [1, 1]) == 1  # no cut helps, so none is flagged
    assert tau([1], [2]) == 2  # cuts of none and of all are equally good: the stricter one
    # nothing fits between neighbouring floats, whichever way their mean is rounded; > splits them
    one, two = 1 + np.finfo(float).eps * np.arange(1.0, 3)
    assert tau([one], [1]) == 1
    assert tau([two], [one]) == one
    assert tau([1.7e308], [1.6e308]) == pytest.approx(1.65e308)  # the plain mean overflows


def test_calibrated_threshold_without_enough_nonmembers_is_null() -> None:
    fitted = fit_thresholds(HAND_SCORES, HAND_LABELS)
    assert fitted.tau_fpr01 is None
    assert fitted.fpr01_k == 0
    assert fitted.reason == (
        "4 non-members allow no false positive at FPR 0.01: at least 100 are needed"
    )


def test_a_hundred_nonmembers_allow_one_false_positive() -> None:
    fitted = fit_thresholds(np.arange(101.0), np.arange(101) == 100)
    assert (fitted.tau_fpr01, fitted.fpr01_k) == (98, 1)


def test_oracle_by_hand() -> None:
    # cuts have TPR - FPR of 0, 1/4, 2/4, 2/4, 0
    assert oracle_accuracy(HAND_SCORES, HAND_LABELS) == 0.75
    assert oracle_accuracy([0, 0], [True, False]) == 0.5
    assert oracle_accuracy([0, 1], [True, False]) == 0.5  # reversed: calling none is still 0.5


def test_permuted_oracle_is_the_mean_over_all_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    s, n = np.array([5.0, 4, 4, 3, 2, 1]), 20_000
    every = []
    for members in itertools.combinations(range(6), 2):
        y = np.isin(np.arange(6), members)
        every.append(max(balanced_accuracy_score(y, s > tau) for tau in [*s, 0]))
    y = np.arange(6) < 2
    found = permuted_oracle(s, y, seed=0, n=n)
    # four standard errors of a mean of n draws
    assert found == pytest.approx(np.mean(every), abs=4 * np.std(every) / np.sqrt(n))
    assert found == permuted_oracle(s, y, seed=0, n=n)
    assert found != permuted_oracle(s, y, seed=1, n=n)
    assert (
        permuted_oracle(s, y, 0) == permuted_oracle(s, y, 0, 200) != permuted_oracle(s, y, 0, 201)
    )
    monkeypatch.setattr(roc, "BLOCK_ENTRIES", 6 * 17)
    assert found == permuted_oracle(s, y, seed=0, n=n)


@given(labelled())
@settings(deadline=None)
def test_calibrated_thresholds_hold_on_their_own_rows(data: tuple[np.ndarray, np.ndarray]) -> None:
    s, y = np.tile(data[0], 30), np.tile(data[1], 30)
    nonmembers = int((~y).sum())
    fitted = fit_thresholds(s, y)
    assert np.isfinite(fitted.tau_acc)
    if fitted.tau_fpr01 is not None:
        flagged = int((s[~y] > fitted.tau_fpr01).sum())
        assert flagged <= fitted.fpr01_k <= nonmembers * 0.01 + 1e-9
    else:
        assert nonmembers < 100
    oracle = oracle_accuracy(s, y)
    assert 0.5 <= oracle <= 1
    assert balanced_accuracy(s, y, fitted.tau_acc) == pytest.approx(oracle, abs=1e-12)


def test_one_row_of_a_class_is_enough_and_one_permutation() -> None:
    assert auroc([1, 0], [1, 0]) == 1
    assert {permuted_oracle([1, 0], [1, 0], seed, n=1) for seed in range(9)} == {0.5, 1.0}


def test_found_values_say_what_they_rest_on() -> None:
    s, y = draw(0, n=600)
    found = tpr_at_fpr(s, y, 0.01)
    assert (found.reason, type(found.value), type(found.k)) == (None, float, int)
    fitted = fit_thresholds(s, y)
    assert (fitted.reason, type(fitted.tau_fpr01), type(fitted.fpr01_k)) == (None, float, int)
    assert Thresholds(0.0, None, 0).reason is None
    few = f"{(~y[:20]).sum()} non-members allow no false positive at FPR 0.01"
    assert tpr_at_fpr(s[:20], y[:20], 0.01).reason == f"{few}: at least 100 are needed"


@pytest.mark.parametrize("name", ["tau_acc", "tau_fpr01"])
@pytest.mark.parametrize("tau", [np.nan, np.inf])
def test_a_threshold_that_is_not_finite_is_named(name: str, tau: float) -> None:
    given = {"tau_acc": 0.0, "tau_fpr01": 0.0, name: tau}
    with pytest.raises(ValueError, match=f"^{name} is {tau}: fit it on finite scores"):
        Thresholds(**given, fpr01_k=1)


def test_without_calibration_rows_there_are_no_thresholds() -> None:
    assert (
        Thresholds(None, None, 0, "no calibration rows: no threshold can be fixed honestly")
        == UNCALIBRATED
    )


def test_no_permutation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^n is 0: ask for at least one permutation"):
        permuted_oracle(HAND_SCORES, HAND_LABELS, seed=0, n=0)


@pytest.mark.parametrize("digits", [None, 1])
def test_permuted_oracle_is_a_literal_loop_over_the_documented_draws(digits: int | None) -> None:
    s, y = draw(5, digits=digits)
    labels = y[np.argsort(-s, kind="stable")].astype(np.int64)
    rng, best = np.random.default_rng(9), []
    for _ in range(7):
        permuted = rng.permuted(labels[None], axis=1)[0].astype(bool)
        best.append(oracle_accuracy(np.sort(s)[::-1], permuted))
    assert permuted_oracle(s, y, 9, 7) == pytest.approx(np.mean(best), abs=1e-14)
