"""The base beside the model of a pass, where an attack queries both."""

from __future__ import annotations

import pandas as pd

from mia_bench.execution.run import execute


def test_a_probe_runs_from_its_plan_to_its_scores(small, trained, tmp_path) -> None:
    """On the base itself the base is its own; on the target the pass counts both models' queries,
    and the two controls differ from the rows."""
    words = ("attack=noise_probe", "attack.noise_probe.inversion_steps=2")
    outputs = trained(tmp_path / "outputs")
    outcome = execute(small(*words, "attack.noise_probe.steps=2", outputs=outputs))
    metrics = outcome.metrics["noise_probe"]
    assert metrics["nfe_forward"] == metrics["nfe_declared"] == 8
    (run,) = outcome.plan.runs
    scores = pd.read_parquet(run.folder / "scores.parquet")
    rows = scores[~scores.calibration]
    assert (rows.score != rows.score_base).all()
