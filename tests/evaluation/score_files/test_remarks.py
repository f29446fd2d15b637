"""Remarks on files of scores: each once, with the names of the files it is about."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mia_bench.evaluation.score_files.measuring import evaluate_file
from mia_bench.evaluation.score_files.remarks import joint_remarks, remarks


def test_scores_of_the_wrong_sign_are_remarked_on_with_the_file(tmp_path: Path) -> None:
    """A loss is lower for members; its file is told from the other by name."""
    table = pd.DataFrame({"id": [f"s{i}" for i in range(40)], "member": [1, 0] * 20})
    paths = [tmp_path / "loss.csv", tmp_path / "score.csv"]
    for path, sign in zip(paths, (-1, 1), strict=True):
        score = sign * (table.member + pd.Series(range(40)) / 100)
        table.assign(score=score).to_csv(path, index=False)
    loss, score = (evaluate_file(path, resamples=100) for path in paths)
    assert any(line.startswith("members score lower") for line in remarks(loss))
    joint = joint_remarks([loss, score])
    assert any(line.startswith("loss: members score lower") for line in joint)
    assert sum(line.startswith("loss, score: no calibration rows") for line in joint) == 1
