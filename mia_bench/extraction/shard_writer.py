"""Feature shards written by a thread while the model works on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from mia_bench.storage.feature_table import Table, write_table

MAX_PENDING_TABLES = 4  # in memory; a kill loses these, and their rows are extracted again


class Writer:
    """One thread that writes tables in the order given, each whole or not at all.

    A failed write is raised by the next `write`, or at the end of the `with` block: after that,
    every table is on disk. An error raised inside the block is not replaced by one of a write.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "shards")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Writer:
        return self

    def write(self, path: Path, table: Table, note: Mapping[str, Any] | None = None) -> None:
        """Raises OSError of an earlier table that could not be written."""
        while self._waiting and (
            self._waiting[0].done() or len(self._waiting) >= MAX_PENDING_TABLES
        ):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(write_table, path, table, note))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if error is None:
            for written in self._waiting:
                written.result()
