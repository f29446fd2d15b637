"""Output for a person: lines of text, and progress bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

from mia_bench.utils.text import sanitise_lines


def echo(text: object = "", *, error: bool = False) -> None:
    """Print for a person: the one place where text leaves for the terminal."""
    print(sanitise_lines(text), file=sys.stderr if error else sys.stdout, flush=True)


T = TypeVar("T")


def progress(
    items: Iterable[T], label: str, unit: str = "image", total: int | None = None
) -> Iterable[T]:
    """`items`, with a bar that goes away when they are done."""
    bar: Iterable[T] = tqdm(items, desc=label, unit=unit, leave=False, total=total)
    return bar
