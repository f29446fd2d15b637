"""Keys and tokens of the environment stay there: never in a command line, a file or a message.

Command lines and configurations are stored with every result, and Hydra writes them down before
a job starts. A secret in one of them is refused before that; in messages it is blotted out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

SECRET_NAMES = re.compile(r"(api_?key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
MIN_SECRET_CHARACTERS = 8  # characters; shorter values are words that may stand anywhere
REDACTED = "***"
WHOLE_PATH = re.compile(r"((?:\w{2,}:)?)((?:~|/(?!/)|[A-Za-z]:[/\\]|\\\\).*)", re.DOTALL | re.ASCII)
"""A word as `file:`, and a path from the root, of a home, a drive or a share."""
HOMES = ("home", "Users", "root")


def environment_secrets() -> dict[str, str]:
    """Secrets of the environment by the name of their variable."""
    named = {name: os.environ.get(name, "").strip() for name in os.environ if _is_secret(name)}
    return {name: value for name, value in named.items() if len(value) >= MIN_SECRET_CHARACTERS}


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret: asked for every line of text."""
    return SECRET_NAMES.search(name) is not None


_read_once: ContextVar[Mapping[str, str] | None] = ContextVar("_read_once", default=None)


@contextmanager
def secrets_read_once() -> Iterator[None]:
    """`redact` looks into the environment once for all that is written inside: a long document."""
    token = _read_once.set(environment_secrets())
    try:
        yield
    finally:
        _read_once.reset(token)


def redact(text: str) -> str:
    """`text` without the values of `environment_secrets`."""
    if len(text) < MIN_SECRET_CHARACTERS:  # most of a table: none of them fits in
        return text
    secrets = _read_once.get()
    for value in (environment_secrets() if secrets is None else secrets).values():
        text = text.replace(value, REDACTED)
    return text


def without_places(value: Any) -> Any:
    """`value`, as JSON has it, with `.../<last part>` for every whole path of a machine in it.

    A path below one's home names its owner; the last part still tells data and models apart. Of a
    home itself nothing is left. Relative paths, names on a hub and addresses stay.
    """
    if isinstance(value, str):
        return _without_place(value)
    if isinstance(value, Mapping):
        return {name: without_places(entry) for name, entry in value.items()}
    return [without_places(entry) for entry in value] if isinstance(value, list) else value


def _without_place(text: str) -> str:
    found = WHOLE_PATH.fullmatch(text)
    if found is None:
        return text
    prefix, path = found.groups()
    parts = [part for part in re.split(r"[/\\]", re.sub("^[A-Za-z]:", "", path)) if part]
    is_home = len(parts) < 2 or (len(parts) == 2 and parts[0] in HOMES)
    return f"{prefix}..." if is_home else f"{prefix}.../{parts[-1]}"
