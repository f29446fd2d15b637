"""What is under outputs/: models, runs, unfinished folders, failures, sizes.

Reads names of folders, manifests and metrics, never scores: thousands of runs take seconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mia_bench.storage.artifacts import MANIFEST
from mia_bench.storage.failures import FAILURES_FOLDER, Failure, read_failure
from mia_bench.utils.errors import MiaError

OUTPUT_FOLDERS = ("targets", "features", "runs", "cache", "utility", "reports", "hydra", "wandb")


@dataclass(frozen=True)
class RunSummary:
    """A row of outputs/runs: `problem` says why a finished cell cannot be read."""

    attack: str
    target: str
    step: str
    key: str
    auroc: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class Unfinished:
    """A folder that is being built, or whose builder died: it is resumed by the same command."""

    folder: Path
    progress: str
    alive: bool | None


def models(outputs: Path) -> list[tuple[str, dict[str, Any]]]:
    """(key, manifest) of every finished model; of an unreadable one, {"problem": why}."""
    return [(p.parent.name, _json(p)) for p in sorted(outputs.glob(f"targets/*/{MANIFEST}"))]


def run_summaries(outputs: Path) -> list[RunSummary]:
    """Every finished cell, by target, step and attack."""
    found = []
    for target, step, folder in step_folders(outputs / "runs"):
        if folder.suffix or not (folder / MANIFEST).is_file():
            continue
        attack, _, key = folder.name.rpartition("-")
        metrics = _json(folder / "metrics.json")
        auroc = metrics.get("auroc")
        good = isinstance(auroc, dict) and isinstance(auroc.get("value"), int | float)
        problem = metrics.get("problem", "" if good else "metrics.json is of another version")
        found.append(RunSummary(attack, target, step, key, auroc if good else None, str(problem)))
    return sorted(found, key=lambda run: (run.target, run.step, run.attack))


def unfinished_folders(outputs: Path) -> list[Unfinished]:
    """Unfinished models, feature tables and cells."""
    tmp = list((outputs / "targets").glob("*.tmp"))
    for part in ("features", "runs"):
        tmp += [folder for _, _, folder in step_folders(outputs / part) if folder.suffix == ".tmp"]
    return [Unfinished(folder, _progress(folder), _alive(folder)) for folder in sorted(tmp)]


def failures(outputs: Path) -> list[Failure | str]:
    """Recorded failures, newest first; of a record that cannot be read, why."""
    found: list[Failure | str] = []
    for path in (outputs / FAILURES_FOLDER).glob("*.json"):
        try:
            found.append(read_failure(path))
        except MiaError as error:
            found.append(str(error))
    return sorted(found, key=lambda f: f.created if isinstance(f, Failure) else "", reverse=True)


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


def step_folders(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """(model key, step, folder) of what lies three levels down."""
    for model in _folders(folder):
        for step in _folders(model):
            for leaf in _folders(step):
                yield model.name, step.name, leaf


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _json(path: Path) -> dict[str, Any]:
    """The object in `path`, or {"problem": why there is none}."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        return {"problem": f"cannot be read: {error}"}
    return value if isinstance(value, dict) else {"problem": f"{path.name} holds no object"}


def _progress(tmp: Path) -> str:
    """The last step that a fine-tune wrote down, or the shards of a predict pass."""
    try:
        lines = (tmp / "train.csv").read_text(encoding="utf-8").splitlines()
        return f", step {float(lines[-1].partition(',')[0]):.0f}" if len(lines) > 1 else ""
    except (OSError, ValueError):
        shards = len(list((tmp / "shards").glob("*.parquet")))
        return f", {shards} shards" if shards else ""


def _alive(tmp: Path) -> bool | None:
    """Whether a process holds one of the folder's locks; None where that cannot be told."""
    name = tmp.name.removesuffix(".tmp")
    held = []
    for path in (tmp.with_name(f"{name}.lock"), tmp.with_name(f"{name}.asking.lock")):
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


MIN_KEY_DIGITS = 6  # of a key that name a run


def find(word: str, outputs: Path) -> list[Path]:
    """Run folders that `word` names.

    Raises:
        MiaError: none, or a folder that is no run's.
    """
    folder = Path(word)
    if folder.is_dir():
        folder = folder.resolve()
        if len(folder.parents) < 4 or folder.parents[2].name != "runs":
            raise MiaError(
                f"{word} is no run folder: outputs/runs/<model>/<step>/<attack>-<key>. "
                "python -m mia_bench.status lists them."
            )
        return [folder]
    there = run_folders(outputs)
    same = [f for f in there if f.name.removesuffix(".tmp") == word]
    if not same and len(word) >= MIN_KEY_DIGITS:
        same = [f for f in there if f.name.rpartition("-")[2].startswith(word)]
    if not same:
        raise MiaError(
            f"no run in {outputs} is called {word}: give a folder, a name (clid-0123456789abcdef) "
            f"or at least {MIN_KEY_DIGITS} digits of the key. "
            "python -m mia_bench.status lists them."
        )
    return same


def runs(outputs: Path) -> list[Path]:
    """Every run folder, half-written ones included unless the finished one is there too."""
    there = run_folders(outputs)
    finished = {f for f in there if f.suffix != ".tmp"}
    return [f for f in there if f.suffix != ".tmp" or f.with_suffix("") not in finished]


def unfinished(folder: Path) -> str | None:
    """Why a run folder cannot be checked at all: it was never finished."""
    if folder.suffix == ".tmp":
        return (
            "half written: it was interrupted, or is being made. The same command goes on with it"
        )
    if not (folder / "manifest.json").is_file():
        return "has no manifest.json: not finished, or not all of it was copied"
    return None


def run_folders(outputs: Path) -> list[Path]:
    found = (path for path in outputs.glob("runs/*/*/*") if path.is_dir())
    return sorted(path for path in found if "-" in path.name)
