"""The parts of a plan know where they lie and whether they are there."""

from __future__ import annotations

from mia_bench.attacks.loss import Loss
from mia_bench.data.split.roles import Role
from mia_bench.planning.specs import FeatureSpec, ModelSpec, RunSpec
from mia_bench.storage.artifacts import seal


def test_a_model_is_ready_once_it_is_sealed_and_the_base_always_is(tmp_path):
    base = ModelSpec("base", "b", tmp_path / "b")
    assert (base.ready, base.weights, base.where) == (True, None, "base")
    target = ModelSpec("target", "t", tmp_path / "t", Role.TARGET_MEMBER, 300)
    assert (target.weights, target.where) == (tmp_path / "t" / "steps" / "300", "300")
    assert not target.ready
    target.folder.mkdir()
    seal(target.folder, {})
    assert target.ready


def test_a_run_lists_the_tables_it_has(tmp_path):
    attack, model = Loss(), ModelSpec("base", "b", tmp_path / "b")
    one, two = (FeatureSpec(attack, model, ("x", "y"), tmp_path / name) for name in "ab")
    assert one.evaluations == 2 * attack.nfe[0]
    run = RunSpec("loss", attack, one, two, None, None, tmp_path / "run")
    assert list(run.feature_specs()) == [one, two]
    assert not run.ready
