"""Types are those that were written; entries of other versions are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mia_bench.storage.stored_files import (
    Unreadable,
    read_controls,
    read_manifest,
    read_metrics,
)


def written(folder: Path, name: str, value: Any) -> Path:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


def test_entries_of_another_version_are_kept(tmp_path: Path) -> None:
    metrics = {"auroc": {"value": 1, "lo": None, "k": 4}, "new": [1, {"a": None}]}
    assert read_metrics(written(tmp_path, "metrics.json", metrics)) == metrics
    assert read_manifest(written(tmp_path, "manifest.json", {})) == {}
    controls = {"blind_image": {"auroc": 0.5, "p_value": 0.1}}
    assert read_controls(written(tmp_path, "controls.json", controls)) == controls


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"versions": ["torch"]}, "versions is ['torch'], no object"),
        ({"files": {"metrics.json": 1}}, "files.metrics.json is 1, no text"),
        ({"cost": {"rows": "many"}}, "cost.rows is 'many', no whole number"),
        ({"features": [1]}, "features.0 is 1, no text"),
    ],
)
def test_manifests_of_other_types_are_unreadable(tmp_path: Path, value: Any, reason: str) -> None:
    with pytest.raises(Unreadable) as error:
        read_manifest(written(tmp_path, "manifest.json", value))
    assert reason in str(error.value)


@pytest.mark.parametrize("entry", [{"auroc": 0.5}, {"auroc": "x", "p_value": 1}, 3])
def test_controls_of_other_types_are_unreadable(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(Unreadable, match="blind_image"):
        read_controls(written(tmp_path, "controls.json", {"blind_image": entry}))
