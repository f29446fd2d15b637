"""What a sweep prints: its plan before the first job, its results after the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mia_bench.display.console import Column, table
from mia_bench.display.metric_columns import MetricColumn, cost_columns, metric_columns
from mia_bench.metrics.registry import Shown
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete
from mia_bench.storage.failures import find_failures
from mia_bench.storage.files import read_json
from mia_bench.sweep.plan import Effort, Job, label
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import printable

FAILED = "FAILED"
MAX_NAMED_JOBS = 40  # jobs named one by one in the plan
FOUND = "found"
UNREADABLE = "unreadable"


def describe(
    jobs: Sequence[Job], waiting: Sequence[Job], keys: Sequence[str], work: Effort, parallel: bool
) -> str:
    """The plan: cells done and to do, fine-tunes, U-Net evaluations and time, and each job."""
    runs = [folder for job in jobs for _, folder in job.runs]
    done = sum(is_complete(folder) for folder in runs)
    broken = [job for job in jobs if job.problem is not None]
    lines = [
        f"sweep   {len(jobs)} jobs, {len(waiting)} to run"
        + (f", {len(broken)} that cannot be run" if broken else ""),
        f"cells   {done} of {len(runs)} done",
        f"models  {work.models} to fine-tune, {work.steps:,} steps",
        f"ask     at most {work.nfe:,} U-Net evaluations",
        f"time    {_time(work, parallel)}",
    ]
    numbers = {id(job): str(i) for i, job in enumerate(waiting)}
    for job in jobs[:MAX_NAMED_JOBS]:
        what = "done" if job.finished else _state(job)
        lines.append(f"  #{numbers.get(id(job), '-'):<3} {label(job.overrides, keys)}: {what}")
    if len(jobs) > MAX_NAMED_JOBS:
        lines.append(f"  ... and {len(jobs) - MAX_NAMED_JOBS} more")
    return "\n".join(lines)


def hint(combinations: Sequence[Sequence[str]]) -> str:
    """Attacks swept one by one share no queries: name the form that does."""
    words = [o.partition("=")[2] for overrides in combinations for o in overrides if _is_attack(o)]
    attacks = list(dict.fromkeys(words))
    if len(attacks) < 2 or any("[" in word for word in attacks):
        return ""
    return (
        f"note    attack={','.join(attacks)} are separate jobs: they share models, no queries.\n"
        f"        'attack=[{','.join(attacks)}]' is one job that asks equal questions once.\n"
    )


def columns() -> list[MetricColumn]:
    """Metrics of the evaluation rows, then costs."""
    return [*metric_columns(Shown.EVERYWHERE), *cost_columns()]


def show(jobs: Sequence[Job], waiting: Sequence[Job], keys: Sequence[str]) -> int:
    """Print a row per run, read from disk, and why some failed; how many jobs did not finish."""
    launched = {id(job) for job in waiting}
    rows: list[tuple[str, ...]] = []
    problems: list[str] = []
    failed = 0
    for job in jobs:
        name = printable(label(job.overrides, keys))
        of_job, reasons = _rows(job, id(job) in launched)
        rows += [(name, *row) for row in of_job]
        problems += [f"{name}: {reason}" for reason in reasons]
        failed += any(row[-1] == FAILED for row in of_job)
    headings = [
        *(Column("job", left=True), Column("attack", left=True)),
        *(column.column for column in columns()),
        Column("", left=True),
    ]
    styles = ["red" if row[-1] == FAILED else None for row in rows]
    notes = ["found"] if any(row[-1] == FOUND for row in rows) else []
    table("sweep", headings, rows, "metrics.json of each run", styles, notes)
    for problem in problems:
        echo(f"FAILED  {printable(problem)}")
    return failed


def _rows(job: Job, launched: bool) -> tuple[list[tuple[str, ...]], list[str]]:
    """Rows without their first column, and what went wrong."""
    no_figures = [""] * len(columns())
    if job.problem is not None:
        return [("", *no_figures, FAILED)], [f"cannot be run: {job.problem.strip()}"]
    rows: list[tuple[str, ...]] = []
    problems: list[str] = []
    for attack, folder in job.runs:
        if not is_complete(folder):
            rows.append((attack, *no_figures, FAILED))
            problems = [_why(job)]
            continue
        try:
            figures = _figures(read_json(folder / layout.METRICS_FILE))
            rows.append((attack, *figures, "" if launched else FOUND))
        except (MiaError, KeyError, TypeError) as error:
            rows.append((attack, *no_figures, UNREADABLE))
            problems.append(f"{folder} was written by another version: {error!r}")
    return rows, problems


def _figures(metrics: dict[str, Any]) -> list[str]:
    """Cells of a run. Raises KeyError where the file has no AUC, costs or counts of rows."""
    for name in ("n_members", "nfe_forward", "seconds"):
        metrics[name]
    return [column.text(metrics) for column in columns()]


def _why(job: Job) -> str:
    """The recorded error of a job that did not finish."""
    try:
        failure = find_failures(job.outputs, job.names)
    except MiaError as error:
        return str(error)
    return failure.first_line if failure else "ended without a message, as killed processes do"


def _state(job: Job) -> str:
    if job.problem is not None:
        return f"cannot be run: {job.problem.splitlines()[0]}"
    parts = [f"{len(job.train)} to fine-tune"] if job.train else []
    if job.extract:
        parts.append(f"at most {sum(e.nfe * e.rows for e in job.extract):,} evaluations")
    return ", ".join(parts) or "to score"


def _time(work: Effort, parallel: bool) -> str:
    if not work.models and not work.nfe:
        return "seconds: nothing to fine-tune or to ask"
    if work.seconds is None:
        return "unknown: nothing like it was measured on this machine yet"
    parts = f"fine-tunes {_clock(work.training)}, queries {_clock(work.extraction)}"
    how = ", less as jobs run at once" if parallel else ""
    return f"about {_clock(work.seconds)} as measured on this machine ({parts}{how})"


def _clock(seconds: float | None) -> str:
    minutes = round((seconds or 0.0) / 60)
    if minutes < 1:
        return f"{seconds or 0.0:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _is_attack(override: str) -> bool:
    return override.partition("=")[0] in ("attack", "+attack")
