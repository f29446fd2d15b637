"""Stages: one after the other, and none again when its artefacts are there."""

from __future__ import annotations

import json

from mia_bench.execution import stages
from mia_bench.planning.make_plan import make_plan


def test_each_stage_makes_its_own_artefacts_once(small, tmp_path):
    words = ("attack=loss", "calibration=split", "eval.base_rows=[]")
    plan = make_plan(small(*words, "eval.blind_rows=false", outputs=tmp_path))
    stages.train_models(plan)
    assert plan.target.ready
    (manifest,) = tmp_path.glob("targets/*/manifest.json")
    assert manifest.parent == plan.target.folder
    assert plan.missing()
    about = json.loads(manifest.read_text())
    assert (about["kind"], about["base"]) == ("target", plan.base.key)
    assert (plan.target.folder / "config.yaml").is_file()
    stages.extract_features(plan)
    assert not plan.missing()
    stages.score_runs(plan)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("manifest.json")}
    for stage in (stages.train_models, stages.extract_features, stages.score_runs):
        stage(plan)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("manifest.json")} == made
