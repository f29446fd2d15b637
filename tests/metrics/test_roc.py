"""metrics.py against scikit-learn, torchmetrics, hand-worked examples and literal versions."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, rankdata
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from mia_bench.metrics import (
    Thresholds,
    auroc,
    balanced_accuracy,
    fit_thresholds,
    oracle_accuracy,
    permuted_oracle,
    roc,
    roc_curve,
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


def test_hand_drawn_roc_with_ties() -> None:
    roc = roc_curve(HAND_SCORES, HAND_LABELS)
    # cut by cut: nothing | 3 | the three 2s (2 members) | the two 1s | the two 0s
    np.testing.assert_array_equal(roc.tpr, np.array([0, 1, 3, 4, 4]) / 4)
    np.testing.assert_array_equal(roc.fpr, np.array([0, 0, 1, 2, 4]) / 4)
    np.testing.assert_array_equal(roc.threshold[:-1], [3, 2, 1, 0])
    assert -1e-300 < roc.threshold[-1] < 0
    # wins: 3 beats 4; each 2 beats 3 and ties one; 1 beats 2 and ties one
    assert auroc(HAND_SCORES, HAND_LABELS) == (4 + 3.5 + 3.5 + 2.5) / 16


@pytest.mark.parametrize("digits", [None, 1, 0])
@pytest.mark.parametrize("seed", range(5))
def test_sklearn_agrees(seed: int, digits: int | None) -> None:
    s, y = draw(seed, digits=digits)
    assert auroc(s, y) == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    fpr, tpr, threshold = sklearn_roc_curve(y, s, drop_intermediate=False)
    roc = roc_curve(s, y)
    np.testing.assert_allclose(roc.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(roc.tpr, tpr, atol=1e-12)
    # sklearn's rule is >=: its threshold is the lowest flagged score, ours the highest unflagged
    np.testing.assert_array_equal(roc.threshold[:-1], threshold[1:])
    tau = float(np.median(s))
    expected = balanced_accuracy_score(y, s > tau)
    assert balanced_accuracy(s, y, tau) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("digits", [None, 0])
def test_torchmetrics_agrees_on_ranks(digits: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its dependencies say on import is not ours
        import torch
        from torchmetrics.functional.classification import binary_auroc
    s, y = draw(11, digits=digits)
    ranks = torch.from_numpy(rankdata(s) / (len(s) + 1))  # raw scores would go through a sigmoid
    expected = float(binary_auroc(ranks, torch.from_numpy(y.astype(int))))
    assert auroc(s, y) == pytest.approx(expected, abs=1e-6)  # torchmetrics counts in float32


def test_each_roc_point_is_what_its_threshold_flags() -> None:
    s, y = draw(3, digits=1)
    roc = roc_curve(s, y)
    assert np.isfinite(roc.threshold).all()
    assert (np.diff(roc.threshold) < 0).all()
    for fpr, tpr, tau in zip(roc.fpr, roc.tpr, roc.threshold, strict=True):
        assert (s[y] > tau).mean() == tpr
        assert (s[~y] > tau).mean() == fpr


def literal_tpr(s: np.ndarray, y: np.ndarray, k: int) -> tuple[float, float]:
    """(TPR, tau): the smallest score that at most k non-members exceed, tried one by one."""
    for tau in sorted(s):
        if sum(v > tau for v in s[~y]) <= k:
            return sum(v > tau for v in s[y]) / y.sum(), tau
    raise AssertionError("the highest score is exceeded by none")


@pytest.mark.parametrize("digits", [None, 1, 0])
@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.3])
def test_tpr_at_fpr_is_the_literal_rule(fpr: float, digits: int | None) -> None:
    s, y = draw(5, digits=digits)
    k = int((~y).sum() * fpr)
    found = tpr_at_fpr(s, y, fpr)
    assert (found.value, found.k) == (pytest.approx(literal_tpr(s, y, k)[0]), k)


def test_tpr_at_fpr_by_hand() -> None:
    nonmembers = np.arange(200.0)  # k = 2 at 1 %: tau is 197, which 198 and 199 exceed
    y = np.array([False] * 200 + [True] * 4)
    found = tpr_at_fpr(np.append(nonmembers, [197, 197.5, 198, 300]), y, 0.01)
    assert (found.value, found.k, found.low_resolution) == (0.75, 2, True)
    tied = np.minimum(nonmembers, 197)  # three at the top: flagging them would break the budget
    assert tpr_at_fpr(np.append(tied, [197, 197.5, 198, 300]), y, 0.01).value == 0.75
    assert tpr_at_fpr(np.append(tied, [197, 197, 197, 300]), y, 0.01).value == 0.25


@pytest.mark.parametrize(
    ("n", "fpr", "k", "null", "low"),
    [
        (99, 0.01, 0, True, True),
        (100, 0.01, 1, False, True),
        (999, 0.01, 9, False, True),
        (1000, 0.01, 10, False, False),
        (999, 0.001, 0, True, True),
        (1000, 0.001, 1, False, True),
        (100, 0.29, 29, False, False),  # 100 * 0.29 is 28.999999999999996
        (10, 1 - 1e-12, 9, False, True),
    ],
)
def test_false_positive_budget(n: int, fpr: float, k: int, null: bool, low: bool) -> None:
    found = tpr_at_fpr(np.arange(n + 1.0), np.arange(n + 1) == n, fpr)
    assert (found.k, found.value is None, found.low_resolution) == (k, null, low)
    assert (found.reason is not None) == null
    if null:
        assert found.reason == (
            f"{n} non-members allow no false positive at FPR {fpr:g}:"
            f" at least {round(1 / fpr)} are needed"
        )


def test_a_cut_between_neighbouring_floats_is_the_lower_one() -> None:
    """Their mean rounds to one of them; `>` must still split them, whichever way it went."""
    for exponent in range(2):
        low, high = 1 + np.finfo(float).eps * (np.arange(2.0) + exponent)
        cuts = roc.ScoreCuts.of([high, low], [True, False])
        assert cuts.tau(1) == low
        assert cuts.at(cuts.tau(1)) == 1


@given(labelled())
@settings(deadline=None)
def test_auroc_sees_order_only(data: tuple[np.ndarray, np.ndarray]) -> None:
    s, y = data
    value = auroc(s, y)
    assert 0 <= value <= 1
    for transformed in (s**3, np.exp(s), 1e-9 * s + 5, s.astype(np.float32)):
        assert auroc(transformed, y) == value
    assert auroc(-s, y) == pytest.approx(1 - value, abs=1e-15)
    assert auroc(s, ~y) == pytest.approx(1 - value, abs=1e-15)
    wins = sum((a > b) + (a == b) / 2 for a in s[y] for b in s[~y])
    assert value == pytest.approx(wins / (y.sum() * (~y).sum()), abs=1e-12)


@given(labelled(), st.floats(0.001, 0.999))
@settings(deadline=None)
def test_budget_is_never_exceeded(data: tuple[np.ndarray, np.ndarray], fpr: float) -> None:
    s, y = data
    found = tpr_at_fpr(s, y, fpr)
    assert found.k <= (~y).sum() * fpr + 1e-9
    if found.value is None:
        assert found.k == 0
        return
    roc = roc_curve(s, y)
    within = roc.fpr * (~y).sum() <= found.k + 1e-9
    assert found.value == roc.tpr[within].max()  # the best point of the ROC within the budget


@pytest.mark.parametrize("function", [auroc, roc_curve, fit_thresholds, oracle_accuracy])
@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1, np.nan, np.inf, 2], [1, 0, 1, 0], "2 non-finite values of 4, the first is nan at ind"),
        ([1, 2, 3], [1, 1, 1], "no non-members among 3 rows"),
        ([1, 2, 3], [0, 0, 0], "no members among 3 rows"),
        ([], [], "no members among 0 rows"),
        ([1, 2, 3], [1, 0], r"shape \(3,\) and is_member \(2,\)"),
        ([[1, 2]], [[1, 0]], r"shape \(1, 2\)"),
        ([1, 2], [1, 2], "boolean or 0/1"),
        ([1, 2], [1, np.nan], "boolean or 0/1"),
    ],
)
def test_bad_input_is_named(function, scores, labels, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        function(scores, labels)


def test_bad_arguments_are_named() -> None:
    for fpr in (0.0, 1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            tpr_at_fpr(HAND_SCORES, HAND_LABELS, fpr)
    with pytest.raises(ValueError, match="at least one permutation"):
        permuted_oracle(HAND_SCORES, HAND_LABELS, seed=0, n=0)
    with pytest.raises(ValueError, match="tau_fpr01 is inf"):
        Thresholds(0.0, np.inf, 3)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (
            [1, 2, 3],
            [1, 0],
            "scores have shape (3,) and is_member (2,): pass one score and one label per row, both "
            "of shape (N,)",
        ),
        (
            [1, 2],
            [1, 2],
            "is_member must be boolean or 0/1: pass True for members, False for the rest",
        ),
        (
            [1, np.inf, 3, np.nan],
            [1, 0, 1, 0],
            "scores hold 2 non-finite values of 4, the first is inf at index 1: find out why the "
            "attack produced them, no row is dropped silently",
        ),
        (
            [1, 2],
            [0, 0],
            "is_member has no members among 2 rows: score rows of both classes",
        ),
        (
            [1, 2],
            [1, 1],
            "is_member has no non-members among 2 rows: score rows of both classes",
        ),
    ],
)
def test_messages_to_the_letter(scores: list[float], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        auroc(scores, labels)


def test_other_messages_to_the_letter() -> None:
    for call, message in (
        (
            lambda: tpr_at_fpr(HAND_SCORES, HAND_LABELS, 1.5),
            "fpr is 1.5: give a rate strictly between 0 and 1",
        ),
        (
            lambda: permuted_oracle(HAND_SCORES, HAND_LABELS, seed=0, n=-1),
            "n is -1: ask for at least one permutation",
        ),
        (
            lambda: Thresholds(np.nan, 0.5, 3),
            "tau_acc is nan: fit it on finite scores with fit_thresholds",
        ),
        (
            lambda: Thresholds(0.5, -np.inf, 3),
            "tau_fpr01 is -inf: fit it on finite scores with fit_thresholds",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call()


def test_scores_of_any_type_are_compared_as_numbers() -> None:
    """Minus an unsigned 1 is 255: what is ranked must be float64, and float32 must stay exact."""
    assert auroc(np.array([200, 1, 0], dtype=np.uint8), [1, 0, 0]) == 1
    assert auroc([True, False], [True, False]) == 1
    scores, labels = roc.validate(np.float32([0.1, 0.2]), [1, 0])
    assert (scores.dtype, labels.dtype) == (np.float64, np.bool_)


def test_cuts_count_weights_as_repeated_rows() -> None:
    cuts = roc.ScoreCuts.of(HAND_SCORES, HAND_LABELS)
    weights = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 1, 1, 2]])
    tp, fp = cuts.count(weights)
    assert tp.dtype == fp.dtype == np.int64
    np.testing.assert_array_equal(tp, [[0, 1, 3, 4, 4], [0, 2, 3, 6, 6]])
    np.testing.assert_array_equal(fp, [[0, 0, 1, 2, 4], [0, 0, 0, 1, 4]])
    np.testing.assert_array_equal(cuts.count()[0], tp[0])
    assert [cuts.at(tau) for tau in (3.5, 3, 2.5, 0.0, -1)] == [0, 0, 1, 3, 4]
    assert [cuts.tau(cut) for cut in range(4)] == [3, 2.5, 1.5, 0.5]
    np.testing.assert_array_equal(cuts.order, [0, 1, 2, 4, 3, 5, 6, 7])  # ties in row order
    np.testing.assert_array_equal(roc.gain(tp[0], fp[0]), [0, 4, 8, 8, 0])
    np.testing.assert_array_equal(roc.budget_cut(fp, 0.3), [2, 3])
    budget = roc.false_positive_budget([4, 99, 100], 0.3)
    assert budget.dtype == roc.budget_cut(fp, 0.3).dtype == cuts.positive.dtype == np.int64
    np.testing.assert_array_equal(budget, [1, 29, 30])
    np.testing.assert_array_equal(roc.auroc_from_counts(tp, fp), [13.5 / 16, 22.5 / 24])
    np.testing.assert_array_equal(roc.tpr_within(tp, fp, 0.3), [3 / 4, 6 / 6])


def test_rows_with_one_score_keep_their_order() -> None:
    """Permutations are drawn of rows in this order: another sort would give another oracle."""
    scores = np.tile([1.0, 3, 2, 2], 200)
    order = roc.ScoreCuts.of(scores, scores == 2).order
    np.testing.assert_array_equal(order, np.lexsort((np.arange(800), -scores)))


@given(labelled(), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_tpr_at_fpr_is_a_literal_loop_over_thresholds(
    data: tuple[np.ndarray, np.ndarray], fpr: float
) -> None:
    s, y = data
    k = int(np.floor((~y).sum() * fpr + 1e-9))
    found = tpr_at_fpr(s, y, fpr)
    assert found.k == min(k, (~y).sum() - 1)
    assert found.value == (None if k < 1 or found.k < 1 else literal_tpr(s, y, found.k)[0])


@pytest.mark.long
@given(labelled())
@settings(deadline=None)
def test_sklearn_and_scipy_agree_on_any_scores(data: tuple[np.ndarray, np.ndarray]) -> None:
    s, y = data
    assert auroc(s, y) == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    u = mannwhitneyu(s[y], s[~y], method="asymptotic").statistic
    assert auroc(s, y) == pytest.approx(u / (y.sum() * (~y).sum()), abs=1e-12)
    fpr, tpr, _ = sklearn_roc_curve(y, s, drop_intermediate=False)
    roc = roc_curve(s, y)
    np.testing.assert_allclose(roc.fpr, fpr, atol=1e-12)
    np.testing.assert_allclose(roc.tpr, tpr, atol=1e-12)
    for tau in (float(np.median(s)), float(s.max()), float(s.min()) - 0.5):
        expected = balanced_accuracy_score(y, s > tau)
        assert balanced_accuracy(s, y, tau) == pytest.approx(expected, abs=1e-12)


@given(labelled(), st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 1024]))
@settings(deadline=None)
def test_ranked_rows_count_what_all_cuts_count(
    data: tuple[np.ndarray, np.ndarray], seed: int, first_look: int
) -> None:
    """To the bit, under weights with zeros, whichever part of the curve is looked at first."""
    s, y = data
    weights = np.random.default_rng(seed).integers(0, 3, size=(5, s.size))
    weights[:, [np.flatnonzero(y)[0], np.flatnonzero(~y)[0]]] += 1  # no class without weight
    fprs = (0.001, 0.1, 0.5)
    counts = roc.ScoreCuts.of(s, y).count(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roc, "FIRST_LOOK", first_look)
        area, rates = roc.RankedRows.of(s, y).curve(weights, weights, fprs)
    np.testing.assert_array_equal(area, roc.auroc_from_counts(*counts))
    for fpr, found in zip(fprs, rates, strict=True):
        np.testing.assert_array_equal(found, roc.tpr_within(*counts, fpr))


def test_ranked_rows_look_weights_up_by_group() -> None:
    s, y = draw(3, digits=1)
    group = np.arange(s.size) // 3 % 50
    weights = np.random.default_rng(0).integers(1, 4, size=(4, 50))
    ranked, fprs = roc.RankedRows.of(s, y), (0.05,)
    by_row = ranked.curve(weights[:, group], weights[:, group], fprs)
    by_group = ranked.by(group).curve(weights, weights, fprs)
    np.testing.assert_array_equal(by_group[0], by_row[0])
    np.testing.assert_array_equal(by_group[1], by_row[1])
