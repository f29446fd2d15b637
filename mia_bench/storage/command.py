"""The command that manifests and records of failures keep: what a person would type again.

`sys.argv` is not always it: a worker process has one of its own, a job of a sweep runs under the
whole sweep's, and `python -m` leaves a file's name in the place of the module's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAM = "mia-bench"

_recorded: list[tuple[str, ...]] = []  # the innermost last


def current_command() -> list[str]:
    """The words of the running command, program first: `["mia-bench", "seeds", "0"]`.

    Where no command of this package runs (a notebook, a script), those of the process.
    """
    if _recorded:
        return list(_recorded[-1])
    return [Path(sys.argv[0]).name, *sys.argv[1:]]


def command_runs() -> bool:
    """Whether a command of this package runs, which says itself what went wrong."""
    return bool(_recorded)


@contextmanager
def recorded_as(words: Sequence[str]) -> Iterator[None]:
    """Within the block `words` are the current command."""
    _recorded.append(tuple(words))
    try:
        yield
    finally:
        _recorded.pop()
