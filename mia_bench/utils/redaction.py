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

SECRET_NAMES = re.compile(r"(api_?key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
MIN_SECRET_CHARACTERS = 8  # characters; shorter values are words that may stand anywhere
REDACTED = "***"


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
