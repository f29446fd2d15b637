"""docs/commands.md, made of what the commands declare."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from importlib import import_module

from mia_bench.cli.dispatch import COMMANDS
from mia_bench.config.command_spec import Command, key_rows, word_rows

MARKDOWN_COLUMNS = 100
WITHOUT_WORD = ("mia_bench.bench.precision", "mia_bench.pretrain.preview")
"""Commands that only `python -m` starts."""

INTRODUCTION = """\
# Commands

Made by `mia-bench list commands format=markdown`; do not edit. `mia-bench COMMAND --help` prints a
section of this page.

`mia-bench` and `python -m mia_bench` are the same program. Its first word names a command; without
one it is `run`, so that `mia-bench attack=clid model=sd15 data=mscoco` is a run with three
overrides. Every command but `run`, `list` and `help` is a module of its own too:
`mia-bench report` is `python -m mia_bench.report`.

## Words and keys

`run` takes Hydra's grammar: `key=value` overrides and Hydra's flags. All others take bare words and
`key=value`. In all of them `--key value` and `--key=value` mean `key=value`, and `--key` alone is
`key=true` for a switch. Where a command takes "any other KEY=VALUE", it is an override of the
configuration, checked as for `run`. A word, key or switch that does not exist ends with one message
that names the nearest one. The exit status is 0 after success, 1 after an error (and where `verify`
finds a difference), 2 where the first word names no command.

What was typed is recorded with every result, in the `command` of its manifest.json: the words of
the command, also in worker processes, and for every job of a sweep its own.

## Completion

Hydra completes groups, their options and keys; commands and their words are completed with them.
Where the package is installed, so that `mia-bench` is found:

    eval "$(mia-bench --shell-completion install=bash)"    # this shell; or add it to ~/.bashrc
    eval "$(mia-bench --shell-completion install=zsh)"
    mia-bench --shell-completion install=fish | source
    eval "$(mia-bench --shell-completion uninstall=bash)"

`python -m mia_bench --shell-completion install=bash` prints the same script; it completes
`mia-bench` alone, as shells complete by the first word.
"""


def page() -> str:
    """The whole page, Markdown."""
    modules = [*COMMANDS.values(), *WITHOUT_WORD]
    return "\n".join([INTRODUCTION, *(line for m in modules for line in _section(_command(m)))])


def _command(module: str) -> Command:
    command: Command = import_module(module).COMMAND
    return command


def _section(command: Command) -> Iterator[str]:
    """One command: sentence, usage, details, words and keys, examples."""
    program = " ".join(command.program)
    yield f"## {command.name or command.module}\n"
    yield f"{command.sentence}\n"
    yield f"    {program} {command.syntax}".rstrip()
    if command.name:
        yield f"    python -m {command.module} {command.syntax}".rstrip()
    yield ""
    for paragraph in command.details:
        yield textwrap.fill(paragraph, MARKDOWN_COLUMNS) + "\n"
    rows = [*word_rows(command), *key_rows(command)]
    if rows:
        yield "| word or key | meaning |"
        yield "| --- | --- |"
        for name, meaning in rows:
            yield f"| `{_cell(name)}` | {_cell(meaning)} |"
        yield ""
    if command.examples:
        yield from (f"    {example}" for example in command.examples)
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
