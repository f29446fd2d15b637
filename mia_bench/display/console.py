"""Tables on a terminal: one look, no cell cut or wrapped, columns dropped in a stated order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mia_bench.utils.terminal import echo
from mia_bench.utils.text import sanitise

MAX_NOTE_WIDTH = 100
BETWEEN_COLUMNS = 3  # characters
MIN_BOUND_DIGITS, MAX_BOUND_DIGITS = 2, 6  # decimals of an interval's ends
MIN_WIDTH_UNITS = 2  # an interval is at least so many units of its last decimal wide
EDGES = 4  # characters left and right of a table, which a narrow terminal goes without

FOOTNOTES = {
    "interval": "Brackets: 95 % intervals over near-duplicate groups, conditional on target, "
    "shadow and calibration",
    "coarse": "* fewer than 10 false positives allowed",
    "flagged": "! this control tells members from non-members",
    "blind": "blind_*: controls, classifiers that never query the model; p: permutation test",
    "base": "base control: the same attack on the base model, before fine-tuning",
    "reference": "reference control: the same attack on a model trained on other images",
    "own": "own outputs: pictures that the target generated from non-members' captions, as if they "
    "were members; AUC against non-members, TPR at the threshold of 1 % FPR on calibration rows",
    "found": "found: finished before this sweep",
}
"""What tables of metrics explain below; what a metric's heading means stands in its registry."""
SIGNS = {" [": "interval", "*": "coarse", "!": "flagged"}
"""Signs in cells, and the footnote that each calls for."""


@dataclass(frozen=True)
class Column:
    """A column of a table. Of those with a `drop_rank` above 0 the highest is dropped first."""

    heading: str
    drop_rank: int = 0
    left: bool = False
    footnote: str = ""
    """What the heading means, where that is not plain."""


def table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    rest: str = "",
    styles: Sequence[str | None] = (),
    notes: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Print `rows` under `columns`, and below them what their headings and signs mean.

    On a terminal that is too narrow, columns are dropped by their rank until the rest fits, which
    a line below says; where that is not enough, lines are longer than the terminal. Elsewhere, in
    a pipe or a log, all columns are printed, as wide as they are. A column that may be dropped and
    in which no row has a figure is left out everywhere.

    Args:
        rest: what has all figures, for that line.
        styles: of rows, as rich names them.
        notes: keys of FOOTNOTES, for what neither a heading nor a sign tells.
    """
    console = console or Console(highlight=False)
    width = console.width if console.is_terminal else None
    filled = [i for i, column in enumerate(columns) if _has_content(column, i, rows)]
    kept = columns_that_fit(columns, rows, filled, width)
    needed = table_width(columns, rows, kept)
    edges = width is None or needed + EDGES <= width
    grid = Table(box=box.SIMPLE_HEAD, show_edge=edges, pad_edge=edges)
    for i in kept:
        justify: JustifyMethod = "left" if columns[i].left else "right"
        grid.add_column(escape(columns[i].heading), justify=justify, no_wrap=True)
    for i, row in enumerate(rows):
        style = styles[i] if i < len(styles) else None
        grid.add_row(*(escape(sanitise(row[k])) for k in kept), style=style)
    console.print(Text(sanitise(title), "bold"), soft_wrap=True)
    terminal_width, console.width = console.width, max(console.width, needed + EDGES)
    console.print(grid)
    console.width = terminal_width
    if dropped := [columns[i].heading for i in filled if i not in kept]:
        paragraph(f"Left out, the terminal is too narrow: {', '.join(dropped)}{_where(rest)}.")
    shown = [[row[i] for i in kept] for row in rows]
    for note in footnotes([columns[i] for i in kept], shown):
        paragraph(note)
    for name in notes:
        paragraph(f"{FOOTNOTES[name]}.")


def paragraph(text: str) -> None:
    """Print text in lines of at most 100 characters, and no longer than the terminal's."""
    console = Console()
    width = min(console.width, MAX_NOTE_WIDTH) if console.is_terminal else MAX_NOTE_WIDTH
    echo(fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def _where(rest: str) -> str:
    return f" ({rest} has them)" if rest else ""


def columns_that_fit(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    positions: Sequence[int],
    width: int | None,
) -> list[int]:
    """Those of the columns at `positions` that fit into `width` characters; without it, all."""
    kept = list(positions)
    if width is None:
        return kept
    for i in sorted(kept, key=lambda i: -columns[i].drop_rank):
        if columns[i].drop_rank == 0 or table_width(columns, rows, kept) <= width:
            break
        kept.remove(i)
    return kept


def _has_content(column: Column, i: int, rows: Sequence[Sequence[str]]) -> bool:
    """Whether a column has a figure in any row; one that is never dropped counts as if it had."""
    return column.drop_rank == 0 or not rows or any(row[i] not in ("", "n/a") for row in rows)


def table_width(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], kept: Sequence[int]
) -> int:
    """Characters of a line of the table, without edges."""
    cells = [[columns[i].heading, *(sanitise(row[i]) for row in rows)] for i in kept]
    widths = [max(map(cell_len, column)) for column in cells]
    return sum(widths) + BETWEEN_COLUMNS * max(0, len(widths) - 1)


def footnotes(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """What a reader of these columns and cells must know: signs first, then headings."""
    cells = [cell for row in rows for cell in row]
    signs = [FOOTNOTES[note] for sign, note in SIGNS.items() if any(_bears(c, sign) for c in cells)]
    headings = dict.fromkeys(column.footnote for column in columns if column.footnote)
    return [f"{note}." for note in (*signs, *headings)]


def _bears(cell: str, sign: str) -> bool:
    return sign in cell if sign == " [" else cell.endswith(sign)


def interval(entry: Mapping[str, Any], digits: int = 3) -> str:
    """'0.812 [0.78, 0.84]', '0.0211 [0.0203, 0.0217]', or 'n/a' where there is no figure."""
    if entry.get("value") is None:
        return "n/a"
    if entry.get("lo") is None:
        return f"{entry['value']:.{digits}f} [n/a]"
    bounds = bound_digits(entry["lo"], entry["hi"])
    digits = max(digits, bounds)
    return f"{entry['value']:.{digits}f} [{entry['lo']:.{bounds}f}, {entry['hi']:.{bounds}f}]"


def bound_digits(lo: float, hi: float) -> int:
    """Decimals that tell the ends of an interval apart: two, and more where it is narrow."""
    width = hi - lo
    if not width > 0:
        return MIN_BOUND_DIGITS
    needed = math.ceil(math.log10(MIN_WIDTH_UNITS / width) - 1e-9)
    return min(MAX_BOUND_DIGITS, max(MIN_BOUND_DIGITS, needed))
