"""Batches of several passes, each of which goes to the process that is free first.

Processes share a counter: a number in an open file that has no name, so that nothing is left of it
once they have ended, however they ended. A task that a killed process had taken is not given to
another: its run fails, and the next run of the same command finds the batch in no shard.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NUMBER_BYTES = 8


class SharedCounter:
    """Numbers 0, 1, 2 ..., each of which goes to one of the processes that have the file open.

    `descriptor`: of a file that is open for reading and writing, and empty at first.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @property
    def value(self) -> int:
        """How many numbers were taken so far."""
        return int.from_bytes(os.pread(self.descriptor, NUMBER_BYTES, 0), "big")

    def take(self) -> int:
        """The next number."""
        import fcntl  # no Windows has it, and no run there shares passes

        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)  # freed by the system when a process dies
        try:
            number = self.value
            os.pwrite(self.descriptor, (number + 1).to_bytes(NUMBER_BYTES, "big"), 0)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)
        return number


@contextmanager
def shared_counter() -> Iterator[SharedCounter]:
    """A counter for this process and those that inherit its descriptor."""
    with tempfile.TemporaryFile(buffering=0) as file:
        yield SharedCounter(file.fileno())


class Tasks:
    """Batches of every pass in turn, as far as no other process has taken them.

    Args:
        counter: shared by the processes.
        batches: numbers of the batches of each pass; the same in every process.
    """

    def __init__(self, counter: SharedCounter, batches: Sequence[Sequence[int]]) -> None:
        self._counter = counter
        self._tasks = [(number, batch) for number, of in enumerate(batches) for batch in of]
        self._at_hand: tuple[int, int] | None = None  # taken, and not given out yet

    def next_pass(self) -> int | None:
        """The number of the pass that the next task is of; None where no task is left."""
        if self._at_hand is None:
            number = self._counter.take()
            self._at_hand = self._tasks[number] if number < len(self._tasks) else None
        return None if self._at_hand is None else self._at_hand[0]

    def of(self, number: int) -> Iterator[int]:
        """Batches of one pass, taken one by one until the next task is of another."""
        while self.next_pass() == number:
            assert self._at_hand is not None
            batch, self._at_hand = self._at_hand[1], None
            yield batch

    def taken(self, number: int) -> list[int]:
        """The batches of one pass that were taken so far, by whichever process."""
        return [batch for of, batch in self._tasks[: self._counter.value] if of == number]
