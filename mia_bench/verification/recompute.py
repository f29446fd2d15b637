"""What a stored run's numbers are when they are computed again from what it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.evaluation.attack_scores import measure
from mia_bench.evaluation.controls.blind_baselines import BLIND_FILE
from mia_bench.evaluation.json_differences import (
    OTHER_METRICS,
    OTHER_VERSIONS,
    SAME_VERSIONS,
    Tolerances,
    json_differences,
)
from mia_bench.evaluation.score_table import (
    CONTROL_COLUMNS,
    OWN_COLUMNS,
    TableMetrics,
    compare_ensemble,
    evaluation_rows,
    score_table_metrics,
)
from mia_bench.metrics import auroc, registry, roc_curve
from mia_bench.planning.keys import METRICS_VERSION
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete
from mia_bench.storage.index import controls_folders
from mia_bench.storage.stored_files import (
    Unreadable,
    changed_files,
    read_controls,
    read_frame,
    read_manifest,
)
from mia_bench.utils.errors import MiaError
from mia_bench.verification.result import DIFFERS, OK, Finding, verdict
from mia_bench.verification.stored_inputs import inputs_of
from mia_bench.verification.stored_run import StoredRun
from mia_bench.verification.untrusted import NotHere

# of the spread of the scores: machines and thread counts differ in the last digits
SCORE_TOLERANCE = 1e-6
NOT_THE_CURVE = "the curve is not that of the scores"
COST_KEYS = frozenset(("nfe_forward", "nfe_declared", "nfe_paid", "nfe_backward", "seconds"))
FEATURE_KEYS = frozenset(("plain", "chosen", "left_out", "compared", "own_outputs"))


def check_scores(run: StoredRun) -> Finding:
    """Scores, and what was chosen on the way, from the stored features with the stored options."""
    for folder in filter(None, (*run.tables, run.own_table)):
        if not folder.is_dir():
            raise NotHere(f"the features {folder.name} are not here any more")
    stored = run.scores
    inputs = inputs_of(run)
    table, measured = measure(inputs, run.blind, run.options)
    differences = _score_differences(stored, table)
    stored_metrics, metrics = run.metrics, measured.metrics
    if measured.own_outputs is not None:
        differences += _own_differences(run.own_scores, measured.own_outputs)
    for name in ("chosen", "plain", "own_outputs"):
        differences += json_differences(stored_metrics.get(name), metrics.get(name), name=name)
    if isinstance(inputs.attack, Ensemble):
        left_out = inputs.attack.left_out(inputs.calibration.table.features)
        differences += json_differences(stored_metrics.get("left_out"), left_out, name="left_out")
        differences += _comparison_differences(run, stored_metrics)
    else:
        differences += _cost_differences(run, stored_metrics)
    equal = all(
        np.array_equal(stored[name], table[name], equal_nan=True)
        for name in ("score", *CONTROL_COLUMNS.values())
        if name in stored and name in table
    )
    how = "to the bit" if equal else "to rounding"
    return verdict(differences, f"{len(stored):,} scores follow from the features, {how}")


def _score_differences(stored: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    keys = ["calibration", "sample_id"]
    one, other = (t.set_index(keys).sort_index() for t in (stored, table))
    if not one.index.equals(other.index):
        return ["the rows are not those of the features"]
    differences = []
    for name in ("score", *CONTROL_COLUMNS.values()):
        if (name in one) != (name in other):
            differences.append(f"{name} is {'not ' * (name not in one)}stored")
        elif name in one:
            spread = float(np.nanmax(other[name]) - np.nanmin(other[name])) or 1.0
            distance = np.abs(one[name].to_numpy() - other[name].to_numpy())
            off = distance > SCORE_TOLERANCE * spread
            off |= np.isnan(one[name].to_numpy()) != np.isnan(other[name].to_numpy())
            if off.any():
                first = int(np.flatnonzero(off)[0])
                differences.append(
                    f"{name} of {off.sum()} rows: {one.index[first][1]} "
                    f"{other[name].iloc[first]:.6g}, stored {one[name].iloc[first]:.6g}"
                )
    return differences


def _own_differences(stored: pd.DataFrame, own: pd.DataFrame) -> list[str]:
    """Where the scores of the target's own outputs are not those of its features."""
    if list(stored) != list(OWN_COLUMNS) or stored.group.tolist() != own.group.tolist():
        return [f"{layout.OWN_OUTPUTS_FILE} has other columns or groups than the features give"]
    spread = float(np.ptp(own.score)) or 1.0
    off = np.abs(stored.score.to_numpy() - own.score.to_numpy()) > SCORE_TOLERANCE * spread
    return [f"scores of {off.sum()} of the target's own outputs"] if off.any() else []


def _comparison_differences(run: StoredRun, stored: Mapping[str, Any]) -> list[str]:
    """The ensemble against single attacks, from all their scores; older runs do not name these."""
    refs = [run.ref.sibling(name) for name in run.manifest.get("compared", [])]
    if not all(is_complete(ref.folder) for ref in refs):
        raise NotHere("an attack that the ensemble was compared with is not here any more")
    if not refs:
        return []
    tables = {ref.attack: StoredRun(ref).scores for ref in refs}
    comparison = compare_ensemble(run.scores, tables, run.options.eval.seed)
    tolerances = OTHER_VERSIONS if run.other_versions else SAME_VERSIONS
    return json_differences(stored.get("compared"), comparison, tolerances, "compared")


