"""What a stored run's numbers are when they are computed again from what it stands on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.evaluation.score_table import compared, measure, table_metrics
from mia_bench.metrics import auroc, roc_curve
from mia_bench.planning.keys import METRICS_VERSION
from mia_bench.storage.artifacts import MANIFEST
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError
from mia_bench.verification.result import DIFFERS, OK, Finding, changed, verdict
from mia_bench.verification.stored_run import NotHere, StoredRun

SCORE_TOLERANCE = (
    1e-6  # of the spread of the scores: machines and thread counts differ in the last digits
)
VALUE_TOLERANCE = 1e-9
DRAWN_TOLERANCE = (
    0.02  # of bounds and permutation figures, whose random draws a NumPy version may change
)
DRAWN_KEYS = frozenset(("lo", "hi", "p_value", "asr_oracle_permuted", "dataset_test"))
COST_KEYS = frozenset(("nfe_forward", "nfe_declared", "nfe_paid", "nfe_backward", "seconds"))
FEATURE_KEYS = frozenset(("plain", "chosen", "left_out", "compared"))


def check_scores(run: StoredRun) -> Finding:
    """Scores, and what was chosen on the way, from the stored features with the stored options."""
    for folder in run.tables:
        if not folder.is_dir():
            raise NotHere(f"the features {folder.name} are not here any more")
    stored = run.scores
    inputs = run.inputs()
    table, metrics = measure(inputs, run.blind, run.options)
    found = _score_differences(stored, table)
    known = run.metrics
    for name in ("chosen", "plain"):
        found += differing({name: known.get(name)}, {name: metrics.get(name)}, VALUE_TOLERANCE)
    if isinstance(inputs.attack, Ensemble):
        left_out = inputs.attack.left_out(inputs.calibration.table.features)
        found += differing(known.get("left_out"), left_out, name="left_out")
        found += _comparison_differences(run, known)
    else:
        found += _cost_differences(run, known)
    equal = all(
        np.array_equal(stored[name], table[name], equal_nan=True)
        for name in ("score", "score_base")
        if name in stored and name in table
    )
    how = "to the bit" if equal else "to rounding"
    return verdict(found, f"{len(stored):,} scores follow from the features, {how}")


def _score_differences(stored: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    keys = ["calibration", "sample_id"]
    one, other = (t.set_index(keys).sort_index() for t in (stored, table))
    if not one.index.equals(other.index):
        return ["the rows are not those of the features"]
    found = []
    for name in ("score", "score_base"):
        if (name in one) != (name in other):
            found.append(f"{name} is {'not ' * (name not in one)}stored")
        elif name in one:
            spread = float(np.nanmax(other[name]) - np.nanmin(other[name])) or 1.0
            apart = np.abs(one[name].to_numpy() - other[name].to_numpy())
            off = apart > SCORE_TOLERANCE * spread
            off |= np.isnan(one[name].to_numpy()) != np.isnan(other[name].to_numpy())
            if off.any():
                first = int(np.flatnonzero(off)[0])
                found.append(
                    f"{name} of {off.sum()} rows: {one.index[first][1]} "
                    f"{other[name].iloc[first]:.6g}, stored {one[name].iloc[first]:.6g}"
                )
    return found


def _comparison_differences(run: StoredRun, known: Mapping[str, Any]) -> list[str]:
    """The ensemble against single attacks, from all their scores; older runs do not name these."""
    folders = [run.folder.with_name(name) for name in run.manifest.get("compared", [])]
    if not all((folder / MANIFEST).is_file() for folder in folders):
        raise NotHere("an attack that the ensemble was compared with is not here any more")
    if not folders:
        return []
    frames = {run.name: run.scores for run in map(StoredRun, folders)}
    found = compared(run.scores, frames, run.options.eval.seed)
    drawn = DRAWN_TOLERANCE if run.other_versions else VALUE_TOLERANCE
    return differing(known.get("compared"), found, drawn, "compared")


def _cost_differences(run: StoredRun, known: Mapping[str, Any]) -> list[str]:
    """The cost in metrics.json is the one measured when the features were made."""
    asked = run.asked
    measured = read_json(asked.evaluation / MANIFEST)["cost"]
    found = {name: measured[name] for name in ("nfe_paid", "seconds")}
    extra = asked.base if asked.base_calibration is not None else None
    other = read_json(extra / MANIFEST)["cost"] if extra is not None else {}
    for name in ("nfe_forward", "nfe_backward"):
        found[name] = measured[name] + other.get(name, 0)
    return differing({name: known.get(name) for name in found}, found, VALUE_TOLERANCE)


def check_metrics(run: StoredRun) -> Finding:
    """Every figure that follows from scores.parquet."""
    stored = run.metrics
    found = table_metrics(run.scores, run.blind, run.options)
    drawn = DRAWN_TOLERANCE if run.other_versions else VALUE_TOLERANCE
    if _of_older_metrics(run):
        drawn = math.inf
    differs = differing({n: stored.get(n) for n in found}, found, drawn)
    strange = sorted(set(stored) - set(found) - COST_KEYS - FEATURE_KEYS)
    differs += [f"{name} is no entry of this version" for name in strange]
    value = found["auroc"]["value"]
    return verdict(differs, f"AUC {value:.4f} and the rest follow from the scores")


def _of_older_metrics(run: StoredRun) -> bool:
    try:
        version = run.metrics_version
    except MiaError:  # the check of the key says so
        return False
    return version is not None and version < METRICS_VERSION


def check_controls(run: StoredRun) -> Finding:
    """Blind rows in metrics.json are those of a stored control, and follow from its scores."""
    blind = run.blind
    if not blind:
        return OK, "no blind rows were asked for"
    wanted = run.manifest.get("blind")
    folders = sorted((run.outputs / "controls").glob(f"{run.options.data.name}-*"))
    folders = [f for f in folders if wanted is None or f.name == Path(str(wanted)).name]
    folders = [f for f in folders if (f / MANIFEST).is_file()]
    here = [f for f in folders if read_json(f / MANIFEST).get("split") == run.says("split")]
    if not here:
        raise NotHere("the blind rows are not here any more")
    matching = [f for f in here if read_json(f / "controls.json") == blind]
    folder = (matching or here)[0]
    found = changed(folder, read_json(folder / MANIFEST).get("files", {}))
    found += differing(blind, read_json(folder / "controls.json"), VALUE_TOLERANCE)
    scores = pd.read_parquet(folder / "scores.parquet")
    for name, entry in blind.items():
        found += differing(
            {name: entry["auroc"]}, {name: auroc(scores[name], scores.is_member)}, VALUE_TOLERANCE
        )
    return verdict(found, f"{len(blind)} blind rows follow from {folder.name}")


def check_roc(run: StoredRun) -> Finding:
    stored = pd.read_parquet(run.folder / "roc.parquet")
    scores = run.scores
    judged = scores[~scores.calibration]
    found = pd.DataFrame(vars(roc_curve(judged.score.to_numpy(), judged.is_member.to_numpy())))
    same = stored.shape == found.shape and list(stored) == list(found)
    same = same and np.allclose(stored, found, rtol=0, atol=VALUE_TOLERANCE, equal_nan=True)
    return (
        (OK, f"{len(found):,} points") if same else (DIFFERS, "the curve is not that of the scores")
    )


def differing(stored: Any, found: Any, drawn: float = VALUE_TOLERANCE, name: str = "") -> list[str]:
    """'auroc.value 0.81, stored 0.79' for every leaf of two JSON values that differs.

    Values agree within VALUES; below an entry of RANDOM, within `drawn`.
    """
    if isinstance(stored, Mapping) and isinstance(found, Mapping):
        keys = dict.fromkeys((*found, *stored))
        leaves = [(f"{name}.{k}" if name else str(k), stored.get(k), found.get(k)) for k in keys]
        return [words for key, one, other in leaves for words in differing(one, other, drawn, key)]
    tolerance = VALUE_TOLERANCE if DRAWN_KEYS.isdisjoint(name.split(".")) else drawn
    if _close(stored, found, tolerance):
        return []
    return [f"{name} {_show(found)}, stored {_show(stored)}"]


def _close(a: Any, b: Any, tolerance: float) -> bool:
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b)):
        return bool(abs(a - b) <= tolerance * max(1.0, abs(a), abs(b)))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _show(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:60]
