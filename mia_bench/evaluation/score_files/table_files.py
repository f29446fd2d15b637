"""A table in a CSV, TSV, parquet or JSON file, as it is written there."""

from __future__ import annotations

import csv
import gzip
import json
import warnings
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from mia_bench.data.readers.text_file import decode_text, encoding_of, text_lines
from mia_bench.storage.files import require_unfolded
from mia_bench.utils.errors import MiaError

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".json")
SEPARATORS = ",;\t|"
MAX_HEADER_BYTES = 1 << 16
MAX_UNFOLDED_BYTES = 2 << 30  # of a .gz file: some fifty million rows


def read_table(path: Path, column_names: Collection[str]) -> pd.DataFrame:
    """The table in `path`; in a CSV every field is text.

    Args:
        column_names: in lower case, by which the separator of a CSV is told.

    Raises:
        MiaError: no such file, another kind of file, or one that cannot be read.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        raise MiaError(f"{path} is not a file.")
    if not path.name.lower().endswith(SUFFIXES):
        raise MiaError(f"{path}: {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} is expected.")
    try:
        if kind not in (".parquet", ".json"):
            require_unfolded(path, MAX_UNFOLDED_BYTES)
            # as text: ids like 007 are names, and "nan" must not pass for a missing score
            return _read_text(path, column_names)
        if kind == ".parquet":
            table = pd.read_parquet(path)
            named = [name for name in table.index.names if name is not None]
            return table.reset_index() if named else table
        return pd.DataFrame(json.loads(decode_text(path.read_bytes())))
    except MiaError:
        raise
    except Exception as error:  # parsers of four formats raise what they like
        raise MiaError(f"cannot read {path}: {error}") from error


def _read_text(path: Path, column_names: Collection[str]) -> pd.DataFrame:
    """A table of text, every field as it is written.

    Raises ValueError for a header that names a column twice, and for rows with more fields than
    the header, of which pandas would take the first for an index, and every other one column
    further left.
    """
    header, encoding = _header(path)
    separator = _separator(header, column_names)
    names = next(csv.reader([header], delimiter=separator), [])
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise ValueError(f"its header names the column {twice[0]!r} twice; rename or remove one")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(
                path,
                sep=separator,
                encoding=encoding,
                dtype=str,
                keep_default_na=False,
                na_values=[""],
                index_col=False,
            )
        except pd.errors.ParserWarning as error:
            raise ValueError(
                f"its rows have more fields than the {len(names)} of its header; quote what has a "
                f"{separator!r} in it, or name every column"
            ) from error


def _header(path: Path) -> tuple[str, str]:
    """(the first line, the encoding)."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES)
    return text_lines(decode_text(start, errors="replace"))[0], encoding_of(start)


def _separator(header: str, column_names: Collection[str]) -> str:
    """The one of SEPARATORS that divides the first line into most of `column_names`.

    A comma where none divides it into any.
    """

    def fitting(separator: str) -> int:
        names = (name.strip().strip('"').lower() for name in header.split(separator))
        return sum(name in column_names for name in names)

    return max(SEPARATORS, key=fitting)
