"""A file's table in the columns of a run's scores: names, memberships and numbers, each checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mia_bench.evaluation.score_files.table_files import read_table
from mia_bench.utils.errors import MiaError

NAMES = {
    "sample_id": ("sample_id", "id", "sample", "name", "file", "file_name", "filename"),
    "is_member": ("is_member", "member", "label", "membership"),
    "score": ("score", "scores", "value"),
    "group": ("group",),
    "calibration": ("calibration", "is_calibration"),
}
NEEDED = ("sample_id", "is_member", "score")
THOUSANDS = r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"
TRUE = ("true", "1", "1.0", "yes", "member", "members", "train", "in")
FALSE = (
    "false",
    "0",
    "0.0",
    "no",
    "nonmember",
    "non-member",
    "nonmembers",
    "heldout",
    "test",
    "out",
)


def read_scores(path: Path, negate: bool = False) -> pd.DataFrame:
    """Rows of a file in the columns of `score_table.COLUMNS`.

    Raises:
        MiaError: the file cannot be read or is empty, a needed column is missing or given twice,
            a membership that is neither true nor false, a score that is no finite number.
    """
    raw = read_table(path, [name for names in NAMES.values() for name in names])
    column = {name: _column(raw, name, path) for name in NAMES}
    missing = [name for name in NEEDED if column[name] is None]
    if missing:
        names = "; ".join(f"{name} (or {', '.join(NAMES[name][1:])})" for name in missing)
        raise MiaError(f"{path} has no column {names}. Its columns: {', '.join(map(str, raw))}.")
    if raw.empty:
        raise MiaError(f"{path} has no rows.")
    ids = raw[column["sample_id"]]
    if ids.isna().any():
        raise MiaError(f"{path}: {int(ids.isna().sum())} rows have no sample id.")
    # blanks around an id are no part of it: " a" among the calibration rows is "a"
    table = pd.DataFrame({"sample_id": ids.astype(str).str.strip()})
    table["is_member"] = _truth(raw[column["is_member"]], column["is_member"], path)
    table["score"] = _numbers(raw[column["score"]], path) * (-1 if negate else 1)
    table["group"] = table["sample_id"]
    if column["group"]:  # a row without one is a group of its own
        group = raw[column["group"]]
        table["group"] = group.astype(str).str.strip().where(group.notna(), table["sample_id"])
    calibration = column["calibration"]
    table["calibration"] = _truth(raw[calibration], calibration, path) if calibration else False
    return table


def _column(raw: pd.DataFrame, name: str, path: Path) -> Any:
    there = [column for column in raw if str(column).strip().lower() in NAMES[name]]
    if len(there) > 1 and name not in there:
        raise MiaError(f"{path}: {', '.join(map(str, there))} could all be {name}; keep one.")
    return name if name in there else there[0] if there else None


def _truth(values: pd.Series[Any], name: Any, path: Path) -> pd.Series[Any]:
    words = values.astype(str).str.strip().str.lower()
    unknown = words[~words.isin((*TRUE, *FALSE))]
    if len(unknown):
        hint = " Labels 1 and -1: write 1 and 0." if (unknown == "-1").any() else ""
        raise MiaError(
            f"{path}: column '{name}' holds {values[unknown.index[0]]!r} in {len(unknown)} rows; "
            f"write true or 1 for members and false or 0 for others.{hint}"
        )
    return words.isin(TRUE)


def _numbers(values: pd.Series[Any], path: Path) -> pd.Series[Any]:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    if numbers.isna().any() and pd.api.types.is_string_dtype(values):  # 0,5 of many languages
        _refuse_thousands(values, path)
        points = values.str.replace(",", ".", regex=False).where(
            values.str.count(",").eq(1), values
        )
        numbers = pd.to_numeric(points, errors="coerce").astype(float)
    bad = numbers.isna() | numbers.abs().eq(float("inf"))
    if bad.any():
        first = int(bad.to_numpy().argmax())
        raise MiaError(
            f"{path}: {int(bad.sum())} of {len(values)} scores are no finite numbers, the first is "
            f"{values.iloc[first]!r} in row {first}. Find out why: no row is dropped silently."
        )
    return numbers


def _refuse_thousands(values: pd.Series[Any], path: Path) -> None:
    """Raise MiaError where every comma may divide thousands as well as a number from its decimals:
    1,234 is read as either."""
    text = values.astype(str).str.strip()
    with_comma = text[text.str.contains(",", regex=False)]
    if len(with_comma) and with_comma.str.fullmatch(THOUSANDS).all():
        raise MiaError(
            f"{path}: scores such as {with_comma.iloc[0]!r} are a thousand and more, or a number "
            "and its decimals: write them without commas that divide thousands, and decimals "
            "behind a point."
        )
