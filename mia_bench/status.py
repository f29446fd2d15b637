"""`python -m mia_bench.status [paths.outputs=outputs]`: what is there, half done, or went wrong.

Reads manifests, metrics and names of folders, never scores, so that thousands of runs take seconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mia_bench.arguments import command, parse
from mia_bench.data.source import printable
from mia_bench.errors import MiaError
from mia_bench.failures import FOLDER, Failure, read
from mia_bench.plain import say
from mia_bench.store import MANIFEST, read_yaml
from mia_bench.table import interval, show_whole

USAGE = "python -m mia_bench.status [paths.outputs=outputs]"
KNOWN = {"paths.outputs": "folder that runs write to"}
MOST = 200  # rows of a table; the rest is counted
PARTS = ("targets", "features", "runs", "cache", "utility", "reports", "hydra", "wandb")


@dataclass(frozen=True)
class Cell:
    """A row of outputs/runs: `problem` says why a finished cell cannot be read."""

    attack: str
    target: str
    step: str
    key: str
    auroc: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True)
class Half:
    """A folder that is being built, or whose builder died: it is resumed by the same command."""

    folder: Path
    progress: str
    alive: bool | None


def main(words: Sequence[str] | None = None) -> None:
    command(lambda given: show(outputs_of(parse(given, KNOWN, USAGE))), words=words)


def outputs_of(found: Mapping[str, list[str]]) -> Path:
    """The folder of `paths.outputs=...`, which is how every command names it.

    Raises:
        MiaError: it does not exist.
    """
    outputs = Path(found.get("paths.outputs", ["outputs"])[0])
    if not outputs.is_dir():
        raise MiaError(f"{outputs} is not a folder: nothing was run there yet.")
    return outputs


def models(outputs: Path) -> list[tuple[str, dict[str, Any]]]:
    """(key, manifest) of every finished model; of an unreadable one, {"problem": why}."""
    return [(p.parent.name, _json(p)) for p in sorted(outputs.glob(f"targets/*/{MANIFEST}"))]


def cells(outputs: Path) -> list[Cell]:
    """Every finished cell, by target, step and attack."""
    found = []
    for target, step, folder in _leaves(outputs / "runs"):
        if folder.suffix or not (folder / MANIFEST).is_file():
            continue
        attack, _, key = folder.name.rpartition("-")
        metrics = _json(folder / "metrics.json")
        auroc = metrics.get("auroc")
        good = isinstance(auroc, dict) and isinstance(auroc.get("value"), int | float)
        problem = metrics.get("problem", "" if good else "metrics.json is of another version")
        found.append(Cell(attack, target, step, key, auroc if good else None, str(problem)))
    return sorted(found, key=lambda cell: (cell.target, cell.step, cell.attack))


def halves(outputs: Path) -> list[Half]:
    """Unfinished models, feature tables and cells."""
    tmp = list((outputs / "targets").glob("*.tmp"))
    for part in ("features", "runs"):
        tmp += [folder for _, _, folder in _leaves(outputs / part) if folder.suffix == ".tmp"]
    return [Half(folder, _progress(folder), _alive(folder)) for folder in sorted(tmp)]


def failures(outputs: Path) -> list[Failure | str]:
    """Recorded failures, newest first; of a record that cannot be read, why."""
    found: list[Failure | str] = []
    for path in (outputs / FOLDER).glob("*.json"):
        try:
            found.append(read(path))
        except MiaError as error:
            found.append(str(error))
    return sorted(found, key=lambda f: f.created if isinstance(f, Failure) else "", reverse=True)


def disk(folder: Path) -> int:
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


def show(outputs: Path) -> None:
    """Print it all."""
    console = Console(highlight=False)
    _show_models(console, models(outputs))
    _show_cells(console, cells(outputs), outputs)
    tables = sum((f / MANIFEST).is_file() for _, _, f in _leaves(outputs / "features"))
    say(f"feature tables: {tables:,}")
    for half in halves(outputs):
        state = {True: "in progress", False: "interrupted", None: "unfinished"}[half.alive]
        say(f"{state}: {half.folder.relative_to(outputs).with_suffix('')}{half.progress}")
    _show_failures(outputs)
    sizes = {part: disk(outputs / part) for part in PARTS}
    parts = ", ".join(f"{part} {_size(size)}" for part, size in sizes.items() if size)
    say(f"disk: {_size(sum(sizes.values()))} ({parts})" if parts else "disk: nothing yet")


def _show_models(console: Console, found: Sequence[tuple[str, dict[str, Any]]]) -> None:
    table = _table("models", ("key", "kind", "steps", "epochs", "device", "made", "note"))
    for key, about in found[:MOST]:
        words = (about.get(n, "") for n in ("kind", "steps", "epochs", "device", "created"))
        table.add_row(key, *(_plain(word) for word in words), _plain(about.get("problem", "")))
    show_whole(table, console)
    _more(found)


def _show_cells(console: Console, found: Sequence[Cell], outputs: Path) -> None:
    table = _table("cells", ("target", "what it is", "step", "attack", "AUC", "note"))
    names: dict[str, str] = {}
    for cell in found[:MOST]:
        if cell.target not in names:
            names[cell.target] = _what(outputs / "targets" / cell.target)
        auc = "" if cell.auroc is None else interval(cell.auroc)
        words = cell.target, names[cell.target], cell.step, cell.attack
        table.add_row(*(_plain(word) for word in words), auc, _plain(cell.problem))
    show_whole(table, console)
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
    for failure in found[:MOST]:
        if isinstance(failure, str):
            say(f"failure: {printable(failure)}")
            continue
        say(f"failed {failure.created}: {printable(failure.first_line)}")
        say(f"  python -m mia_bench {printable(' '.join(failure.overrides))}")
    if found:
        say(f"tracebacks: {outputs / FOLDER}; a run that succeeds removes its own")


def _leaves(folder: Path) -> Iterator[tuple[str, str, Path]]:
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


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, no_wrap=column != "note")
    return table


def _plain(word: object) -> str:
    return escape(printable(str(word)))


def _more(rows: Sequence[object]) -> None:
    if len(rows) > MOST:
        say(f"... and {len(rows) - MOST:,} more, {len(rows):,} in all")


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007
        if value < 1000:
            break
        value /= 1000
    return f"{value:.3g} {unit}"


if __name__ == "__main__":
    main()
