"""Tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mia_bench.utils.text import sanitise

MIN_WIDTH = 128
MAX_WIDTH = 10_000  # characters


def interval(entry: Mapping[str, Any], digits: int = 3) -> str:
    """'0.812 [0.78, 0.84]', or 'n/a' where there is no figure."""
    if entry.get("value") is None:
        return "n/a"
    if entry.get("lo") is None:
        return f"{entry['value']:.{digits}f} [n/a]"
    return f"{entry['value']:.{digits}f} [{entry['lo']:.2f}, {entry['hi']:.2f}]"


def print_table(table: Table, console: Console | None = None) -> None:
    """Print `table` without cutting a cell: a cut figure is worse than a wrapped line."""
    from rich.measure import Measurement

    console = console or Console(highlight=False)
    before, options = console.width, console.options.update(max_width=MAX_WIDTH)
    console.width = max(before, MIN_WIDTH, Measurement.get(console, options, table).maximum)
    console.print(table)
    console.width = before


def cell_text(text: str) -> str:
    return escape(sanitise(text))
