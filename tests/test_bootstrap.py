"""bootstrap.py against literal loops over replicates and rows, and what intervals promise."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from mia_bench import bootstrap, metrics
from mia_bench.bootstrap import Bootstrap, Interval, evaluate, paired_difference
from mia_bench.metrics import Cuts, Thresholds, fit_thresholds


def draw(seed: int, n: int = 300, digits: int = 1, size: int = 1) -> tuple[Any, Any, list[str]]:
    """n / size random rows per class and half of size, each repeated `size` times as one group."""
    rng = np.random.default_rng(seed)
    y = np.arange(n // size) % 2 == 0
    s = np.round(rng.normal(size=y.size) + 0.7 * y, digits)
    group = [f"g{i:04d}" for i in range(y.size)]
    return np.repeat(s, size), np.repeat(y, size), list(np.repeat(group, size))


def mixed_groups(seed: int) -> tuple[Any, Any, list[str]]:
    """Tied scores in groups of one to eight rows, in random order: 220 members, 230 others."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(450) < 220)
    s = np.round(rng.normal(size=y.size) + 0.7 * y, 1)
    group = [f"{'mn'[int(not m)]}{rng.integers(100)}" for m in y]
    return s, y, group


def all_weights(boot: Bootstrap) -> Any:
    return np.concatenate(list(boot.weights()))


def width(interval: dict[str, Any]) -> float:
    return float(interval["hi"] - interval["lo"])


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
    monkeypatch.setattr(bootstrap, "BLOCK", 450 * 7)
    blocks = list(boot.weights())
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    np.testing.assert_array_equal(w, np.concatenate(blocks))


@pytest.mark.parametrize("seed", range(3))
def test_weighted_metrics_are_those_of_repeated_rows(seed: int) -> None:
    s, y, group = mixed_groups(seed)
    w = all_weights(Bootstrap.of(y, group, seed=seed, n_resamples=25))
    cuts = Cuts.of(s, y)
    tp, fp = cuts.count(w)
    tpr, fpr = metrics.rates(tp, fp, cuts.at(0.8))
    for r, weights in enumerate(w):
        rows, labels = np.repeat(s, weights), np.repeat(y, weights)
        expected = roc_auc_score(labels, rows)
        assert metrics.area(tp, fp)[r] == pytest.approx(expected, abs=1e-12)
        for q in (0.001, 0.01, 0.1):
            assert metrics.tpr_within(tp, fp, q)[r] == literal_tpr(rows, labels, q)
        assert tpr[r] == np.mean([v > 0.8 for v in rows[labels]])
        assert fpr[r] == np.mean([v > 0.8 for v in rows[~labels]])


def test_evaluate_is_the_literal_loop() -> None:
    s, y, group = mixed_groups(4)
    thresholds = Thresholds(0.35, 1.9, 2)
    found = evaluate(s, y, group, thresholds, seed=3, n_resamples=60)
    literal: dict[str, list[float]] = {name: [] for name in ("auroc", "asr", "tpr", "fpr", "0.01")}
    for weights in all_weights(Bootstrap.of(y, group, seed=3, n_resamples=60)):
        rows, labels = np.repeat(s, weights), np.repeat(y, weights)
        literal["auroc"].append(metrics.auroc(rows, labels))
        literal["asr"].append(metrics.balanced_accuracy(rows, labels, 0.35))
        literal["tpr"].append(float((rows[labels] > 1.9).mean()))
        literal["fpr"].append(float((rows[~labels] > 1.9).mean()))
        literal["0.01"].append(literal_tpr(rows, labels, 0.01))
    entries = {
        "auroc": found["auroc"],
        "asr": found["asr"],
        "tpr": found["tpr_calibrated"],
        "fpr": found["realised_fpr"],
        "0.01": found["tpr_at_fpr"]["0.01"],
    }
    for name, entry in entries.items():
        limits = np.quantile(literal[name], [0.025, 0.975])
        np.testing.assert_allclose([entry["lo"], entry["hi"]], limits, atol=1e-12, err_msg=name)
        assert entry["lo"] < entry["hi"]


