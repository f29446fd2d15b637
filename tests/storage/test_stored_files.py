"""Stored files may come from anybody: types are checked, and nothing is followed or resolved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mia_bench.storage import stored_files
from mia_bench.storage.files import parse_yaml
from mia_bench.storage.stored_files import (
    Unreadable,
    changed_files,
    leads_out,
    read_config,
    read_frame,
    read_history,
    read_metrics,
)

CONFIG = "model: {path: x}\ndata: {name: d}\nseed: 0\n"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def written(folder: Path, name: str, value: Any) -> Path:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"nfe_forward": "15"}, "nfe_forward is '15', no number"),
        ({"nfe_forward": True}, "nfe_forward is True, no number"),
        ({"auroc": 0.7}, "auroc is 0.7, no object"),
        ({"auroc": {"value": None}}, "auroc.value is None, no number"),
        ({"auroc": {"lo": 0.1}}, "it lacks auroc.value"),
        ({"flags": "none"}, "flags is 'none', no list"),
        ({"controls": {"base": {"auroc": 0.5}}}, "it lacks controls.base.p_value"),
        ({"dataset_test": {"samples_needed": 1.5}}, "samples_needed is 1.5, no whole number"),
        ({"chosen": {"alpha": nested(80)}}, "nested more than 64 levels deep"),
        ("[" * 100_000, "too deeply nested"),
        ('{"seconds": NaN}', "NaN is no JSON"),
        ('{"seconds": 1e999}', "seconds is inf, no finite number"),
        ('{"chosen": {"alpha": ' + "9" * 400 + "}}", "a number of 400 digits"),
        ("[1]", "it holds no JSON object"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ({"asr": 1, "seconds": "a", "flags": 1, "plain": 2}, "; and 1 more: of another version"),
    ],
)
def test_metrics_of_other_types_are_unreadable(tmp_path: Path, value: Any, reason: str) -> None:
    written(tmp_path, "metrics.json", value)
    with pytest.raises(Unreadable) as error:
        read_metrics(tmp_path)
    assert str(error.value).startswith(f"unreadable: {tmp_path.name}/metrics.json: ")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("- 1", "no mapping"),
        ("a: [", "expected"),
        ("a: " + "x" * (1 << 20), "more than 1,048,576"),
        ("a: \x00", "not allowed"),
        ("a: 1", "it lacks model; it lacks data; it lacks seed"),
        (CONFIG.replace("0", "x"), "seed is 'x', no whole number"),
        (CONFIG + "mitigation: [a]", "mitigation is ['a'], no object"),
        (CONFIG.replace("{name: d}", "{name: d, source: []}"), "data.source is [], no object"),
        (CONFIG + "a: " + "[" * 70 + "]" * 70, "nested more than 64 levels deep"),
        (CONFIG + "a: " + "[" * 5000 + "]" * 5000, "nest"),
    ],
)
def test_a_configuration_is_plain_values_in_a_mapping(
    tmp_path: Path, text: str, reason: str
) -> None:
    assert parse_yaml("a: {b: [1, null, x]}") == {"a": {"b": [1, None, "x"]}}
    with pytest.raises(Unreadable) as error:
        read_config(written(tmp_path, "config.yaml", text))
    assert reason in str(error.value)


def test_interpolations_of_a_configuration_stay_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "no text of a configuration")
    config = read_config(written(tmp_path, "config.yaml", CONFIG + "a: ${oc.env:SECRET}\n"))
    assert config["a"] == "${oc.env:SECRET}"


def test_what_is_no_file_of_the_folder_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "metrics.json"
    with pytest.raises(Unreadable, match="it is missing"):
        read_metrics(folder)
    (tmp_path / "secret.json").write_text("{}")
    path.symlink_to(tmp_path / "secret.json")
    with pytest.raises(Unreadable, match="a link that leads out of its folder"):
        read_metrics(folder)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(Unreadable, match="a link that leads out of its folder"):
        read_metrics(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Unreadable, match="it is no regular file"):
        read_metrics(folder)
    path.unlink()
    written(folder, "metrics.json", {"seconds": 1})
    assert read_metrics(folder) == {"seconds": 1}
    monkeypatch.setattr(stored_files, "MAX_JSON_BYTES", 5)
    with pytest.raises(Unreadable, match="it has 14 bytes, more than 5"):
        read_metrics(folder)


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    written(tmp_path, "older.json", {"seconds": 2})
    (tmp_path / "metrics.json").symlink_to("older.json")
    assert read_metrics(tmp_path) == {"seconds": 2}
    assert not leads_out(tmp_path / "metrics.json", tmp_path)
    assert leads_out(tmp_path, tmp_path / "folder")


def test_a_history_is_rows_of_finite_numbers(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    assert read_history(path) == []
    path.write_text("step,epoch,val_heldout\n100.0,1,\n200.0,2,0.5\n")
    assert read_history(path) == [
        {"step": 100, "epoch": 1},
        {"step": 200, "epoch": 2, "val_heldout": 0.5},
    ]


@pytest.mark.parametrize(
    "text", ["", "step\n", "epoch\n1\n", "step,a\n1\n", "step\n1,2\n", "step\nnan\n", "step\nx\n"]
)
def test_a_history_that_cannot_be_read_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.csv"
    path.write_text(text)
    with pytest.raises(Unreadable, match=r"train\.csv: "):
        read_history(path)


def test_a_table_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    with pytest.raises(Unreadable, match="it is missing"):
        read_frame(path)
    path.write_bytes(b"PAR1 no table")
    with pytest.raises(Unreadable, match=r"scores\.parquet: "):
        read_frame(path)


def test_changes_are_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a").write_text("a")
    (folder / "link").symlink_to(tmp_path / "secret")
    manifest = {"files": {"a": "0", "b": "0", "link": "0", "../secret": "0"}}
    assert changed_files(folder, manifest) == [
        "../secret leads out of the folder",
        "a changed since it was written",
        "b is missing",
        "link leads out of the folder",
    ]
    assert changed_files(folder, {}, ["a"]) == ["a changed since it was written"]
