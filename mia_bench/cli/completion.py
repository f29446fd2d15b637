"""Shell completion: Hydra's, for the overrides of a run, and ours for commands, words and keys.

The shell calls `mia-bench -sc query=<shell>` with the line typed so far in COMP_LINE and takes the
words that are printed. Hydra knows no commands: one in front of overrides is taken away from it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

from mia_bench.cli.dispatch import COMMANDS
from mia_bench.config.command_spec import FLAG, Command
from mia_bench.storage.command import PROGRAM

PYTHON = re.compile(r"^\s*\S*python[\d.]*\s+-m\s+mia_bench(?=\s|$)")


def prepare(words: Sequence[str]) -> bool:
    """Set the scene for Hydra's `--shell-completion`; whether everything was printed already.

    `install` and `uninstall` become those of the console script, however they were started.
    """
    if not any(word.startswith("query=") for word in words):
        sys.argv[0] = PROGRAM
        return False
    line = PYTHON.sub(PROGRAM, os.environ.get("COMP_LINE", PROGRAM))
    choices, left_to_hydra = complete(line)
    if choices:
        print(" ".join(choices))
    os.environ["COMP_LINE"] = left_to_hydra or ""
    return left_to_hydra is None


def complete(line: str) -> tuple[list[str], str | None]:
    """Our choices for the last word of `line`, and the line that Hydra completes; None: none."""
    program, *typed = line.split()
    last = "" if line.endswith(" ") or not typed else typed.pop()
    if not typed:
        commands = [name for name in (*COMMANDS, "help") if name.startswith(last)]
        return commands, f"{program} {last}"
    first, *rest = typed
    if first == "help":
        return [name for name in COMMANDS if name.startswith(last)], None
    if first == "run":
        return [], " ".join([program, *rest, last])
    if first not in COMMANDS:
        return [], line
    command: Command = import_module(COMMANDS[first]).COMMAND
    choices = [word for word in _words_of(command, last) if word.startswith(last)]
    overrides = [word for word in rest if "=" in word]
    return choices, " ".join([program, *overrides, last]) if command.overrides else None


def _words_of(command: Command, last: str) -> list[str]:
    """What may stand behind a command; both values of a switch once its key is there."""
    words = list(command.positional.choices) if command.positional else []
    for option in command.options:
        key = f"{option.key}="
        values = FLAG.split("|") if option.is_flag and last.startswith(key) else [""]
        words += [key + value for value in values]
    return words
