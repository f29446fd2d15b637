"""From stored features to scores, metrics and files of one cell; no model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.attacks import Access, Attack, Calibration, Doubted, Fitted, Floats
from mia_bench.bootstrap import evaluate, paired_difference
from mia_bench.cells import EVALUATED, Cell, Questions
from mia_bench.columns import columns
from mia_bench.config import Root
from mia_bench.controls import base_p_value, blind_rows, holm, to_json
from mia_bench.dataset_test import dataset_test
from mia_bench.ensemble import Ensemble, compare
from mia_bench.errors import MiaError
from mia_bench.features import Table
from mia_bench.known import MEMBERS, Known, calibrating, known_rows, out_of_fold
from mia_bench.metrics import auroc, fit_thresholds, roc_curve
from mia_bench.plan import Plan
from mia_bench.store import checked_manifest, read_json, write_json, write_yaml


@dataclass(frozen=True)
class Inputs:
    """What a cell is scored from: rows to judge, rows to calibrate on, and the control's rows."""

    name: str
    attack: Attack | Ensemble
    evaluation: Known
    calibration: Known
    base: Known | None = None


def score_cell(plan: Plan, cell: Cell, folder: Path) -> dict[str, Any]:
    """Write config, scores, ROC and metrics into `folder`; return the facts of the manifest."""
    _measure(plan, _inputs(plan, cell), _cost(cell), folder)
    nodes: Mapping[str, Any] = plan.experiment.resolved["attack"]
    node = nodes.get(cell.name) or nodes[cell.name.removesuffix("-base")]
    _write_config(plan, {cell.name: node}, folder)
    return _about(plan, cell.name, cell.attack.access, [q.folder for q in cell.questions()])


def score_ensemble(plan: Plan, folder: Path) -> dict[str, Any]:
    """One classifier over the features of every grey-box attack, fitted on shadow rows."""
    cells = plan.grey_box_cells
    together = combine([_inputs(plan, cell) for cell in cells])
    tables = {cell.evaluation.folder: _cost(cell) for cell in cells}
    names = ("nfe_forward", "nfe_backward", "seconds")
    cost = {name: sum(entry[name] for entry in tables.values()) for name in names}
    cost["nfe_forward"] = sum(entry["nfe_paid"] for entry in tables.values())
    metrics = _measure(plan, together, cost, folder)
    metrics["left_out"] = Ensemble().left_out(together.calibration.table.features)
    scores = pd.read_parquet(folder / "scores.parquet")
    frames = {c.name: pd.read_parquet(c.folder / "scores.parquet") for c in plan.grey_box}
    metrics["compared"] = compared(scores, frames, plan.experiment.options.eval.seed)
    write_json(folder / "metrics.json", metrics)
    _write_config(plan, plan.experiment.resolved["attack"], folder)
    folders = [q.folder for cell in cells for q in cell.questions()]
    about = _about(plan, "ensemble", Access.GREY_BOX, folders)
    return about | {
        "cells": [cell.folder.name for cell in cells],
        "compared": [cell.folder.name for cell in plan.grey_box],
    }


def combine(cells: Sequence[Inputs]) -> Inputs:
    """The features of several cells side by side, for the ensemble."""
    evaluation, calibration = (
        replace(rows[0], table=Table(rows[0].table.sample_id, columns(tables)))
        for rows, tables in (
            (known, {i.name: k.table.features for i, k in zip(cells, known, strict=True)})
            for known in ([i.evaluation for i in cells], [i.calibration for i in cells])
        )
    )
    return Inputs("ensemble", Ensemble(), evaluation, calibration)


def compared(
    together: pd.DataFrame, frames: Mapping[str, pd.DataFrame], seed: int
) -> dict[str, Any]:
    """The ensemble against the best single grey-box attack, from the tables of their scores."""
    judged = {name: _evaluated(frame) for name, frame in frames.items()}
    known = {name: frame.drop(judged[name].index) for name, frame in frames.items()}
    rows = _evaluated(together)
    return compare(
        {name: frame.score.to_numpy() for name, frame in judged.items()},
        rows.score.to_numpy(),
        rows.is_member.to_numpy(),
        rows.group.tolist(),
        seed,
        {name: auroc(frame.score, frame.is_member) for name, frame in known.items()},
    )


