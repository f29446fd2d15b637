"""Workspace and report as the library would send them, built without a network."""

from __future__ import annotations

import json
import socket

import pytest

from mia_bench.config.schema import LoggerOptions
from mia_bench.storage.index import run_at
from mia_bench.tracking.dashboard import as_json, build_report, build_workspace, matrix, save
from mia_bench.tracking.records import attack_record

# the library itself still uses what pydantic has deprecated
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
OPTIONS = LoggerOptions(entity="team", project="proj")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No key, and no way out."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))

    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def records(store_cell, tmp_path):
    runs = [store_cell(tmp_path, a, t * 16, seed=s) for a, t, s in CELLS]
    return [attack_record(run_at(run)) for run in runs]


CELLS = (("clid", "a", 0), ("clid", "b", 1), ("loss", "a", 0))


def panels(node):
    """Every panel of a built object, by title."""
    if isinstance(node, dict):
        config = node.get("config")
        if isinstance(config, dict) and "viewType" in node:
            yield config.get("chartTitle") or node["viewType"], config
        for value in node.values():
            yield from panels(value)
    elif isinstance(node, list):
        for value in node:
            yield from panels(value)


def test_the_workspace_has_a_section_per_question(records):
    spec = as_json(build_workspace(records, OPTIONS))
    text = json.dumps(spec)
    for name in ("Attacks x data sets", "ROC", "Trajectories", "Mitigations", "Pictures"):
        assert f'"name": "{name}"' in text
    drawn = dict(panels(spec))
    assert drawn["ROC, log-log"]["xLogScale"] is True
    assert drawn["ROC, log-log"]["xAxis"] == "roc_fpr"
    assert drawn["ROC, log-log"]["metrics"] == ["roc_tpr"]
    assert drawn["member and held-out loss"]["metrics"] == ["val_member", "val_heldout"]
    assert drawn["AUC by mitigation"]["groupBy"] == "mitigation_name.value"
    assert "summary:auroc" in text


def test_every_metric_a_panel_reads_is_one_the_mirror_logs(records):
    known = {f"summary:{name}" for name in records[0].summary}
    known |= set(records[0].summary) | {"roc_fpr", "roc_tpr", "val_member", "val_heldout"}
    asked = set()
    for _, config in panels(as_json(build_workspace(records, OPTIONS))):
        asked |= {str(name) for name in config.get("metrics") or []}
        asked |= {str(config[axis]) for axis in ("yAxis",) if config.get(axis)}
    assert len(asked) >= 5
    assert asked <= known


def test_the_report_has_a_grid_per_data_set_and_the_matrix(records):
    report = build_report(records, OPTIONS)
    spec = json.dumps(as_json(report))
    assert "ROC on openmoji" in spec
    assert "data_name" in spec
    assert "| clid |" in spec
    assert (report.entity, report.project) == ("team", "proj")


def test_the_matrix_is_computed_from_the_runs(records):
    text = matrix(records)
    first, second, third = (entry.summary["auroc"] for entry in records)
    low, high = sorted((first, second))
    assert f"| clid | {(first + second) / 2:.3f} ({low:.3f}-{high:.3f}) |" in text
    assert f"| loss | {third:.3f} |" in text


def test_names_from_data_cannot_leave_their_place(records):
    records[0].config["data_name"] = "x' or True | <script>"
    assert "<script>" not in matrix(records)
    spec = json.dumps(as_json(build_report(records, OPTIONS)))
    assert "x' or" not in spec
    assert "x__or_True" in spec


def test_again_updates_the_same_two(records, tmp_path, monkeypatch):
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    made, saved = [], []
    for kind, module in ((ws.Workspace, ws), (wr.Report, wr)):
        name = kind.__name__
        url = f"https://wandb.test/{name}"
        monkeypatch.setattr(kind, "url", url, raising=False)
        monkeypatch.setattr(kind, "save", lambda self: saved.append(self))

        def load(where, built=build_workspace if module is ws else build_report):
            made.append(where)
            return built(records[:1], OPTIONS)

        monkeypatch.setattr(kind, "from_url", staticmethod(load))
    both = build_workspace(records, OPTIONS), build_report(records, OPTIONS)
    urls = save(*both, tmp_path)
    assert made == []
    assert save(*both, tmp_path) == urls
    assert made == [urls["workspace"], urls["report"]]
    assert saved[2] is not both[0]
    assert saved[2].sections == both[0].sections
    assert saved[3].blocks == both[1].blocks