def _cost_differences(run: StoredRun, stored: Mapping[str, Any]) -> list[str]:
    """The cost in metrics.json is the one measured when the features were made."""
    tables = run.feature_tables
    measured = _cost_of(tables.evaluation)
    cost = {name: measured[name] for name in ("nfe_paid", "seconds")}
    subtracted = tables.base if tables.base_calibration is not None else None
    other = {} if subtracted is None else _cost_of(subtracted)
    for name in ("nfe_forward", "nfe_backward"):
        cost[name] = measured[name] + other.get(name, 0)
    return json_differences({name: stored.get(name) for name in cost}, cost)


def _cost_of(folder: Path) -> Mapping[str, Any]:
    """What the features in `folder` cost. Raises MiaError where the manifest does not say."""
    cost: Mapping[str, Any] = read_manifest(folder).get("cost") or {}
    if lacking := {"nfe_paid", "seconds", "nfe_forward", "nfe_backward"} - set(cost):
        raise MiaError(f"the manifest of {folder.name} lacks the cost {', '.join(sorted(lacking))}")
    return cost


def check_metrics(run: StoredRun) -> Finding:
    """Every figure that follows from scores.parquet."""
    metrics = recomputed_metrics(run).metrics
    value = registry.value(metrics, "auroc")
    return verdict(
        metric_differences(run, metrics), f"AUC {value:.4f} and the rest follow from the scores"
    )


def recomputed_metrics(run: StoredRun, draw: bool = True) -> TableMetrics:
    """What follows from scores.parquet; without `draw`, bounds and p-values are the stored ones."""
    evaluation = run.config["eval"]
    seed, resamples = int(evaluation["seed"]), int(evaluation["resamples"])
    return score_table_metrics(
        run.scores, run.blind, seed, resamples, None if draw else run.metrics
    )


def metric_differences(run: StoredRun, metrics: Mapping[str, Any]) -> list[str]:
    """Where metrics.json leaves what follows from the scores: what verify and a report say."""
    stored = run.metrics
    unknown = sorted(set(stored) - set(metrics) - COST_KEYS - FEATURE_KEYS)
    unknown_entries = [f"{name} is no entry of this version" for name in unknown]
    same = {name: stored.get(name) for name in metrics}
    # versions are read only where something differs: it takes the split, which may be long
    differences = json_differences(same, metrics)
    if differences and (tolerances := _tolerances(run)) != SAME_VERSIONS:
        differences = json_differences(same, metrics, tolerances)
    return differences + unknown_entries


def _tolerances(run: StoredRun) -> Tolerances:
    """What may differ between the run's versions of packages and of the metrics and those here."""
    try:
        version = run.metrics_version
    except MiaError:  # the check of the key says so
        version = None
    if version is not None and version < METRICS_VERSION:
        return OTHER_METRICS
    return OTHER_VERSIONS if run.other_versions else SAME_VERSIONS


def check_controls(run: StoredRun) -> Finding:
    """Blind rows in metrics.json are those of a stored control, and follow from its scores."""
    blind = run.blind
    if not blind:
        return OK, "no blind rows were asked for"
    differences, names = [], []
    for rows in _by_folder(blind):
        folder = _controls_folder(run, rows)
        names.append(folder.name)
        differences += changed_files(folder, read_manifest(folder))
        differences += json_differences(rows, read_controls(folder))
        scores = read_frame(folder / layout.SCORES_FILE)
        for name, entry in rows.items():
            value = auroc(scores[name], scores.is_member)
            differences += json_differences(entry["auroc"], value, name=name)
    return verdict(differences, f"{len(blind)} blind rows follow from {', '.join(names)}")


def _by_folder(blind: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blind rows that lie in one folder each: the one of files is apart from the others."""
    parts = ({n: e for n, e in blind.items() if (n == BLIND_FILE) == files} for files in (0, 1))
    return [part for part in parts if part]


def _controls_folder(run: StoredRun, blind: Mapping[str, Any]) -> Path:
    """Where blind rows of a run lie: of its data and split, and if possible with its figures.

    Raises:
        NotHere: there are none.
    """
    wanted = run.manifest.get("blind")
    folders = [
        folder
        for folder in controls_folders(run.outputs)
        if layout.split_name(folder.name)[0] == run.options.data.name
        and (wanted is None or folder.name == Path(wanted).name)
    ]
    same_split = [folder for folder in folders if _split_of(folder) == run.entry("split")]
    stored = {folder: _controls_of(folder) for folder in same_split}
    candidates = [f for f, rows in stored.items() if rows is None or set(rows) & set(blind)]
    if not candidates:
        raise NotHere("the blind rows are not here any more")
    matching = [folder for folder in candidates if stored[folder] == blind]
    return (matching or candidates)[0]


def _split_of(folder: Path) -> str | None:
    try:
        return read_manifest(folder).get("split")
    except Unreadable:  # of another run: the one that has a split is what is looked for
        return None


def _controls_of(folder: Path) -> Mapping[str, Any] | None:
    try:
        return read_controls(folder)
    except Unreadable:
        return None


def check_roc(run: StoredRun) -> Finding:
    """The curve in roc.parquet is that of the scores."""
    stored = read_frame(run.folder / layout.ROC_FILE)
    rows = evaluation_rows(run.scores)
    roc = roc_curve(rows.score.to_numpy(), rows.is_member.to_numpy())
    curve = pd.DataFrame(vars(roc))
    same = stored.shape == curve.shape and list(stored) == list(curve)
    same = same and np.allclose(stored, curve, rtol=0, atol=SAME_VERSIONS.value, equal_nan=True)
    return (OK, f"{len(curve):,} points") if same else (DIFFERS, NOT_THE_CURVE)