def _evaluated(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of scores.parquet that were judged, not calibrated on."""
    return frame[~frame.calibration]


def _measure(plan: Plan, rows: Inputs, cost: Mapping[str, float], folder: Path) -> dict[str, Any]:
    options = plan.experiment.options
    controls = read_json(plan.blind / "controls.json") if plan.blind else {}
    table, metrics = measure(rows, controls, options)
    metrics = {**metrics, **cost}
    table.to_parquet(folder / "scores.parquet", index=False)
    judged = _evaluated(table)
    roc = roc_curve(judged.score.to_numpy(), judged.is_member.to_numpy())
    pd.DataFrame(vars(roc)).to_parquet(folder / "roc.parquet", index=False)
    write_json(folder / "metrics.json", metrics)
    return metrics


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
    metrics = metrics_of(table, controls, options)
    if isinstance(rows.attack, Doubted) and (other := rows.attack.plain()) is not None:
        plain_scores, _ = _score(replace(rows, attack=other[1], base=None), fitted_on)
        metrics["plain"] = _beside(scores, plain_scores, evaluation, seed, other[0], other[2])
    metrics["chosen"] = rows.attack.chosen(fitted_on) if isinstance(rows.attack, Fitted) else {}
    return table, metrics


def metrics_of(table: pd.DataFrame, controls: Mapping[str, Any], options: Root) -> dict[str, Any]:
    """What follows from scores.parquet alone, and from the p-values of the blind `controls`."""
    seed, resamples = options.eval.seed, options.eval.resamples
    judged = _evaluated(table)
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
    scores: Floats, plain: Floats, known: Known, seed: int, name: str, where_they_agree: str
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


def _write_config(plan: Plan, attack: Mapping[str, Any], folder: Path) -> None:
    resolved = {**plan.experiment.resolved, "attack": dict(attack)}
    write_yaml(folder / "config.yaml", resolved)


def score_blind(plan: Plan, folder: Path) -> dict[str, Any]:
    """Write controls.json and the blind scores: classifiers on the evaluation rows' own labels."""
    seed, rows = plan.experiment.options.eval.seed, plan.rows(*EVALUATED)
    role = {row.sample_id: row for row in plan.split.table}
    is_member = np.array([role[sid].role in MEMBERS for sid in rows])
    group = np.array([role[sid].group for sid in rows])
    items = [plan.items[sid] for sid in rows]
    resolution = plan.experiment.model.resolution
    encoder = plan.experiment.options.eval.blind_encoder
    found = blind_rows(items, is_member, group, resolution, seed, encoder)
    frame = pd.DataFrame({"sample_id": rows, "group": group, "is_member": is_member})
    frame.assign(**{row.name: row.scores for row in found}).to_parquet(folder / "scores.parquet")
    write_json(folder / "controls.json", to_json(found))
    return {"split": plan.split.content_hash, "fitted_on": "evaluation labels, as controls"}


def _inputs(plan: Plan, cell: Cell) -> Inputs:
    evaluation, calibration = _known(plan, cell.evaluation), _known(plan, cell.calibration)
    base = _known(plan, cell.base) if cell.base is not None else None
    subtracted = None
    if cell.base_calibration is not None:
        subtracted = _known(plan, cell.base_calibration)
    halves = cell.calibration.folder == cell.evaluation.folder
    every = Tables(evaluation, calibration, base, subtracted, halves)
    return arrange(cell.name, cell.attack, every, plan.experiment.options.data.split_seed)


@dataclass(frozen=True)
class Tables:
    """The feature tables of a cell. `halves`: evaluation and calibration are one table, of which
    calibration gets half; `base_calibration`: base features are subtracted before any fit."""

    evaluation: Known
    calibration: Known
    base: Known | None
    base_calibration: Known | None
    halves: bool


def arrange(name: str, attack: Attack, tables: Tables, split_seed: int) -> Inputs:
    """What a cell is scored from."""
    evaluation, calibration, base = tables.evaluation, tables.calibration, tables.base
    if tables.base_calibration is not None and base is not None:
        evaluation = evaluation.minus(base)
        calibration = calibration.minus(tables.base_calibration)
        base = None
    if tables.halves:
        half = calibrating(evaluation.group, split_seed)
        kept, known = np.flatnonzero(~half), np.flatnonzero(half)
        calibration = evaluation.take(known)
        base = base.take(kept) if base is not None else None
        evaluation = evaluation.take(kept)
    return Inputs(name, attack, evaluation, calibration, base)


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


def _known(plan: Plan, questions: Questions) -> Known:
    checked_manifest(questions.folder)
    return known_rows(questions.folder / "features.parquet", questions.sample_id, plan.split)


def _finite(name: str, scores: Floats, known: Known) -> Floats:
    bad = ~np.isfinite(scores)
    if bad.any():
        ids = ", ".join(np.array(known.table.sample_id)[bad][:8])
        raise MiaError(f"attack {name} gave scores that are not finite for {ids}; none are used.")
    return scores


def _frame(known: Known, scores: Floats) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": known.table.sample_id,
            "group": known.group,
            "role": known.role,
            "is_member": known.is_member,
            "score": scores,
        }
    )


def _cost(cell: Cell) -> dict[str, float]:
    """U-Net evaluations per evaluated sample, and seconds of the predict pass, as measured."""
    about = read_json(cell.evaluation.folder / "manifest.json")["cost"]
    forward, backward = about["nfe_forward"], about["nfe_backward"]
    if cell.base_calibration is not None and cell.base is not None:
        other = read_json(cell.base.folder / "manifest.json")["cost"]
        forward, backward = forward + other["nfe_forward"], backward + other["nfe_backward"]
    return {
        "nfe_forward": forward,
        "nfe_declared": cell.attack.nfe[0],
        "nfe_paid": about["nfe_paid"],
        "nfe_backward": backward,
        "seconds": about["seconds"],
    }


def _about(plan: Plan, name: str, access: Access, folders: Sequence[Path]) -> dict[str, Any]:
    return {
        "attack": name,
        "access": access.name.lower(),
        "data": plan.split.source,
        "split": plan.split.content_hash,
        "features": sorted({str(folder.relative_to(plan.outputs)) for folder in folders}),
        "models": {"target": plan.target.key, "shadow": plan.shadow.key if plan.shadow else None},
        "intervals": "95 %, conditional on this target, shadow and calibration",
    }
