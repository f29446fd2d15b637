"""The words in which checks of a stored run answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OK, DIFFERS, NOTE, UNCHECKED = "ok", "DIFFERS", "note", "not checked"
MAX_EXAMPLES = 3  # in a message

Finding = tuple[str, str]
"""A state, and the message that explains it."""


@dataclass(frozen=True)
class Check:
    """One line of the answer. `state` is one of OK, DIFFERS, NOTE, UNCHECKED."""

    name: str
    state: str
    message: str


def verdict(differences: Sequence[str], agreement: str, unchecked: str = "") -> Finding:
    """OK in the words of `agreement` where there are no differences and nothing is `unchecked`."""
    if not differences:
        return (UNCHECKED, unchecked) if unchecked else (OK, agreement)
    more = len(differences) - MAX_EXAMPLES
    rest = f"; and {more} more" if more > 0 else ""
    return DIFFERS, "; ".join(differences[:MAX_EXAMPLES]) + rest


def few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MAX_EXAMPLES} more" if len(names) > MAX_EXAMPLES else ""
    return ", ".join(names[:MAX_EXAMPLES]) + rest
