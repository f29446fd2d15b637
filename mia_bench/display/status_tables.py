"""`python -m mia_bench.status [paths.outputs=outputs]`: what is there, half done, or went wrong.

Reads manifests, metrics and names of folders, never scores, so that thousands of runs take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mia_bench.display.console import interval, print_table
from mia_bench.storage.artifacts import MANIFEST
from mia_bench.storage.failures import FAILURES_FOLDER
from mia_bench.storage.files import read_yaml
from mia_bench.storage.index import (
    OUTPUT_FOLDERS,
    RunSummary,
    bytes_under,
    failures,
    models,
    run_summaries,
    step_folders,
    unfinished_folders,
)
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import printable

MAX_TABLE_ROWS = 200  # rows of a table; the rest is counted


def show(outputs: Path) -> None:
    """Print it all."""
    console = Console(highlight=False)
    _show_models(console, models(outputs))
    _show_runs(console, run_summaries(outputs), outputs)
    tables = sum((f / MANIFEST).is_file() for _, _, f in step_folders(outputs / "features"))
    echo(f"feature tables: {tables:,}")
    for half in unfinished_folders(outputs):
        state = {True: "in progress", False: "interrupted", None: "unfinished"}[half.alive]
        echo(f"{state}: {half.folder.relative_to(outputs).with_suffix('')}{half.progress}")
    _show_failures(outputs)
    sizes = {part: bytes_under(outputs / part) for part in OUTPUT_FOLDERS}
    parts = ", ".join(f"{part} {_size(size)}" for part, size in sizes.items() if size)
    echo(f"disk: {_size(sum(sizes.values()))} ({parts})" if parts else "disk: nothing yet")


def _show_models(console: Console, found: Sequence[tuple[str, dict[str, Any]]]) -> None:
    table = _table("models", ("key", "kind", "steps", "epochs", "device", "made", "note"))
    for key, about in found[:MAX_TABLE_ROWS]:
        words = (about.get(n, "") for n in ("kind", "steps", "epochs", "device", "created"))
        table.add_row(key, *(_plain(word) for word in words), _plain(about.get("problem", "")))
    print_table(table, console)
    _more(found)


def _show_runs(console: Console, found: Sequence[RunSummary], outputs: Path) -> None:
    table = _table("cells", ("target", "what it is", "step", "attack", "AUC", "note"))
    names: dict[str, str] = {}
    for run in found[:MAX_TABLE_ROWS]:
        if run.target not in names:
            names[run.target] = _what(outputs / "targets" / run.target)
        auc = "" if run.auroc is None else interval(run.auroc)
        words = run.target, names[run.target], run.step, run.attack
        table.add_row(*(_plain(word) for word in words), auc, _plain(run.problem))
    print_table(table, console)
    _more(found)


def _what(target: Path) -> str:
    """'tiny openmoji none seed 0', as its configuration says; the untouched base has none."""
    try:
        config = read_yaml(target / "config.yaml")
        model = str(config["model"].get("path", "")).rpartition("/")[2].removeprefix("bundled:")
        mitigation = "+".join(config["mitigation"]) or "none"
        return f"{model} {config['data']['name']} {mitigation} seed {config['seed']}"
    except (MiaError, KeyError, TypeError, AttributeError):
        return "-"


def _show_failures(outputs: Path) -> None:
    found = failures(outputs)
    for failure in found[:MAX_TABLE_ROWS]:
        if isinstance(failure, str):
            echo(f"failure: {printable(failure)}")
            continue
        echo(f"failed {failure.created}: {printable(failure.first_line)}")
        echo(f"  python -m mia_bench {printable(' '.join(failure.overrides))}")
    if found:
        echo(f"tracebacks: {outputs / FAILURES_FOLDER}; a run that succeeds removes its own")


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, no_wrap=column != "note")
    return table


def _plain(word: object) -> str:
    return escape(printable(str(word)))


def _more(rows: Sequence[object]) -> None:
    if len(rows) > MAX_TABLE_ROWS:
        echo(f"... and {len(rows) - MAX_TABLE_ROWS:,} more, {len(rows):,} in all")


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007
        if value < 1000:
            break
        value /= 1000
    return f"{value:.3g} {unit}"
