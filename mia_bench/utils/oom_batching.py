"""Work in parts as large as memory allows: out of memory halves the part and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from mia_bench.utils.terminal import echo

T = TypeVar("T")


def in_chunks(
    n: int, size: int, work: Callable[[slice], T], unit: str = "rows"
) -> Iterator[tuple[T, int]]:
    """`work` on consecutive slices of at most `size` of `n` rows: (result, size used).

    Where a slice does not fit into memory it is tried again at half its size, which holds for
    those after it; a single row that does not fit is an error.
    """
    begin = 0
    while begin < n:
        rows = slice(begin, min(begin + size, n))
        result = _attempt(work, rows)
        if result is None:
            size = (rows.stop - begin) // 2
            echo(f"out of memory: {size} {unit} per call from here on", error=True)
            continue
        yield result[0], size
        begin = rows.stop


def _attempt(work: Callable[[slice], T], rows: slice) -> tuple[T] | None:
    """The result, or None when the rows, more than one, did not fit."""
    try:
        return (work(rows),)
    except RuntimeError as error:
        if rows.stop - rows.start == 1 or not out_of_memory(error):
            raise
    # outside the handler: the traceback held the tensors that did not fit
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def out_of_memory(error: RuntimeError) -> bool:
    """An accelerator's, its libraries', or the CPU allocator's refusal."""
    refusals = ("can't allocate memory", "ALLOC_FAILED", "MPS backend out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(r in str(error) for r in refusals)
