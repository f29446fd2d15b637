"""Work in parts as large as memory allows: out of memory halves the part and goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from mia_bench.utils.terminal import echo

T = TypeVar("T")


class ChunkPolicy:
    """Rows of work per call: halved where they do not fit into memory, for all calls that follow.

    Args:
        rows: most rows per call; left out, `within` alone limits them.
        within: a policy whose number of rows is never exceeded.
    """

    def __init__(self, rows: int = sys.maxsize, within: ChunkPolicy | None = None) -> None:
        self._rows, self._within = rows, within

    @property
    def rows(self) -> int:
        """Most rows of the next call."""
        return self._rows if self._within is None else min(self._rows, self._within.rows)

    @rows.setter
    def rows(self, rows: int) -> None:
        self._rows = rows

    def map(self, n: int, work: Callable[[slice], T], group: int = 1) -> Iterator[T]:
        """Results of `work` on consecutive slices of n items, each `group` rows of one call.

        A slice that does not fit into memory is tried again at half its size; the halved number is
        kept once a slice of it has fitted.

        Raises:
            RuntimeError: a single item does not fit, or what `work` itself raises.
        """
        begin, size, halved = 0, max(1, self.rows // group), False
        unit = "rows" if group == 1 else f"groups of {group} rows"
        while begin < n:
            part = slice(begin, min(begin + size, n))
            result = _attempt(work, part)
            if result is None:
                size, halved = (part.stop - begin) // 2, True
                echo(f"out of memory: {size} {unit} per call from here on", error=True)
                continue
            if halved:
                self.rows = size * group
            yield result[0]
            begin = part.stop


def _attempt(work: Callable[[slice], T], part: slice) -> tuple[T] | None:
    """The result, or None when the items, more than one, did not fit."""
    try:
        return (work(part),)
    except RuntimeError as error:
        if part.stop - part.start == 1 or not out_of_memory(error):
            raise
    # outside the handler: the traceback held the tensors that did not fit
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an accelerator, one of its libraries or the CPU's allocator refused memory."""
    refusals = ("can't allocate memory", "ALLOC_FAILED", "MPS backend out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(r in str(error) for r in refusals)
