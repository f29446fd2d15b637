"""How the command is used and what it refuses; its work is tested in test_votes.py."""

from __future__ import annotations

import pytest

from mia_bench.studies.votes import VoteCurve
from mia_bench.studies.votes_command import main, show


def test_help_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code in (0, None)
    assert "What a number of agreeing votes means" in capsys.readouterr().out


def test_a_figure_of_another_kind_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["x", f"paths.outputs={tmp_path}", "figure=votes.txt"])
    assert ended.value.code not in (0, None)
    assert ".png, .svg, .pdf is needed" in capsys.readouterr().err


def test_a_row_for_each_number_of_votes(capsys):
    entries = [{"value": 0.5, "lo": 0.4, "hi": 0.6}, {"value": None, "lo": None, "hi": None}]
    show(VoteCurve("drawings", 2, {"recall": entries, "precision": entries}, 4, 6))
    printed = capsys.readouterr().out
    assert "0.500 [0.40, 0.60]" in printed
    assert "n/a" in printed
    assert "4 members, 6 non-members, 2 votes each." in printed
