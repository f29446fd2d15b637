"""Text out of files of other people: one way to decode it, and the true reason where it cannot be.

A byte-order mark, which Windows and spreadsheets write, is no part of the text: left in, it is
another token, another caption and another split.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from mia_bench.storage.files import regular_file
from mia_bench.utils.errors import MiaError

BYTE_ORDER_MARK = "\ufeff"
REPLACEMENT = "\ufffd"
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
        errors: of the codec: strict, or replace for U+FFFD where a byte has no meaning in a text,
            as a zero has none.

    Raises:
        ValueError: it is not UTF-8, nor what its mark says.
    """
    encoding = encoding_of(data)
    try:
        text = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not {encoding.removesuffix('-sig').upper()}") from error
    if "\0" not in text:
        return text
    if errors == "replace":
        return text.replace("\0", REPLACEMENT)
    raise ValueError("it is not UTF-8, but perhaps UTF-16 without its mark: it holds zero bytes")


def encoding_of(data: bytes) -> str:
    """The codec that the byte-order mark at the start of `data` names; UTF-8 without one."""
    marks = (name for mark, name in ENCODINGS_BY_MARK if data.startswith(mark) and data != mark)
    return next(marks, "utf-8")


def has_wide_mark(data: bytes) -> bool:
    """A byte-order mark of characters that take more than one byte, so that lines are not bytes."""
    return any(data.startswith(mark) for mark, _ in ENCODINGS_BY_MARK[1:])


def text_lines(text: str) -> list[str]:
    """Lines as editors break them: at LF, CR LF and CR, and at no other separator of Unicode."""
    return re.split(r"\r\n|\r|\n", text)


def read_file(path: Path) -> bytes:
    """The bytes of a table that is needed as a whole. Raises MiaError with the system's reason."""
    try:
        return regular_file(path).read_bytes()
    except OSError as error:
        raise MiaError(
            f"{path} cannot be read: {error.strerror or error}. Make it readable, or move it out "
            "of the folder."
        ) from error
