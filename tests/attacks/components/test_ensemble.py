"""The ensemble: what it keeps, that it learns from calibration rows alone, and fair comparison."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mia_bench.attacks import Calibration
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.attacks.components.ensemble_features import columns, distinct
from mia_bench.evaluation.cross_fitting import out_of_fold
from mia_bench.evaluation.ensemble_comparison import compare
from mia_bench.evaluation.labelled_features import LabelledFeatures
from mia_bench.metrics import auroc
from mia_bench.metrics.summary import paired_difference
from mia_bench.storage.feature_table import Table
from mia_bench.utils.errors import MiaError

MODELS = ("logistic", "boosted")


def measured(n: int = 300, seed: int = 0, drop: float = 0.05, distance: float = 0.0):
    """Tables of four attacks and labels: one difficulty moves all; two rows are a group.

    `drop`: how much smaller members' losses are under their caption; `distance`: of PIA.
    """
    rng = np.random.default_rng(seed)
    member = np.repeat(rng.random(n // 2) < 0.4, 2)
    hard = rng.normal(0, 0.5, n)
    loss = np.log(0.1) + hard[:, None, None] + rng.normal(0, 0.02, (n, 5, 3))
    loss[:, 0] -= drop * member[:, None]
    loss = np.exp(loss).astype(np.float32)
    pia = np.exp(hard + rng.normal(0, 0.3, n) - distance * member)
    tables = {
        "clid": {"loss": loss},
        "mc": {"loss": loss[:, 0]},
        "noise_agg": {"l2": -np.exp(hard[:, None] + rng.normal(0, 0.3, (n, 1)))},
        "pia": {"distance": pia},
        "pfami": {"delta": rng.normal(0, 1, (n, 1, 10))},
    }
    return tables, member


def calibration(tables, member, seed: int = 0) -> Calibration:
    group = np.array([f"g{i // 2}" for i in range(len(member))])
    return Calibration(columns(tables), member, group, seed)


def held_out(model: str, **options: float) -> float:
    """AUROC on rows that nothing was fitted on."""
    known = calibration(*measured(**options))
    tables, member = measured(seed=1, **options)
    return auroc(Ensemble(model).score(columns(tables), known), member)


def test_features_are_named_after_their_attacks():
    tables, _ = measured(10)
    merged = columns(tables)
    assert set(merged) == {
        "clid.loss",
        "mc.loss",
        "noise_agg.l2",
        "pia.distance",
        "pfami.delta",
    }
    assert merged["clid.loss"] is tables["clid"]["loss"]
    with pytest.raises(MiaError, match=r"a\.x: 2, b\.x: 3"):
        columns({"a": {"x": np.zeros(2)}, "b": {"x": np.zeros(3)}})


def test_a_value_with_another_sign_than_all_known_ones_is_still_scored():
    known = calibration(*measured(60))
    row = {name: x[:1] for name, x in known.features.items()}
    row["pia.distance"] = np.array([-1.0])
    assert np.isfinite(Ensemble().score(row, known)).all()


def test_what_another_feature_holds_is_dropped():
    tables, _ = measured(60)
    tables["loss"] = {"loss": tables["clid"]["loss"][:, 0, 1:2] * (1 + 1e-6)}  # another batch
    tables["clid_vec"] = dict(tables["clid"])
    tables["sima"] = {"norm": -3 * tables["pia"]["distance"]}
    kept = distinct(columns(tables))
    assert kept == ["clid.loss", "noise_agg.l2", "pfami.delta", "pia.distance"]


def test_copies_of_an_attack_change_no_score():
    tables, member = measured()
    copied = tables | {"z": tables["pia"], "z2": tables["clid"]}
    one = Ensemble().score(columns(tables), calibration(tables, member))
    two = Ensemble().score(columns(copied), calibration(copied, member))
    np.testing.assert_array_equal(one, two)


def test_wide_features_are_left_out_and_named():
    tables, member = measured(60)
    tables["secmi"] = {"map": np.random.default_rng(0).normal(size=(60, 4, 8, 8))}
    known = calibration(tables, member)
    ensemble = Ensemble()
    assert ensemble.left_out(known.features) == {"secmi.map": 256}
    assert not any(name.startswith("secmi") for name in ensemble.chosen(known))
    without = calibration({k: v for k, v in tables.items() if k != "secmi"}, member)
    np.testing.assert_array_equal(
        ensemble.score(known.features, known), ensemble.score(without.features, without)
    )
    assert Ensemble(max_columns=12).left_out(known.features) == {"clid.loss": 15, "secmi.map": 256}


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_scored_one_by_one(model):
    known = calibration(*measured())
    features = columns(measured(80, seed=1)[0])
    ensemble = Ensemble(model)
    together = ensemble.score(features, known)
    rows = np.random.default_rng(0).permutation(80)[:30]
    apart = ensemble.score({name: x[rows] for name, x in features.items()}, known)
    alone = ensemble.score({name: x[:1] for name, x in features.items()}, known)
    np.testing.assert_allclose(apart, together[rows], rtol=1e-9)  # sums of other lengths
    np.testing.assert_allclose(alone, together[:1], rtol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_the_same_every_time(model):
    known = calibration(*measured())
    features = columns(measured(40, seed=1)[0])
    first, again = (Ensemble(model).score(features, known) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("only", [{"drop": 0.03, "distance": 0.0}, {"drop": 0.0, "distance": 0.6}])
def test_one_informative_attack_is_enough(model, only):
    assert held_out(model, **only) > 0.75


def test_the_small_difference_is_found_under_the_large_difficulty():
    """Members lose 3 % where difficulty spreads losses by 50 %: no single loss shows it."""
    tables, member = measured(seed=1, drop=0.03)
    assert abs(auroc(-tables["mc"]["loss"].mean(1), member) - 0.5) < 0.1
    assert held_out("logistic", drop=0.03) > 0.9


@pytest.mark.long
def test_together_attacks_know_more_than_each():
    options = {"drop": 0.015, "distance": 0.4}
    tables, member = measured(seed=1, **options)
    together = held_out("logistic", **options)
    for name in ("clid", "pia"):
        known_tables, known_member = measured(**options)
        known = calibration({name: known_tables[name]}, known_member)
        alone = Ensemble().score(columns({name: tables[name]}), known)
        assert together > auroc(alone, member) + 0.02


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_where_nothing_is_to_be_learned_out_of_fold_scores_say_so(model):
    """Six calibrations of 150 groups: the mean has a standard error of 0.02 or less."""
    found = []
    for seed in range(6):
        tables, member = measured(seed=seed, drop=0.0)
        known = calibration(tables, member)
        role = np.where(member, "shadow_member", "shadow_nonmember")
        table = Table(tuple(map(str, range(len(member)))), known.features)
        scores = out_of_fold(Ensemble(model), LabelledFeatures(table, role, known.group), 5, seed)
        found.append(auroc(scores, member))
    assert abs(np.mean(found) - 0.5) < 0.06


@pytest.mark.parametrize(("model", "extra"), [("logistic", {"C"}), ("boosted", set())])
def test_it_names_what_carries_it(model, extra):
    chosen = Ensemble(model).chosen(calibration(*measured(drop=0.03)))
    assert extra <= set(chosen)
    assert len(set(chosen) - extra) == 5
    assert next(name for name in chosen if name not in extra) == "clid.loss[0,:]"
    assert json.loads(json.dumps(chosen)) == chosen


def test_members_have_the_lower_loss_so_its_coefficient_is_negative():
    chosen = Ensemble().chosen(calibration(*measured(drop=0.03)))
    assert chosen["clid.loss[0,:]"] < 0


@pytest.mark.long
def test_noise_is_met_with_a_strong_penalty():
    strong = Ensemble().chosen(calibration(*measured(drop=0.0)))["C"]
    weak = Ensemble().chosen(calibration(*measured(drop=0.2)))["C"]
    assert strong < weak


def test_outlying_rows_do_not_decide_the_scale():
    tables, member = measured(drop=0.03)
    features = columns(measured(seed=1, drop=0.03)[0])
    truth = measured(seed=1, drop=0.03)[1]
    tables["pia"]["distance"][:3] = 1e9
    assert auroc(Ensemble().score(features, calibration(tables, member)), truth) > 0.9


def test_what_cannot_be_used_is_refused():
    tables, member = measured(40)
    known = calibration(tables, member)
    with pytest.raises(MiaError, match=r"pia\.distance of the calibration rows is missing"):
        Ensemble().score({k: v for k, v in known.features.items() if "pia" not in k}, known)
    with pytest.raises(MiaError, match="0 members and 40 non-members"):
        Ensemble().score(known.features, replace(known, is_member=np.zeros(40, dtype=bool)))
    with pytest.raises(MiaError, match="no feature varies"):
        Ensemble(max_columns=0).score(known.features, known)
    with pytest.raises(MiaError, match="too few to choose a penalty"):
        Ensemble().score(known.features, replace(known, group=np.full(40, "one")))
    tables["pia"]["distance"][0] = np.nan
    with pytest.raises(MiaError, match=r"feature pia\.distance has 1 values"):
        Ensemble().score(known.features, calibration(tables, member))


def test_the_best_attack_is_chosen_on_calibration_rows():
    rng = np.random.default_rng(0)
    member, group = np.arange(200) < 80, [f"g{i}" for i in range(200)]
    scores = {name: rng.normal(0, 1, 200) + d * member for name, d in (("a", 0.5), ("b", 1.5))}
    together = scores["a"] + scores["b"]
    found = compare(scores, together, member, group, 0, {"a": 0.8, "b": 0.7})
    calibrated, evaluated = found["best_by_calibration"], found["best_by_evaluation"]
    assert (calibrated["attack"], evaluated["attack"]) == ("a", "b")
    assert "remark" in evaluated
    assert "remark" not in calibrated
    assert calibrated["difference"] == paired_difference(together, scores["a"], member, group, 0)
    gap = found["auroc"] - evaluated["auroc"]
    assert evaluated["difference"]["auroc"]["value"] == pytest.approx(gap)
    assert json.loads(json.dumps(found)) == found


def test_a_comparison_needs_both_figures_of_every_attack():
    with pytest.raises(ValueError, match="for the same attacks"):
        compare({"a": [1.0, 0.0]}, [1.0, 0.0], [1, 0], ["x", "y"], 0, {"b": 0.5})
