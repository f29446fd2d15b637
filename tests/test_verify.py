"""The command `verify`: what it prints, which runs a word names, and its exit status."""

from __future__ import annotations

import pytest
from tampering import edit_json, run_folder

from mia_bench.storage.index import find_runs
from mia_bench.utils.errors import MiaError
from mia_bench.verify import run as verify


def test_the_command_says_one_line_a_check_and_exits_with_1(outputs, capsys) -> None:
    folder = run_folder(outputs)
    verify([str(folder)])
    said = capsys.readouterr().out
    assert said.count("\n  ") == 11
    assert "1 runs checked: 1 agree, 0 differ; 0 unfinished" in said
    edit_json(folder / "metrics.json", lambda m: m["auroc"].update(value=0.99))
    with pytest.raises(SystemExit, match="1"):
        verify([f"paths.outputs={outputs}"])
    said = capsys.readouterr().out
    assert "5 runs checked: 4 agree, 1 differ" in said
    assert "metrics   DIFFERS      auroc.value" in said


def test_runs_are_found_by_folder_name_and_key(outputs) -> None:
    folder = run_folder(outputs)
    key = folder.name.rpartition("-")[2]
    for word in (str(folder), folder.name, key, key[:6]):
        assert [ref.folder for ref in find_runs(word, outputs)] == [folder], word
    for word in (key[:3], "clid", "nothing-0123456789abcdef"):
        with pytest.raises(MiaError, match=r"no run in .* is called"):
            find_runs(word, outputs)
    with pytest.raises(MiaError, match="is not a run's folder"):
        find_runs(str(outputs), outputs)


@pytest.mark.long
def test_an_unfinished_run_is_said_to_be(outputs, capsys) -> None:
    folder = run_folder(outputs)
    half = folder.rename(folder.with_name(folder.name + ".tmp"))
    with pytest.raises(SystemExit, match="1"):
        verify([folder.name, f"paths.outputs={outputs}"])
    assert f"{half}: unfinished: it was interrupted" in capsys.readouterr().out
    verify([f"paths.outputs={outputs}"])  # others are being made: no difference
    assert "4 agree, 0 differ; 1 unfinished" in capsys.readouterr().out
    half.rename(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(SystemExit, match="1"):
        verify([str(folder)])
    assert "has no manifest.json" in capsys.readouterr().out


def test_words_that_are_wrong(tmp_path) -> None:
    with pytest.raises(MiaError, match="holds no run"):
        verify([f"paths.outputs={tmp_path}"])
    with pytest.raises(MiaError, match=r"Did you mean 'paths\.outputs'"):
        verify(["paths.output=x"])
