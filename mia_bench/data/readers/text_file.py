"""Text out of files of other people: one way to decode it, and the true reason where it cannot be.

A byte-order mark, which Windows and spreadsheets write, is no part of the text: left in, it is
another token, another caption and another split.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from mia_bench.utils.errors import MiaError

BYTE_ORDER_MARK = "\ufeff"
ENCODINGS_BY_MARK = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_text(data: bytes, errors: str = "strict") -> str:
    """`data` as its byte-order mark says, or UTF-8 where there is none; without the mark.

    Args:
        errors: of the codec: strict, or replace for U+FFFD where a byte has no meaning.

    Raises:
        ValueError: it is not UTF-8, nor what its mark says.
    """
    marks = (name for mark, name in ENCODINGS_BY_MARK if data.startswith(mark) and data != mark)
    encoding = next(marks, "utf-8")
    try:
        return data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not {encoding.removesuffix('-sig').upper()}") from error


def text_lines(text: str) -> list[str]:
    """Lines as editors break them: at LF, CR LF and CR, and at no other separator of Unicode."""
    return re.split(r"\r\n|\r|\n", text)


def read_file(path: Path) -> bytes:
    """The bytes of a table that is needed as a whole. Raises MiaError with the system's reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise MiaError(
            f"{path} cannot be read: {error.strerror or error}. Make it readable, or move it out "
            "of the folder."
        ) from error
