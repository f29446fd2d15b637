"""From stored features to scores, metrics and files of one cell; no model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from mia_bench.attacks import Access, Attack, Calibration, Doubted, Fitted, Floats
from mia_bench.bootstrap import evaluate, paired_difference
from mia_bench.controls import base_p_value, blind_rows, holm, to_json
from mia_bench.dataset_test import dataset_test
from mia_bench.ensemble import Ensemble, columns, compare
from mia_bench.errors import MiaError
from mia_bench.features import Table
from mia_bench.known import MEMBERS, Known, calibrating, known_rows, out_of_fold
from mia_bench.metrics import auroc, fit_thresholds, roc_curve
from mia_bench.plan import EVALUATED, Cell, Plan
from mia_bench.store import read_json, write_json


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
    inputs = [_inputs(plan, cell) for cell in cells]
    evaluation, calibration = (
        replace(rows[0], table=Table(rows[0].table.sample_id, columns(tables)))
        for rows, tables in (
            (known, {i.name: k.table.features for i, k in zip(inputs, known, strict=True)})
            for known in ([i.evaluation for i in inputs], [i.calibration for i in inputs])
        )
    )
    tables = {cell.evaluation.folder: _cost(cell) for cell in cells}
    names = ("nfe_forward", "nfe_backward", "seconds")
    cost = {name: sum(entry[name] for entry in tables.values()) for name in names}
    cost["nfe_forward"] = sum(entry["nfe_paid"] for entry in tables.values())
    together = Inputs("ensemble", Ensemble(), evaluation, calibration)
    metrics = _measure(plan, together, cost, folder)
    metrics["left_out"] = Ensemble().left_out(calibration.table.features)
    metrics["compared"] = _compare(plan, folder)
    write_json(folder / "metrics.json", metrics)
    _write_config(plan, plan.experiment.resolved["attack"], folder)
    folders = [q.folder for cell in cells for q in cell.questions()]
    return _about(plan, "ensemble", Access.GREY_BOX, folders)


def _compare(plan: Plan, folder: Path) -> dict[str, Any]:
    """The ensemble against the best single grey-box attack, variants included."""
    cells = [c for c in plan.cells if c.attack.access <= Access.GREY_BOX and not c.base_calibration]
    frames = {cell.name: pd.read_parquet(cell.folder / "scores.parquet") for cell in cells}
    judged = {name: _evaluated(frame) for name, frame in frames.items()}
    known = {name: frame.drop(judged[name].index) for name, frame in frames.items()}
    together = _evaluated(pd.read_parquet(folder / "scores.parquet"))
    return compare(
        {name: frame.score.to_numpy() for name, frame in judged.items()},
        together.score.to_numpy(),
        together.is_member.to_numpy(),
        together.group.tolist(),
        plan.experiment.options.eval.seed,
        {name: auroc(frame.score, frame.is_member) for name, frame in known.items()},
    )


def _evaluated(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of scores.parquet that were judged, not calibrated on."""
    return frame[~frame.calibration]


def _measure(plan: Plan, rows: Inputs, cost: Mapping[str, float], folder: Path) -> dict[str, Any]:
    options = plan.experiment.options
    seed, folds = options.eval.seed, options.calibration.folds
    evaluation, calibration, base = rows.evaluation, rows.calibration, rows.base
    fitted_on = calibration.calibration(seed)
    out = out_of_fold(rows.attack, calibration, folds, seed)
    known_scores = _finite(rows.name, out, calibration)
    scores, base_scores = _score(rows, fitted_on)
    thresholds = fit_thresholds(known_scores, calibration.is_member)

    def measured(who: Known, values: Floats) -> dict[str, Any]:
        groups = who.group.tolist()
        return evaluate(values, who.is_member, groups, thresholds, seed, options.eval.resamples)

    metrics = measured(evaluation, scores)
    first = _frame(evaluation, scores).assign(calibration=False)
    metrics["controls"] = read_json(plan.blind / "controls.json") if plan.blind else {}
    if base is not None and base_scores is not None:
        p = base_p_value(base_scores, base.is_member, base.group, seed)
        metrics["controls"]["base"] = measured(base, base_scores) | {"p_value": p}
        first["score_base"] = base_scores
    judged = holm({name: entry["p_value"] for name, entry in metrics["controls"].items()})
    metrics["flags"] += [f"control_{name}" for name in judged]
    groups = evaluation.group.tolist()
    metrics["dataset_test"] = dataset_test(scores, evaluation.is_member, groups, seed)
    metrics |= cost
    if isinstance(rows.attack, Doubted) and (other := rows.attack.plain()) is not None:
        plain_scores, _ = _score(replace(rows, attack=other[1], base=None), fitted_on)
        metrics["plain"] = _beside(scores, plain_scores, evaluation, seed, other[0], other[2])
    metrics["chosen"] = rows.attack.chosen(fitted_on) if isinstance(rows.attack, Fitted) else {}
    second = _frame(calibration, known_scores).assign(calibration=True)
    both = pd.concat([first, second], ignore_index=True)
    both.to_parquet(folder / "scores.parquet", index=False)
    roc = roc_curve(scores, evaluation.is_member)
    pd.DataFrame(vars(roc)).to_parquet(folder / "roc.parquet", index=False)
    write_json(folder / "metrics.json", metrics)
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
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(resolved)))


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
    evaluation, calibration = known_rows(plan, cell.evaluation), known_rows(plan, cell.calibration)
    base = known_rows(plan, cell.base) if cell.base is not None else None
    if cell.base_calibration is not None and base is not None:
        evaluation = evaluation.minus(base)
        calibration = calibration.minus(known_rows(plan, cell.base_calibration))
        base = None
    if cell.calibration.folder == cell.evaluation.folder:
        half = calibrating(evaluation.group, plan.experiment.options.data.split_seed)
        kept, known = np.flatnonzero(~half), np.flatnonzero(half)
        calibration = evaluation.take(known)
        base = base.take(kept) if base is not None else None
        evaluation = evaluation.take(kept)
    return Inputs(cell.name, cell.attack, evaluation, calibration, base)


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
