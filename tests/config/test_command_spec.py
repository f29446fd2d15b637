"""command_spec.py: what a command declares is what its help says."""

from __future__ import annotations

from mia_bench.config.command_spec import FLAG, Command, Option, Positional, help_text, summary

DOC = """`python -m mia_bench.weigh [PART ...]`: weigh the parts of a thing,
one after the other.

It takes a minute.
"""
COMMAND = Command(
    "weigh",
    "mia_bench.weigh",
    DOC,
    (
        Option("unit", "of weight", "UNIT", "gram"),
        Option("very_long_name_of_a_key", "for a switch " * 9, FLAG),
        Option("scale", "to use", "NAME", repeated=True),
    ),
    Positional("PART", "to weigh", ("lid", "box"), ("lid",)),
    overrides=True,
    examples=("mia-bench weigh lid",),
)


def test_help_says_all_of_it() -> None:
    assert help_text(COMMAND).split("\n\n")[:4] == [
        "usage: mia-bench weigh [PART ...] [KEY=VALUE ...]\n"
        "   or: python -m mia_bench.weigh [PART ...] [KEY=VALUE ...]",
        "Weigh the parts of a thing, one after the other.",
        "It takes a minute.",
        "words:\n  PART                  to weigh: lid, box (default: lid)",
    ]
    lines = help_text(COMMAND).splitlines()
    assert "  unit=UNIT             of weight (default: gram)" in lines
    assert "  scale=NAME            to use (may be repeated)" in lines
    assert "  any other KEY=VALUE" in "\n".join(lines)
    assert lines[-2:] == ["examples:", "  mia-bench weigh lid"]


def test_help_fits_80_columns() -> None:
    lines = help_text(COMMAND).splitlines()
    assert max(map(len, lines)) <= 80
    assert "  very_long_name_of_a_key=true|false" in lines


def test_a_command_without_a_word_is_started_by_its_module() -> None:
    precision = Command("", "mia_bench.bench.precision", DOC)
    assert help_text(precision).startswith("usage: python -m mia_bench.bench.precision\n\n")
    assert precision.program == ["python", "-m", "mia_bench.bench.precision"]


def test_a_summary_is_the_sentence_behind_the_usage() -> None:
    assert summary(DOC) == "Weigh the parts of a thing, one after the other."
    assert summary("no usage: here.") == "No usage: here."
