"""The first page: what this is, five commands, all commands, and where the rest is."""

from __future__ import annotations

from importlib import import_module

import pytest

import mia_bench
from mia_bench.cli.dispatch import COMMANDS
from mia_bench.cli.help_page import COMMON, overview, sentence
from mia_bench.config.command_spec import help_text


def test_the_page_opens_with_what_this_is_and_fits_80_columns():
    lines = overview(COMMANDS).splitlines()
    assert lines[0].startswith("usage: mia-bench ")
    assert lines[3] == mia_bench.__doc__.splitlines()[0]
    assert max(map(len, lines)) <= 80
    assert len(lines) < 45  # a screen
    assert len(COMMON) == 5
    for name in COMMANDS:
        assert any(line.startswith(f"  {name} ") for line in lines), name
    assert "mia-bench run --help" in lines[-2]


@pytest.mark.parametrize("name", COMMANDS)
def test_sentences_are_read_from_the_files_they_are_in(name):
    command = import_module(COMMANDS[name]).COMMAND
    assert sentence(COMMANDS[name]) == command.sentence
    assert command.sentence in " ".join(help_text(command).split())
