"""Reading outputs/: every figure again from its scores, and words for whatever cannot be read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mia_bench.metrics import auroc
from mia_bench.report.load import blind_problems, model_name, read_outputs
from mia_bench.storage.files import write_json
from mia_bench.storage.index import run_at
from mia_bench.verification.recompute import check_metrics
from mia_bench.verification.result import verdict
from mia_bench.verification.stored_run import StoredRun


def test_a_run_is_read_and_recomputed(tmp_path, write_run, scores):
    write_run(tmp_path, "clid", 1.0, access="grey_box", mitigation={"augment": {}, "lora": {}})
    (run,), problems, again = read_outputs([tmp_path])
    assert problems == []
    assert again
    table = scores(1.0, 0)
    rows = table[~table.calibration]
    assert run.metrics["auroc"]["value"] == auroc(rows.score, rows.is_member)
    assert (run.attack, run.access, run.model, run.data) == (
        *("clid", "grey box", "tiny", "openmoji"),
    )
    assert run.mitigation == "augment+lora"
    assert run.surest[0][0] == rows.sort_values("score").sample_id.iloc[-1]


def test_figures_that_differ_from_the_stored_ones_are_said(tmp_path, write_run, reseal):
    folder = write_run(tmp_path)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["auroc"]["value"] = 0.999
    write_json(folder / "metrics.json", metrics)
    reseal(folder)
    (run,), (problem,), _ = read_outputs([tmp_path])
    assert run.differs
    assert run.metrics["auroc"]["value"] != 0.999
    assert "auroc.value" in problem.what
    assert "stored 0.999" in problem.what


def test_the_base_control_is_recomputed_too(tmp_path, write_run, reseal):
    folder = write_run(tmp_path)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["controls"]["base"]["auroc"]["value"] = 0.9
    write_json(folder / "metrics.json", metrics)
    reseal(folder)
    _, (problem,), _ = read_outputs([tmp_path])
    assert "controls.base.auroc.value" in problem.what
    assert "stored 0.9" in problem.what


@pytest.mark.first_look(3)
@pytest.mark.parametrize("intervals", [True, False])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("auroc", "value"), 0.9),
        (("auroc", "lo"), 0.1),
        (("controls", "base", "p_value"), 0.001),
        (("dataset_test", "samples_needed"), 7),
        (("flags",), ["control_base"]),
        (("better",), 1.0),
    ],
)
def test_a_report_says_what_verify_says(tmp_path, write_run, reseal, path, value, intervals):
    """One comparison: word for word the same of one run, where the same is recomputed."""
    folder = write_run(tmp_path)
    metrics = json.loads((folder / "metrics.json").read_text())
    place = metrics
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    write_json(folder / "metrics.json", metrics)
    reseal(folder)
    state, said = check_metrics(StoredRun(run_at(folder)))
    (run,), _, _ = read_outputs([tmp_path], intervals=intervals)
    assert state == "DIFFERS"
    if intervals or path[-1] not in ("lo", "p_value", "samples_needed"):
        assert verdict(run.differs, "")[1] == said
    else:  # what rests on random draws is the stored figure; the hash of the file vouches for it
        flags = [line for line in run.differs if line.startswith("flags ")]
        assert list(run.differs) == flags
        assert bool(flags) == (path[-1] == "p_value")


def test_unfinished_and_changed_runs_are_named_and_the_rest_is_reported(tmp_path, write_run):
    write_run(tmp_path, "fine")
    shutil.copytree((half := write_run(tmp_path, "half")), half.with_name(half.name + ".tmp"))
    (half / "manifest.json").unlink()
    changed = write_run(tmp_path, "changed")
    pd.read_parquet(changed / "scores.parquet").head(50).to_parquet(changed / "scores.parquet")
    gone = write_run(tmp_path, "gone")
    (gone / "metrics.json").unlink()
    garbled = write_run(tmp_path, "garbled")
    (garbled / "manifest.json").write_text("{")
    (garbled.parent / "stray.lock").touch()
    runs, problems, _ = read_outputs([tmp_path])
    assert [run.attack for run in runs] == ["fine"]
    said = {p.where.rpartition("/")[2].partition("-")[0]: p.what for p in problems}
    assert "unfinished: it was interrupted" in said["half"]
    assert "changed since" in said["changed"]
    assert "metrics.json is missing" in said["gone"]
    assert "unreadable: garbled-" in said["garbled"]
    assert len(problems) == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(score=t.score.mask(t.index == 3)), "1 non-finite"),
        (lambda t: t.assign(is_member=True), "no non-members"),
        (lambda t: t.drop(columns="calibration"), "no column calibration"),
        (lambda t: t.assign(sample_id="x"), "occur twice"),
        (lambda t: t.assign(score="words"), "could not convert string to float"),
    ],
)
def test_scores_that_cannot_be_judged(tmp_path, write_run, scores, change, said):
    write_run(tmp_path, "bad", table=change(scores(1.0, 0)))
    write_run(tmp_path, "good")
    runs, (problem,), _ = read_outputs([tmp_path])
    assert [run.attack for run in runs] == ["good"]
    assert said in problem.what


def test_a_configuration_of_another_shape(tmp_path, write_run, reseal):
    folder = write_run(tmp_path, "odd")
    (folder / "config.yaml").write_text("model: {path: x}")
    reseal(folder)
    what = read_outputs([tmp_path])[1][0].what
    assert "config.yaml: it lacks data; it lacks seed: of another version" in what


def test_another_version(tmp_path, write_run, reseal):
    folder = write_run(tmp_path, "old")
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["nfe_forward"]
    write_json(folder / "metrics.json", metrics)
    reseal(folder)
    runs, (problem,), _ = read_outputs([tmp_path])
    assert runs == []
    assert "written by version" in problem.what
    assert "nfe_forward" in problem.what


@pytest.mark.long
def test_a_copy_is_merged_and_a_contradiction_is_left_out(tmp_path, write_run, scores):
    """Two machines' folders joined: the same run twice is one; one key with two results is none."""
    one, two = tmp_path / "one", tmp_path / "two"
    for outputs in (one, two):
        write_run(outputs, "same", key="0" * 16)
        write_run(outputs, "odd", key="1" * 16, table=scores(1.0, 5 if outputs == one else 6))
    runs, (problem,), _ = read_outputs([one, two])
    assert [run.attack for run in runs] == ["same"]
    assert "other scores" in problem.what
    assert "odd-1" in problem.where


