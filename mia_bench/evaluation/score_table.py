"""From a table of scores to its metrics, for whoever made the scores: our runs, or others.

The same protocol as a run: thresholds come from calibration rows alone, everything else from the
evaluation rows, with intervals that resample near-duplicate groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mia_bench.attacks import Floats
from mia_bench.evaluation.ensemble_comparison import compare
from mia_bench.evaluation.json_differences import with_stored_draws
from mia_bench.metrics import (
    UNCALIBRATED,
    Bools,
    Roc,
    Thresholds,
    auroc,
    fit_thresholds,
    roc_curve,
)
from mia_bench.metrics.called_members import called_members
from mia_bench.metrics.evaluation_rows import ALL_DRAWS, Draws
from mia_bench.metrics.permutation import base_p_value, holm
from mia_bench.metrics.summary import evaluate
from mia_bench.planning.specs import BASE, REFERENCE
from mia_bench.utils.errors import MiaError

OWN_COLUMNS = ("sample_id", "source_id", "group", "score")
"""Of own_outputs.parquet: a picture, the row whose caption was drawn, and its group."""
COLUMNS = ("sample_id", "group", "is_member", "calibration", "score")
CONTROL_COLUMNS = {BASE: "score_base", REFERENCE: "score_reference"}
"""Columns of the scores on a model that saw no evaluation row, by the kind of the control."""


@dataclass(frozen=True)
class TableMetrics:
    """`metrics` as metrics.json holds them; `rows` are the evaluation rows of the table,
    `own_outputs` the scores of pictures that the target generated, see OWN_COLUMNS."""

    metrics: dict[str, Any]
    roc: Roc
    rows: pd.DataFrame
    own_outputs: pd.DataFrame | None = None


def score_table_metrics(
    table: pd.DataFrame,
    blind: Mapping[str, Any],
    seed: int,
    resamples: int,
    stored: Mapping[str, Any] | None = None,
    draws: Draws = ALL_DRAWS,
) -> TableMetrics:
    """Every metric that follows from a table of scores: the one way from scores to metrics.

    Args:
        table: the columns of `COLUMNS`; rows with `calibration` fix the thresholds, and without
            any, what needs one is null with the reason. `score_base` or `score_reference`, where
            there is such a column, holds the scores of the same attack on a model that saw no
            evaluation row: the base, or a reference.
        blind: the blind baselines on the same rows, as controls.json holds them.
        stored: metrics of the same table, whose random draws (bounds, p-values, set size) are
            taken over; nothing is resampled then.

    Raises:
        MiaError: a column is missing, one class only, scores that are not finite, a sample id
            twice among the evaluation rows, a group that holds both classes, an image or a group
            that is both calibrated and evaluated on.
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise MiaError(f"the scores have no column {', '.join(missing)}")
    is_calibration = table["calibration"].to_numpy(dtype=bool)
    rows = table[~is_calibration].reset_index(drop=True)
    _check_apart(table, is_calibration)
    try:
        thresholds = _thresholds(table, is_calibration) if is_calibration.any() else UNCALIBRATED
        metrics = _metrics(rows, thresholds, blind, seed, resamples, stored, draws)
        roc = roc_curve(rows.score.to_numpy(), rows.is_member.to_numpy())
    except ValueError as error:
        raise MiaError(str(error)) from error
    return TableMetrics(metrics, roc, rows)


def _check_apart(table: pd.DataFrame, is_calibration: Bools) -> None:
    """No row twice; and thresholds fixed on the rows they are judged on, or on their
    near-duplicates, are oracles."""
    # plain strings, read once: pandas' own columns of text take twenty times as long
    sample_id, group = (table[name].to_numpy(dtype=object) for name in ("sample_id", "group"))
    _check_once(sample_id[~is_calibration], "")
    for values, name in ((sample_id, "images"), (group, "groups of near-duplicates")):
        evaluated = set(values[~is_calibration])
        if evaluated.isdisjoint(values[is_calibration]):
            continue
        shared = [value for value in dict.fromkeys(values[is_calibration]) if value in evaluated]
        raise MiaError(
            f"{len(shared)} {name} are among the calibration rows and among the evaluation "
            f"rows, the first is {shared[0]!r}: thresholds would be chosen on what they are "
            "judged on. Calibrate on other rows, or leave the calibration rows out."
        )
    _check_once(sample_id[is_calibration], " among the calibration rows")


