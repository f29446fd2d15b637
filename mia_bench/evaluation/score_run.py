"""From stored features to scores, metrics and files of one run; no model is queried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.attacks import Access, HasRemark
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.evaluation.blind_baselines import blind_rows, to_json
from mia_bench.evaluation.inputs import Inputs, combine, load_inputs
from mia_bench.evaluation.labelled_features import MEMBER_ROLES
from mia_bench.evaluation.score_table import compare_ensemble, measure
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import EVALUATION_ROLES, RunSpec
from mia_bench.storage import layout
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
    controls = read_json(plan.blind / layout.CONTROLS_FILE) if plan.blind else {}
    table, measured = measure(rows, controls, options)
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


def score_blind(plan: Plan, folder: Path) -> dict[str, Any]:
    """Write controls.json and the blind scores: classifiers on the evaluation rows' own labels."""
    seed, rows = plan.experiment.options.eval.seed, plan.rows(*EVALUATION_ROLES)
    role = {row.sample_id: row for row in plan.split.table}
    is_member = np.array([role[sid].role in MEMBER_ROLES for sid in rows])
    group = np.array([role[sid].group for sid in rows])
    items = [plan.items[sid] for sid in rows]
    resolution = plan.experiment.model.resolution
    encoder = plan.experiment.options.eval.blind_encoder
    controls = blind_rows(items, is_member, group, resolution, seed, encoder)
    frame = pd.DataFrame({"sample_id": rows, "group": group, "is_member": is_member})
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
