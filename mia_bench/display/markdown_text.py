"""Tables as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence


def markdown_row(entries: Sequence[str]) -> str:
    """A line of a markdown table."""
    return "| " + " | ".join(map(markdown, entries)) + " |"


def markdown(text: str) -> str:
    """HTML, links and marks of markdown become plain characters."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", html.escape(one_line, quote=False))