def _check_once(sample_id: NDArray[np.object_], where: str) -> None:
    if len(set(sample_id)) < sample_id.size:
        twice = sample_id[pd.Series(sample_id).duplicated()]
        raise MiaError(f"{len(twice)} sample ids occur twice{where}, the first is {twice[0]!r}")


def _thresholds(table: pd.DataFrame, is_calibration: Bools) -> Thresholds:
    scores, is_member = (table[name].to_numpy()[is_calibration] for name in ("score", "is_member"))
    try:
        return fit_thresholds(scores, is_member)
    except ValueError as error:
        raise MiaError(f"calibration rows: {error}") from error


def _metrics(
    rows: pd.DataFrame,
    thresholds: Thresholds,
    blind: Mapping[str, Any],
    seed: int,
    resamples: int,
    stored: Mapping[str, Any] | None,
    draws: Draws,
) -> dict[str, Any]:
    draw = stored is None
    is_member, group = rows.is_member.to_numpy(), rows.group.to_numpy().tolist()

    def measured(scores: Floats, whole_set: bool) -> dict[str, Any]:
        return evaluate(
            *(scores, is_member, group, thresholds, seed),
            n_resamples=resamples if draw else 1,
            whole_set=whole_set,
            with_limits=draw,
            draws=draws,
        )

    metrics = {**measured(rows.score.to_numpy(), draw), "controls": dict(blind)}
    for control, column in CONTROL_COLUMNS.items():
        if column not in rows:
            continue
        scores = rows[column].to_numpy()
        metrics["controls"][control] = measured(scores, False)
        if draw:
            p = base_p_value(scores, is_member.astype(bool), np.array(group, dtype=np.str_), seed)
            metrics["controls"][control]["p_value"] = p
    metrics = dict(with_stored_draws(metrics, stored))
    p_values = {name: control["p_value"] for name, control in metrics["controls"].items()}
    metrics["flags"] = [*metrics["flags"], *(f"control_{name}" for name in holm(p_values))]
    return metrics


def compare_ensemble(
    ensemble: pd.DataFrame, attacks: Mapping[str, pd.DataFrame], seed: int
) -> dict[str, Any]:
    """The ensemble against the best single grey-box attack, from the tables of their scores."""
    evaluated = {name: evaluation_rows(table) for name, table in attacks.items()}
    calibration = {name: table.drop(evaluated[name].index) for name, table in attacks.items()}
    rows = evaluation_rows(ensemble)
    return compare(
        {name: table.score.to_numpy() for name, table in evaluated.items()},
        rows.score.to_numpy(),
        rows.is_member.to_numpy(),
        rows.group.tolist(),
        seed,
        {name: auroc(table.score, table.is_member) for name, table in calibration.items()},
    )


def evaluation_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of scores.parquet that are evaluated, not calibrated on."""
    return table[~table.calibration]


def own_output_metrics(table: pd.DataFrame, own: pd.DataFrame) -> dict[str, Any]:
    """How many of the target's own outputs are called members; `table`: scores.parquet's."""
    rows = evaluation_rows(table)
    calibration = table[table.calibration & ~table.is_member.astype(bool)]
    return called_members(
        own.score.to_numpy(),
        own.group.to_numpy(dtype=np.str_),
        rows.score[rows.is_member].to_numpy(),
        rows.score[~rows.is_member].to_numpy(),
        calibration.score.to_numpy(),
    )
