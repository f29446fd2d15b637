"""Files of scores from anywhere, measured as the scores of a run are.

A CSV (comma, semicolon, tab), parquet or JSON file with one row per image: its id, whether it is a
member, and a score that is higher for members. Optional columns: `group` (near-duplicates, which
the bootstrap keeps together) and `calibration` (true for rows with known membership that fix
thresholds and are not evaluated). Metrics, intervals and figures are those of a run. Several files
are compared on the images they share, each with the first one, on the same bootstrap resamples.
"""

from __future__ import annotations

import csv
import gzip
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.data.readers.text_file import decode_text, encoding_of, text_lines
from mia_bench.evaluation.score_table import TableMetrics, score_table_metrics
from mia_bench.metrics.evaluation_rows import ALL_DRAWS, FPRS, Draws
from mia_bench.metrics.registry import entry
from mia_bench.metrics.roc import false_positive_budget
from mia_bench.utils.errors import MiaError

NAMES = {
    "sample_id": ("sample_id", "id", "sample", "name", "file", "file_name", "filename"),
    "is_member": ("is_member", "member", "label", "membership"),
    "score": ("score", "scores", "value"),
    "group": ("group",),
    "calibration": ("calibration", "is_calibration"),
}
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".json")
SEPARATORS = ",;\t|"
MAX_HEADER_BYTES = 1 << 16
LARGE_ROWS = 100_000  # rows beyond which less is drawn, unless the number of resamples is asked for
LARGE_DRAWS = Draws(permutations=20, set_groups=20_000)
RESAMPLED_ROWS = 200_000_000  # rows times resamples of a large file: half a minute
MIN_RESAMPLES, RESAMPLES = 100, 2000
NEEDED = ("sample_id", "is_member", "score")
TIED_SHARE = 0.1  # share of the allowed false positives that ties may cost without a word
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


@dataclass(frozen=True)
class Scores:
    """A file of scores, in the columns of `score_table.COLUMNS`, and its metrics."""

    name: str
    table: pd.DataFrame
    measured: TableMetrics


def read_scores(path: Path, negate: bool = False) -> pd.DataFrame:
    """Rows of a file in the columns of `score_table.COLUMNS`.

    Raises:
        MiaError: the file cannot be read or is empty, a needed column is missing or given twice,
            a membership that is neither true nor false, a score that is no finite number.
    """
    raw = _read(path)
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


def _read(path: Path) -> pd.DataFrame:
    kind = path.suffix.lower()
    if not path.is_file():
        raise MiaError(f"{path} is not a file.")
    if not path.name.lower().endswith(SUFFIXES):
        raise MiaError(f"{path}: {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} is expected.")
    try:
        if kind not in (".parquet", ".json"):
            # as text: ids like 007 are names, and "nan" must not pass for a missing score
            return _read_text(path)
        if kind == ".parquet":
            table = pd.read_parquet(path)
            named = [name for name in table.index.names if name is not None]
            return table.reset_index() if named else table
        return pd.DataFrame(json.loads(decode_text(path.read_bytes())))
    except Exception as error:  # parsers of four formats raise what they like
        raise MiaError(f"cannot read {path}: {error}") from error


def _read_text(path: Path) -> pd.DataFrame:
    """A table of text, every field as it is written.

    Raises ValueError for a header that names a column twice, and for rows with more fields than
    the header, of which pandas would take the first for an index, and every other one column
    further left.
    """
    header, encoding = _header(path)
    separator = _separator(header)
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


def _separator(header: str) -> str:
    """The one of SEPARATORS that divides the first line into most names that NAMES knows.

    A comma where none divides it into any.
    """
    known = {name for names in NAMES.values() for name in names}

    def fitting(separator: str) -> int:
        return sum(name.strip().strip('"').lower() in known for name in header.split(separator))

    return max(SEPARATORS, key=fitting)


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


