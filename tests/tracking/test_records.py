"""What a W&B run holds: stable names, a capped table without captions, thinned curves."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from mia_bench.storage.artifacts import seal
from mia_bench.storage.files import read_json
from mia_bench.storage.index import run_at
from mia_bench.tracking.records import (
    attack_record,
    finetune_record,
    flat,
    report_record,
    sampled,
    thinned,
)
from mia_bench.utils.errors import MiaError

ENTRY = {"value": 0.8, "lo": 0.7, "hi": 0.9}
METRICS = {
    "auroc": ENTRY,
    "asr": ENTRY,
    "tpr_calibrated": ENTRY,
    "realised_fpr": ENTRY,
    "tpr_at_fpr": {"0.01": ENTRY, "0.001": {"value": None, "lo": None, "hi": None}},
    "asr_oracle": 0.75,
    "nfe_forward": 15.0,
    "nfe_backward": 0.0,
    "seconds": 3.0,
    "controls": {"base": {"auroc": ENTRY}, "blind_image": {"auroc": 0.5}},
}


def test_names_are_stable_and_valid():
    named = flat(METRICS)
    assert named["tpr_at_fpr_0_01_lo"] == 0.7
    assert named["control_base_auroc"] == 0.8
    assert named["control_blind_image_auroc"] == 0.5
    assert {"auroc", "auroc_lo", "tpr_at_fpr_0_01", "asr", "nfe", "seconds"} <= set(named)
    assert "tpr_at_fpr_0_001" not in named
    assert all(name.replace("_", "a").isalnum() for name in named)


@pytest.mark.parametrize("broken", [{}, {**METRICS, "asr": None}, {**METRICS, "controls": []}])
def test_metrics_of_another_version_are_named(broken):
    with pytest.raises(MiaError, match="another version"):
        flat(broken)


def test_an_entry_is_identified_by_its_key_and_grouped_by_its_target(store_cell, tmp_path):
    folder = store_cell(tmp_path)
    entry = attack_record(run_at(folder))
    assert entry.id == folder.name.removeprefix("clid-")
    assert (entry.group, entry.job_type) == ("a" * 16, "attack")
    assert entry.tags == ("clid", "openmoji")
    assert entry.config["model_name"] == "tiny"
    assert entry.config["mitigation_name"] == "none"
    assert entry.summary["step"] == 300
    assert entry.summary["auroc"] == read_json(folder / "metrics.json")["auroc"]["value"]


def test_a_model_and_a_report_join_the_group_of_their_target(store_cell, tmp_path):
    store_cell(tmp_path)
    store_cell(tmp_path, attack="loss")
    model = finetune_record(tmp_path / "targets" / ("a" * 16), tmp_path)
    report = report_record("a" * 16, tmp_path)
    assert model.group == report.group == "a" * 16
    assert (model.job_type, report.job_type) == ("finetune", "report")
    assert model.summary["val_heldout"] == pytest.approx(0.2 / 3)
    assert report.summary["cells"] == 2
    assert "attack" not in report.config


def test_the_signature_changes_with_what_is_shown(store_cell, tmp_path):
    folder = store_cell(tmp_path)
    before = attack_record(run_at(folder)).signature
    assert attack_record(run_at(folder)).signature == before
    (folder / "evidence").mkdir()
    picture = folder / "evidence" / "one.png"
    picture.write_bytes(b"picture")
    seal(picture.parent, {})
    assert attack_record(run_at(folder)).signature != before


def test_pictures_that_no_manifest_vouches_for_are_not_sent(store_cell, tmp_path):
    folder = store_cell(tmp_path)
    evidence = folder / "evidence" / "one.png"
    sheet = tmp_path / "utility" / ("a" * 16) / "300" / "k" / "samples.png"
    for path, record in (
        (evidence, lambda: attack_record(run_at(folder))),
        (sheet, lambda: finetune_record(tmp_path / "targets" / ("a" * 16), tmp_path)),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"picture")
        with pytest.raises(MiaError, match=r"manifest\.json: it is missing"):
            record()
        seal(path.parent, {})
        record()
        path.write_bytes(b"another")
        with pytest.raises(MiaError, match=f"unverified: .*{path.name} changed"):
            record()


def test_a_configuration_says_nothing_of_the_machine(store_cell, tmp_path):
    folder = store_cell(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["path"] = "/home/ada/models/mine"
    config["paths"] = {"outputs": str(tmp_path)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    sent = attack_record(run_at(folder)).config
    assert "ada" not in json.dumps(sent)
    assert sent["paths"] == {"outputs": f".../{tmp_path.name}"}
    assert sent["model_name"] == ".../mine"


def test_a_folder_of_another_version_is_refused(store_cell, tmp_path):
    folder = store_cell(tmp_path)
    (folder / "config.yaml").write_text("data: {}")
    with pytest.raises(MiaError, match="it lacks model"):
        attack_record(run_at(folder))
    (folder / "config.yaml").unlink()
    with pytest.raises(MiaError, match=r"config\.yaml: it is missing"):
        attack_record(run_at(folder))
    (folder / "metrics.json").write_text(json.dumps({"auroc": 0.5})[:5])
    with pytest.raises(MiaError):
        attack_record(run_at(folder))


def test_the_table_of_scores_is_capped_and_holds_no_captions():
    scores = pd.DataFrame(
        {
            "sample_id": [f"x:{i}" for i in range(5000)],
            "group": "g",
            "caption": "<script>",
            "is_member": True,
            "score": np.arange(5000.0),
            "calibration": np.arange(5000) % 2 == 0,
        }
    )
    rows = sampled(scores, most=100)
    assert list(rows.columns) == ["sample_id", "group", "is_member", "score"]
    assert len(rows) == 100
    assert (rows.score.max(), rows.score.min()) == (4999, 1)
    assert len(sampled(scores, most=9999)) == 2500


def test_a_thinned_curve_keeps_its_ends_and_its_low_false_positive_rates():
    fpr = np.linspace(0, 1, 20001)
    roc = pd.DataFrame({"fpr": fpr, "tpr": fpr**0.25})
    few = thinned(roc, most=100)
    assert len(few) <= 102
    assert few.iloc[0].tolist() == [0, 0]
    assert few.iloc[-1].tolist() == [1, 1]
    assert (few.fpr < 0.01).sum() > 20
    assert few.fpr.is_monotonic_increasing


@pytest.mark.parametrize("name", ["metrics.json", "scores.parquet", "roc.parquet"])
def test_what_changed_since_it_was_written_is_not_sent(store_cell, tmp_path, name):
    folder = store_cell(tmp_path)
    best = report_record("a" * 16, tmp_path).summary["best_auroc"]
    if name == "metrics.json":
        metrics = read_json(folder / name)
        metrics["auroc"]["value"] = 0.999
        (folder / name).write_text(json.dumps(metrics))
    else:
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(MiaError, match=f"unverified: {name} changed"):
        attack_record(run_at(folder))
    assert report_record("a" * 16, tmp_path).summary == {"cells": 0.0, "best_auroc": 0.0}
    assert best > 0
