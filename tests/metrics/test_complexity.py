"""Scores without what covariates explain, against least squares written out."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.metrics import auroc
from mia_bench.metrics.complexity import fit_complexity, out_of_fold_residuals
from mia_bench.metrics.group_folds import folds_of


def rows(n: int, seed: int, leak: float = 0.0):
    """Scores that are a line of three covariates plus noise; members' images are simpler by
    `leak`, and their scores know nothing else of it."""
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.4
    x = rng.normal(size=(n, 3)) * (1, 20, 0.01) + (9, -300, 0)
    x[:, 0] -= leak * member
    scores = 5 - 2 * x[:, 0] + 0.1 * x[:, 1] + 30 * x[:, 2] + rng.normal(0, 0.1, n)
    return scores, x, member


def literal_line(scores, x, member):
    """w of the normal equations over (1, x), among the non-members."""
    s, design = scores[~member], np.column_stack([np.ones(len(scores)), x])[~member]
    return np.linalg.solve(design.T @ design, design.T @ s)


def test_equals_least_squares_among_non_members() -> None:
    scores, x, member = rows(80, 0)
    scores += 3 * member  # what members add must not move the line
    fit = fit_complexity(scores, x, member)
    expected = literal_line(scores, x, member)
    np.testing.assert_allclose([fit.intercept, *fit.slopes], expected, rtol=1e-6)
    left = [s - expected[0] - sum(w * v for w, v in zip(expected[1:], row, strict=True))
            for s, row in zip(scores, x, strict=True)]  # fmt: skip
    np.testing.assert_allclose(fit.residuals(scores, x), left, atol=1e-8)
    explained = 1 - np.var(np.array(left)[~member]) / np.var(scores[~member])
    assert fit.r2 == pytest.approx(explained, abs=1e-9)
    assert left[0] != pytest.approx(scores[0])


def test_a_score_that_is_complexity_alone_is_left_with_nothing() -> None:
    scores, x, member = rows(2000, 1, leak=1.0)
    known, known_x, known_member = rows(400, 2, leak=1.0)
    assert auroc(scores, member) > 0.7
    fit = fit_complexity(known, known_x, known_member)
    left = auroc(fit.residuals(scores, x), member)
    assert abs(left - 0.5) < 0.04  # three standard errors of 800 and 1,200 rows


def test_what_complexity_does_not_explain_stays() -> None:
    scores, x, member = rows(2000, 3)
    scores += 0.3 * member  # three times the noise, a tenth of what complexity moves
    fit = fit_complexity(*rows(400, 4))
    assert auroc(scores, member) < 0.6
    assert auroc(fit.residuals(scores, x), member) > 0.97


def test_every_calibration_row_is_judged_by_a_line_without_its_fold() -> None:
    scores, x, member = rows(60, 5)
    group = np.array([f"g{i // 2}" for i in range(60)])
    found = out_of_fold_residuals(scores, x, member, group, 4, seed=7)
    fold = folds_of(group, 4, 7)
    for i in range(60):
        others = fold != fold[i]
        w = literal_line(scores[others], x[others], member[others])
        assert found[i] == pytest.approx(scores[i] - w[0] - x[i] @ w[1:], abs=1e-7)


def test_a_covariate_that_is_the_same_everywhere_explains_nothing() -> None:
    scores, x, member = rows(80, 6)
    x[:, 1] = 0.3
    fit = fit_complexity(scores, x, member)
    assert fit.slopes[1] == 0
    expected = literal_line(scores, x[:, [0, 2]], member)
    np.testing.assert_allclose([fit.intercept, *fit.slopes[[0, 2]]], expected, rtol=1e-6)


def test_scores_that_are_all_equal_are_left_at_zero() -> None:
    _, x, member = rows(40, 8)
    fit = fit_complexity(np.full(40, 2.0), x, member)
    np.testing.assert_allclose(fit.residuals(np.full(40, 2.0), x), 0, atol=1e-12)
    assert fit.r2 == 0


def test_too_few_non_members_are_refused() -> None:
    scores, x, _ = rows(9, 9)
    member = np.arange(9) >= 4
    with pytest.raises(ValueError, match="4 non-members are left to regress scores on 3 measures"):
        fit_complexity(scores, x, member)