def resamples_of(rows: int, resamples: int | None) -> int:
    """How often `rows` rows are resampled where nothing else is asked for."""
    if resamples is not None:
        return resamples
    if rows <= LARGE_ROWS:
        return RESAMPLES
    return max(MIN_RESAMPLES, min(RESAMPLES, RESAMPLED_ROWS // rows))


def evaluate_file(
    path: Path, seed: int = 0, resamples: int | None = None, negate: bool = False
) -> Scores:
    """Read and measure one file; of more than LARGE_ROWS rows less is drawn.

    Raises MiaError, with its name, as `read_scores` and `score_table_metrics` do.
    """
    table = read_scores(path, negate)
    try:
        draws = LARGE_DRAWS if len(table) > LARGE_ROWS else ALL_DRAWS
        drawn = resamples_of(len(table), resamples)
        measured = score_table_metrics(table, {}, seed, drawn, draws=draws)
        return Scores(path.stem, table, measured)
    except MiaError as error:
        raise MiaError(f"{path}: {error}") from error


def compare(
    first: Scores, other: Scores, seed: int, resamples: int | None = None
) -> dict[str, Any]:
    """`other` minus `first` on the images that both score, as `summary.paired_difference`.

    Raises:
        MiaError: no image in common, or one that is a member in one file only.
    """
    from mia_bench.metrics.summary import paired_difference

    a, b = (s.measured.rows.set_index("sample_id") for s in (first, other))
    shared = a.index.intersection(b.index, sort=False)
    if shared.empty:
        raise MiaError(f"{first.name} and {other.name} share no sample id: nothing to compare.")
    a, b = a.loc[shared], b.loc[shared]
    odd = shared[(a.is_member != b.is_member).to_numpy()]
    if len(odd):
        raise MiaError(
            f"{first.name} and {other.name} disagree on the membership of {len(odd)} images, the "
            f"first is {odd[0]!r}."
        )
    drawn = resamples_of(len(shared), resamples)
    try:
        difference = paired_difference(
            *(b.score.to_numpy(), a.score.to_numpy(), a.is_member.to_numpy()),
            *(a.group.tolist(), seed, drawn),
        )
    except ValueError as error:
        raise MiaError(f"{first.name} and {other.name}: {error}") from error
    left = len(first.measured.rows) + len(other.measured.rows) - 2 * len(shared)
    counts = {"rows": len(shared), "rows_left_out": left, "resamples": drawn}
    return {"minus": first.name, **counts, **difference}


def remarks(scores: Scores) -> list[str]:
    """What a reader of the figures must know before believing them."""
    metrics = scores.measured.metrics
    auroc, tpr = entry(metrics, "auroc"), entry(metrics, "tpr_at_fpr_0_01")
    lines = []
    if auroc["hi"] is not None and auroc["hi"] < 0.5:
        lines.append(
            f"members score lower than non-members (AUC {auroc['value']:.3f}). A higher score must "
            "mean member: if this is a loss or a distance, add negate=true; if 1 marks "
            "non-members, swap the labels."
        )
    if metrics["thresholds"]["tau_acc"] is None:
        lines.append(
            "no calibration rows, so ASR, TPR and FPR at a calibrated threshold are absent; the "
            "oracle ASR is chosen on the rows it is measured on. Mark rows of known membership "
            "with calibration=true to get them."
        )
    if tpr.get("reason"):
        lines.append(f"{tpr['reason']}.")
    if len(scores.table) > LARGE_ROWS:
        lines.append(
            f"of more than {LARGE_ROWS:,} rows, intervals rest on fewer resamples (resamples=2000 "
            f"draws as many as for a small file), the permuted oracle on {LARGE_DRAWS.permutations}"
            f" permutations, and the set size on {LARGE_DRAWS.set_groups:,} groups of each class."
        )
    return [*lines, *_tie_remarks(scores)]


def _tie_remarks(scores: Scores) -> list[str]:
    """Where rows of one score decide a TPR: fewer false positives are made than are allowed."""
    lines = []
    roc, metrics = scores.measured.roc, scores.measured.metrics
    n = metrics["n_nonmembers"]
    false_positives = np.rint(roc.fpr * n).astype(np.int64)
    for rate in FPRS:
        allowed = int(false_positive_budget(n, rate))
        if allowed < 1:
            continue
        cut = int(np.flatnonzero(false_positives <= allowed)[-1])
        made = int(false_positives[cut])
        if made <= (1 - TIED_SHARE) * allowed and cut + 1 < len(false_positives):
            tied = int(false_positives[cut + 1]) - made
            lines.append(
                f"ties decide the TPR at {100 * rate:g} % FPR: {allowed} false positives are "
                f"allowed, but the next {tied} non-members share one score, so {made} are made and "
                f"the TPR of {roc.tpr[cut]:.3f} is that at {100 * roc.fpr[cut]:.2g} % FPR."
            )
    return lines


def joint_remarks(files: Sequence[Scores]) -> list[str]:
    """The remarks of all files, each once, with the names of those it is about."""
    about: dict[str, list[str]] = {}
    for scores in files:
        for line in remarks(scores):
            about.setdefault(line, []).append(scores.name)
    return [f"{', '.join(names)}: {line}" for line, names in about.items()]


def distinctly_named(files: Sequence[Scores], paths: Sequence[Path]) -> list[Scores]:
    """A run's scores.parquet is named after its folder; what is still equal gets a number."""
    taken: set[str] = set()
    named = []
    for scores, path in zip(files, paths, strict=True):
        stem = path.name.split(".")[0] if path.suffix.lower() == ".gz" else path.stem
        name = path.resolve().parent.name if stem == "scores" else stem
        unique, copy = name, 2
        while unique in taken:
            unique, copy = f"{name}-{copy}", copy + 1
        taken.add(unique)
        named.append(Scores(unique, scores.table, scores.measured))
    return named
