"""Progress bars of long work, on stderr and only as wide as needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], label: str, unit: str = "image") -> Iterable[T]:
    """`items`, with a bar that goes away when they are done."""
    bar: Iterable[T] = tqdm(items, desc=label, unit=unit, leave=False)
    return bar
