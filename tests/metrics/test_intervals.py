"""intervals.py against SciPy, literal formulas, and what small samples are known to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mia_bench.metrics import intervals, roc
from mia_bench.metrics.intervals import (
    RateInterval,
    auroc_interval,
    balanced_accuracy_interval,
    effective_rows,
    jeffreys,
    left_by_threshold,
    rare_tpr,
    rate,
)


@given(st.integers(1, 400), st.data())
def test_single_rows_get_the_interval_of_jeffreys(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    found = rate(np.arange(n) < hits, np.arange(n))
    lo, hi = stats.beta.ppf([0.025, 0.975], hits + 0.5, n - hits + 0.5)
    assert found.value == hits / n
    assert found.lo == pytest.approx(0 if hits == 0 else min(lo, hits / n), abs=1e-9)
    assert found.hi == pytest.approx(1 if hits == n else max(hi, hits / n), abs=1e-9)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=30), st.data())
def test_effective_rows_lie_between_copies_and_single_rows(
    sizes: list[int], data: st.DataObject
) -> None:
    group = np.repeat(np.arange(len(sizes)), sizes)
    n = sum(sizes)
    flagged = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    value, worth = effective_rows(flagged, group)
    least = n**2 / sum(size**2 for size in sizes)
    assert value == flagged.mean()
    assert least - 1e-9 <= worth <= n + 1e-9
    shuffled = np.random.default_rng(0).permutation(n)
    assert effective_rows(flagged[shuffled], 7 * group[shuffled])[1] == pytest.approx(worth)


def test_effective_rows_by_hand() -> None:
    group = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    copies = np.array([1, 1, 0, 0, 1, 1, 0, 0], dtype=bool)
    # residuals 1, -1, 1, -1 of 4 groups: v = 4 / 3 * 4 / 64, n = 0.25 / v = 3, but no less than 4
    assert effective_rows(copies, group) == (0.5, 4)
    mixed = np.array([1, 0, 1, 0, 1, 0, 1, 1], dtype=bool)
    # r = 5/8, residuals -1/4 three times and 3/4: v = 4/3 * 0.75 / 64 = 1/64, n = 15, at most 8
    assert effective_rows(mixed, group) == (0.625, 8)
    some = np.array([1, 1, 0, 0, 1, 0, 1, 0], dtype=bool)
    # residuals 1, -1, 0, 0: v = 4/3 * 2 / 64, n = 6
    assert effective_rows(some, group) == (0.5, pytest.approx(6))
    nobody = np.zeros(8, dtype=bool)
    assert effective_rows(nobody, group) == (0, 4)  # nothing varies: as if groups were copies
    assert effective_rows(nobody[:5], np.array([0, 1, 1, 1, 1])) == (0, pytest.approx(25 / 17))
    assert effective_rows(np.array([True]), np.array([0])) == (1, 1)
    with pytest.raises(ValueError, match="none are left of this class"):
        effective_rows(nobody[:0], group[:0])


def test_copies_in_groups_add_nothing() -> None:
    flagged = np.arange(60) < 7
    once = rate(flagged, np.arange(60))
    copied = rate(np.repeat(flagged, 4), np.repeat(np.arange(60), 4))
    # v of single rows has G / (G - 1), which the bounds on n cut off
    assert (copied.lo, copied.hi) == pytest.approx((once.lo, once.hi), rel=0.02)
    alone = rate(np.repeat(flagged, 4), np.arange(240))
    assert alone.hi - alone.lo < 0.6 * (copied.hi - copied.lo)


def test_limits_enclose_the_value_even_where_jeffreys_does_not() -> None:
    assert jeffreys(0.0, 20).lo == 0
    assert jeffreys(1.0, 20).hi == 1
    low = jeffreys(0.001, 3)
    assert low.lo <= 0.001 <= low.hi


def test_accuracy_is_squared_and_added() -> None:
    tpr, fpr = RateInterval(0.6, 0.5, 0.68), RateInterval(0.2, 0.16, 0.26)
    lo, hi = balanced_accuracy_interval(tpr, fpr)
    assert lo == pytest.approx(0.7 - np.sqrt(0.1**2 + 0.06**2) / 2)
    assert hi == pytest.approx(0.7 + np.sqrt(0.08**2 + 0.04**2) / 2)
    point = RateInterval(0.5, 0.5, 0.5)
    assert balanced_accuracy_interval(point, point) == (0.5, 0.5)
    assert balanced_accuracy_interval(
        RateInterval(1, 0.9, 1), RateInterval(0, 0, 0.1)
    ) == pytest.approx((1 - np.sqrt(0.02) / 2, 1))


def test_areas_stay_inside_the_unit_interval_and_widen_with_their_error() -> None:
    rng = np.random.default_rng(0)
    none = RateInterval(0.5, 0.4, 0.6)  # not asked
    widths = []
    for spread in (0.01, 0.02, 0.05):
        replicates = 0.97 + spread * rng.normal(size=4000)
        lo, hi = auroc_interval(0.97, replicates, none, none)
        assert 0 < lo < 0.97 < hi < 1
        assert 0.97 - lo > hi - 0.97  # longer towards the middle
        widths.append(hi - lo)
    assert widths == sorted(widths)
    middle = auroc_interval(0.5, 0.5 + 0.03 * rng.normal(size=40_000), none, none)
    assert middle == pytest.approx((0.5 - 1.96 * 0.03, 0.5 + 1.96 * 0.03), abs=0.002)
    assert auroc_interval(0.6, np.array([0.7]), none, none) == pytest.approx((0.6, 0.6))


def test_an_area_of_few_rows_out_of_order_takes_a_quantile_of_student() -> None:
    none = RateInterval(0.5, 0.4, 0.6)  # not asked
    logit = np.log(0.99 / 0.01)
    for spread, freedom in ((0.005, 2 * 3.96 + 1), (0.01, 2 * 0.99 + 1), (0.002, np.inf)):
        replicates = np.array([0.99 - spread, 0.99, 0.99 + spread])  # their sd is `spread`
        reach = stats.t.ppf(0.975, freedom) * spread / (0.99 * 0.01)
        expected = 1 / (1 + np.exp(-(logit + np.array([-reach, reach]))))
        assert auroc_interval(0.99, replicates, none, none) == pytest.approx(expected)
        mirrored = auroc_interval(0.01, 1 - replicates, none, none)
        assert mirrored == pytest.approx(1 - expected[::-1])


def test_a_perfect_area_is_bounded_by_the_rates_of_its_threshold() -> None:
    member, other = RateInterval(1, 0.98, 1), RateInterval(0, 0, 0.05)
    assert auroc_interval(1.0, np.ones(5), member, other) == (pytest.approx(0.98 * 0.95), 1)
    assert auroc_interval(0.0, np.zeros(5), member, other) == (0, pytest.approx(1 - 0.98 * 0.95))


def literal_rare(
    s: np.ndarray, y: np.ndarray, group: np.ndarray, fpr: float, seed: int, draws: int
) -> list[float]:
    """One draw after the other, one candidate threshold after the other."""
    rng = np.random.default_rng([seed, 3])
    size = max(1, intervals.BLOCK_ENTRIES // s.size)
    found: list[float] = []
    while len(found) < draws:
        b = min(size, draws - len(found))
        weights, unseen = {}, {}
        for kind in (True, False):
            names, count = np.unique(group[y == kind], return_counts=True)
            unseen[kind] = rng.standard_gamma(0.5, (b, 2)) * (count**2).sum() / count.sum()
            of = rng.standard_exponential((b, names.size))
            weights[kind] = [dict(zip(names, row, strict=True)) for row in of]
        for r in range(b):

            def share(
                kind: bool, tau: float, w: Any = weights, u: Any = unseen, r: int = r
            ) -> float:
                rows = [
                    (v, w[kind][r][g]) for v, g, m in zip(s, group, y, strict=True) if m == kind
                ]
                above, below = u[kind][r]
                everything = above + below + sum(mass for _, mass in rows)
                return float((above + sum(mass for v, mass in rows if v > tau)) / everything)

            inside = [tau for tau in s[~y] if share(False, tau) <= fpr + 1e-12]
            found.append(share(True, min(inside)) if inside else 0.0)
    return found


def test_rare_tpr_is_the_literal_bayesian_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    y = np.arange(60) < 25
    s = rng.normal(size=60) + y
    group = np.where(y, np.arange(60) // 2, 100 + np.arange(60) // 3)
    order = rng.permutation(60)
    s, y, group = s[order], y[order], group[order]
    monkeypatch.setattr(intervals, "BLOCK_ENTRIES", 60 * 16)  # three blocks
    for fpr in (0.02, 0.1):
        found = rare_tpr(s, y, group, fpr, seed=2, draws=40)
        lo, hi = np.quantile(literal_rare(s, y, group, fpr, 2, 40), [0.025, 0.975])
        value = roc.tpr_at_fpr(s, y, fpr).value
        value = lo if value is None else value
        assert found == pytest.approx((min(lo, value), max(hi, value)), abs=1e-12)


def test_rare_tpr_of_single_rows_at_a_known_threshold() -> None:
    """All members below every non-member: what is left is the prior beyond the highest of 40."""
    s, y = np.append(np.arange(40.0), np.arange(100.0, 250)), np.arange(190) < 40
    lo, hi = rare_tpr(s, y, np.arange(190), 0.01, seed=0, draws=4000)
    assert lo == 0
    expected = stats.beta.ppf(0.975, 0.5, 40.5)  # one of 150 above the threshold, or none
    assert hi == pytest.approx(expected, rel=0.15)


def test_next_to_no_errors_leave_open_what_the_best_threshold_does() -> None:
    """One of 80 non-members is above one of 90 members: the spread of one error says little."""
    scores = np.concatenate([np.arange(90) + 100.0, np.arange(80.0)])
    scores[-1] = 100.5
    is_member, group = np.arange(170) < 90, np.arange(170)
    least, most = left_by_threshold(scores, is_member, group)
    member, other = jeffreys(89 / 90, 90), jeffreys(0.0, 80)  # the threshold above both
    assert (least, most) == pytest.approx((member.lo * (1 - other.hi), 1))
    value = roc.auroc(scores, is_member)
    replicates = np.array([1.0] * 9 + [value - 0.001])
    none = RateInterval(0.5, 0.4, 0.6)  # not asked
    alone = auroc_interval(value, replicates, none, none)
    held = auroc_interval(
        value, replicates, none, none, lambda: left_by_threshold(scores, is_member, group)
    )
    assert alone[0] < 0.9 < least == held[0]
    assert held[1] == alone[1]
    mirrored = left_by_threshold(-scores, is_member, group)
    assert mirrored == pytest.approx((0, 1 - least))


def test_a_threshold_is_not_asked_where_errors_are_many() -> None:
    none = RateInterval(0.5, 0.4, 0.6)

    def unasked() -> tuple[float, float]:
        raise AssertionError

    replicates = np.array([0.58, 0.6, 0.62])
    assert auroc_interval(0.6, replicates, none, none, unasked) == auroc_interval(
        0.6, replicates, none, none
    )
