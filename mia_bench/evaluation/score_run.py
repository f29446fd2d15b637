"""From stored features to scores, metrics and files of one run; no model is queried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mia_bench.attacks import Access, HasRemark
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.data.source import Item
from mia_bench.evaluation.attack_scores import measure
from mia_bench.evaluation.controls.blind_baselines import Blind, blind_file_row, blind_rows, to_json
from mia_bench.evaluation.controls.file_features import file_features
from mia_bench.evaluation.inputs import Inputs, combine, load_inputs
from mia_bench.evaluation.labelled_features import MEMBER_ROLES
from mia_bench.evaluation.score_table import compare_ensemble
from mia_bench.metrics import Bools
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import EVALUATION_ROLES, RunSpec
from mia_bench.storage import layout
from mia_bench.storage.artifacts import get_or_build
from mia_bench.storage.files import read_json, write_json, write_yaml


def score_run(plan: Plan, run: RunSpec, folder: Path) -> dict[str, Any]:
    """Write config, scores, ROC and metrics into `folder`; return the facts of the manifest."""
    _measure(plan, load_inputs(plan, run), _cost(run), folder)
    node = plan.experiment.resolved["attack"][run.attack_name]
    _write_config(plan, {run.name: node}, folder)
    about = _about(plan, run.name, run.attack.access, [q.folder for q in run.scored_specs()])
    if run.complexity is not None:
        about["complexity"] = [str(q.folder.relative_to(plan.outputs)) for q in run.complexity]
    if run.own_outputs is not None and plan.own_outputs is not None:
        folders = {"features": run.own_outputs.folder, "pictures": plan.own_outputs.folder}
        about["own_outputs"] = {
            name: str(path.relative_to(plan.outputs)) for name, path in folders.items()
        }
    return about | ({"remark": run.attack.remark} if isinstance(run.attack, HasRemark) else {})


def score_ensemble(plan: Plan, folder: Path) -> dict[str, Any]:
    """One classifier over the features of every grey-box attack, fitted on shadow rows."""
    runs = plan.ensemble_runs
    together = combine([load_inputs(plan, run) for run in runs])
    tables = {run.evaluation.folder: _cost(run) for run in runs}
    names = ("nfe_forward", "nfe_backward", "seconds")
    cost = {name: sum(entry[name] for entry in tables.values()) for name in names}
    cost["nfe_forward"] = sum(entry["nfe_paid"] for entry in tables.values())
    metrics = _measure(plan, together, cost, folder)
    metrics["left_out"] = Ensemble().left_out(together.calibration.table.features)
    scores = pd.read_parquet(folder / layout.SCORES_FILE)
    frames = {c.name: pd.read_parquet(c.folder / layout.SCORES_FILE) for c in plan.grey_box}
    metrics["compared"] = compare_ensemble(scores, frames, plan.experiment.options.eval.seed)
    write_json(folder / layout.METRICS_FILE, metrics)
    _write_config(plan, plan.experiment.resolved["attack"], folder)
    folders = [q.folder for run in runs for q in run.scored_specs()]
    about = _about(plan, "ensemble", Access.GREY_BOX, folders)
    return about | {
        "cells": [run.folder.name for run in runs],
        "compared": [run.folder.name for run in plan.grey_box],
    }


def _measure(plan: Plan, rows: Inputs, cost: Mapping[str, float], folder: Path) -> dict[str, Any]:
    options = plan.experiment.options
    table, measured = measure(rows, blind_controls(plan), options)
    metrics = {**measured.metrics, **cost}
    table.to_parquet(folder / layout.SCORES_FILE, index=False)
    if measured.own_outputs is not None:
        measured.own_outputs.to_parquet(folder / layout.OWN_OUTPUTS_FILE, index=False)
    pd.DataFrame(vars(measured.roc)).to_parquet(folder / layout.ROC_FILE, index=False)
    write_json(folder / layout.METRICS_FILE, metrics)
    return metrics


def _write_config(plan: Plan, attack: Mapping[str, Any], folder: Path) -> None:
    resolved = {**plan.experiment.resolved, "attack": dict(attack)}
    write_yaml(folder / layout.CONFIG_FILE, resolved)


def build_blind(plan: Plan) -> dict[str, Any]:
    """The figures of every blind row of a plan by name, made where they are missing."""
    if plan.blind is not None:
        get_or_build(plan.blind, partial(score_blind, plan))
    if plan.blind_file is not None:
        get_or_build(plan.blind_file, partial(score_blind_file, plan))
    return blind_controls(plan)


def blind_controls(plan: Plan) -> dict[str, Any]:
    """The figures of every blind row of a plan by name, as stored."""
    folders = [folder for folder in (plan.blind, plan.blind_file) if folder is not None]
    stored = [read_json(folder / layout.CONTROLS_FILE) for folder in folders]
    return {name: entry for controls in stored for name, entry in controls.items()}


def score_blind(plan: Plan, folder: Path) -> dict[str, Any]:
    """Write controls.json and the blind scores: classifiers on the evaluation rows' own labels."""
    rows = _EvaluationRows.of(plan)
    resolution = plan.experiment.model.resolution
    encoder = plan.experiment.options.eval.blind_encoder
    labels = (rows.is_member, rows.group)
    controls = blind_rows(rows.items, *labels, resolution, rows.seed, encoder)
    return _write_blind(plan, rows, controls, folder)


def score_blind_file(plan: Plan, folder: Path) -> dict[str, Any]:
    """The same of blind_file, which looks at the pictures' files alone."""
    rows = _EvaluationRows.of(plan)
    files = file_features(rows.items)
    control = blind_file_row(files, rows.is_member, rows.group, rows.seed)
    return _write_blind(plan, rows, [control], folder)


@dataclass(frozen=True)
class _EvaluationRows:
    """What blind rows are made from: items, labels (N,) and groups (N,) of the evaluation rows."""

    items: list[Item]
    is_member: Bools
    group: npt.NDArray[np.str_]
    seed: int

    @classmethod
    def of(cls, plan: Plan) -> _EvaluationRows:
        rows = plan.rows(*EVALUATION_ROLES)
        role = {row.sample_id: row for row in plan.split.table}
        is_member = np.array([role[sid].role in MEMBER_ROLES for sid in rows])
        group = np.array([role[sid].group for sid in rows])
        return cls(plan.items_of(rows), is_member, group, plan.experiment.options.eval.seed)


def _write_blind(
    plan: Plan, rows: _EvaluationRows, controls: Sequence[Blind], folder: Path
) -> dict[str, Any]:
    ids = [item.sample_id for item in rows.items]
    frame = pd.DataFrame({"sample_id": ids, "group": rows.group, "is_member": rows.is_member})
    frame.assign(**{row.name: row.scores for row in controls}).to_parquet(
        folder / layout.SCORES_FILE
    )
    write_json(folder / layout.CONTROLS_FILE, to_json(controls))
    return {"split": plan.split.content_hash, "fitted_on": "evaluation labels, as controls"}


def _cost(run: RunSpec) -> dict[str, float]:
    """U-Net evaluations per evaluated sample, and seconds of the predict pass, as measured."""
    about = read_json(run.evaluation.folder / layout.MANIFEST_FILE)["cost"]
    forward, backward = about["nfe_forward"], about["nfe_backward"]
    if run.base_calibration is not None and run.base is not None:
        other = read_json(run.base.folder / layout.MANIFEST_FILE)["cost"]
        forward, backward = forward + other["nfe_forward"], backward + other["nfe_backward"]
    return {
        "nfe_forward": forward,
        "nfe_declared": run.attack.nfe[0],
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
