"""From the stored features of a run's rows to its table of scores, and the metrics of that table.

An attack is fitted on calibration rows; their own scores, on which thresholds are fixed, are out of
fold. With eval.complexity, what the complexity of images explains is taken out of the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.attacks import Attack, Calibration, Floats, HasPlainVariant, ReportsFit
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.config.schema import Root
from mia_bench.evaluation.cross_fitting import out_of_fold
from mia_bench.evaluation.inputs import Inputs, OwnTable
from mia_bench.evaluation.labelled_features import LabelledFeatures
from mia_bench.evaluation.score_table import (
    CONTROL_COLUMNS,
    OWN_COLUMNS,
    TableMetrics,
    own_output_metrics,
    score_table_metrics,
)
from mia_bench.metrics import auroc
from mia_bench.metrics.complexity import fit_complexity, out_of_fold_residuals
from mia_bench.metrics.summary import paired_difference
from mia_bench.utils.errors import MiaError


@dataclass(frozen=True)
class RowScores:
    """Scores (N,) of evaluation rows, the same on the control's model, and of calibration rows."""

    evaluation: Floats
    base: Floats | None = None
    calibration: Floats | None = None


def measure(
    rows: Inputs, blind: Mapping[str, Any], options: Root
) -> tuple[pd.DataFrame, TableMetrics]:
    """The table of scores, and every metric but costs. `blind`: the blind baselines' figures."""
    seed, folds = options.eval.seed, options.calibration.folds
    evaluation, calibration = rows.evaluation, rows.calibration
    fitted_on = calibration.calibration(seed)
    parts = RowScores(*_score(rows, fitted_on))
    if not rows.uncalibrated:
        calibration_scores = out_of_fold(rows.attack, calibration, folds, seed)
        calibration_scores = _finite(rows.name, calibration_scores, calibration)
        parts = replace(parts, calibration=calibration_scores)
    fit = None
    if rows.complexity is not None:
        parts, fit = without_complexity(parts, rows, folds, seed)
    first = _frame(evaluation, parts.evaluation).assign(calibration=False)
    if parts.base is not None:
        first[CONTROL_COLUMNS[rows.control]] = parts.base
    table = first
    if parts.calibration is not None:
        second = _frame(calibration, parts.calibration).assign(calibration=True)
        table = pd.concat([first, second], ignore_index=True)
    measured = score_table_metrics(table, blind, seed, options.eval.resamples)
    metrics = dict(measured.metrics)
    # against the plain attack only scores of the same kind say anything, not what is left of them
    other = rows.attack.plain() if isinstance(rows.attack, HasPlainVariant) else None
    if other is not None and fit is None:
        name, plain, remark = other
        plain_scores, _ = _score(replace(rows, attack=plain, base=None), fitted_on)
        metrics["plain"] = compare_plain(
            parts.evaluation, plain_scores, evaluation, seed, name, remark
        )
    metrics["chosen"] = rows.attack.chosen(fitted_on) if isinstance(rows.attack, ReportsFit) else {}
    if fit is not None:
        metrics["chosen"] |= fit
    own = None
    if rows.own_outputs is not None:
        own = _score_own(rows.name, rows.attack, rows.own_outputs, fitted_on)
        metrics["own_outputs"] = own_output_metrics(table, own)
    return table, replace(measured, metrics=metrics, own_outputs=own)


def _score_own(
    name: str, attack: Attack | Ensemble, own: OwnTable, fitted_on: Calibration
) -> pd.DataFrame:
    scores = attack.score(own.table.features, fitted_on)
    if not np.isfinite(scores).all():
        raise MiaError(f"attack {name} gave the target's own outputs scores that are not finite.")
    columns = (own.table.sample_id, own.source_id, own.group, scores)
    return pd.DataFrame(dict(zip(OWN_COLUMNS, columns, strict=True)))


def without_complexity(
    scores: RowScores, rows: Inputs, folds: int, seed: int
) -> tuple[RowScores, dict[str, float]]:
    """What the complexity of images does not explain, and the line that was taken out.

    The line is fitted on the out-of-fold scores of calibration non-members. The control's scores
    lose the same line: they are scores of the same rows.

    Raises:
        MiaError: too few calibration non-members.
    """
    assert rows.complexity is not None
    assert scores.calibration is not None
    names = sorted(rows.complexity[0].table.features)
    evaluated, known = (
        np.stack([part.table.features[name].astype(np.float64) for name in names], axis=1)
        for part in rows.complexity
    )
    is_member, group = rows.calibration.is_member, rows.calibration.group
    try:
        line = fit_complexity(scores.calibration, known, is_member)
        left = out_of_fold_residuals(scores.calibration, known, is_member, group, folds, seed)
    except ValueError as error:
        raise MiaError(f"{rows.name}: {error}. Use larger data.sizes or fewer folds.") from error
    base = None if scores.base is None else line.residuals(scores.base, evaluated)
    slopes = {f"slope_{name}": float(w) for name, w in zip(names, line.slopes, strict=True)}
    fit = {"complexity_r2": line.r2, **slopes}
    return RowScores(line.residuals(scores.evaluation, evaluated), base, left), fit


def compare_plain(
    scores: Floats,
    plain: Floats,
    rows: LabelledFeatures,
    seed: int,
    name: str,
    where_they_agree: str,
) -> dict[str, Any]:
    """The plain attack on the same rows: AUROC, the paired difference to it, and what follows."""
    group = rows.group.tolist()
    difference = paired_difference(scores, plain, rows.is_member, group, seed)["auroc"]
    agree = difference["lo"] is None or difference["lo"] <= 0 <= difference["hi"]
    return {
        "name": name,
        "auroc": auroc(plain, rows.is_member),
        "difference": difference,
        "agree": agree,
        "remark": where_they_agree if agree else "",
    }


def _score(rows: Inputs, fitted_on: Calibration) -> tuple[Floats, Floats | None]:
    """Scores on target and base from one call, because each call fits on the calibration rows."""
    attack, evaluation, base = rows.attack, rows.evaluation, rows.base
    if base is None:
        scores = attack.score(evaluation.table.features, fitted_on)
        return _finite(rows.name, scores, evaluation), None
    both = {
        name: np.concatenate([values, base.table.features[name]])
        for name, values in evaluation.table.features.items()
    }
    scores = attack.score(both, fitted_on)
    n = len(evaluation.table.sample_id)
    return _finite(rows.name, scores[:n], evaluation), _finite(rows.name, scores[n:], base)


def _finite(name: str, scores: Floats, rows: LabelledFeatures) -> Floats:
    bad = ~np.isfinite(scores)
    if bad.any():
        ids = ", ".join(np.array(rows.table.sample_id)[bad][:8])
        raise MiaError(f"attack {name} gave scores that are not finite for {ids}; none are used.")
    return scores


def _frame(rows: LabelledFeatures, scores: Floats) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": rows.table.sample_id,
            "group": rows.group,
            "role": rows.role,
            "is_member": rows.is_member,
            "score": scores,
        }
    )
