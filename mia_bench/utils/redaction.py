"""Keys and tokens of the environment stay there: never in a command line, a file or a message.

Command lines and configurations are stored with every result, and Hydra writes them down before
a job starts. A secret in one of them is refused before that; in messages it is blotted out.
"""

from __future__ import annotations

import os
import re

SECRET_NAMES = re.compile(r"(api_?key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
MIN_SECRET_CHARACTERS = 8  # characters; shorter values are words that may stand anywhere
REDACTED = "***"


def environment_secrets() -> dict[str, str]:
    """Secrets of the environment by the name of their variable."""
    named = {n: v.strip() for n, v in os.environ.items() if SECRET_NAMES.search(n)}
    return {name: value for name, value in named.items() if len(value) >= MIN_SECRET_CHARACTERS}


def redact(text: str) -> str:
    """`text` without the values of `environment_secrets`."""
    for value in environment_secrets().values():
        text = text.replace(value, REDACTED)
    return text
