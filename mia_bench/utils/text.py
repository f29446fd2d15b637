"""Text for a terminal, a log or a file name: what comes from data cannot steer what shows it.

Captions, file names, options and other people's messages reach errors, plans and tables. Escape
sequences would move the cursor, hide lines or answer for the user; marks that turn the direction of
writing would show something else than what is there. Both become visible text (`\\x1b`, `\\u202e`).
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from mia_bench.utils.redaction import redact

LEAST_LIKENESS = 0.6  # of difflib, 1 for the same word: below it a nearest word is none


def nearest(word: str, words: Iterable[str]) -> str:
    """'Did you mean ...?', or the whole list when nothing is close."""
    options = sorted(words)
    close = closest(word, options)
    return f"Did you mean '{close}'?" if close else f"Known: {', '.join(options)}."


def closest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that is most like `word`, capitals and signs apart; None: none is."""
    options = sorted(words)
    same = [option for option in options if folded(option) == folded(word)]
    by_form = {_dashed(option): option for option in reversed(options)}
    like = difflib.get_close_matches(_dashed(word), by_form, n=1, cutoff=LEAST_LIKENESS)
    begun = [option for option in options if _begins_one(folded(option), folded(word))]
    return next(iter([*same, *(by_form[form] for form in like), *begun]), None)


def folded(word: str) -> str:
    """`word` without capitals and the signs between its parts: how people tell words apart."""
    return re.sub(r"[\s._-]+", "", word.casefold())


def _dashed(word: str) -> str:
    return re.sub(r"[\s_]", "-", word.casefold())


def _begins_one(one: str, other: str) -> bool:
    """One of the two is how the other begins: `dp` and `dp_sgd`."""
    return min(len(one), len(other)) > 1 and (one.startswith(other) or other.startswith(one))


def model_name(node: Mapping[str, Any]) -> str:
    """What a model's configuration calls it: its path, or its class where it has none."""
    path = str(node.get("path") or node.get("_target_", "unknown").rpartition(".")[2])
    return path.removeprefix("bundled:")


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates (not encodable) replaced by spaces."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


MAX_NAME_CHARACTERS = 80  # characters of a sample id that a file name keeps


def safe_name(sample_id: str) -> str:
    """Letters, digits, dot, dash and underscore of a sample id; never empty, hidden or a path."""
    name = (
        re.sub(r"[^A-Za-z0-9._-]+", "_", sample_id).lstrip("._-")[:MAX_NAME_CHARACTERS].rstrip(".")
    )
    return name or "sample"


UNSPACED_LETTER = re.compile(
    # Chinese and Japanese
    "[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
    # Thai and Lao, Tibetan, Burmese, Khmer
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff]"
)
"""A letter of a script without spaces between words."""


def has_unspaced(text: str) -> bool:
    """Whether any letter is of a script without spaces between words: Chinese, Thai and others."""
    return UNSPACED_LETTER.search(text) is not None


def caption_units(caption: str) -> list[str]:
    """What a caption is cut into: words, or single characters where a script has no spaces.

    Marks stay with the character before them. A unit begins with the space before it, if any, so
    that units joined are the caption with single spaces.
    """
    units: list[str] = []
    for word in caption.split():
        start = len(units)
        for character in word:
            mark = unicodedata.category(character).startswith("M")
            inside = len(units) > start and not has_unspaced(units[-1].strip()[:1])
            if len(units) > start and (mark or (inside and not has_unspaced(character))):
                units[-1] += character
            else:
                lead = " " if len(units) == start and start else ""
                units.append(lead + character)
    return units


KEPT_CHARACTERS = frozenset("\u200c\u200d")  # joiners, which emoji and several scripts need
MAX_LINE_CHARACTERS = 1_000  # characters of a line; the middle of a longer one is left out
MAX_LINES = 200


def sanitise(text: object) -> str:
    """One line: what is not printable is shown as its escape, other spaces as a space."""
    return _short("".join(map(_plain, redact(str(text)))))


def sanitise_lines(text: object, most: int = MAX_LINES) -> str:
    """`sanitise` for every line; of more than `most` lines the first and the last remain."""
    lines = str(text).replace("\r\n", "\n").split("\n")
    if len(lines) > most:
        half = most // 2
        lines = [*lines[:half], f"... {len(lines) - 2 * half} lines ...", *lines[-half:]]
    return "\n".join(map(sanitise, lines))


def _plain(c: str) -> str:
    if c.isprintable() or c in KEPT_CHARACTERS:
        return c
    if c == "\t" or unicodedata.category(c) == "Zs":
        return " "
    return c.encode("unicode_escape").decode("ascii")


LEAST_P = 0.0005  # below this, three decimals would say 0.000


def p_text(p: float, floor: float = 0.0) -> str:
    """'0.034', or '< 0.0005'; at `floor`, the least that so many draws can give, '< 0.001'."""
    if p < LEAST_P:
        return f"< {LEAST_P:g}"
    if p <= floor * (1 + 1e-9):
        return f"< {math.ceil(1000 * floor - 1e-9) / 1000:.3f}"
    return f"{p:.3f}"


FORMULA_SIGNS = "=+-@＝＋－＠"  # what spreadsheets take for the beginning of a formula


def table_cell(text: object) -> str:
    """Text for a table that others open: one line, control characters as visible escapes.

    What a spreadsheet would run as a formula, blanks before it included, gets an apostrophe in
    front, which spreadsheets do not show.
    """
    line = sanitise(text)
    return f"'{line}" if line.lstrip().startswith(tuple(FORMULA_SIGNS)) else line


def _short(line: str) -> str:
    if len(line) <= MAX_LINE_CHARACTERS:
        return line
    half, left_out = MAX_LINE_CHARACTERS // 2, len(line) - MAX_LINE_CHARACTERS
    return f"{line[:half]} ... {left_out:,} characters ... {line[-half:]}"
