"""blind_file in whole runs: there where pictures are files, stored apart, in no key of a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from album import make_album
from PIL import Image
from tampering import differing, edit_json, mend, run_folder, verdict

from mia_bench.display.results_table import show
from mia_bench.execution.run import execute
from mia_bench.metrics import permutation
from mia_bench.planning.describe import describe_plan
from mia_bench.planning.make_plan import make_plan
from mia_bench.report.load import blind_problems
from mia_bench.storage.files import read_json


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> tuple[str, ...]:
    """An audited model with 24 members as PNG, and 24 others as JPEG of quality 92."""
    root = tmp_path_factory.mktemp("mine")
    make_album(root / "members", 24)
    others = make_album(root / "nonmembers", 24, first=500)
    for path in sorted(others.glob("*.png")):
        Image.open(path).save(path.with_suffix(".jpg"), quality=92)
        path.unlink()
    table = others / "metadata.jsonl"
    table.write_text(table.read_text().replace(".png", ".jpg"))
    return (
        *("data=given", f"data.source.root={root}", "model.finetune=false", "attack=loss"),
        *("calibration=stratified", "eval.resamples=100", "trainer=cpu", "eval.base_rows=[]"),
    )


@pytest.fixture(scope="module")
def outcome(words, experiment, tmp_path_factory) -> Iterator:
    default = permutation.PERMUTATIONS
    permutation.PERMUTATIONS = 99
    outputs = tmp_path_factory.mktemp("files") / "outputs"
    yield execute(experiment(*words, f"paths.outputs={outputs}"))
    permutation.PERMUTATIONS = default


def test_members_as_png_and_others_as_jpeg_are_flagged(outcome, capsys):
    ((_, metrics, _),) = outcome.results
    controls = metrics["controls"]
    assert controls["blind_file"]["auroc"] > 0.95
    assert controls["blind_file"]["p_value"] <= 0.05 / 4
    show(outcome.results, "title")
    said = capsys.readouterr().out
    assert "blind_file !" in said
    assert said[said.index("WARNING: ") :].split(" tell")[0].count("blind_file") == 1


def test_it_lies_apart_from_the_other_blind_rows(outcome):
    plan = outcome.plan
    assert list(read_json(plan.blind_file / "controls.json")) == ["blind_file"]
    assert "blind_file" not in read_json(plan.blind / "controls.json")
    assert blind_problems([plan.outputs]) == []


def test_it_is_verified_like_the_others(outcome, tmp_path):
    copied = tmp_path / "outputs"
    shutil.copytree(outcome.plan.outputs, copied)
    folder = run_folder(copied, "loss")
    found = verdict(folder)
    assert {check.state for check in found.values()} == {"ok"}, found
    assert found["controls"].message.startswith("4 blind rows follow from given-")
    control = copied / "controls" / outcome.plan.blind_file.name
    edit_json(control / "controls.json", lambda rows: rows["blind_file"].update(auroc=0.5))
    mend(control, "controls.json")
    assert "blind_file" in differing(folder)["controls"]


def test_a_run_from_before_it_keeps_its_controls(outcome, tmp_path):
    """As before: metrics and controls without the row; its folder is another one's."""
    copied = tmp_path / "outputs"
    shutil.copytree(outcome.plan.outputs, copied)
    folder = run_folder(copied, "loss")

    def without(metrics: dict) -> None:
        del metrics["controls"]["blind_file"]
        metrics["flags"] = [flag for flag in metrics["flags"] if flag != "control_blind_file"]

    edit_json(folder / "metrics.json", without)
    mend(folder, "metrics.json")
    found = verdict(folder)
    assert {check.state for check in found.values()} == {"ok"}, found
    assert found["controls"].message.startswith("3 blind rows")


@pytest.mark.long
def test_a_plan_of_drawings_says_that_there_is_none(small, outcome, tmp_path):
    plan = make_plan(small("attack=loss", outputs=tmp_path))
    assert plan.blind_file is None
    assert any(line.startswith("no blind_file: no picture") for line in describe_plan(plan))
    assert not any("blind_file" in line for line in describe_plan(outcome.plan))
    assert make_plan(small("eval.blind_rows=false", outputs=tmp_path)).blind_file is None
