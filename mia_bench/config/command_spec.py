"""What a command takes, declared once: parsing, `--help` and docs/commands.md are made of it."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from mia_bench.storage.command import PROGRAM

HELP_COLUMNS = 80
MEANING_COLUMN = 24  # where meanings begin; a longer key has a line of its own
FLAG = "true|false"


@dataclass(frozen=True)
class Option:
    """A `key=value` word.

    `value` is what the value stands for in the usage line (`FILE`, `N`; `true|false` for a switch).
    `default` is the value where none is written; None: it depends, and `meaning` says on what.
    """

    key: str
    meaning: str
    value: str = "TEXT"
    default: str | None = None
    repeated: bool = False

    @property
    def is_flag(self) -> bool:
        return self.value == FLAG


@dataclass(frozen=True)
class Positional:
    """Bare words. `choices`: the only ones allowed; `default`: those meant where none is."""

    name: str
    meaning: str
    choices: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    required: bool = False
    single: bool = False


@dataclass(frozen=True)
class Command:
    """One command. `doc` is its module's docstring: "`python -m ...`: one sentence", then details.

    `name` is its word behind `mia-bench`; empty where `python -m <module>` alone starts it.
    `overrides`: every other key=value word is one of the configuration.
    """

    name: str
    module: str
    doc: str | None
    options: tuple[Option, ...] = ()
    positional: Positional | None = None
    overrides: bool = False
    examples: tuple[str, ...] = ()

    @property
    def program(self) -> list[str]:
        """The words that start it, as manifests record them."""
        return [PROGRAM, self.name] if self.name else ["python", "-m", self.module]

    @property
    def sentence(self) -> str:
        return summary(self.doc or "")

    @property
    def details(self) -> list[str]:
        """Paragraphs of the docstring after its first, each on one line."""
        return [" ".join(p.split()) for p in (self.doc or "").strip().split("\n\n")[1:]]

    @property
    def syntax(self) -> str:
        """What follows the program in the usage line."""
        words = []
        if self.positional is not None:
            word = self.positional.name + ("" if self.positional.single else " ...")
            words.append(word if self.positional.required else f"[{word}]")
        if self.options or self.overrides:
            words.append("[KEY=VALUE ...]")
        return " ".join(words)


def summary(docstring: str) -> str:
    """The first paragraph without the "`python -m ...`: " it begins with, as a sentence."""
    first = " ".join(docstring.strip().split("\n\n")[0].split())
    text = re.sub(r"^`[^`]*`:\s*", "", first)
    return text[:1].upper() + text[1:]


def help_text(command: Command) -> str:
    """What `--help` prints: usage, one sentence, details, words and keys, examples."""
    module = f"python -m {command.module} {command.syntax}".rstrip()
    usage = [f"usage: {PROGRAM} {command.name} {command.syntax}".rstrip(), f"   or: {module}"]
    if not command.name:
        usage = [f"usage: {module}"]
    blocks = ["\n".join(usage), textwrap.fill(command.sentence, HELP_COLUMNS)]
    blocks += [textwrap.fill(text, HELP_COLUMNS) for text in command.details]
    for title, rows in (("words", word_rows(command)), ("keys", key_rows(command))):
        if rows:
            blocks.append("\n".join([f"{title}:", *(line for row in rows for line in _row(*row))]))
    if command.examples:
        blocks.append("\n".join(["examples:", *(f"  {example}" for example in command.examples)]))
    return "\n\n".join(blocks)


def word_rows(command: Command) -> list[tuple[str, str]]:
    """(name, meaning) of the bare words a command takes; no row where it takes none."""
    words = command.positional
    if words is None:
        return []
    meaning = words.meaning
    if words.choices:
        meaning = f"{meaning}: {', '.join(words.choices)}"
    if words.default:
        meaning = f"{meaning} (default: {' '.join(words.default)})"
    return [(words.name, meaning)]


def key_rows(command: Command) -> list[tuple[str, str]]:
    """(key=value, meaning with default) of the keys a command takes."""
    rows = [(f"{option.key}={option.value}", _meaning(option)) for option in command.options]
    if command.overrides:
        name = "any other KEY=VALUE" if rows else "KEY=VALUE"
        rows.append((name, f"of the configuration: `{PROGRAM} run --help`, docs/configuration.md"))
    return rows


def _meaning(option: Option) -> str:
    notes = ["may be repeated"] if option.repeated else []
    notes += [f"default: {option.default}"] if option.default is not None else []
    return f"{option.meaning} ({'; '.join(notes)})" if notes else option.meaning


def _row(name: str, meaning: str) -> Iterator[str]:
    """A name and what it means in two columns."""
    lines = textwrap.wrap(meaning, HELP_COLUMNS - MEANING_COLUMN)
    if len(name) + 4 > MEANING_COLUMN:
        yield f"  {name}"
    else:
        yield f"  {name:<{MEANING_COLUMN - 2}}{lines.pop(0)}"
    yield from (" " * MEANING_COLUMN + line for line in lines)


def terminal_columns() -> int:
    """Columns to fit into; 80 where nothing says how many there are."""
    return shutil.get_terminal_size((HELP_COLUMNS, 24)).columns
