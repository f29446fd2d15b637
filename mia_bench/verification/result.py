"""The words in which checks of a stored run answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.storage.hashing import hash_file

OK, DIFFERS, NOTE, UNCHECKED = "ok", "DIFFERS", "note", "not checked"
MAX_EXAMPLES = 3  # examples in a message

Finding = tuple[str, str]
"""A state, and what was found."""


@dataclass(frozen=True)
class Check:
    """One line of the answer. `state` is one of OK, DIFFERS, NOTE, UNCHECKED."""

    name: str
    state: str
    said: str


def verdict(found: Sequence[str], otherwise: str, unchecked: str = "") -> Finding:
    """OK with `otherwise` where nothing was found to differ and nothing is `unchecked`."""
    if not found:
        return (UNCHECKED, unchecked) if unchecked else (OK, otherwise)
    rest = f"; and {len(found) - MAX_EXAMPLES} more" if len(found) > MAX_EXAMPLES else ""
    return DIFFERS, "; ".join(found[:MAX_EXAMPLES]) + rest


def few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MAX_EXAMPLES} more" if len(names) > MAX_EXAMPLES else ""
    return ", ".join(names[:MAX_EXAMPLES]) + rest


def changed(folder: Path, listed: Mapping[str, str]) -> list[str]:
    """What differs between a finished folder and the files its manifest lists."""
    found = []
    for name, expected in sorted(listed.items()):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            found.append(f"{name} leads out of the folder")
        elif not path.is_file():
            found.append(f"{name} is missing")
        elif hash_file(path) != expected:
            found.append(f"{name} changed since it was written")
    return found
