"""`python -m mia_bench list KIND`: attacks, models, data and more to choose from, with their facts.

Taken from the yaml files of conf/ and the docstrings of the classes they name. The table fits the
terminal: the sentence is cut first, down to 26 characters; then columns are left out in the order
captions, paper, weights, members, data, model, pixels, access, NFE. format=csv has everything.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mia_bench.cli.catalogue import GROUPS, Preset, presets
from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option, Positional, terminal_columns
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import nearest

FORMATS = ("table", "csv", "markdown")
DROPPED_FIRST = (
    *("captions", "paper", "weights", "members", "data", "model", "pixels", "access", "NFE"),
)
MIN_SENTENCE_COLUMNS = 26
GAP = "  "
COMMAND = Command(
    "list",
    "mia_bench list",
    __doc__,
    (Option("format", f"of the output: {', '.join(FORMATS)}", "FORMAT", "table"),),
    Positional("KIND", "what to list", (*GROUPS, "commands"), required=True, single=True),
    examples=(
        "mia-bench list attacks",
        "mia-bench list models format=csv",
        "mia-bench list commands format=markdown > docs/commands.md",
    ),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, _print_list, words)


def _print_list(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    kind, form = arguments.words[0], arguments.text("format")
    if form not in FORMATS:
        raise MiaError(f"there is no format '{form}'. {nearest(form, FORMATS)}")
    if kind == "commands" and form == "markdown":
        from mia_bench.cli.commands_page import page

        print(page(), end="")
        return
    rows = _commands() if kind == "commands" else presets(kind)
    if form == "table":
        for line in table(rows, terminal_columns()):
            echo(line)
    else:
        print(as_csv(rows) if form == "csv" else as_markdown(rows), end="")


def _commands() -> list[Preset]:
    from mia_bench.cli.dispatch import COMMANDS
    from mia_bench.cli.help_page import sentence

    return [Preset(name, {}, sentence(module)) for name, module in COMMANDS.items()]


def header(rows: Sequence[Preset]) -> list[str]:
    """Names of the columns in which any row has something to say."""
    facts = dict.fromkeys(column for row in rows for column, value in row.facts.items() if value)
    return ["name", *facts, "what it is"]


def cells(row: Preset, columns: Sequence[str]) -> list[str]:
    facts = {"name": row.name, **row.facts, "what it is": row.sentence}
    return [facts.get(column, "") for column in columns]


def table(rows: Sequence[Preset], width: int) -> list[str]:
    """Lines of at most `width` columns, none of them wrapped; see the module's text."""
    columns = header(rows)
    for dropped in DROPPED_FIRST:
        if _fixed_width(rows, columns) + MIN_SENTENCE_COLUMNS <= width:
            break
        columns = [column for column in columns if column != dropped]
    room = max(width - _fixed_width(rows, columns), MIN_SENTENCE_COLUMNS)
    widths = [*_widths(rows, columns[:-1]), 0]
    lines = []
    for row in [columns, *(cells(row, columns) for row in rows)]:
        row = [*row[:-1], shortened(row[-1], room)]
        lines.append(GAP.join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip())
    return lines


def _widths(rows: Sequence[Preset], columns: Sequence[str]) -> list[int]:
    table = [columns, *(cells(row, columns) for row in rows)]
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def _fixed_width(rows: Sequence[Preset], columns: Sequence[str]) -> int:
    """Of all but the sentence, gaps included."""
    return sum(width + len(GAP) for width in _widths(rows, columns[:-1]))


def shortened(text: str, room: int) -> str:
    """`text`, or as many of its words as fit with an ellipsis."""
    if len(text) <= room:
        return text
    kept = text[: room - 3]
    if text[room - 3] != " ":
        kept = kept.rpartition(" ")[0] or kept
    return f"{kept.rstrip(' ,:')}..."


def as_csv(rows: Sequence[Preset]) -> str:
    columns, text = header(rows), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *(cells(row, columns) for row in rows)])
    return text.getvalue()


def as_markdown(rows: Sequence[Preset]) -> str:
    columns = header(rows)
    table = [columns, ["---"] * len(columns), *(cells(row, columns) for row in rows)]
    lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in table]
    return "".join(f"| {line} |\n" for line in lines)
