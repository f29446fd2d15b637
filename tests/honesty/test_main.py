"""`python -m mia_bench.honesty`: parts are measured one by one, earlier figures stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mia_bench.honesty import __main__ as command
from mia_bench.honesty.interval_coverage import Setting

RESPLITS = {"rows": 580, "splits": 1000, "held": 947}


def test_parts_are_measured_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SETTINGS", (Setting(30, 60, 1.0), Setting(40, 60, 1.0)))
    figures, page_path = tmp_path / "new" / "honesty.json", tmp_path / "honesty.md"
    figures.parent.mkdir()
    figures.write_text(json.dumps({"resplits": RESPLITS}))
    words = ["coverage", "--count", "3", "--figures", str(figures), "--page", str(page_path)]
    command.main(words)
    kept = json.loads(figures.read_text())
    assert kept["resplits"] == RESPLITS
    assert [entry["members"] for entry in kept["coverage"]] == [30, 40]
    assert kept["coverage"][0]["covered"]["auroc"]["sets"] == 3
    assert "| 30 / 60 | openmoji | 0 |" in page_path.read_text()
    assert "3 simulated data sets" in page_path.read_text()


def test_no_part_named_means_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    for name in command.PARTS:
        monkeypatch.setitem(
            command.PARTS, name, lambda _count, _outputs, name=name: measured.append(name) or ()
        )
    command.main(["--figures", str(tmp_path / "h.json"), "--page", str(tmp_path / "h.md")])
    assert measured == list(command.PARTS)


def test_a_count_that_measures_nothing_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main(["resplits", "count=0", f"figures={tmp_path / 'h.json'}"])
    assert "count=0 must be 1 or more" in capsys.readouterr().err


def test_figures_stay_whole_where_a_write_is_cut_short(tmp_path, monkeypatch):
    figures = tmp_path / "honesty.json"
    figures.write_text(json.dumps({"resplits": RESPLITS}))
    whole = Path.write_text

    def cut_short(path, text, *options):
        whole(path, text[:10], *options)
        raise OSError("the machine went away")

    monkeypatch.setitem(command.PARTS, "runs", lambda *_: [[]])
    monkeypatch.setattr(Path, "write_text", cut_short)
    with pytest.raises(OSError, match="went away"):
        command.measure(["runs"], None, tmp_path, figures)
    assert json.loads(figures.read_text()) == {"resplits": RESPLITS}
