"""Scores from stored features: nothing fitted on evaluation labels, claims beside plain attacks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from samples import known

from mia_bench.evaluation.attack_scores import compare_plain
from mia_bench.metrics import auroc


@pytest.mark.long
def test_evaluation_labels_change_no_score_threshold_or_alpha(
    small, trained, tmp_path, monkeypatch
):
    """Leak test: with evaluation roles swapped after the features, only metrics may move."""
    import pandas as pd

    from mia_bench.evaluation import inputs, score_run
    from mia_bench.execution.stages import extract_features, train_models
    from mia_bench.planning.make_plan import make_plan

    outputs = trained(tmp_path / "outputs")
    plan = make_plan(small("attack=[clid,clid_vec]", "eval.blind_rows=false", outputs=outputs))
    train_models(plan)
    extract_features(plan)
    frames, metrics = [], []
    for name in ("honest", "shuffled"):
        if name == "shuffled":
            real = inputs._labelled

            def swapped(plan, spec, real=real):
                rows = real(plan, spec)
                if spec.model.kind == "shadow":
                    return rows
                return replace(
                    rows, role=np.roll(rows.role, 5), group=np.array(rows.table.sample_id)
                )

            monkeypatch.setattr(inputs, "_labelled", swapped)
        for run in plan.runs:
            folder = tmp_path / name / run.name
            folder.mkdir(parents=True)
            score_run.score_run(plan, run, folder)
            frames.append(pd.read_parquet(folder / "scores.parquet").set_index("sample_id").score)
            metrics.append(json.loads((folder / "metrics.json").read_text()))
    for i in range(2):
        pd.testing.assert_series_equal(frames[i], frames[i + 2], check_exact=True)
        assert metrics[i]["thresholds"] == metrics[i + 2]["thresholds"]
        assert metrics[i]["chosen"] == metrics[i + 2]["chosen"]
        assert metrics[i]["auroc"] != metrics[i + 2]["auroc"]


def test_a_claim_is_compared_with_a_plain_attack_on_the_same_rows():
    rng = np.random.default_rng(0)
    rows = known(300)
    plain = rng.normal(size=300) + rows.is_member
    told = compare_plain(
        plain + 0.01 * rng.normal(size=300), plain, rows, 0, "pixels", "They agree."
    )
    assert told["auroc"] == auroc(plain, rows.is_member)
    assert told["agree"]
    assert told["remark"] == "They agree."
    better = compare_plain(plain + 2.0 * rows.is_member, plain, rows, 0, "pixels", "They agree.")
    assert better["difference"]["lo"] > 0
    assert not better["agree"]
    assert better["remark"] == ""
