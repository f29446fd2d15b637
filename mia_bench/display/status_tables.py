"""`python -m mia_bench.status [paths.outputs=outputs]`: what is finished, unfinished or failed.

Reads manifests, metrics and names of folders, never scores, so that thousands of runs take seconds.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mia_bench.display.console import Column, interval, table
from mia_bench.storage import layout
from mia_bench.storage.command import PROGRAM
from mia_bench.storage.index import audit_folders, audit_pages, feature_folders, folders_in
from mia_bench.storage.inventory import (
    ModelSummary,
    RunSummary,
    audit_summaries,
    bytes_under,
    failures,
    model_summaries,
    run_summaries,
    unfinished_folders,
)
from mia_bench.storage.stored_files import read_config
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import model_name, printable

MAX_TABLE_ROWS = 200  # rows of a table; the rest is counted
MAX_PAGES = 5  # pages of audits that a line names
DISK_REMARKS = {
    "costly": ": the same commands make them again, in the same time",
    "cache": ", may be deleted: what is needed of it is made again",
}


def show(outputs: Path) -> None:
    """Print it all."""
    _show_models(model_summaries(outputs))
    _show_runs(run_summaries(outputs), outputs)
    _show_audits(outputs)
    echo(f"feature tables: {len(feature_folders(outputs)):,}")
    for half in unfinished_folders(outputs):
        state = {True: "in progress", False: "interrupted", None: "unfinished"}[half.alive]
        folder = layout.finished_folder(half.folder).relative_to(outputs)
        echo(printable(f"{state}: {folder}{half.progress}"))
    _show_failures(outputs)
    for line in disk_lines(outputs):
        echo(printable(line))


def disk_lines(outputs: Path) -> Iterator[str]:
    """The space that all of outputs/ takes: results first, last what may be deleted."""
    sizes = {folder.name: bytes_under(folder) for folder in folders_in(outputs)}
    groups = {
        "results": layout.RESULTS,
        "costly": layout.COSTLY,
        "pages and logs": layout.PAGES_AND_LOGS,
        "cache": (layout.CACHE_FOLDER,),
    }
    known = {name for names in groups.values() for name in names}
    groups["others"] = tuple(name for name in sizes if name not in known)
    shown = {label: [n for n in names if sizes.get(n)] for label, names in groups.items()}
    if not any(shown.values()):
        yield "disk: nothing yet"
        return
    yield f"disk: {_size(sum(sizes.values()))}"
    width = max(len(label) for label, names in shown.items() if names)
    for label, names in shown.items():
        parts = ", ".join(f"{name} {_size(sizes[name])}" for name in names)
        if names:
            yield f"  {label:<{width}}  {parts}{DISK_REMARKS.get(label, '')}"


def _show_models(models: Sequence[ModelSummary]) -> None:
    columns = _columns(key=0, kind=0, steps=1, epochs=2, device=3, made=4)
    entries = ("kind", "steps", "epochs", "device", "created")
    listed = models[:MAX_TABLE_ROWS]
    rows = [(m.key, *(str(m.manifest.get(entry, "")) for entry in entries)) for m in listed]
    table("models", columns, rows, f"{layout.MANIFEST_FILE} of each model")
    _notes((model.key, model.problem) for model in listed)
    _more(models)


def _show_runs(runs: Sequence[RunSummary], outputs: Path) -> None:
    columns = [*_columns(target=0, model_and_data=3, step=2, attack=0), Column("AUC")]
    descriptions: dict[str, str] = {}
    listed, rows = runs[:MAX_TABLE_ROWS], []
    for run in listed:
        model_key = run.ref.model_key
        if model_key not in descriptions:
            as_given = run.ref.step == layout.BASE_STEP  # a model that has no folder of its own
            of_model = layout.model_folder(outputs, model_key)
            descriptions[model_key] = _describe(run.ref.folder if as_given else of_model)
        auc = "" if run.auroc is None else interval(run.auroc)
        step = layout.step_words(run.ref.step)
        rows.append((model_key, descriptions[model_key], step, run.ref.attack, auc))
    table("runs", columns, rows, f"{layout.CONFIG_FILE} of each run")
    _notes((run.ref.place, run.problem) for run in listed)
    _more(runs)


def _show_audits(outputs: Path) -> None:
    """Audits, where there are any, and how they are seen."""
    audits = audit_summaries(outputs)
    if not audits:
        return
    columns = [*_columns(audit=0, model=1, pictures=2, answer=0), Column("p")]
    listed = audits[:MAX_TABLE_ROWS]
    rows = [
        (a.name, a.model, a.pictures, a.answer, "" if a.p_value is None else f"{a.p_value:.2g}")
        for a in listed
    ]
    table("audits", columns, rows, f"{layout.AUDIT_FILE} of each audit")
    _notes((audit.name, audit.problem) for audit in listed)
    _more(audits)
    echo(printable(audits_elsewhere(outputs)))


def audits_elsewhere(outputs: Path) -> str:
    """Where the audits of `outputs` are seen, which no page of runs shows; "" without any."""
    count = len(audit_folders(outputs))
    if not count:
        return ""
    pages = [str(page) for page in audit_pages(outputs)]
    named = ", ".join(pages[:MAX_PAGES]) + (" ..." if len(pages) > MAX_PAGES else "")
    audits = "1 audit" if count == 1 else f"{count:,} audits"
    seen = f"open {named}; " if pages else ""
    return f"{audits} in {outputs / layout.AUDITS_FOLDER}: {seen}`{PROGRAM} verify` checks them."


def _columns(**drop_ranks: int) -> list[Column]:
    return [Column(name.replace("_", " "), rank, left=True) for name, rank in drop_ranks.items()]


def _notes(problems: Iterable[tuple[str, str]]) -> None:
    """What is wrong with a row, below its table."""
    for name, problem in problems:
        if problem:
            echo(printable(f"note: {name}: {problem}"))


def _describe(model: Path) -> str:
    """'tiny openmoji none seed 0', as the configuration in a model's or a run's folder says."""
    try:
        config = read_config(model)
    except MiaError:
        return "-"
    name = model_name(config["model"]).rpartition("/")[2]
    mitigation = "+".join(config.get("mitigation") or {}) or "none"
    return f"{name} {config['data']['name']} {mitigation} seed {config['seed']}"


def _show_failures(outputs: Path) -> None:
    records = failures(outputs)
    for failure in records[:MAX_TABLE_ROWS]:
        if isinstance(failure, str):
            echo(f"failure: {printable(failure)}")
            continue
        echo(f"failed {failure.created}: {printable(failure.first_line)}")
        echo(f"  {PROGRAM} {printable(shlex.join(failure.overrides))}")
    _more(records)
    if records:
        echo(f"tracebacks: {outputs / layout.FAILURES_FOLDER}; a run that succeeds removes its own")


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
