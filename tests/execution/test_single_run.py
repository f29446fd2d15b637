"""A run on its own prints its plan and its table; from Python it returns its metrics."""

from __future__ import annotations

import pytest

from mia_bench import run
from mia_bench.execution.single_run import run_or_plan
from mia_bench.storage.files import read_json


def test_plan_only_prints_and_trains_nothing(small, tmp_path, capsys):
    assert run_or_plan(small("plan_only=true", outputs=tmp_path)) is None
    said = capsys.readouterr().out
    assert "4 steps of 8 to train" in said
    assert "U-Net evaluations" in said
    assert not (tmp_path / "targets").exists()


@pytest.mark.long
def test_a_run_from_python_prints_what_the_command_does(small_overrides, trained, tmp_path, capsys):
    outputs = trained(tmp_path / "outputs")
    words = [*small_overrides, "attack=loss", "eval.base_rows=[]", f"paths.outputs={outputs}"]
    assert run(*words, "plan_only=true") == {}
    capsys.readouterr()
    ((name, (metrics, folder)),) = run(*words).items()
    printed = capsys.readouterr().out
    assert name == "loss"
    assert metrics == read_json(folder / "metrics.json")
    assert "extract target: 36 images, loss; at most 36 U-Net evaluations" in printed
    assert printed.index("runs    0 of 1 done") < printed.index("figure: ")
    (figure,) = outputs.glob("reports/*/roc-*.png")
    assert f"figure: {figure}" in printed
    assert run(*words)["loss"] == (metrics, folder)
    assert "runs    1 of 1 done" in capsys.readouterr().out
