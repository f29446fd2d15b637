"""bootstrap.py against literal loops over replicates and rows, and what intervals promise."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from samples import all_weights, mixed_groups
from sklearn.metrics import roc_auc_score

from mia_bench.metrics import (
    Thresholds,
    balanced_accuracy,
    fit_thresholds,
    intervals,
    oracle_accuracy,
    permuted_oracle,
    roc,
    summary,
)
from mia_bench.metrics.bootstrap import Bootstrap
from mia_bench.metrics.summary import (
    auroc_replicates,
    difference_of_replicates,
    evaluate,
    paired_difference,
)


def draw(seed: int, n: int = 300, digits: int = 1, size: int = 1) -> tuple[Any, Any, list[str]]:
    """n / size random rows per class and half of size, each repeated `size` times as one group."""
    rng = np.random.default_rng(seed)
    y = np.arange(n // size) % 2 == 0
    s = np.round(rng.normal(size=y.size) + 0.7 * y, digits)
    group = [f"g{i:04d}" for i in range(y.size)]
    return np.repeat(s, size), np.repeat(y, size), list(np.repeat(group, size))


def width(interval: dict[str, Any]) -> float:
    return float(interval["hi"] - interval["lo"])


def literal_tpr(s: Any, y: Any, fpr: float) -> float:
    """TPR at the smallest score that at most k non-members exceed, on the rows as they are."""
    k = int(np.floor((~y).sum() * fpr + 1e-9))
    tau = min(v for v in s if (s[~y] > v).sum() <= k)
    return float((s[y] > tau).mean())


def test_evaluate_is_the_literal_loop() -> None:
    s, y, group = mixed_groups(4)
    thresholds = Thresholds(0.35, 1.9, 2)
    found = evaluate(s, y, group, thresholds, seed=3, n_resamples=60)
    literal: dict[str, list[float]] = {"auroc": [], "0.01": []}
    for weights in all_weights(Bootstrap.of(y, group, seed=3, n_resamples=60)):
        rows, labels = np.repeat(s, weights), np.repeat(y, weights)
        literal["auroc"].append(roc.auroc(rows, labels))
        literal["0.01"].append(literal_tpr(rows, labels, 0.01))
    # 230 non-members allow two false positives: too few for percentiles
    assert found["flags"][-1] == "few_false_positives_tpr_0_01"
    more = evaluate(np.tile(s, 2), np.tile(y, 2), group * 2, thresholds, seed=3, n_resamples=60)
    entry, limits = more["tpr_at_fpr"]["0.01"], np.quantile(literal["0.01"], [0.025, 0.975])
    assert entry["k"] == 4
    np.testing.assert_allclose([entry["lo"], entry["hi"]], limits, atol=0.03)  # k doubles, 4 or 5
    value = roc.auroc(s, y)
    odds, error = np.log(value / (1 - value)), np.std(literal["auroc"], ddof=1)
    for end, sign in (("lo", -1), ("hi", 1)):
        at = odds + sign * 1.959964 * error / (value * (1 - value))
        assert found["auroc"][end] == pytest.approx(1 / (1 + np.exp(-at)), abs=1e-6)


def test_what_is_at_a_threshold_is_judged_by_its_rates() -> None:
    s, y, group = mixed_groups(4)
    found = evaluate(s, y, group, Thresholds(0.35, 1.9, 2), seed=3, n_resamples=60)
    labels = np.array(group)
    tpr, fpr = (intervals.rate(s[at] > 1.9, labels[at]) for at in (y, ~y))
    for name, of in (("tpr_calibrated", tpr), ("realised_fpr", fpr)):
        assert found[name] == {"value": of.value, "lo": of.lo, "hi": of.hi}
        assert of.lo < of.value < of.hi
    lo, hi = intervals.balanced_accuracy_interval(
        *(intervals.rate(s[at] > 0.35, labels[at]) for at in (y, ~y))
    )
    value = balanced_accuracy(s, y, 0.35)
    assert found["asr"] == {"value": pytest.approx(value, abs=1e-12), "lo": lo, "hi": hi}


def test_a_perfect_score_has_an_interval_and_a_flag() -> None:
    s, y = np.arange(300.0), np.arange(300) >= 100
    group = [f"g{i // 2}" for i in range(300)]
    found = evaluate(s, y, group, Thresholds(99.5, 99.5, 1), seed=0, n_resamples=50)
    assert found["flags"][-1] == "extreme_auroc"
    # 100 groups of two members and 50 of two others: 1 - 2.5 / 100 - 2.5 / 50 or so
    assert 0.9 < found["auroc"]["lo"] < 0.96
    assert found["auroc"]["hi"] == found["asr"]["hi"] == found["tpr_calibrated"]["hi"] == 1
    assert found["realised_fpr"]["lo"] == 0
    assert 0 < found["realised_fpr"]["hi"] < 0.06
    assert 0.95 < found["asr"]["lo"] < 1
    turned = evaluate(-s, y, group, Thresholds(-99.5, -99.5, 1), seed=0, n_resamples=50)
    assert turned["auroc"]["lo"] == 0
    assert turned["auroc"]["hi"] == pytest.approx(1 - found["auroc"]["lo"])
    assert "extreme_auroc" in turned["flags"]


@pytest.mark.parametrize("below", [0, 1])
def test_a_rate_that_misses_no_member_is_not_taken_for_exact(below: int) -> None:
    """Percentiles of resampled groups would be 1 and 1 where nothing is missed."""
    y = np.arange(1000) < 500
    s = np.where(y, 2.0, 0.0) + np.linspace(0, 1, 1000)
    s[:below] = -1.0
    group = [f"g{i}" for i in range(1000)]
    found = evaluate(s, y, group, Thresholds(1.5, 1.5, 5), seed=0, n_resamples=400)
    entry = found["tpr_at_fpr"]["0.01"]
    assert (entry["k"], entry["value"]) == (5, 1 - below / 500)
    assert ("no_member_missed_tpr_0_01" in found["flags"]) == (below == 0)
    limits = intervals.rare_tpr(s, y, Bootstrap.of(y, group, 0, 400).row_group, 0.01, 0, 400)
    assert ((entry["lo"], entry["hi"]) == limits) == (below == 0)
    assert entry["lo"] < entry["value"]


def test_values_are_the_point_metrics() -> None:
    s, y, group = draw(0, n=2400)
    thresholds = fit_thresholds(*draw(1, n=2400)[:2])
    found = evaluate(s, y, group, thresholds, seed=0, n_resamples=20)
    assert found["auroc"]["value"] == roc.auroc(s, y)
    assert found["asr"]["value"] == balanced_accuracy(s, y, thresholds.tau_acc)
    assert found["tpr_calibrated"]["value"] == (s[y] > thresholds.tau_fpr01).mean()
    assert found["realised_fpr"]["value"] == (s[~y] > thresholds.tau_fpr01).mean()
    for name, fpr in (("0.01", 0.01), ("0.001", 0.001)):
        assert found["tpr_at_fpr"][name]["value"] == roc.tpr_at_fpr(s, y, fpr).value
    assert found["asr_oracle"] == oracle_accuracy(s, y)
    assert found["asr_oracle_permuted"] == permuted_oracle(s, y, seed=0)
    assert (found["n_members"], found["n_nonmembers"]) == (1200, 1200)
    assert [found["tpr_at_fpr"][q]["k"] for q in ("0.01", "0.001")] == [12, 1]
    assert [found["tpr_at_fpr"][q]["low_resolution"] for q in ("0.01", "0.001")] == [False, True]
    assert found["flags"] == ["low_resolution_tpr_0_001", "few_false_positives_tpr_0_001"]
    assert found["thresholds"]["tau_acc"] == thresholds.tau_acc


def test_output_is_plain_json_with_the_agreed_keys_and_repeats_itself() -> None:
    s, y, group = draw(0)
    thresholds = fit_thresholds(s, y)
    found = evaluate(s, y, group, thresholds, seed=0, n_resamples=100)
    assert set(found) == {
        *("auroc", "tpr_at_fpr", "asr", "tpr_calibrated", "realised_fpr", "asr_oracle"),
        *("asr_oracle_permuted", "n_members", "n_nonmembers", "thresholds", "flags"),
    }
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert text == json.dumps(evaluate(s, y, group, thresholds, seed=0, n_resamples=100))
    assert text != json.dumps(evaluate(s, y, group, thresholds, seed=1, n_resamples=100))


def test_what_cannot_be_measured_is_null_with_a_reason() -> None:
    s, y, group = draw(0, n=100)
    found = evaluate(s, y, group, fit_thresholds(s, y), seed=0, n_resamples=20)
    reason = "50 non-members allow no false positive at FPR 0.01: at least 100 are needed"
    null = {"value": None, "lo": None, "hi": None, "reason": reason}
    assert found["tpr_at_fpr"]["0.01"] == {**null, "k": 0, "low_resolution": True}
    assert found["tpr_calibrated"] == found["realised_fpr"] == null
    assert found["flags"] == ["undefined_tpr_0_01", "undefined_tpr_0_001", "undefined_tau_fpr01"]


def test_one_group_in_a_class_gives_values_without_intervals() -> None:
    s, y, group = draw(0, n=40)
    group = ["all members" if m else g for g, m in zip(group, y, strict=True)]
    found = evaluate(s, y, group, Thresholds(0.3, None, 0), seed=0, n_resamples=20)
    assert found["auroc"] == {
        "value": roc.auroc(s, y),
        "lo": None,
        "hi": None,
        "reason": "1 member group: an interval needs at least 2 groups in each class",
    }
    assert found["flags"][-1] == "no_interval"
    assert paired_difference(s, -s, y, group, seed=0, n_resamples=20)["auroc"]["p_value"] is None


def test_duplicated_rows_add_nothing_when_grouped() -> None:
    s, y, group = draw(7, size=1)
    s5, y5, group5 = draw(7, n=1500, size=5)
    thresholds = Thresholds(0.35, 2.0, 1)
    once = evaluate(s, y, group, thresholds, seed=0, n_resamples=500)
    grouped = evaluate(s5, y5, group5, thresholds, seed=0, n_resamples=500)
    for name in ("auroc", "asr", "tpr_calibrated", "realised_fpr"):
        for key in ("value", "lo", "hi"):  # the same draws: equal up to the rounding of quotients
            assert grouped[name][key] == pytest.approx(once[name][key], abs=1e-12)
    rows = evaluate(s5, y5, [str(i) for i in range(1500)], thresholds, seed=0, n_resamples=500)
    # five copies taken for five rows shrink the width by sqrt(5) = 2.24; 500 replicates give +-10 %
    assert 1.8 < width(grouped["auroc"]) / width(rows["auroc"]) < 2.7


@pytest.mark.long
def test_paired_difference_is_the_literal_loop() -> None:
    s, y, group = mixed_groups(2)
    other = np.round(s + np.random.default_rng(0).normal(size=s.size), 1)
    found = paired_difference(s, other, y, group, seed=5, n_resamples=60)
    auc, tpr = [], []
    for weights in all_weights(Bootstrap.of(y, group, seed=5, n_resamples=60)):
        a, b, labels = (np.repeat(v, weights) for v in (s, other, y))
        auc.append(roc_auc_score(labels, a) - roc_auc_score(labels, b))
        tpr.append(literal_tpr(a, labels, 0.01) - literal_tpr(b, labels, 0.01))
    for entry, literal in ((found["auroc"], auc), (found["tpr_at_fpr"]["0.01"], tpr)):
        limits = np.quantile(literal, [0.025, 0.975])
        np.testing.assert_allclose([entry["lo"], entry["hi"]], limits, atol=1e-12)
    assert found["auroc"]["value"] == roc.auroc(s, y) - roc.auroc(other, y)
    side = min(np.sum(np.array(auc) <= 0), np.sum(np.array(auc) >= 0))
    assert found["auroc"]["p_value"] == min(1, 2 * (1 + side) / 61)
    assert found["tpr_at_fpr"]["0.01"]["k"] == 2
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("by_pairs", [True, False])
def test_replicates_of_two_attacks_give_their_paired_difference(monkeypatch, by_pairs) -> None:
    monkeypatch.setattr(summary, "MAX_MULTIPLIED_PAIRS", 1 << 20 if by_pairs else 0)
    s, y, group = mixed_groups(2)
    other = np.round(s + np.random.default_rng(0).normal(size=s.size), 1)
    kept = [auroc_replicates(scores, y, group, 5, 60) for scores in (s, other)]
    expected = paired_difference(s, other, y, group, seed=5, n_resamples=60)["auroc"]
    assert difference_of_replicates(*kept) == expected


def test_replicates_without_an_interval_are_the_value_alone() -> None:
    s, y = np.arange(6.0), np.array([False, True] * 3)
    alone = auroc_replicates(s, y, ["m" if member else "n" for member in y], 0, 50)
    assert difference_of_replicates(alone, alone) == {
        "value": 0.0,
        "lo": None,
        "hi": None,
        "p_value": None,
    }
    assert alone.tolist() == [roc.auroc(s, y)]


def test_paired_difference_of_equal_and_of_opposite_attacks() -> None:
    s, y, group = draw(0)
    same = paired_difference(s, s**3, y, group, seed=0, n_resamples=99)["auroc"]
    assert same == {"value": 0.0, "lo": 0.0, "hi": 0.0, "p_value": 1.0}
    opposite = paired_difference(s, -s, y, group, seed=0, n_resamples=99)["auroc"]
    assert opposite["lo"] > 0
    assert opposite["p_value"] == 0.02  # the smallest there is with 99 replicates
    swapped = paired_difference(-s, s, y, group, seed=0, n_resamples=99)["auroc"]
    assert swapped["value"] == -opposite["value"]
    assert swapped["p_value"] == 0.02


def test_pairing_is_what_makes_close_attacks_comparable() -> None:
    s, y, group = draw(0, digits=6)
    close = s + 0.1 * np.random.default_rng(1).normal(size=s.size)
    difference = paired_difference(s, close, y, group, seed=0, n_resamples=500)["auroc"]
    alone = evaluate(s, y, group, Thresholds(0.3, None, 0), seed=0, n_resamples=500)["auroc"]
    # correlation .99: unpaired, the width of the difference would be sqrt(2) times that of one
    assert width(difference) < 0.5 * width(alone)


def test_p_value_is_uniform_when_there_is_no_difference() -> None:
    ps = []
    for seed in range(150):
        rng = np.random.default_rng([seed, 5])
        y = np.arange(120) % 2 == 0
        a, b = rng.normal(size=(2, 120)) + 0.7 * y
        names = [str(i) for i in range(120)]
        ps.append(paired_difference(a, b, y, names, seed, n_resamples=200)["auroc"]["p_value"])
    # mean 0.5 with a standard error of 0.024; 5 % below 0.05 with one of 0.018
    assert 0.4 < np.mean(ps) < 0.6
    assert np.mean(np.array(ps) < 0.05) < 0.12


@pytest.mark.long
def test_memory_stays_bounded() -> None:
    s, y, group = draw(0, n=20_000, digits=3)
    tracemalloc.start()
    evaluate(s, y, group, Thresholds(0.3, 2.0, 10), seed=0, n_resamples=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all weights at once would be 300 * 20,000 * 8 bytes = 48 MB alone


def test_bad_input_is_named() -> None:
    s, y, group = draw(0, n=20)
    thresholds = Thresholds(0.3, None, 0)
    for bad, message in (
        (["one"] * 20, "1 groups hold members and non-members, the first is 'one'"),
        (group[:-1], "19 group labels for 20 rows"),
        ([*group[:-1], None], "group label None at index 19 is no string"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(s, y, bad, thresholds, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one, better 2000"):
        evaluate(s, y, group, thresholds, seed=0, n_resamples=0)
    with pytest.raises(ValueError, match="1 non-finite values of 20"):
        evaluate(np.where(s == s.max(), np.nan, s), y, group, thresholds, seed=0)
    with pytest.raises(ValueError, match="non-finite"):
        paired_difference(s, np.full(s.size, np.inf), y, group, seed=0)
