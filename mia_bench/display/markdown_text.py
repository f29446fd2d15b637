"""Tables as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from mia_bench.utils.text import sanitise


def markdown_row(entries: Sequence[str]) -> str:
    """A line of a markdown table."""
    return "| " + " | ".join(map(markdown, entries)) + " |"


def markdown(text: str) -> str:
    """HTML, links and marks of markdown become plain characters, control characters escapes."""
    one_line = sanitise(" ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(one_line, quote=False))
