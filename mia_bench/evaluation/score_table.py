"""From a table of scores to its metrics, for whoever made the scores: our runs, or others.

The same protocol as a run: thresholds come from calibration rows alone, everything else from the
evaluation rows, with intervals that resample near-duplicate groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.attacks import Calibration, Floats, HasPlainVariant, ReportsFit
from mia_bench.config.schema import Root
from mia_bench.evaluation.cross_fitting import out_of_fold
from mia_bench.evaluation.ensemble_comparison import compare
from mia_bench.evaluation.inputs import Inputs
from mia_bench.evaluation.labelled_features import LabelledFeatures
from mia_bench.metrics import Roc, Thresholds, auroc, fit_thresholds, roc_curve
from mia_bench.metrics.dataset_inference import dataset_test
from mia_bench.metrics.permutation import base_p_value, holm
from mia_bench.metrics.summary import evaluate, paired_difference
from mia_bench.utils.errors import MiaError

COLUMNS = ("sample_id", "group", "is_member", "calibration", "score")
UNCALIBRATED = Thresholds(0.0, None, 0, "no calibration rows: no threshold can be fixed honestly")


@dataclass(frozen=True)
class Judged:
    """`metrics` as `bootstrap.evaluate` gives them; `rows` are the evaluation rows judged."""

    metrics: dict[str, Any]
    roc: Roc
    rows: pd.DataFrame


def judge(table: pd.DataFrame, seed: int, resamples: int) -> Judged:
    """Metrics of a table with the columns of `COLUMNS`; rows with `calibration` fix thresholds.

    Without calibration rows `asr`, `tpr_calibrated` and `realised_fpr` are null, with the reason.

    Raises:
        MiaError: a column is missing, one class only, scores that are not finite, a sample id
            twice among the evaluation rows, a group that holds both classes.
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise MiaError(f"the scores have no column {', '.join(missing)}")
    marked = table["calibration"].to_numpy(dtype=bool)
    rows, known = table[~marked].reset_index(drop=True), table[marked]
    if rows.sample_id.duplicated().any():
        twice = rows.sample_id[rows.sample_id.duplicated()]
        raise MiaError(f"{len(twice)} sample ids occur twice, the first is {twice.iloc[0]!r}")
    try:
        thresholds = UNCALIBRATED if known.empty else _thresholds(known)
        score, truth = rows.score.to_numpy(), rows.is_member.to_numpy()
        found = evaluate(score, truth, rows.group.tolist(), thresholds, seed, resamples)
        roc = roc_curve(score, truth)
    except ValueError as error:
        raise MiaError(str(error)) from error
    if known.empty:
        found["asr"] = {"value": None, "lo": None, "hi": None, "reason": UNCALIBRATED.reason}
        found["thresholds"]["tau_acc"] = None
        found["flags"] = [f for f in found["flags"] if not f.endswith("tau_fpr01")]
        found["flags"].append("uncalibrated")
    return Judged(found, roc, rows)


def _thresholds(known: pd.DataFrame) -> Thresholds:
    try:
        return fit_thresholds(known.score.to_numpy(), known.is_member.to_numpy())
    except ValueError as error:
        raise MiaError(f"calibration rows: {error}") from error


