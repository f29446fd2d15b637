"""The registry: stored where it says, read back from there, and one entry is all a metric needs."""

from __future__ import annotations

import csv
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from samples import mixed_groups
from tampering import mend

from mia_bench.display import results_table
from mia_bench.display.metric_columns import metric_columns
from mia_bench.evaluate import run as evaluate_command
from mia_bench.execution.run import execute
from mia_bench.metrics import Thresholds, registry
from mia_bench.metrics.evaluation_rows import EvaluationRows
from mia_bench.metrics.registry import METRICS, Metric, Shown
from mia_bench.report.__main__ import run as report_command
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.index import run_at
from mia_bench.sweep.plan import Job
from mia_bench.sweep.table import show as show_sweep
from mia_bench.tracking.records import attack_record, table_names
from mia_bench.verification.checks import checks
from mia_bench.verification.stored_run import StoredRun


def measured(whole_set: bool = True) -> dict:
    s, y, group = mixed_groups(4)
    rows = EvaluationRows.of(s, y, group, Thresholds(0.35, 1.9, 2), 3, 60)
    return registry.measure(rows, whole_set)


def test_every_metric_is_stored_where_its_path_leads():
    metrics = measured()
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    for name, metric in METRICS.items():
        stored = registry.entry(metrics, name)
        if metric.interval:
            assert {"value", "lo", "hi"} <= set(stored), name
        value = registry.value(metrics, name)
        assert value is None or isinstance(value, float), name


def test_the_stored_names_are_those_of_every_version():
    """Files of finished runs, CSV columns and W&B names that somebody may read."""
    assert set(measured()) == {
        *("auroc", "asr", "tpr_calibrated", "realised_fpr", "tpr_at_fpr"),
        *("asr_oracle", "asr_oracle_permuted", "dataset_test"),
    }
    assert set(measured()) - set(measured(whole_set=False)) == {"dataset_test"}
    ends = ("", "_lo", "_hi")
    intervals = ("auroc", "tpr_at_fpr_0_01", "tpr_at_fpr_0_001", "asr", "tpr_calibrated")
    expected = [name + end for name in (*intervals, "realised_fpr") for end in ends]
    expected += ["asr_oracle", "asr_oracle_permuted", "set_size"]
    assert registry.flat_names() == expected
    assert list(registry.flat(measured())) == expected


def test_metrics_that_a_file_does_not_have_are_absent():
    assert registry.entry({}, "tpr_at_fpr_0_01") is None
    assert registry.value({"tpr_at_fpr": None}, "tpr_at_fpr_0_01") is None
    assert registry.flat({"auroc": {"value": 0.5, "lo": None, "hi": None}}) == {
        "auroc": 0.5,
        "auroc_lo": None,
        "auroc_hi": None,
    }
    with pytest.raises((TypeError, AttributeError)):
        registry.flat({"asr": None})


def test_what_rests_on_random_draws_is_known():
    assert registry.random_keys() == {
        *("lo", "hi", "p_value", "asr_oracle_permuted", "dataset_test")
    }


def test_headings_are_told_apart():
    labels = [metric.label for metric in METRICS.values()]
    assert len(set(labels)) == len(labels)
    for metric in METRICS.values():
        assert not metric.footnote or metric.footnote.startswith(f"{metric.label}:")
        assert metric.parentheses in ("", *METRICS)


# --- a metric of one's own ------------------------------------------------------------------------


def youden(rows: EvaluationRows) -> dict:
    """Largest TPR - FPR over all thresholds (Youden 1950), as a guide would show it."""

    def statistic(tp, fp):
        return (tp / tp[..., -1:] - fp / fp[..., -1:]).max(axis=-1)

    return rows.percentile_interval(statistic).to_json()


YOUDEN = Metric(
    *("Youden J", ("youden",), youden),
    footnote="Youden J: largest TPR minus FPR",
    shown=Shown.EVERYWHERE,
    drop_rank=9,
)


@pytest.fixture
def added(monkeypatch):
    """One function and one entry, for as long as a test takes."""
    monkeypatch.setitem(METRICS, "youden", YOUDEN)


