"""Failed runs on disk: outputs/failures/<key>.json, with the traceback, until the run succeeds.

The key is that of the cells, so that a later success finds and removes the record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import say

FOLDER = "failures"
LINES = 2_000  # of a traceback


@dataclass(frozen=True)
class Failure:
    """One run that ended with an error. `cells`: folders relative to outputs/."""

    error: str
    traceback: str
    cells: tuple[str, ...]
    overrides: tuple[str, ...]
    created: str
    machine: str

    @property
    def first_line(self) -> str:
        return next(iter(self.error.splitlines()), "no message")


def record(outputs: Path, failure: Failure) -> Path | None:
    """Write the failure down; None, with a message, where that is not possible."""
    path = _path(outputs, failure.cells)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(failure))
    except OSError as problem:
        say(f"the failure could not be recorded in {path}: {problem}", error=True)
        return None
    return path


def forget(outputs: Path, cells: Sequence[str]) -> None:
    """The run succeeded after all."""
    try:
        _path(outputs, cells).unlink(missing_ok=True)
    except OSError as problem:
        say(f"an old failure could not be removed: {problem}", error=True)


def find(outputs: Path, cells: Sequence[str]) -> Failure | None:
    """The record of the run that makes `cells`, if it failed the last time."""
    path = _path(outputs, cells)
    return read(path) if path.is_file() else None


def read(path: Path) -> Failure:
    """Raises MiaError for a record of another version, or one that was cut short."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields |= {name: tuple(fields[name]) for name in ("cells", "overrides")}
        return Failure(**fields)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MiaError(f"cannot read {path}: {error}. It may be deleted.") from error


def _path(outputs: Path, cells: Sequence[str]) -> Path:
    return outputs / FOLDER / f"{hash_key(sorted(cells))}.json"
