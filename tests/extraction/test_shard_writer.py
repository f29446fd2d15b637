"""Writing beside the model's work: whole, in order, and no error lost."""

from __future__ import annotations

import errno
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mia_bench.extraction.shard_writer import MAX_PENDING_TABLES, Writer
from mia_bench.storage.feature_table import Table, read_table


def write(folder: Path, count: int, then: Exception | None = None) -> None:
    with Writer() as writer:
        for i in range(count):
            writer.write(folder / f"{i}.parquet", table(i))
        if then is not None:
            raise then


def full_disk(tried: list[Path], path: Path, *_: object) -> None:
    tried.append(path)
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def table(i: int) -> Table:
    return Table((f"x:{i}",), {"f": np.full((1, 2), i, np.float32)})


def test_all_is_on_disk_when_it_is_left(tmp_path):
    write(tmp_path, 20)
    ids = [read_table(tmp_path / f"{i}.parquet").sample_id for i in range(20)]
    assert ids == [(f"x:{i}",) for i in range(20)]
    assert len(list(tmp_path.iterdir())) == 20


@pytest.mark.parametrize("count", [1, 100])
def test_a_full_disk_is_told_soon_or_at_the_end(count, tmp_path, monkeypatch):
    tried: list[Path] = []
    monkeypatch.setattr("mia_bench.extraction.shard_writer.write_table", partial(full_disk, tried))
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, count)
    assert 1 <= len(tried) <= MAX_PENDING_TABLES


def test_an_error_of_the_work_itself_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr("mia_bench.extraction.shard_writer.write_table", partial(full_disk, []))
    with pytest.raises(ValueError, match="the work"):
        write(tmp_path, 1, ValueError("the work"))


def test_few_tables_wait(tmp_path, monkeypatch):
    """A disk that is slower than the model holds it up; memory does not grow."""
    go, begun = threading.Event(), []

    def slow(path: Path, *_: object) -> None:
        begun.append(path)
        go.wait(10)

    monkeypatch.setattr("mia_bench.extraction.shard_writer.write_table", slow)
    with Writer() as writer:
        for i in range(MAX_PENDING_TABLES):
            writer.write(tmp_path / str(i), table(i))
        late = threading.Thread(target=writer.write, args=(tmp_path / "late", table(9)))
        late.start()
        late.join(0.2)
        assert late.is_alive()
        go.set()
        late.join(10)
    assert len(begun) == MAX_PENDING_TABLES + 1
