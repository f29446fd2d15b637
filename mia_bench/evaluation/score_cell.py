"""From stored features to scores, metrics and files of one cell; no model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.attacks import Access
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.evaluation.blind_baselines import blind_rows, to_json
from mia_bench.evaluation.inputs import Inputs, combine, load_inputs
from mia_bench.evaluation.labelled_features import MEMBERS
from mia_bench.evaluation.score_table import compared, evaluation_rows, measure
from mia_bench.metrics import roc_curve
from mia_bench.planning.cells import EVALUATED, Cell
from mia_bench.planning.plan import Plan
from mia_bench.storage.files import read_json, write_json, write_yaml


def score_cell(plan: Plan, cell: Cell, folder: Path) -> dict[str, Any]:
    """Write config, scores, ROC and metrics into `folder`; return the facts of the manifest."""
    _measure(plan, load_inputs(plan, cell), _cost(cell), folder)
    nodes: Mapping[str, Any] = plan.experiment.resolved["attack"]
    node = nodes.get(cell.name) or nodes[cell.name.removesuffix("-base")]
    _write_config(plan, {cell.name: node}, folder)
    return _about(plan, cell.name, cell.attack.access, [q.folder for q in cell.questions()])


def score_ensemble(plan: Plan, folder: Path) -> dict[str, Any]:
    """One classifier over the features of every grey-box attack, fitted on shadow rows."""
    cells = plan.grey_box_cells
    together = combine([load_inputs(plan, cell) for cell in cells])
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


def _measure(plan: Plan, rows: Inputs, cost: Mapping[str, float], folder: Path) -> dict[str, Any]:
    options = plan.experiment.options
    controls = read_json(plan.blind / "controls.json") if plan.blind else {}
    table, metrics = measure(rows, controls, options)
    metrics = {**metrics, **cost}
    table.to_parquet(folder / "scores.parquet", index=False)
    judged = evaluation_rows(table)
    roc = roc_curve(judged.score.to_numpy(), judged.is_member.to_numpy())
    pd.DataFrame(vars(roc)).to_parquet(folder / "roc.parquet", index=False)
    write_json(folder / "metrics.json", metrics)
    return metrics


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
