"""`python -m mia_bench.status [paths.outputs=outputs]`: what is there, half done, or went wrong.

Reads manifests, metrics and names of folders, never scores, so that thousands of runs take seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mia_bench.display.console import Column, interval, table
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
    _show_models(models(outputs))
    _show_runs(run_summaries(outputs), outputs)
    tables = sum((f / MANIFEST).is_file() for _, _, f in step_folders(outputs / "features"))
    echo(f"feature tables: {tables:,}")
    for half in unfinished_folders(outputs):
        state = {True: "in progress", False: "interrupted", None: "unfinished"}[half.alive]
        echo(f"{state}: {half.folder.relative_to(outputs).with_suffix('')}{half.progress}")
    _show_failures(outputs)
    sizes = {part: bytes_under(outputs / part) for part in OUTPUT_FOLDERS}
    parts = ", ".join(f"{part} {_size(size)}" for part, size in sizes.items() if size)
    echo(f"disk: {_size(sum(sizes.values()))} ({parts})" if parts else "disk: nothing yet")


def _show_models(manifests: Sequence[tuple[str, dict[str, Any]]]) -> None:
    columns = _columns(key=0, kind=0, steps=1, epochs=2, device=3, made=4)
    words = ("kind", "steps", "epochs", "device", "created")
    listed = manifests[:MAX_TABLE_ROWS]
    rows = [(key, *(str(about.get(word, "")) for word in words)) for key, about in listed]
    table("models", columns, rows, "manifest.json of each model")
    _notes((key, about.get("problem", "")) for key, about in listed)
    _more(manifests)


def _show_runs(runs: Sequence[RunSummary], outputs: Path) -> None:
    columns = [*_columns(target=0, model_and_data=3, step=2, attack=0), Column("AUC")]
    names: dict[str, str] = {}
    listed, rows = runs[:MAX_TABLE_ROWS], []
    for run in listed:
        if run.target not in names:
            names[run.target] = _what(outputs / "targets" / run.target)
        auc = "" if run.auroc is None else interval(run.auroc)
        rows.append((run.target, names[run.target], run.step, run.attack, auc))
    table("runs", columns, rows, "config.yaml of each run")
    _notes((f"{run.target}/{run.step}/{run.attack}", run.problem) for run in listed)
    _more(runs)


def _columns(**drop_ranks: int) -> list[Column]:
    return [Column(name.replace("_", " "), rank, left=True) for name, rank in drop_ranks.items()]


def _notes(problems: Iterable[tuple[str, object]]) -> None:
    """What is wrong with a row, below its table."""
    for name, problem in problems:
        if problem:
            echo(printable(f"note: {name}: {problem}"))


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
    records = failures(outputs)
    for failure in records[:MAX_TABLE_ROWS]:
        if isinstance(failure, str):
            echo(f"failure: {printable(failure)}")
            continue
        echo(f"failed {failure.created}: {printable(failure.first_line)}")
        echo(f"  python -m mia_bench {printable(' '.join(failure.overrides))}")
    if records:
        echo(f"tracebacks: {outputs / FAILURES_FOLDER}; a run that succeeds removes its own")


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
