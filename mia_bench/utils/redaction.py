"""Keys and tokens of the environment stay there: never in a command line, a file or a message.

Command lines and configurations are recorded beside every result, and Hydra writes them down before
a job starts. A secret in one of them is refused before that; in messages it is blotted out.
"""

from __future__ import annotations

import os
import re

NAMES = re.compile(r"(api_?key|token|secret|password|passwd|credentials?)$", re.IGNORECASE)
LEAST = 8  # characters; shorter values are words that may stand anywhere
BLOT = "***"


def known() -> dict[str, str]:
    """Secrets of the environment by the name of their variable."""
    found = {n: v.strip() for n, v in os.environ.items() if NAMES.search(n)}
    return {name: value for name, value in found.items() if len(value) >= LEAST}


def blotted(text: str) -> str:
    """`text` without the values of `known`."""
    for value in known().values():
        text = text.replace(value, BLOT)
    return text
