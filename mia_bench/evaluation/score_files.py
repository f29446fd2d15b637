"""Files of scores from anywhere, measured as the scores of a run are.

A CSV, parquet or JSON file with one row per image: its id, whether it is a member, and a score that
is higher for members. Optional columns: `group` (near-duplicates, which the bootstrap keeps
together) and `calibration` (true for rows with known membership that fix thresholds and are not
evaluated). Metrics, intervals and figures are those of a run. Several files are compared on the
images they share, each with the first one, on the same bootstrap resamples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mia_bench.evaluation.score_table import TableMetrics, score_table_metrics
from mia_bench.metrics.registry import entry
from mia_bench.utils.errors import MiaError

NAMES = {
    "sample_id": ("sample_id", "id", "sample", "name", "file", "file_name", "filename"),
    "is_member": ("is_member", "member", "label", "membership"),
    "score": ("score", "scores", "value"),
    "group": ("group",),
    "calibration": ("calibration", "is_calibration"),
}
NEEDED = ("sample_id", "is_member", "score")
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
    table = pd.DataFrame({"sample_id": ids.astype(str)})
    table["is_member"] = _truth(raw[column["is_member"]], column["is_member"], path)
    table["score"] = _numbers(raw[column["score"]], path) * (-1 if negate else 1)
    table["group"] = table["sample_id"]
    if column["group"]:  # a row without one is a group of its own
        group = raw[column["group"]]
        table["group"] = group.astype(str).where(group.notna(), table["sample_id"])
    calibration = column["calibration"]
    table["calibration"] = _truth(raw[calibration], calibration, path) if calibration else False
    return table


def _read(path: Path) -> pd.DataFrame:
    kind = path.suffix.lower()
    if not path.is_file():
        raise MiaError(f"{path} is not a file.")
    if kind not in (".csv", ".parquet", ".json"):
        raise MiaError(f"{path}: a .csv, .parquet or .json file is expected, not '{kind}'.")
    try:
        if kind == ".csv":
            # as text: ids like 007 are names, and "nan" must not pass for a missing score
            return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
        if kind == ".parquet":
            return pd.read_parquet(path)
        return pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
    except Exception as error:  # parsers of four formats raise what they like
        raise MiaError(f"cannot read {path}: {error}") from error


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
    bad = numbers.isna() | numbers.abs().eq(float("inf"))
    if bad.any():
        first = int(bad.to_numpy().argmax())
        raise MiaError(
            f"{path}: {int(bad.sum())} of {len(values)} scores are no finite numbers, the first is "
            f"{values.iloc[first]!r} in row {first}. Find out why: no row is dropped silently."
        )
    return numbers


def evaluate_file(path: Path, seed: int = 0, resamples: int = 2000, negate: bool = False) -> Scores:
    """Read and measure one file.

    Raises MiaError, with its name, as `read_scores` and `score_table_metrics` do.
    """
    table = read_scores(path, negate)
    try:
        return Scores(path.stem, table, score_table_metrics(table, {}, seed, resamples))
    except MiaError as error:
        raise MiaError(f"{path}: {error}") from error


def compare(first: Scores, other: Scores, seed: int, resamples: int) -> dict[str, Any]:
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
    try:
        difference = paired_difference(
            *(b.score.to_numpy(), a.score.to_numpy(), a.is_member.to_numpy()),
            *(a.group.tolist(), seed, resamples),
        )
    except ValueError as error:
        raise MiaError(f"{first.name} and {other.name}: {error}") from error
    left = len(first.measured.rows) + len(other.measured.rows) - 2 * len(shared)
    return {"minus": first.name, "rows": len(shared), "rows_left_out": left, **difference}


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
    return [f"{scores.name}: {line}" for line in lines]


def distinctly_named(files: Sequence[Scores], paths: Sequence[Path]) -> list[Scores]:
    """A run's scores.parquet is named after its folder; what is still equal gets a number."""
    taken: set[str] = set()
    named = []
    for scores, path in zip(files, paths, strict=True):
        name = path.resolve().parent.name if path.stem == "scores" else path.stem
        unique, copy = name, 2
        while unique in taken:
            unique, copy = f"{name}-{copy}", copy + 1
        taken.add(unique)
        named.append(Scores(unique, scores.table, scores.measured))
    return named
