"""The command `evaluate`, on score files of any origin."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from score_samples import score_rows as rows
from score_samples import write_scores

from mia_bench.evaluate import run
from mia_bench.evaluation.score_files import measuring
from mia_bench.utils.errors import MiaError


@pytest.fixture
def write(tmp_path):
    return lambda frame, name="mine.csv": write_scores(tmp_path / name, frame)


def test_the_command_prints_and_writes_everything(write, tmp_path, capsys):
    hostile = "<img src=x onerror=alert(1)>"
    paths = [
        write(rows(), "a.csv"),
        write(rows(seed=2, shift=0.1), f"{hostile}[red]|.csv"),
    ]
    out = tmp_path / "out"
    result = run([*(f"scores={path}" for path in paths), f"out={out}", "resamples=200"])
    said = capsys.readouterr().out
    assert "Differences on the same images" in said
    assert hostile in said
    assert "…" not in said
    assert json.loads((out / "metrics.json").read_text()) == result
    curves = pd.read_parquet(out / "roc.parquet")
    assert set(curves.scores) == set(result["files"])
    svg = (out / "roc.svg").read_text()
    assert "<img" not in svg
    assert "&lt;img" in svg
    assert "<img" not in (out / "evaluation.md").read_text()
    assert len(list(out.glob("scores-*.svg"))) == 2


def test_an_inverted_score_is_noticed_and_can_be_turned(write, capsys):
    path = write(rows().assign(score=-rows().score))
    assert "add negate=true" in "".join(run([f"scores={path}", "resamples=200"])["remarks"])
    turned = run([f"scores={path}", "resamples=200", "negate=true"])
    assert turned["files"]["mine"]["auroc"]["value"] > 0.8
    assert not any("negate" in remark for remark in turned["remarks"])
    assert any("no calibration rows" in remark for remark in turned["remarks"])
    capsys.readouterr()


def test_words_that_are_wrong(write):
    with pytest.raises(MiaError, match="scores=FILE is needed"):
        run(["out=x"])
    with pytest.raises(MiaError, match="at least 100"):
        run([f"scores={write(rows())}", "resamples=3"])


def test_scores_of_a_run_are_read_as_they_are(write, capsys):
    """A scores.parquet has further columns, and is named after its folder."""
    frame = rows().rename(columns={"id": "sample_id", "label": "is_member"})
    frame = frame.assign(role="x", score_base=0.0, calibration=rows().index < 60, group=rows().id)
    path = write(frame, "clid-0123/scores.parquet")
    result = run([f"scores={path}", "resamples=200"])
    assert list(result["files"]) == ["clid-0123"]
    assert result["remarks"] == [
        "clid-0123: 50 non-members allow no false positive at FPR 0.01: at least 100 are needed."
    ]
    capsys.readouterr()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(separator, write, tmp_path):
    plain = run([f"scores={write(rows())}", "resamples=100"])
    path = tmp_path / "other" / "mine.csv"
    path.parent.mkdir()
    rows().to_csv(path, index=False, sep=separator, decimal="," if separator == ";" else ".")
    assert run([f"scores={path}", "resamples=100"])["files"] == plain["files"]


def test_compressed_tables_are_read(tmp_path):
    path = tmp_path / "mine.tsv.gz"
    rows().to_csv(path, index=False, sep="\t")
    assert run([f"scores={path}", "resamples=100"])["files"].keys() == {"mine"}


def test_ties_that_decide_a_rate_are_named(write, capsys):
    table = rows(400)
    table["score"] = table.score.round(0)
    run([f"scores={write(table)}", "resamples=100"])
    printed = capsys.readouterr().out
    assert "ties decide the TPR at 1 % FPR: 4 false positives are allowed" in printed
    run([f"scores={write(rows(400))}", "resamples=100"])
    assert "ties decide" not in capsys.readouterr().out


def test_a_note_on_several_files_is_printed_once(write, capsys):
    paths = [write(rows(), "a.csv"), write(rows(seed=1), "b.csv")]
    result = run([*(f"scores={path}" for path in paths), "resamples=100"])
    assert capsys.readouterr().out.count("no calibration rows") == 1
    assert any(remark.startswith("a, b: no calibration rows") for remark in result["remarks"])


def test_rows_that_one_file_lacks_are_counted(write, capsys):
    paths = [write(rows(), "a.csv"), write(rows(seed=1)[7:], "b.csv")]
    run([*(f"scores={path}" for path in paths), "resamples=100"])
    printed = capsys.readouterr().out
    assert "left out: rows that only one of the two files has" in printed
    (line,) = [line for line in printed.splitlines() if line.split()[:2] == ["b", "a"]]
    assert line.split()[2:4] == ["153", "7"]


def test_less_is_drawn_of_a_large_file(write, monkeypatch, capsys):
    from mia_bench.evaluation.score_files import measuring as score_files

    monkeypatch.setattr(score_files, "LARGE_ROWS", 100)
    monkeypatch.setattr(score_files, "RESAMPLED_ROWS", 160 * 150)
    path = write(rows())
    assert run([f"scores={path}"])["resamples"] == 150
    assert "intervals rest on fewer resamples" in capsys.readouterr().out
    assert run([f"scores={path}", "resamples=300"])["resamples"] == 300


def test_how_often_each_file_was_resampled_is_written_down(write, monkeypatch, capsys):
    """A large file is resampled less often than a small one beside it."""
    large, small = write(rows(), "large.csv"), write(rows().iloc[:60], "small.csv")
    monkeypatch.setattr(measuring, "LARGE_ROWS", len(rows()) - 1)
    monkeypatch.setattr(measuring, "RESAMPLED_ROWS", 150 * len(rows()))
    result = run([f"scores={large}", f"scores={small}"])
    drawn = {name: metrics["resamples"] for name, metrics in result["files"].items()}
    assert drawn == {"large": 150, "small": 2000}
    assert result["resamples"] == 150
    capsys.readouterr()
