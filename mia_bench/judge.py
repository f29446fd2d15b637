"""From a table of scores to its metrics, for whoever made the scores: our runs, or others.

The same protocol as a run: thresholds come from calibration rows alone, everything else from the
evaluation rows, with intervals that resample near-duplicate groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.bootstrap import evaluate
from mia_bench.errors import MiaError
from mia_bench.metrics import Roc, Thresholds, fit_thresholds, roc_curve

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
