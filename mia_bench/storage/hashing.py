"""Content keys: hashes of JSON values and of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from mia_bench.storage.files import regular_file

KEY_LENGTH = 16


def canonical(value: Any) -> str:
    """JSON with sorted keys: equal configurations give equal text whatever their order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def hash_key(value: Any) -> str:
    """16 hex digits identifying a JSON-serialisable value."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=KEY_LENGTH // 2).hexdigest()


def hash_file(path: Path) -> str:
    """Of the bytes of a file. Raises OSError where it is none."""
    with regular_file(path).open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def hash_files(paths: Iterable[Path]) -> str:
    """One key for the content of several files in their order; read again only when they change."""
    return hash_key([hash_once(path) for path in paths])


def hash_once(path: Path) -> str:
    """`hash_file`, read once by a process for as long as the file does not change."""
    state = path.stat()
    return _hash_in_state(path, (state.st_size, state.st_mtime_ns))


@cache
def _hash_in_state(path: Path, _state: tuple[int, int]) -> str:
    """Cached because a sweep plans hundreds of runs on the same gigabytes of weights."""
    return hash_file(path)
