"""resample.py against literal loops over replicates, groups and rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import all_weights, mixed_groups
from sklearn.metrics import roc_auc_score

from mia_bench.metrics import ScoreCuts, bootstrap, roc
from mia_bench.metrics.bootstrap import Bootstrap, Interval


def literal_tpr(s: Any, y: Any, fpr: float) -> float:
    """TPR at the smallest score that at most k non-members exceed, on the rows as they are."""
    k = int(np.floor((~y).sum() * fpr + 1e-9))
    tau = min(v for v in s if (s[~y] > v).sum() <= k)
    return float((s[y] > tau).mean())


def test_weights_resample_whole_groups_within_classes() -> None:
    _, y, group = mixed_groups(0)
    w, labels = all_weights(Bootstrap.of(y, group, seed=1, n_resamples=50)), np.array(group)
    assert w.shape == (50, 450)
    first = {g: int(np.flatnonzero(labels == g)[0]) for g in set(group)}
    for g, row in first.items():
        assert (w[:, labels == g] == w[:, [row]]).all()
    for member in (True, False):
        rows = [row for row in first.values() if y[row] == member]
        # as many groups as there are, so row totals vary with the sizes of the groups drawn
        assert (w[:, rows].sum(axis=1) == len(rows)).all()
    assert len(set(w[:, y].sum(axis=1))) > 1


def test_weights_count_like_draws_with_replacement() -> None:
    y = np.arange(40) < 20
    w = all_weights(Bootstrap.of(y, [f"{i:02d}" for i in range(40)], seed=0, n_resamples=4000))
    # Binomial(20, 1/20): mean 1, variance 0.95; 80,000 dependent draws stay within 2 % of them
    assert w.mean() == 1
    assert w.var() == pytest.approx(0.95, rel=0.02)
    assert np.abs(w.mean(axis=0) - 1).max() < 5 * np.sqrt(0.95 / 4000)


def test_weights_depend_on_seed_and_groups_only(monkeypatch: pytest.MonkeyPatch) -> None:
    _, y, group = mixed_groups(0)
    boot = Bootstrap.of(y, group, seed=1, n_resamples=50)
    w = all_weights(boot)
    np.testing.assert_array_equal(w, all_weights(boot))
    assert (w != all_weights(Bootstrap.of(y, group, seed=2, n_resamples=50))).any()
    order = np.random.default_rng(0).permutation(y.size)
    shuffled = Bootstrap.of(y[order], [group[i] for i in order], seed=1, n_resamples=50)
    np.testing.assert_array_equal(w[:, order], all_weights(shuffled))
    monkeypatch.setattr(bootstrap, "BLOCK_ENTRIES", 450 * 7)
    blocks = list(boot.weights())
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    np.testing.assert_array_equal(w, np.concatenate(blocks))


@pytest.mark.parametrize("seed", range(3))
def test_weighted_metrics_are_those_of_repeated_rows(seed: int) -> None:
    s, y, group = mixed_groups(seed)
    w = all_weights(Bootstrap.of(y, group, seed=seed, n_resamples=25))
    cuts = ScoreCuts.of(s, y)
    tp, fp = cuts.count(w)
    tpr, fpr = roc.rates(tp, fp, cuts.at(0.8))
    for r, weights in enumerate(w):
        rows, labels = np.repeat(s, weights), np.repeat(y, weights)
        expected = roc_auc_score(labels, rows)
        assert roc.auroc_from_counts(tp, fp)[r] == pytest.approx(expected, abs=1e-12)
        for q in (0.001, 0.01, 0.1):
            assert roc.tpr_within(tp, fp, q)[r] == literal_tpr(rows, labels, q)
        assert tpr[r] == np.mean([v > 0.8 for v in rows[labels]])
        assert fpr[r] == np.mean([v > 0.8 for v in rows[~labels]])


def test_interval_to_json() -> None:
    assert Interval(0.5, 0.4, 0.6).to_json() == {"value": 0.5, "lo": 0.4, "hi": 0.6}
    null = Interval(None, None, None, "why").to_json()
    assert null == {"value": None, "lo": None, "hi": None, "reason": "why"}


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Tied scores of two to six groups a class, one to four rows each, in any order."""
    rows = []
    for member in (True, False):
        for g, size in enumerate(draw(st.lists(st.integers(1, 4), min_size=2, max_size=6))):
            score = st.integers(-3, 3)
            rows += [(draw(score), member, f"{'mn'[member]}{g}") for _ in range(size)]
    order = draw(st.permutations(range(len(rows))))
    scores, labels, groups = zip(*(rows[i] for i in order), strict=True)
    return np.array(scores, dtype=float), np.array(labels), list(groups)


@pytest.mark.long
@given(grouped(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_replicates_are_a_literal_loop_over_drawn_groups(
    data: tuple[np.ndarray, np.ndarray, list[str]], seed: int
) -> None:
    """The documented streams, read group by group; then rows are repeated and judged by sklearn."""
    s, y, group = data
    boot, cuts, b = Bootstrap.of(y, group, seed, 7), ScoreCuts.of(s, y), 7
    found = boot.replicates(
        lambda w: {
            "auc": roc.auroc_from_counts(*cuts.count(w)),
            "tpr": roc.tpr_within(*cuts.count(w), 0.3),
        }
    )
    names = np.unique(group)
    members = [g for g in names if y[group.index(g)]]
    others = [g for g in names if not y[group.index(g)]]
    drawn = [
        np.random.default_rng([seed, stream]).integers(len(kind), size=(b, len(kind)))
        for stream, kind in ((1, members), (2, others))
    ]
    for r in range(b):
        chosen = [members[i] for i in drawn[0][r]] + [others[i] for i in drawn[1][r]]
        rows = [i for g in chosen for i in range(len(s)) if group[i] == g]
        assert found["auc"][1 + r] == pytest.approx(roc_auc_score(y[rows], s[rows]), abs=1e-12)
        assert found["tpr"][1 + r] == literal_tpr(s[rows], y[rows], 0.3)
    assert found["auc"][0] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    limits = np.quantile(found["auc"][1:], [0.025, 0.975])
    interval = boot.interval(found["auc"])
    assert [interval.lo, interval.hi] == pytest.approx(limits, abs=1e-15)


@given(grouped())
@settings(max_examples=30)
def test_a_class_is_worth_as_many_rows_as_the_sizes_of_its_groups_say(
    data: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    _, y, group = data
    boot = Bootstrap.of(y, group, 0, 5)
    for member in (True, False):
        sizes = [group.count(g) for g in set(group) if y[group.index(g)] == member]
        assert boot.worth(member) == pytest.approx(sum(sizes) ** 2 / sum(n * n for n in sizes))


def test_weights_are_kept_while_they_are_small_and_never_mixed_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, y, group = mixed_groups(0)
    one, two = (Bootstrap.of(y, group, seed, 20) for seed in (1, 2))
    first, second = all_weights(one), all_weights(two)
    assert one.weights().__next__() is one.weights().__next__()  # the same array: kept
    np.testing.assert_array_equal(all_weights(one), first)
    monkeypatch.setattr(bootstrap, "KEPT_WEIGHTS", 450 * 20 - 1)
    assert one.weights().__next__() is not one.weights().__next__()
    np.testing.assert_array_equal(all_weights(two), second)
