"""`python -m mia_bench.bench`: which parts run, and what is written."""

from __future__ import annotations

import json
import sys

import pytest

from mia_bench.bench import __main__ as command
from mia_bench.bench import results, timing


def test_figures_of_other_parts_are_kept(tmp_path, monkeypatch, capsys):
    out = tmp_path / "figures.json"
    measured = {"overhead": results.circumstances() | {"date": "2025-01-02"}}
    old = {"overhead.clid": {"value": 1.01, "lo": 1.0, "hi": 1.02}, "startup.help_seconds": 9}
    out.write_text(json.dumps(old | {"measured": measured}))
    monkeypatch.setitem(
        command.BENCHMARKS, "startup", lambda rounds: {"startup.help_seconds": rounds / 2}
    )
    words = ["bench", "startup", "--rounds", "3", "--out", str(out), "--clock", "process"]
    monkeypatch.setattr(sys, "argv", words)
    command.main()
    timing.use_clock("wall")
    figures = json.loads(out.read_text())
    assert figures["overhead.clid"]["value"] == 1.01
    assert figures["startup.help_seconds"] == 1.5
    assert figures["measured"]["overhead"]["date"] == "2025-01-02"
    assert figures["measured"]["startup"]["clock"] == "process"
    assert "startup.help_seconds" in capsys.readouterr().out
    page = (tmp_path / "figures.md").read_text()
    assert "| clid over the bare loop | 1.01 | 1.000 to 1.020 | <= 1.05 met |" in page
    assert "| --help (s) | 1.5 |  | <= 2 met |" in page
    assert "2025-01-02" in page


def test_no_part_named_means_the_default_ones(tmp_path, monkeypatch):
    measured = []
    for name in command.BENCHMARKS:
        monkeypatch.setitem(
            command.BENCHMARKS, name, lambda _, name=name: measured.append(name) or {}
        )
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(tmp_path / "figures.json")])
    command.main()
    assert measured == list(command.DEFAULT)


def test_a_part_that_does_not_exist_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "overheads"])
    with pytest.raises(SystemExit):
        command.main()
    assert "'overheads'" in capsys.readouterr().err
