"""The record is sealed, follows from its scores, and notices what was changed."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from mia_bench.audit.record import audit_folder, check_audit, store
from mia_bench.storage.artifacts import seal
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.index import audit_folders
from mia_bench.verify import main as verify


@pytest.fixture
def copied(audited_folder, tmp_path):
    """A copy of the record that may be changed, and sealed again as its author could."""
    folder = tmp_path / audited_folder.name
    shutil.copytree(audited_folder, folder)

    def sealed_again():
        manifest = read_json(folder / "manifest.json")
        (folder / "manifest.json").unlink()
        seal(folder, {"audit": manifest["audit"]})

    return folder, sealed_again


def test_it_agrees_with_itself(audited_folder, audit_outputs, capsys):
    assert all(agrees for _, agrees, _ in check_audit(audited_folder))
    assert audited_folder in audit_folders(audit_outputs)
    verify([audited_folder.name, f"paths.outputs={audit_outputs}"])
    assert "agrees" in capsys.readouterr().out


def test_the_same_audit_is_the_same_record(audited, audited_folder):
    before = (audited_folder / "audit.json").stat().st_mtime_ns
    assert store(audited) == audited_folder
    assert (audited_folder / "audit.json").stat().st_mtime_ns == before
    assert audit_folder(audited.prepared, "a plan") != audited_folder


@pytest.mark.long
def test_a_record_of_the_first_version_agrees_whatever_its_intervals(copied):
    folder, sealed_again = copied
    stored = read_json(folder / "audit.json")
    stored["findings"] |= {"lo": 0.01, "hi": 1.0}
    stored["findings"]["attacks"][0] |= {"lo": 0.01, "hi": 1.0}
    for version, agrees in ((2, False), (1, True)):
        write_json(folder / "audit.json", {**stored, "version": version})
        sealed_again()
        checks = {name: agrees for name, agrees, _ in check_audit(folder)}
        assert checks["numbers"] is agrees


@pytest.mark.long
def test_a_changed_file_is_noticed(copied):
    folder, _ = copied
    (folder / "audit.json").write_text((folder / "audit.json").read_text() + " ")
    assert ("files", False) in [(name, agrees) for name, agrees, _ in check_audit(folder)]


@pytest.mark.long
def test_an_answer_that_the_scores_do_not_give_is_noticed(copied, capsys):
    folder, sealed_again = copied
    stored = read_json(folder / "audit.json")
    stored["findings"]["p_value"] = 1e-5
    stored["verdict"]["sentence"] = "Yes: everything was used."
    write_json(folder / "audit.json", stored)
    sealed_again()
    checks = {name: (agrees, message) for name, agrees, message in check_audit(folder)}
    assert checks["files"][0]
    assert not checks["numbers"][0]
    assert "p_value" in checks["numbers"][1]
    assert not checks["verdict"][0]
    with pytest.raises(SystemExit):
        verify([str(folder)])
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.long
def test_scores_that_were_moved_are_noticed(copied):
    folder, sealed_again = copied
    table = pd.read_parquet(folder / "scores.parquet")
    table.loc[table.is_first, "combined"] += 1
    table.to_parquet(folder / "scores.parquet", index=False)
    sealed_again()
    assert not {name: agrees for name, agrees, _ in check_audit(folder)}["numbers"]


def test_what_is_no_record_is_a_sentence(copied, capsys):
    folder, sealed_again = copied
    (folder / "audit.json").write_text(json.dumps({"kind": "owner"}))
    sealed_again()
    with pytest.raises(SystemExit):
        verify([str(folder)])
    assert "not as this version writes it" in capsys.readouterr().out
