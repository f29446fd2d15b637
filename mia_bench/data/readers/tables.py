"""Rows of tables about pictures: csv, tsv, jsonl, json and parquet, each line a row or a problem.

Nothing is cut to fit: a csv line with more fields than its header, which is what a caption with
commas and without quotes gives, is a problem with its number, and so is a quote that does not end.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.data.readers.text_file import (
    REPLACEMENT,
    decode_text,
    has_wide_mark,
    read_file,
    text_lines,
)
from mia_bench.storage.files import regular_file

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
NOT_UTF8 = "the line is not UTF-8"
MAX_HEADER_CHARACTERS = 1 << 16
MAX_SHOWN = 40  # characters of a field in a message
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
SENTENCE_MARKS = (",", ";")
"""Delimiters that a sentence has too, with a blank behind them."""


@dataclass(frozen=True)
class Line:
    """One line of a table: a row (column: value), or None and the problem with it."""

    number: int
    row: Mapping[str, Any] | None
    problem: str = ""


def read_lines(path: Path) -> Iterator[Line]:
    """Every line of the table at `path`, in order; the number of one in JSON or parquet is its
    position, from 1.

    Raises:
        MiaError: the file cannot be read at all.
        ValueError: it is no table of its kind, or of no kind in SUFFIXES.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from csv_lines(read_file(path), "," if suffix == ".csv" else "\t")
    elif suffix == ".jsonl":
        yield from _jsonl_lines(read_file(path))
    elif suffix == ".json":
        yield from _json_lines(read_file(path))
    elif suffix == ".parquet":
        yield from _parquet_lines(path)
    else:
        raise ValueError(f"a table ends in {', '.join(SUFFIXES)}")


def csv_lines(data: bytes, delimiter: str) -> Iterator[Line]:
    """The lines below a header; numbers are those of the file.

    Where the header has no `delimiter` but a semicolon or a tab, that one divides it.

    Raises ValueError where the header names a column twice.
    """
    text = decode_text(data, errors="replace")
    header = text_lines(text[:MAX_HEADER_CHARACTERS])[0]
    delimiter = next((mark for mark in (delimiter, ";", "\t") if mark in header), delimiter)
    # strict: a quote in the middle of a field is an error, and not left out without a word
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows.fieldnames = _header(rows)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(rows.reader.line_num, None, f"no CSV: {error}")
            continue
        surplus = row.pop(None, None)
        if surplus:
            fields, wanted = len(row) + len(surplus), len(row)
            yield Line(
                rows.line_num,
                None,
                f"{fields} fields where the header has {wanted}; quote what has "
                f"{DELIMITERS.get(delimiter, delimiter)} in it",
            )
        elif any(REPLACEMENT in value for value in row.values() if isinstance(value, str)):
            yield Line(rows.line_num, None, NOT_UTF8)
        elif delimiter in SENTENCE_MARKS and (cut := _cut_sentence(list(row.values()))):
            yield Line(
                rows.line_num,
                None,
                f"a field begins with a blank, as a caption goes on that is cut; quote captions "
                f"that have {DELIMITERS[delimiter]} in them: {cut[:MAX_SHOWN]!r}",
            )
        else:
            yield Line(rows.line_num, row)


def _cut_sentence(fields: list[str | None]) -> str:
    """A field behind the second that begins with a blank where none before it does, or "".

    A sentence with a comma and no quotes fills the columns behind it where the row leaves them out:
    the fields suffice, and the caption is cut.
    """
    texts = [field or "" for field in fields]
    blank = next((k for k, text in enumerate(texts) if text[:1] == " " and text.strip()), 0)
    return texts[blank] if blank > 1 else ""


def _header(rows: csv.DictReader[str]) -> list[str]:
    """Names of the columns, without the blanks around them.

    Raises ValueError where one is no text, or is there twice: one of the two would be lost.
    """
    try:
        names = [name.strip() for name in rows.fieldnames or ()]
    except csv.Error as error:
        raise ValueError(f"its header is no CSV: {error}") from error
    if any(REPLACEMENT in name for name in names):
        raise ValueError("its header is not UTF-8")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"its header names the column {twice!r} twice; rename or remove one")
    return names


def _jsonl_lines(data: bytes) -> Iterator[Line]:
    # a file in UTF-8 is decoded line by line, so that one bad line costs no other
    lines: list[bytes | str] = list(data.split(b"\n"))
    if has_wide_mark(data):
        lines = list(text_lines(decode_text(data)))
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            text = decode_text(line) if isinstance(line, bytes) else line
        except ValueError:
            yield Line(number, None, NOT_UTF8)
            continue
        try:
            row = json.loads(text)
            if not isinstance(row, dict):
                whole = "; a file that is one list is named .json" if isinstance(row, list) else ""
                raise ValueError(f"not an object{whole}")
        except (ValueError, RecursionError) as error:
            yield Line(number, None, f"the line is no JSON: {error}")
        else:
            yield Line(number, row)


def _json_lines(data: bytes) -> Iterator[Line]:
    """A list of rows, a manifest's `rows`, COCO's captions, or one entry for each picture."""
    try:
        content = json.loads(decode_text(data))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(content, dict) and isinstance(content.get("rows"), list):
        content = content["rows"]
    elif isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        content = _coco_rows(content)
    elif isinstance(content, dict) and _by_column(content):
        content = _transposed(content)
    elif isinstance(content, dict):
        content = [_entry(name, value) for name, value in content.items()]
    if not isinstance(content, list):
        raise ValueError("it holds neither a list of rows nor an entry for each picture")
    for number, row in enumerate(content, 1):
        problem = "" if isinstance(row, dict) else "the row is no object"
        yield Line(number, None if problem else row, problem)


def _entry(name: str, value: Any) -> Any:
    """The row of `"a.png": "a cat"`, `"a.png": [captions]` or `"a.png": {columns}`."""
    if isinstance(value, dict):
        return {"file_name": name, **value}
    captions = value if isinstance(value, list) else [value]
    texts = bool(captions) and all(isinstance(caption, str) for caption in captions)
    return {"file_name": name, "caption": value} if texts else None


def _by_column(content: Mapping[str, Any]) -> bool:
    """A table as pandas writes it: {"file_name": {"0": "a.png", ...}, "text": {"0": ...}}."""
    columns = list(content.values())
    return (
        len(columns) > 1
        and all(isinstance(column, dict) and column for column in columns)
        and len({tuple(column) for column in columns}) == 1
        and all(str(label).isdecimal() for label in columns[0])
    )


def _transposed(content: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    first = next(iter(content.values()))
    return [{name: column[label] for name, column in content.items()} for label in first]


def _coco_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        notes = sorted(content["annotations"], key=lambda note: note["id"])
        return [
            {"file_name": names[note["image_id"]], "caption": note["caption"]}
            for note in notes
            if note["image_id"] in names
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"images (id, file_name) and annotations (id, image_id, caption) are needed: {error!r}"
        ) from error


def _parquet_lines(path: Path) -> Iterator[Line]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows = parquet.read_table(regular_file(path)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"it is no parquet: {str(error).partition(chr(10))[0]}") from error
    for number, row in enumerate(rows, 1):
        yield Line(number, row)