def differences(stored: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Where recomputed figures leave the stored ones, for people: 'auroc 0.81, stored 0.79'.

    Values must agree to rounding. Bounds may move a little with the library that draws them.
    """
    said = []
    for name, entry in _entries(found).items():
        other = _entries(stored).get(name)
        if not isinstance(other, dict):
            said.append(f"{name} is not stored")
            continue
        for end, tolerance in (("value", 1e-9), ("lo", 0.01), ("hi", 0.01)):
            a, b = entry.get(end), other.get(end)
            if (a is None) != (b is None) or (a is not None and not _close(a, b, tolerance)):
                said.append(f"{name} {end} {_show(a)}, stored {_show(b)}")
    return said


def with_bounds(found: dict[str, Any], stored: dict[str, Any]) -> None:
    """Give the recomputed figures the bounds that are stored for them, where there are any."""
    for name, entry in _entries(found).items():
        other = _entries(stored).get(name)
        for end in ("lo", "hi"):
            entry[end] = other.get(end) if isinstance(other, dict) else None


def _entries(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    flat = {n: metrics.get(n) for n in ("auroc", "asr", "tpr_calibrated", "realised_fpr")}
    flat |= {f"TPR at FPR {fpr}": entry for fpr, entry in metrics.get("tpr_at_fpr", {}).items()}
    return {name: entry for name, entry in flat.items() if entry is not None}


def _close(a: Any, b: Any, tolerance: float) -> bool:
    try:
        return bool(np.isclose(a, b, rtol=0, atol=tolerance))
    except TypeError:
        return False


def _show(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else str(value)


def compared(
    together: pd.DataFrame, frames: Mapping[str, pd.DataFrame], seed: int
) -> dict[str, Any]:
    """The ensemble against the best single grey-box attack, from the tables of their scores."""
    judged = {name: evaluation_rows(frame) for name, frame in frames.items()}
    known = {name: frame.drop(judged[name].index) for name, frame in frames.items()}
    rows = evaluation_rows(together)
    return compare(
        {name: frame.score.to_numpy() for name, frame in judged.items()},
        rows.score.to_numpy(),
        rows.is_member.to_numpy(),
        rows.group.tolist(),
        seed,
        {name: auroc(frame.score, frame.is_member) for name, frame in known.items()},
    )


def evaluation_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of scores.parquet that were judged, not calibrated on."""
    return frame[~frame.calibration]


def measure(
    rows: Inputs, controls: Mapping[str, Any], options: Root
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of scores, and every metric but costs. `controls`: of the blind rows."""
    seed, folds = options.eval.seed, options.calibration.folds
    evaluation, calibration = rows.evaluation, rows.calibration
    fitted_on = calibration.calibration(seed)
    out = out_of_fold(rows.attack, calibration, folds, seed)
    known_scores = _finite(rows.name, out, calibration)
    scores, base_scores = _score(rows, fitted_on)
    first = _frame(evaluation, scores).assign(calibration=False)
    if base_scores is not None:
        first["score_base"] = base_scores
    second = _frame(calibration, known_scores).assign(calibration=True)
    table = pd.concat([first, second], ignore_index=True)
    metrics = table_metrics(table, controls, options)
    if isinstance(rows.attack, HasPlainVariant) and (other := rows.attack.plain()) is not None:
        plain_scores, _ = _score(replace(rows, attack=other[1], base=None), fitted_on)
        metrics["plain"] = _beside(scores, plain_scores, evaluation, seed, other[0], other[2])
    metrics["chosen"] = rows.attack.chosen(fitted_on) if isinstance(rows.attack, ReportsFit) else {}
    return table, metrics


def table_metrics(
    table: pd.DataFrame, controls: Mapping[str, Any], options: Root
) -> dict[str, Any]:
    """What follows from scores.parquet alone, and from the p-values of the blind `controls`."""
    seed, resamples = options.eval.seed, options.eval.resamples
    judged = evaluation_rows(table)
    known = table.drop(judged.index)
    is_member, group = judged.is_member.to_numpy(dtype=bool), judged.group.to_numpy(dtype=object)
    thresholds = fit_thresholds(known.score.to_numpy(), known.is_member.to_numpy(dtype=bool))

    def measured(values: Floats) -> dict[str, Any]:
        return evaluate(values, is_member, group.tolist(), thresholds, seed, resamples)

    scores = judged.score.to_numpy()
    metrics = {**measured(scores), "controls": dict(controls)}
    if "score_base" in judged:
        base = judged.score_base.to_numpy()
        p = base_p_value(base, is_member, group.astype(np.str_), seed)
        metrics["controls"]["base"] = measured(base) | {"p_value": p}
    p_values = {name: entry["p_value"] for name, entry in metrics["controls"].items()}
    metrics["flags"] = [*metrics["flags"], *(f"control_{name}" for name in holm(p_values))]
    metrics["dataset_test"] = dataset_test(scores, is_member, group.tolist(), seed)
    return metrics


def _beside(
    scores: Floats,
    plain: Floats,
    known: LabelledFeatures,
    seed: int,
    name: str,
    where_they_agree: str,
) -> dict[str, Any]:
    """The plain attack on the same rows: AUROC, the paired difference to it, and what follows."""
    difference = paired_difference(scores, plain, known.is_member, known.group.tolist(), seed)
    apart = difference["auroc"]
    agree = apart["lo"] is None or apart["lo"] <= 0 <= apart["hi"]
    return {
        "name": name,
        "auroc": auroc(plain, known.is_member),
        "difference": apart,
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


def _finite(name: str, scores: Floats, known: LabelledFeatures) -> Floats:
    bad = ~np.isfinite(scores)
    if bad.any():
        ids = ", ".join(np.array(known.table.sample_id)[bad][:8])
        raise MiaError(f"attack {name} gave scores that are not finite for {ids}; none are used.")
    return scores


def _frame(known: LabelledFeatures, scores: Floats) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": known.table.sample_id,
            "group": known.group,
            "role": known.role,
            "is_member": known.is_member,
            "score": scores,
        }
    )