def test_stored_bounds_are_used_when_there_are_many_runs(tmp_path, write_run, monkeypatch):
    write_run(tmp_path)
    (full,), _, _ = read_outputs([tmp_path])
    monkeypatch.setattr("mia_bench.report.load.MAX_REDRAWN_RUNS", 0)
    (quick,), problems, again = read_outputs([tmp_path])
    assert not again
    assert problems == []
    assert quick.metrics["auroc"] == full.metrics["auroc"]
    assert read_outputs([tmp_path], intervals=True)[2]


@pytest.mark.long
def test_processes_give_what_one_process_gives(tmp_path, write_run, monkeypatch):
    for seed in range(3):
        write_run(tmp_path, seed=seed)
    alone = read_outputs([tmp_path])[0]
    monkeypatch.setattr("mia_bench.report.load.MIN_RUNS_FOR_PROCESSES", 1)
    together = read_outputs([tmp_path])[0]
    assert [c.metrics for c in together] == [c.metrics for c in alone]


@pytest.mark.long
def test_reading_runs_loads_no_torch():
    """Several processes read many runs, and torch takes each of them longer than its share."""
    code = "import sys, mia_bench.report.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_blind_rows_are_checked_against_their_scores(tmp_path):
    folder = tmp_path / "controls" / "openmoji-0"
    folder.mkdir(parents=True)
    rows = pd.DataFrame({"is_member": [True, False] * 20, "blind_image": np.arange(40.0)})
    rows.to_parquet(folder / "scores.parquet")
    write_json(folder / "manifest.json", {})
    right = auroc(rows.blind_image, rows.is_member)
    write_json(folder / "controls.json", {"blind_image": {"auroc": right, "p_value": 0.4}})
    assert blind_problems([tmp_path]) == []
    write_json(folder / "controls.json", {"blind_image": {"auroc": 0.9, "p_value": 0.4}})
    (problem,) = blind_problems([tmp_path])
    assert "stored 0.9000" in problem.what
    (folder / "scores.parquet").unlink()
    assert "cannot be read" in blind_problems([tmp_path])[0].what


def test_names_of_models():
    assert model_name({"path": "bundled:tiny"}) == "tiny"
    assert model_name({"path": "/home/someone/sd15"}) == "sd15"
    assert model_name({"path": "hub/name"}) == "hub/name"
    assert model_name({"_target_": "a.b.Memorizer"}) == "Memorizer"
