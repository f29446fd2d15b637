"""A `-complexity` row is computed again from stored features and stored measures of complexity."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.execution.run import execute
from mia_bench.storage.feature_table import Table, read_table, write_table
from mia_bench.storage.index import run_at
from mia_bench.verification.checks import checks
from mia_bench.verification.result import DIFFERS
from mia_bench.verification.stored_run import StoredRun


@pytest.fixture(scope="module", params=["shadow", pytest.param("split", marks=pytest.mark.long)])
def outcome(request, small, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("complexity")
    words = ["attack=loss", "eval.complexity=true", f"calibration={request.param}"]
    words += ["data.sizes.target_member=24", "eval.blind_rows=false"]
    return execute(small(*words, outputs=outputs))


def stored(outcome, name: str) -> StoredRun:
    return StoredRun(run_at(outcome.folders[name]))


def test_verify_computes_the_row_again(outcome) -> None:
    for name in ("loss", "loss-complexity"):
        found = {check.name: check for check in checks(stored(outcome, name))}
        assert not [check for check in found.values() if check.state == DIFFERS]
        assert found["scores"].state == found["key"].state == "ok"
    metrics = outcome.metrics["loss-complexity"]
    assert metrics["chosen"].keys() >= {"complexity_r2", "slope_log_png_bytes"}
    assert metrics["nfe_forward"] == outcome.metrics["loss"]["nfe_forward"]
    assert "base" in metrics["controls"]
    run = stored(outcome, "loss")
    assert "complexity" not in run.manifest
    assert len(run.tables) < len(stored(outcome, "loss-complexity").tables)


def test_other_measures_of_complexity_are_noticed(outcome) -> None:
    run = stored(outcome, "loss-complexity")
    folder = run.complexity[0]
    path = folder / "features.parquet"
    before, manifest = path.read_bytes(), (folder / "manifest.json").read_bytes()
    table = read_table(path)
    moved = {name: np.flip(values) for name, values in table.features.items()}
    try:
        write_table(path, Table(table.sample_id, moved))
        found = {check.name: check for check in checks(stored(outcome, "loss-complexity"))}
    finally:
        path.write_bytes(before)
        (folder / "manifest.json").write_bytes(manifest)
    assert found["scores"].state == found["features"].state == DIFFERS
    assert "score of" in found["scores"].message


def test_a_manifest_that_names_other_tables_is_refused(outcome) -> None:
    run = stored(outcome, "loss-complexity")
    run.manifest["complexity"] = run.manifest["complexity"][:1]
    found = {check.name: check for check in checks(run)}
    assert found["scores"].state == DIFFERS
    assert "names 1 tables of complexity" in found["scores"].message
