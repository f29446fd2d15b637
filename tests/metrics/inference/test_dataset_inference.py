"""CDI's dataset test: the t-test against SciPy's, power against theory, groups, false alarms."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from score_samples import alone, shifted

from mia_bench.metrics.inference.dataset_inference import ScorePool, dataset_test, grid, welch_p
from mia_bench.utils.errors import MiaError


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 7), (50, 20)])
@pytest.mark.parametrize("d", [-1.0, 0.0, 2.0])
def test_p_is_that_of_scipy(n, m, d):
    rng = np.random.default_rng(n)
    a, b = rng.normal(d, 3, (6, n)), rng.exponential(1, (6, m))
    expected = stats.ttest_ind(a, b, axis=1, equal_var=False, alternative="greater").pvalue
    np.testing.assert_allclose(welch_p(a, b), expected, rtol=1e-9)


def test_p_of_samples_that_do_not_vary_is_that_of_all_permutations():
    """t is undefined; of C(2n, n) labellings one lies as high."""
    a, b = np.ones((1, 4)), np.zeros((1, 4))
    assert welch_p(a, b) == pytest.approx(1 / math.comb(8, 4))
    assert welch_p(b, a) == 1
    assert welch_p(a, a) == 1
    assert welch_p(np.full((1, 3), 0.1), np.full((1, 3), 0.1)) == 1  # 3 * 0.1 / 3 is not 0.1


def test_all_groups_of_both_sides_are_the_test_of_the_whole_sample():
    scores, member, group = shifted(0.2, n=40)
    whole = stats.ttest_ind(
        scores[member], scores[~member], equal_var=False, alternative="greater"
    ).pvalue
    found = dataset_test(scores, member, group, 0, 20)
    assert found["sizes"][-1] == 40
    assert found["p_value"][-1] == pytest.approx(whole)


def test_p_falls_and_samples_are_needed_as_theory_says():
    """For unit normals at distance d, the mean of p over draws is Phi(-d sqrt(n) / 2)."""
    scores, member, group = shifted(0.5, n=2000, seed=1)
    found = dataset_test(scores, member, group, 0)
    d = scores[member].mean() - scores[~member].mean()
    sizes = np.array(found["sizes"])
    expected = stats.norm.cdf(-d * np.sqrt(sizes) / 2)
    # below 10 the t-test knows less; p varies by 0.3 at most: 4 standard errors of 1000 draws
    use = (sizes >= 10) & (sizes <= 100)
    assert np.abs(np.array(found["p_value"]) - expected)[use].max() < 4 * 0.3 / math.sqrt(1000)
    exact = (2 * stats.norm.isf(0.01) / d) ** 2
    at = found["sizes"].index(found["samples_needed"])
    assert found["sizes"][at - 2] < exact < found["sizes"][at + 1]


def test_more_signal_needs_fewer_samples():
    needed = [dataset_test(*shifted(d), 0, 200)["samples_needed"] for d in (0.5, 1.0, 2.0, 4.0)]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > needed[-1]


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential", "standard_cauchy"])
def test_false_alarms_stay_at_the_level(draw):
    """Halves of one pool: at most 1 %, and 4 standard errors of 1000 splits."""
    rng = np.random.default_rng(3)
    scores = getattr(rng, draw)(400)
    found = dataset_test(scores, np.arange(400) < 100, alone(400), 0)
    rates = [r for r in found["false_alarm_rates"] if r is not None]
    assert max(*rates, found["false_alarm_rate"]) < 0.01 + 4 * math.sqrt(0.01 * 0.99 / 1000)
    assert found["false_alarm_size"] == 150


def test_scores_that_know_nothing_are_given_a_size_as_rarely_as_the_level_says():
    """1 % of 60 data sets is 0.6: four or more have a probability of 0.3 %."""
    found = [dataset_test(*shifted(0, n=60, seed=seed), 0, 30) for seed in range(60)]
    assert sum(f["samples_needed"] is not None for f in found) < 4
    never = next(f for f in found if f["samples_needed"] is None)
    assert never["reason"].startswith("p is ")


def test_the_size_needed_is_one_from_which_p_stays_below_the_level():
    scores, member, group = shifted(1.0, seed=2)
    found = dataset_test(scores, member, group, 0, 200)
    at = found["sizes"].index(found["samples_needed"])
    assert max(found["p_value"][at:]) < 0.01 <= found["p_value"][at - 1]
    assert found["false_alarm_size"] == found["samples_needed"]


def test_members_that_score_lower_are_named():
    scores, member, group = shifted(-1.0)
    assert "members score lower" in dataset_test(scores, member, group, 0, 50)["reason"]


def test_copies_in_a_group_change_nothing():
    scores, member, group = shifted(0.3, n=40)
    once = dataset_test(scores, member, group, 0, 100)
    copied = dataset_test(np.repeat(scores, 5), np.repeat(member, 5), np.repeat(group, 5), 0, 100)
    assert copied == once


def test_a_group_is_drawn_once_and_by_any_of_its_rows():
    group = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    pool = ScorePool.of(np.arange(21.0), group)
    drawn = pool.draw(np.random.default_rng(0), np.random.default_rng(1), 400).astype(int)
    assert pool.size == 6
    assert (np.sort(group[drawn], axis=1) == np.arange(6)).all()
    assert set(drawn.ravel()) == set(range(21))
    assert len({tuple(row) for row in group[drawn]}) > 250  # of 720 orders; 307 are expected


def test_near_duplicates_do_not_add_up_to_evidence():
    """Six groups of twenty: rows taken as independent would convict."""
    rng = np.random.default_rng(4)
    centre = np.concatenate([rng.normal(1, 1, 6), rng.normal(0, 1, 6)])
    scores = np.repeat(centre, 20) + rng.normal(0, 0.01, 240)
    member, group = np.arange(240) < 120, np.repeat(alone(12), 20)
    rows = dataset_test(scores, member, alone(240), 0, 50)
    groups = dataset_test(scores, member, group, 0, 50)
    assert groups["sizes"] == [2, 3, 5, 6]
    assert rows["p_value"][-1] < 1e-4 < groups["p_value"][-1]


def test_seed_and_values_decide_not_order_or_scale():
    scores, member, group = shifted(0.3, n=50)
    first = dataset_test(scores, member, group, 0, 50)
    order = np.random.default_rng(0).permutation(100)
    assert dataset_test(scores[order], member[order], np.array(group)[order], 0, 50) == first
    scaled = dataset_test(scores * 1e250 - 1e249, member, group, 0, 50)
    np.testing.assert_allclose(scaled["p_value"], first["p_value"], rtol=1e-6)
    assert dataset_test(scores, member, group, 1, 50)["p_value"] != first["p_value"]


def test_block_size_does_not_matter(monkeypatch):
    scores, member, group = shifted(0.3, n=30)
    group[1:30:2] = group[:30:2]
    first = dataset_test(scores, member, group, 0, 40)
    monkeypatch.setattr("mia_bench.metrics.inference.dataset_inference.BLOCK_ENTRIES", 7 * 30)
    again = dataset_test(scores, member, group, 0, 40)
    np.testing.assert_allclose(again["p_value"], first["p_value"])
    assert again["false_alarm_rates"] == first["false_alarm_rates"]


def test_the_grid_ends_at_what_there_is():
    assert grid(1) == []
    assert grid(2) == [2]
    assert grid(12) == [2, 3, 5, 10, 12]
    assert grid(100) == [2, 3, 5, 10, 20, 30, 50, 70, 100]
    assert grid(1500)[-4:] == [500, 700, 1000, 1500]


def test_the_result_is_plain_json():
    scores, member, group = shifted(1.0, n=20)
    found = dataset_test(scores, member, group, 0, 20)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_too_few_groups_have_a_reason():
    found = dataset_test([1.0, 0.9, 0.0, 0.1], [1, 1, 0, 0], ["a", "a", "b", "c"], 0, 5)
    assert found["samples_needed"] is None
    assert "fewer than 2" in found["reason"]
    assert found["sizes"] == found["p_value"] == found["false_alarm_rates"] == []
    assert found["false_alarm_rate"] is None


@pytest.mark.parametrize(
    ("scores", "member", "group", "says"),
    [
        ([1.0, 2.0], [1, 1], ["a", "b"], "no non-members"),
        ([1.0, math.nan], [1, 0], ["a", "b"], "non-finite"),
        ([1.0, 2.0], [1, 0], ["a", "a"], "members and non-members"),
        ([1.0, 2.0], [1, 0], ["a"], "one label per row"),
    ],
)
def test_unusable_rows_are_refused(scores, member, group, says):
    with pytest.raises(MiaError, match=says):
        dataset_test(scores, member, group, 0)