@pytest.fixture(scope="module")
def stored_with_it(small, trained, tmp_path_factory):
    outputs = trained(tmp_path_factory.mktemp("youden") / "outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METRICS, "youden", YOUDEN)
        [(_, metrics, folder)] = execute(small("attack=loss", outputs=outputs)).results
    assert YOUDEN.path[0] in metrics
    return outputs, metrics, folder


@pytest.fixture
def finished(added, stored_with_it):  # noqa: ARG001 - the metric must be there to be shown
    """A small run that was made with the metric: outputs, its metrics and its folder."""
    return stored_with_it


@pytest.mark.long
def test_an_added_metric_is_measured_for_the_attack(finished):
    _, metrics, folder = finished
    scores = pd.read_parquet(folder / "scores.parquet")
    rows = scores[~scores.calibration]
    cuts = [
        (rows.score[rows.is_member] > tau).mean() - (rows.score[~rows.is_member] > tau).mean()
        for tau in (-np.inf, *rows.score)
    ]
    assert metrics["youden"]["value"] == pytest.approx(max(cuts))
    assert metrics["youden"]["lo"] <= metrics["youden"]["value"] <= metrics["youden"]["hi"]


@pytest.mark.long
def test_an_added_metric_is_in_the_tables_of_runs_and_sweeps(finished, capsys):
    outputs, metrics, folder = finished
    columns = {column.heading: column for column in metric_columns(Shown.EVERYWHERE)}
    text = columns["Youden J"].text(metrics)
    results_table.show([("loss", metrics, folder)], "title")
    table = capsys.readouterr().out
    show_sweep([Job(("attack=loss",), outputs, runs=(("loss", folder),), finished=True)], [], [])
    for printed in (table, capsys.readouterr().out):
        assert "Youden J" in printed
        assert text in printed
        assert "Youden J: largest TPR minus FPR." in printed


def test_an_added_metric_is_in_every_file_of_a_report(finished):
    outputs, metrics, _ = finished
    folder = report_command([f"paths.outputs={outputs}"]).parent
    text = results_table.interval(metrics["youden"])
    rows = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
    assert float(rows[0]["youden"]) == metrics["youden"]["value"]
    assert float(rows[0]["youden_hi"]) == metrics["youden"]["hi"]
    assert text.replace("[", "\\[").replace("]", "\\]") in (folder / "table.md").read_text()
    assert text in (folder / "table.tex").read_text()
    page = (folder / "index.html").read_text()
    assert 'data-sort="Youden J" data-numeric data-higher-first' in page
    assert f'data-v="{metrics["youden"]["value"]}"' in page
    assert "Youden J: largest TPR minus FPR." in page


def test_an_added_metric_is_in_what_evaluate_gives(finished, tmp_path, capsys):
    _, metrics, folder = finished
    words = [f"scores={folder / 'scores.parquet'}", f"out={tmp_path}", "resamples=200"]
    result = evaluate_command(words)
    assert result["files"][folder.name]["youden"] == metrics["youden"]
    assert "Youden J" in capsys.readouterr().out
    assert "| Youden J |" in (tmp_path / "evaluation.md").read_text()


def test_an_added_metric_is_verified(finished, tmp_path):
    outputs, _, folder = finished
    copy = tmp_path / "outputs"
    shutil.copytree(outputs, copy)
    forged = copy / folder.relative_to(outputs)
    assert {check.state for check in checks(StoredRun(run_at(forged)))} == {"ok"}
    metrics = read_json(forged / "metrics.json")
    metrics["youden"]["value"] = 0.999
    write_json(forged / "metrics.json", metrics)
    mend(forged, "metrics.json")
    different = {
        c.name: c.message for c in checks(StoredRun(run_at(forged))) if c.state == "DIFFERS"
    }
    assert list(different) == ["metrics"]
    assert different["metrics"].startswith("youden.value")


def test_an_added_metric_is_recorded_on_wandb(finished):
    _, metrics, folder = finished
    summary = attack_record(run_at(folder)).summary
    assert summary["youden"] == metrics["youden"]["value"]
    assert summary["youden_lo"] == metrics["youden"]["lo"]
    assert "youden" in table_names()
