"""Which tests `make test` runs: those neither long nor slow, and of every file at least one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

FILES_WITHOUT_QUICK_TESTS = pytest.StashKey[list[Path]]()
"""Of what was collected, before tests were left out by their marks."""


def mark_later_cases(items: Sequence[pytest.Item]) -> None:
    """Cases after the first n of a test marked `first_look(n)` are long."""
    seen: Counter[str] = Counter()
    for item in items:
        mark, test = item.get_closest_marker("first_look"), item.nodeid.partition("[")[0]
        if mark is not None and seen[test] >= (mark.args[0] if mark.args else 1):
            item.add_marker(pytest.mark.long)
        seen[test] += 1


def files_without_quick_tests(items: Sequence[pytest.Item]) -> list[Path]:
    quick = {item.path for item in items if not _left_out(item)}
    return sorted({item.path for item in items} - quick)


def _left_out(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("long", "slow"))
