"""Stages: one after the other, and none again when its artefacts are there."""

from __future__ import annotations

import json

import pandas as pd

from mia_bench.execution import stages
from mia_bench.planning.make_plan import make_plan


def test_each_stage_makes_its_own_artefacts_once(small, tmp_path):
    words = ("attack=loss", "calibration=split", "eval.base_rows=[]", "eval.utility=true")
    plan = make_plan(
        small(*words, "eval.utility_images=4", "eval.blind_rows=false", outputs=tmp_path)
    )
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
    stages.measure_utility(plan)
    utility = json.loads((plan.utility[plan.base] / "utility.json").read_text())
    assert (utility["step"], utility["model"], utility["n_images"]) == (None, plan.base.key, 4)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("manifest.json")}
    for stage in (stages.train_models, stages.extract_features, stages.score_runs):
        stage(plan)
    stages.measure_utility(plan)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("manifest.json")} == made


def test_evidence_is_of_evaluation_rows_alone(tmp_path):
    n = 40
    scores = pd.DataFrame(
        {
            "sample_id": [f"made:{i}" for i in range(n)],
            "score": [float(i) for i in range(n)],
            "is_member": [i % 2 == 0 for i in range(n)],
            "calibration": [i >= 30 for i in range(n)],
        }
    )
    scores.to_parquet(tmp_path / "scores.parquet")
    rows = stages.evidence_rows(tmp_path, seed=0)
    assert [row["sample_id"] for row in rows[:4]] == ["made:28", "made:26", "made:24", "made:22"]
    assert {row["why"] for row in rows} == {"top", "worst", "random"}
    assert len({row["sample_id"] for row in rows}) == len(rows) == 12
    assert not any(row["calibration"] for row in rows)
    assert stages.evidence_rows(tmp_path, seed=0) == rows
