"""Text for a terminal, a log or a table: what comes from data cannot steer what shows it.

Captions, file names, options and other people's messages reach errors, plans and tables. Escape
sequences would move the cursor, hide lines or answer for the user; marks that turn the direction of
writing would show something else than what is there. Both become visible text (`\\x1b`, `\\u202e`).
"""

from __future__ import annotations

import sys
import unicodedata

from mia_bench.secret import blotted

KEPT = frozenset("\u200c\u200d")  # joiners, which emoji and several scripts need
LINE = 1_000  # characters of a line; the middle of a longer one is left out
LINES = 200


def plain(text: object) -> str:
    """One line: what is not printable is shown as its escape, other spaces as a space."""
    return _short("".join(map(_plain, blotted(str(text)))))


def plain_lines(text: object, most: int = LINES) -> str:
    """`plain` for every line; of more than `most` lines the first and the last remain."""
    lines = str(text).replace("\r\n", "\n").split("\n")
    if len(lines) > most:
        half = most // 2
        lines = [*lines[:half], f"... {len(lines) - 2 * half} lines ...", *lines[-half:]]
    return "\n".join(map(plain, lines))


def say(text: object = "", *, error: bool = False) -> None:
    """Print for a person: the one place where text leaves for the terminal."""
    print(plain_lines(text), file=sys.stderr if error else sys.stdout, flush=True)


def _plain(c: str) -> str:
    if c.isprintable() or c in KEPT:
        return c
    if c == "\t" or unicodedata.category(c) == "Zs":
        return " "
    return c.encode("unicode_escape").decode("ascii")


def _short(line: str) -> str:
    if len(line) <= LINE:
        return line
    return f"{line[: LINE // 2]} ... {len(line) - LINE:,} characters ... {line[-LINE // 2 :]}"
