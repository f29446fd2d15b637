"""The metrics of a file of scores, and the paired difference of two files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mia_bench.evaluation.score_files.reading import read_scores
from mia_bench.evaluation.score_table import TableMetrics, score_table_metrics
from mia_bench.metrics.evaluation_rows import ALL_DRAWS, Draws
from mia_bench.utils.errors import MiaError

LARGE_ROWS = 100_000  # rows beyond which less is drawn, unless the number of resamples is asked for
LARGE_DRAWS = Draws(permutations=20, set_groups=20_000)
RESAMPLED_ROWS = 200_000_000  # rows times resamples of a large file: half a minute
MIN_RESAMPLES, RESAMPLES = 100, 2000


@dataclass(frozen=True)
class Scores:
    """A file of scores, in the columns of `score_table.COLUMNS`, and its metrics."""

    name: str
    table: pd.DataFrame
    measured: TableMetrics


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
        raise MiaError(
            f"{first.name} and {other.name} share no sample id: nothing to compare. Of the first "
            f"one is {a.index[0]!r}, of the other {b.index[0]!r}: write them alike."
        )
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
