"""Keys and tokens of the environment stay there: never in a command line, a file or a message.

Command lines and configurations are stored with every result, and Hydra writes them down before
a job starts. A secret in one of them is refused before that; in messages it is blotted out.
"""

from __future__ import annotations

import os
import re
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


def redact(text: str) -> str:
    """`text` without the values of `environment_secrets`."""
    if len(text) < MIN_SECRET_CHARACTERS:  # most of a table: none of them fits in
        return text
    for value in environment_secrets().values():
        text = text.replace(value, REDACTED)
    return text
