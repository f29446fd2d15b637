"""What `status` says of outputs/: finished, unfinished and failed, and the space that it takes.

Reads names of folders, manifests and metrics, never scores: thousands of runs take seconds. What
cannot be read is named, and the rest goes on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mia_bench.storage import layout
from mia_bench.storage.failures import Failure, read_failure
from mia_bench.storage.index import (
    RunRef,
    audit_folders,
    files_in,
    folders_in,
    model_folders,
    runs,
    step_folders,
    unverified,
)
from mia_bench.storage.stored_files import (
    Unreadable,
    read_history,
    read_manifest,
    read_metrics,
    read_object,
)
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class ModelSummary:
    """A finished model; `problem` says why its manifest cannot be read."""

    key: str
    manifest: dict[str, Any]
    problem: str = ""


UNSEALED = (
    f"unverified: {layout.MANIFEST_FILE} has no seal, as of an early version or of one that was "
    "edited; mia-bench verify computes the figures again"
)


@dataclass(frozen=True)
class RunSummary:
    """A finished run; `problem` says why it has no AUROC to show, or why it is not vouched for."""

    ref: RunRef
    auroc: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class AuditSummary:
    """A finished audit; `problem` says why it has no answer to show, or is not vouched for."""

    name: str
    model: str
    pictures: str
    answer: str
    p_value: float | None
    problem: str = ""


@dataclass(frozen=True)
class Unfinished:
    """A folder that is being built, or whose builder died: it is resumed by the same command."""

    folder: Path
    progress: str
    alive: bool | None


def model_summaries(outputs: Path) -> list[ModelSummary]:
    """Every finished model by key."""
    summaries = []
    for folder in model_folders(outputs):
        try:
            summaries.append(ModelSummary(folder.name, read_manifest(folder)))
        except Unreadable as error:
            summaries.append(ModelSummary(folder.name, {}, str(error)))
    return summaries


def run_summaries(outputs: Path) -> list[RunSummary]:
    """Every run but those that are being built, by model, step and attack."""
    refs = sorted(runs(outputs), key=lambda ref: (ref.model_key, ref.step, ref.attack))
    return [_summary(ref) for ref in refs if not ref.is_building]


def _summary(ref: RunRef) -> RunSummary:
    """The stored AUROC, where the manifest vouches for the file that it stands in."""
    if (obstacle := ref.obstacle) is not None:
        return RunSummary(ref, None, obstacle)
    try:
        manifest, metrics = read_manifest(ref.folder), read_metrics(ref.folder)
    except Unreadable as error:
        return RunSummary(ref, None, str(error))
    if (problem := unverified(ref.folder, manifest, layout.METRICS_FILE)) is not None:
        return RunSummary(ref, None, f"unverified: {problem}")
    if metrics.get("auroc") is None:
        return RunSummary(ref, None, f"{layout.METRICS_FILE} is of another version: no auroc")
    return RunSummary(ref, metrics["auroc"], "" if "seal" in manifest else UNSEALED)


def audit_summaries(outputs: Path) -> list[AuditSummary]:
    """Every finished audit by name."""
    return [_audit_summary(folder) for folder in audit_folders(outputs)]


def _audit_summary(folder: Path) -> AuditSummary:
    """The stored answer, where the manifest vouches for the file that it stands in."""
    try:
        manifest, stored = read_manifest(folder), read_object(folder / layout.AUDIT_FILE)
        if (problem := unverified(folder, manifest, layout.AUDIT_FILE)) is not None:
            return AuditSummary(folder.name, "", "", "", None, f"unverified: {problem}")
        counted = zip(stored["sets"]["pictures"], stored["sets"]["names"], strict=True)
        return AuditSummary(
            folder.name,
            str(stored["model_name"]),
            ", ".join(f"{count:,} {name}" for count, name in counted),
            str(stored["verdict"]["answer"]),
            float(stored["findings"]["p_value"]),
            "" if "seal" in manifest else UNSEALED,
        )
    except MiaError as error:
        return AuditSummary(folder.name, "", "", "", None, str(error))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{layout.AUDIT_FILE} is of another version: {error!r}"
        return AuditSummary(folder.name, "", "", "", None, problem)


def unfinished_folders(outputs: Path) -> list[Unfinished]:
    """Unfinished models, feature tables and runs."""
    folders = folders_in(outputs / layout.TARGETS_FOLDER)
    for part in (layout.FEATURES_FOLDER, layout.RUNS_FOLDER):
        folders += [folder for _, _, folder in step_folders(outputs / part)]
    building = sorted(folder for folder in folders if layout.is_being_built(folder))
    return [Unfinished(folder, _progress(folder), _is_locked(folder)) for folder in building]


def failures(outputs: Path) -> list[Failure | str]:
    """Recorded failures, newest first; of a record that cannot be read, why."""
    records: list[Failure | str] = []
    for path in files_in(outputs / layout.FAILURES_FOLDER, ".json"):
        try:
            records.append(read_failure(path))
        except MiaError as error:
            records.append(str(error))
    return sorted(records, key=lambda f: f.created if isinstance(f, Failure) else "", reverse=True)


def bytes_under(folder: Path) -> int:
    """Bytes under `folder`, links not followed."""
    total, waiting = 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # deleted meanwhile, or not ours to read
            continue
    return total


def _progress(building: Path) -> str:
    """The last step that a fine-tune wrote down, or the shards of an extraction."""
    try:
        rows = read_history(building / layout.HISTORY_FILE)
    except Unreadable:
        return ""
    if rows:
        return f", step {rows[-1]['step']:.0f}"
    shards = len(files_in(building / layout.SHARDS_FOLDER, ".parquet"))
    return f", {shards} shards" if shards else ""


def _is_locked(building: Path) -> bool | None:
    """Whether a process holds one of the folder's locks; None where that cannot be told."""
    folder = layout.finished_folder(building)
    held = []
    for path in (layout.lock_file(folder), layout.extraction_lock_file(folder)):
        if path.exists():
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
                lock.release()
                held.append(False)
            except Timeout:
                held.append(True)
            except OSError:
                return None
    return any(held)
