"""Evidence and utility: of the right rows and models, once."""

from __future__ import annotations

import json

import pandas as pd

from mia_bench.execution.extras import evidence_rows, measure_utility
from mia_bench.planning.make_plan import make_plan


def test_the_utility_of_a_model_is_measured_once(small, tmp_path):
    words = (
        "model.finetune=false",
        "data.random_labels=true",
        "calibration=split",
        "eval.utility=true",
    )
    plan = make_plan(small("attack=loss", *words, "eval.utility_images=4", outputs=tmp_path))
    measure_utility(plan)
    (path,) = tmp_path.glob("utility/*/base/*/utility.json")
    utility = json.loads(path.read_text())
    assert path.parent == plan.utility[plan.base]
    assert (utility["step"], utility["model"], utility["n_images"]) == (None, plan.base.key, 4)
    assert (path.parent / "samples.png").is_file()
    before = path.stat().st_mtime_ns
    measure_utility(plan)
    assert path.stat().st_mtime_ns == before


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
    rows = evidence_rows(tmp_path, seed=0)
    surest = [28, 1, 26, 3, 24, 5, 22, 7]  # members and others in turn
    assert [row["sample_id"] for row in rows[:8]] == [f"made:{i}" for i in surest]
    assert {row["why"] for row in rows} == {"top", "bottom", "worst", "random"}
    assert len({row["sample_id"] for row in rows}) == len(rows) == 16
    assert not any(row["calibration"] for row in rows)
    assert evidence_rows(tmp_path, seed=0) == rows