def test_values_are_the_point_metrics() -> None:
    s, y, group = draw(0, n=2400)
    thresholds = fit_thresholds(*draw(1, n=2400)[:2])
    found = evaluate(s, y, group, thresholds, seed=0, n_resamples=20)
    assert found["auroc"]["value"] == metrics.auroc(s, y)
    assert found["asr"]["value"] == metrics.balanced_accuracy(s, y, thresholds.tau_acc)
    assert found["tpr_calibrated"]["value"] == (s[y] > thresholds.tau_fpr01).mean()
    assert found["realised_fpr"]["value"] == (s[~y] > thresholds.tau_fpr01).mean()
    for name, fpr in (("0.01", 0.01), ("0.001", 0.001)):
        assert found["tpr_at_fpr"][name]["value"] == metrics.tpr_at_fpr(s, y, fpr).value
    assert found["asr_oracle"] == metrics.oracle_accuracy(s, y)
    assert found["asr_oracle_permuted"] == metrics.permuted_oracle(s, y, seed=0)
    assert (found["n_members"], found["n_nonmembers"]) == (1200, 1200)
    assert [found["tpr_at_fpr"][q]["k"] for q in ("0.01", "0.001")] == [12, 1]
    assert [found["tpr_at_fpr"][q]["low_resolution"] for q in ("0.01", "0.001")] == [False, True]
    assert found["flags"] == ["low_resolution_tpr_0_001"]
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
        "value": metrics.auroc(s, y),
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


def coverage(n_sets: int, n: int, size: int, grouped: bool) -> float:
    """Share of data sets, Gaussian scores one sigma apart, whose interval holds the true AUROC."""
    truth, hits = norm.cdf(1 / np.sqrt(2)), 0
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, 99])
        y = np.repeat(np.arange(n) % 2 == 0, size)
        s = np.repeat(rng.normal(size=n) + (np.arange(n) % 2 == 0), size)
        names = np.repeat(np.arange(n), size) if grouped else np.arange(n * size)
        boot, cuts = Bootstrap.of(y, [str(i) for i in names], seed, 200), Cuts.of(s, y)
        values = boot.replicates(lambda w, cuts=cuts: {"auroc": metrics.area(*cuts.count(w))})
        interval = boot.interval(values["auroc"])
        hits += interval.lo <= truth <= interval.hi  # type: ignore[operator]
    return hits / n_sets


def test_intervals_cover_the_truth() -> None:
    # nominal 0.95; the percentile interval of 60 + 60 rows and 200 replicates covers about 0.93,
    # the standard error over 200 sets is 0.018, so 0.87 is more than three of them below
    assert 0.87 <= coverage(200, n=120, size=1, grouped=True) <= 0.995
    assert 0.87 <= coverage(200, n=120, size=3, grouped=True) <= 0.995
    # ignoring groups of three makes the interval sqrt(3) too short: 2 * cdf(1.96 / 1.73) - 1 = 0.74
    assert coverage(200, n=120, size=3, grouped=False) < 0.85


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
    assert found["auroc"]["value"] == metrics.auroc(s, y) - metrics.auroc(other, y)
    side = min(np.sum(np.array(auc) <= 0), np.sum(np.array(auc) >= 0))
    assert found["auroc"]["p_value"] == min(1, 2 * (1 + side) / 61)
    assert found["tpr_at_fpr"]["0.01"]["k"] == 2
    json.dumps(found, allow_nan=False)


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


def test_memory_stays_bounded() -> None:
    s, y, group = draw(0, n=20_000, digits=3)
    tracemalloc.start()
    evaluate(s, y, group, Thresholds(0.3, 2.0, 10), seed=0, n_resamples=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all weights at once would be 300 * 20,000 * 8 bytes = 48 MB alone


def test_interval_to_json() -> None:
    assert Interval(0.5, 0.4, 0.6).to_json() == {"value": 0.5, "lo": 0.4, "hi": 0.6}
    null = Interval(None, None, None, "why").to_json()
    assert null == {"value": None, "lo": None, "hi": None, "reason": "why"}


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
