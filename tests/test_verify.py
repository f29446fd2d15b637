"""The command `verify`: what it prints, which runs a word names, and its exit status."""

from __future__ import annotations

import pytest
from tampering import edit_json, run_folder

from mia_bench.storage.index import find_runs
from mia_bench.utils.errors import MiaError
from mia_bench.verification import stored_split
from mia_bench.verify import find_audits
from mia_bench.verify import run as verify


def test_the_command_says_one_line_a_check_and_exits_with_1(outputs, capsys) -> None:
    folder = run_folder(outputs)
    verify([str(folder)])
    said = capsys.readouterr().out
    assert said.count("\n  ") == 13
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


def test_digits_of_several_audits_or_of_an_audit_and_a_run_are_refused(tmp_path) -> None:
    places = ("audits/owner-0123456789abcdef", "audits/data-0123457777777777")
    for place in (*places, "runs/m/1/clid-0123458888888888", "audits/data-abcdef0000000000"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "manifest.json").write_text("{}")
    with pytest.raises(MiaError, match="012345 is how 3 keys begin: give more digits of") as said:
        find_audits(["012345"], tmp_path)
    for name in ("owner-0123456789abcdef", "data-0123457777777777", "clid-0123458888888888"):
        assert name in str(said.value)
    for word, place in (("0123456", places[0]), ("data-012345", places[1])):
        assert find_audits([word], tmp_path) == {word: tmp_path / place}
    assert find_audits(["0123458"], tmp_path) == {}
    assert len(find_audits([], tmp_path)) == 3


def test_a_split_is_parsed_once_for_all_runs_that_stand_on_it(outputs, monkeypatch) -> None:
    parsed = []
    real = stored_split.load_split
    monkeypatch.setattr(stored_split, "load_split", lambda path: parsed.append(path) or real(path))
    verify([f"paths.outputs={outputs}"])
    assert parsed == list(outputs.glob("splits/*.json"))
    # one that was edited meanwhile is read again
    edit_json(parsed[0], lambda split: split["rows"][0].update(group="another"))
    with pytest.raises(SystemExit, match="1"):
        verify([f"paths.outputs={outputs}"])
    assert len(parsed) > 1


def test_words_that_are_wrong(tmp_path) -> None:
    with pytest.raises(MiaError, match="holds no run"):
        verify([f"paths.outputs={tmp_path}"])
    with pytest.raises(MiaError, match=r"Did you mean 'paths\.outputs'"):
        verify(["paths.output=x"])
