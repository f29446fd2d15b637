"""The split that a stored run was made on: its own manifest, or another one of the same content."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from mia_bench.config.schema import Data
from mia_bench.data.split.manifest import Split, load_split
from mia_bench.planning.keys import split_file
from mia_bench.planning.membership import by_column
from mia_bench.storage import layout
from mia_bench.storage.files import read_json
from mia_bench.storage.index import files_in
from mia_bench.storage.stored_files import leads_out
from mia_bench.utils.errors import MiaError

REMEMBERED_SPLITS = 4  # as a whole; runs are checked by model, so those of one split together


def find_split(outputs: Path, wanted: str, own: Path | None) -> Split:
    """The split of the content hash `wanted` in an outputs folder.

    Args:
        own: where the run's configuration has it, looked at first.

    Raises:
        MiaError: none is there, or its content is another than its name says.
    """
    path = own if own is not None and own.is_file() else _claiming(outputs, wanted)
    if path is None:
        raise MiaError(f"no split of the hash {wanted} is in {outputs / layout.SPLITS_FOLDER}")
    split = _loaded(path, _state(path))
    if split.content_hash != wanted:
        raise MiaError(
            f"{path.name} has the hash {split.content_hash}, and the run was made with {wanted}"
        )
    return split


def own_split_file(outputs: Path, data: Data, source: Any, finetune: bool) -> Path | None:
    """Where a configuration has its split; None for an imported table that is not here, and for a
    path that leads out of the outputs. Raises MiaError for a configuration that names none."""
    if data.split is not None and not Path(data.split).is_file():
        return None
    path = split_file(outputs, data, source, by_column(data, source, finetune))
    return None if leads_out(path, outputs) else path


def _claiming(outputs: Path, wanted: str) -> Path | None:
    """The first split that claims the hash `wanted`; each is read as a whole."""
    others = files_in(outputs / layout.SPLITS_FOLDER, ".json")
    return next((path for path in others if _claimed_hash(path) == wanted), None)


@lru_cache(maxsize=REMEMBERED_SPLITS)
def _loaded(path: Path, _state: tuple[int, int]) -> Split:
    """Cached because a hundred runs may stand on one split of a million rows."""
    return load_split(path)


def _state(path: Path) -> tuple[int, int]:
    """What changes with a file's content: its size, and when it was written, in nanoseconds."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _claimed_hash(path: Path) -> str | None:
    """The hash that a split's manifest claims, which `load_split` checks."""
    try:
        return _claim(path, _state(path))
    except OSError:
        return None


@cache
def _claim(path: Path, _state: tuple[int, int]) -> str | None:
    """Cached as `_loaded`; a hash is short."""
    try:
        return str(read_json(path).get("hash"))
    except MiaError:
        return None
