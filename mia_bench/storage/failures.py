"""Failed runs on disk: outputs/failures/<key>.json, with the traceback, until the run succeeds.

The key is that of the runs, so that a later success finds and removes the record; of a job that
could not be planned, and so has no runs yet, it is that of its overrides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mia_bench.storage import layout
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.storage.index import files_in
from mia_bench.storage.stored_files import Unreadable, read_validated
from mia_bench.storage.stored_models import StoredModel
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

RUNS_FIELD = "cells"  # the name under which records keep their runs, since the first version
MAX_TRACEBACK_LINES = 2_000


@dataclass(frozen=True)
class Failure:
    """One command that ended with an error. `runs`: folders of its runs, relative to outputs/."""

    error: str
    traceback: str
    runs: tuple[str, ...]
    overrides: tuple[str, ...]
    created: str
    machine: str

    @property
    def first_line(self) -> str:
        return next(iter(self.error.splitlines()), "no message")


class StoredFailure(StoredModel):
    """The record on disk, where the runs have the name that they had in the first version."""

    error: str
    traceback: str
    cells: Annotated[tuple[str, ...], Field(strict=False)]
    overrides: Annotated[tuple[str, ...], Field(strict=False)]
    created: str
    machine: str


def record_failure(outputs: Path, failure: Failure) -> Path | None:
    """Write the failure down; None, with a message, where that is not possible."""
    path = _path(outputs, failure.runs, failure.overrides)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = asdict(failure)
        fields[RUNS_FIELD] = fields.pop("runs")
        write_json(path, fields)
    except OSError as problem:
        echo(f"the failure could not be recorded in {path}: {problem}", error=True)
        return None
    return path


def forget_failures(outputs: Path, runs: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """The run succeeded after all; without `runs`: the job `overrides` could be planned."""
    try:
        _path(outputs, runs, overrides).unlink(missing_ok=True)
    except OSError as problem:
        echo(f"an old failure could not be removed: {problem}", error=True)


def any_failures(outputs: Path) -> bool:
    """Whether there is a record of any run."""
    return bool(files_in(outputs / layout.FAILURES_FOLDER, ".json"))


def find_failures(outputs: Path, runs: Sequence[str]) -> Failure | None:
    """The record of the command that makes `runs`, if it failed the last time."""
    path = _path(outputs, runs)
    return read_failure(path) if path.is_file() else None


def read_failure(path: Path) -> Failure:
    """Raises MiaError for a record of another version, or one that was cut short."""
    try:
        stored = StoredFailure.model_validate(read_validated(path, StoredFailure))
    except Unreadable as error:
        raise MiaError(f"{error}. It may be deleted.") from error
    texts = stored.error, stored.traceback
    return Failure(*texts, stored.cells, stored.overrides, stored.created, stored.machine)


def _path(outputs: Path, runs: Sequence[str], overrides: Sequence[str] = ()) -> Path:
    key = hash_key(sorted(runs)) if runs else hash_key(["job", *overrides])
    return layout.failure_file(outputs, key)
