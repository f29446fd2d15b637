"""docs/commands.md: a section for every command, with each of its keys."""

from __future__ import annotations

from importlib import import_module

from mia_bench.cli.commands_page import WITHOUT_WORD, page
from mia_bench.cli.dispatch import COMMANDS


def test_every_command_and_key_is_on_the_page():
    sections = dict(part.split("\n", 1) for part in page().split("\n## ")[1:])
    for name, module in COMMANDS.items():
        command = import_module(module).COMMAND
        assert command.sentence in sections[name]
        for option in command.options:
            assert f"| `{option.key}=" in sections[name], (name, option.key)
        for example in command.examples:
            assert f"    {example}\n" in sections[name]
    assert set(WITHOUT_WORD) <= sections.keys()
