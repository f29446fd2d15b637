"""Output for a person: lines of text, progress bars on stderr, and the line after Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from mia_bench.utils.text import sanitise_lines

GO_ON = "Run the same command again: it goes on from what is finished."
SILENT_SECONDS = 2.0  # of work that may be over by then


def echo(text: object = "", *, error: bool = False) -> None:
    """Print for a person: the one place where text leaves for the terminal.

    Where the reader has gone (`... | head`) the process ends without a traceback.
    """
    stream = sys.stderr if error else sys.stdout
    try:
        print(sanitise_lines(text), file=stream, flush=True)
    except BrokenPipeError:
        # what is still in the buffer goes nowhere, so that Python's last flush does not fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(1)


TOLD = "the person has been told"  # of a KeyboardInterrupt; Python knows no subclass of it


@contextmanager
def told_of_ctrl_c() -> Iterator[None]:
    """Around a command: Ctrl-C ends it with one line in the place of a traceback.

    The process still ends by the signal, as shells expect it, which else go on with the next
    command of a loop. Lightning, which catches Ctrl-C while it trains or predicts, exits with 1.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        by_lightning = isinstance(end.__context__, KeyboardInterrupt)
        if end.args == (TOLD,) or (isinstance(end, SystemExit) and not by_lightning):
            raise
        echo(f"\nstopped by Ctrl-C. {GO_ON}", error=True)
        shown = sys.excepthook
        sys.excepthook = lambda kind, error, trace: (
            None if error.args == (TOLD,) else shown(kind, error, trace)
        )
        raise KeyboardInterrupt(TOLD) from None


T = TypeVar("T")


def progress(
    items: Iterable[T], label: str, unit: str = "image", total: int | None = None
) -> Iterable[T]:
    """`items`, with a bar that goes away when they are done."""
    bar: Iterable[T] = tqdm(items, desc=label, unit=unit, leave=False, total=total)
    return bar


def tracked(items: Iterable[T], label: str, unit: str = "image") -> Iterable[T]:
    """`items`, with such a bar once they have taken SILENT_SECONDS, on a terminal alone: for work
    that is over at once for most, and takes minutes of a hundred thousand files."""
    bar: Iterable[T] = tqdm(
        items, desc=label, unit=unit, leave=False, delay=SILENT_SECONDS, disable=None
    )
    return bar
