"""From whatever an annotation file holds to the one caption of a picture.

Rule for several captions: `first` (the default, in the order of the file), `longest` (most words,
the first of equals) or `random` (fixed by the picture's id). It decides the caption hashes of a
split, and with them every key.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Literal

from mia_bench.data.readers.text_file import BYTE_ORDER_MARK, decode_text
from mia_bench.utils.text import caption_units

CaptionRule = Literal["first", "longest", "random"]

# Text encoders read 77 tokens; a whole article as a caption is a mistake in the data.
MAX_WORDS = 1_000
MAX_CHARACTERS = 10_000


class NoCaptionError(ValueError):
    """Nothing is there, as opposed to something that is no caption."""


def candidates(value: Any) -> list[str]:
    """Captions held by `value`: a text, a number, or a list of them, blank ones left out.

    Raises ValueError with the reason when nothing usable is there, NoCaptionError when nothing is.
    """
    values = value if isinstance(value, list | tuple) else [value]
    captions = [text for text in map(_text, values) if text]
    if not captions:
        empty = any(isinstance(v, str) for v in values) or (values == [] and value is not None)
        raise NoCaptionError("the caption is empty" if empty else "no caption")
    return captions


def choose(captions: Sequence[str], rule: CaptionRule, key: str) -> str:
    """One of `captions` by `rule`; `key` (the picture's id) fixes the random one."""
    if rule == "longest":
        return max(captions, key=lambda text: len(caption_units(text)))
    if rule == "random":
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        return captions[int.from_bytes(digest, "big") % len(captions)]
    return captions[0]


def _text(value: Any) -> str:
    """`value` as a caption, "" for nothing. Raises ValueError for what no caption can be."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        try:
            value = decode_text(value)
        except ValueError as error:
            raise ValueError("the caption is not UTF-8") from error
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the caption is a {type(value).__name__}, not a text")
    # a byte-order mark at the start of a text column is as little a part of it as in a file
    text = str(value).lstrip(BYTE_ORDER_MARK).strip()
    # a text of so few characters cannot have more words, and most captions are short
    words = _words(text) if len(text) > MAX_WORDS else 0
    if words > MAX_WORDS or len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"the caption has {words:,} words in {len(text):,} characters (at most {MAX_WORDS:,}"
            f" and {MAX_CHARACTERS:,})"
        )
    return text if any(map(str.isprintable, text)) else ""


def _words(text: str) -> int:
    """Words, or characters where a script has no spaces; only words of what is far too long."""
    return len(text.split() if len(text) > MAX_CHARACTERS else caption_units(text))
