"""key=value words: typos, doubles and empty values are refused with what to write instead."""

from __future__ import annotations

import sys

import pytest

from mia_bench.config.arguments import command, parse, parse_bool, parse_int
from mia_bench.utils.errors import MiaError

KNOWN = {"scores": "files", "out": "folder", "seed": "number"}


def parsed(*words):
    return parse(words, KNOWN, "usage", repeated=("scores",))


def test_values_come_back_in_order():
    assert parsed("scores=a", "out=x=y", "scores=b") == {"scores": ["a", "b"], "out": ["x=y"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scors=a",), "Did you mean 'scores'"),
        (("scores",), "write scores=..."),
        (("out=",), "write out=..."),
        (("out=a", "out=b"), "given twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, said):
    with pytest.raises(MiaError, match=said):
        parsed(*words)


def test_help_names_every_key(capsys):
    with pytest.raises(SystemExit) as left:
        parsed("--help")
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert all(key in said for key in KNOWN)


def test_numbers_and_switches():
    assert parse_int(parsed("seed=3"), "seed", 0) == 3
    assert parse_int({}, "seed", 7) == 7
    assert parse_bool({"out": ["True"]}, "out")
    assert not parse_bool({}, "out")
    with pytest.raises(MiaError, match="whole number"):
        parse_int(parsed("seed=x"), "seed", 0)
    with pytest.raises(MiaError, match="true or false"):
        parse_bool({"out": ["ja"]}, "out")


@pytest.mark.parametrize(
    "name",
    ["status", "sync", "dashboard", "trajectory", "data", "report", "seeds", "mitigation_study"],
)
def test_every_command_says_how_it_is_used(name, run_python):
    assert f"python -m mia_bench.{name}" in run_python("-m", f"mia_bench.{name}", "--help").stdout


def test_a_manual_is_printed_and_switches_are_refused(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(sys, "argv", ["command", "a=1", "--help"])
    command(ran.append, "what to write\n")
    assert capsys.readouterr().out == "what to write\n"
    monkeypatch.setattr(sys, "argv", ["command", "a=1", "--verbose"])
    with pytest.raises(SystemExit):
        command(ran.append, "what to write")
    assert "only key=value words" in capsys.readouterr().err
    assert ran == []


def test_an_error_is_one_line_and_a_bug_a_traceback(capsys):
    def fail(_):
        raise MiaError("do this")

    with pytest.raises(SystemExit) as left:
        command(fail)
    assert left.value.code == 1
    assert capsys.readouterr().err == "error: do this\n"

    def bug(_):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        command(bug)
