"""Stored feature tables, arranged as the inputs of a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mia_bench.attacks import Attack, Features, RepeatsFeatures
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.attacks.components.ensemble_features import columns
from mia_bench.config.schema import CalibrationOptions
from mia_bench.data.split.manifest import Split
from mia_bench.evaluation.cross_fitting import fits_labels
from mia_bench.evaluation.labelled_features import LabelledFeatures, load_labelled
from mia_bench.metrics.group_folds import calibrating, stratified_half
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import BASE, FeatureSpec, RunSpec
from mia_bench.storage import layout
from mia_bench.storage.artifacts import checked_manifest
from mia_bench.storage.feature_table import Table, read_table

Groups = npt.NDArray[np.str_]
Labels = npt.NDArray[np.bool_]


Complexity = tuple[LabelledFeatures, LabelledFeatures]
"""How complex the images of evaluation and of calibration rows are."""


@dataclass(frozen=True)
class OwnTable:
    """Features of pictures that the target generated, with the rows whose captions were drawn, and
    their near-duplicate groups."""

    table: Table
    source_id: tuple[str, ...]
    group: Groups


@dataclass(frozen=True)
class Inputs:
    """What a run is scored from: rows to judge, rows to calibrate on, and the control's rows."""

    name: str
    attack: Attack | Ensemble
    evaluation: LabelledFeatures
    calibration: LabelledFeatures
    base: LabelledFeatures | None = None
    control: str = BASE
    """The kind of the control: BASE or REFERENCE."""
    uncalibrated: bool = False
    """Nothing is fitted on labels, so every row is judged; `calibration` are the same rows."""
    complexity: Complexity | None = None
    """Covariates of the evaluation and the calibration rows, where scores are what these do not
    explain."""
    own_outputs: OwnTable | None = None
    """Pictures that the target generated itself, with eval.own_outputs."""


def combine(runs: Sequence[Inputs]) -> Inputs:
    """The features of several runs side by side, each stored number once, for the ensemble."""
    evaluation, calibration = (
        replace(first[0], table=Table(first[0].table.sample_id, columns(by_attack)))
        for first, by_attack in (
            (
                tables,
                {i.name: _once(i, t.table.features) for i, t in zip(runs, tables, strict=True)},
            )
            for tables in ([i.evaluation for i in runs], [i.calibration for i in runs])
        )
    )
    return Inputs("ensemble", Ensemble(), evaluation, calibration)


def _once(run: Inputs, features: Features) -> Features:
    """The features without those that repeat others."""
    repeated = run.attack.repeated if isinstance(run.attack, RepeatsFeatures) else ()
    return {name: values for name, values in features.items() if name not in repeated}


def load_inputs(plan: Plan, run: RunSpec) -> Inputs:
    evaluation, calibration = _labelled(plan, run.evaluation), _labelled(plan, run.calibration)
    base = _labelled(plan, run.base) if run.base is not None else None
    subtracted = None
    if run.base_calibration is not None:
        subtracted = _labelled(plan, run.base_calibration)
    halves = run.calibration.folder == run.evaluation.folder
    complexity = None
    if run.complexity is not None:
        complexity = _labelled(plan, run.complexity[0]), _labelled(plan, run.complexity[1])
    every = Tables(evaluation, calibration, base, subtracted, halves, run.control, complexity)
    options = plan.experiment.options
    rows = arrange(run.name, run.attack, every, options.data.split_seed, options.calibration)
    if run.own_outputs is None or plan.own_outputs is None:
        return rows
    checked_manifest(run.own_outputs.folder)
    path = run.own_outputs.folder / layout.FEATURES_FILE
    source = plan.own_outputs.source_id
    return replace(rows, own_outputs=load_own(path, run.own_outputs.sample_id, source, plan.split))


def load_own(
    features: Path, sample_id: Sequence[str], source_id: Sequence[str], split: Split
) -> OwnTable:
    """The rows `sample_id` of a feature table, drawn from the captions of `source_id`."""
    group = {row.sample_id: row.group for row in split.table}
    groups = np.array([group[sid] for sid in source_id])
    return OwnTable(read_table(features).select(sample_id), tuple(source_id), groups)


@dataclass(frozen=True)
class Tables:
    """The feature tables of a run. `halves`: evaluation and calibration are one table, of which
    calibration gets half; `base`: of the model of the control, which is of the kind `control`;
    `base_calibration`: such features are subtracted before any fit; `complexity`: what it explains
    is taken out of the scores."""

    evaluation: LabelledFeatures
    calibration: LabelledFeatures
    base: LabelledFeatures | None
    base_calibration: LabelledFeatures | None
    halves: bool
    control: str = BASE
    complexity: Complexity | None = None


def arrange(
    name: str, attack: Attack, tables: Tables, split_seed: int, options: CalibrationOptions
) -> Inputs:
    """What a run is scored from."""
    evaluation, calibration, base = tables.evaluation, tables.calibration, tables.base
    if tables.base_calibration is not None and base is not None:
        evaluation = evaluation.minus(base)
        calibration = calibration.minus(tables.base_calibration)
        base = None
    complexity = tables.complexity
    if tables.halves:
        fits = complexity is not None  # on who is no member
        fits = fits or options.halves != "stratified" or fits_labels(attack, evaluation, split_seed)
        if not fits:
            return Inputs(
                name, attack, evaluation, evaluation, base, tables.control, uncalibrated=True
            )
        half = calibrating_half(evaluation.group, evaluation.is_member, split_seed, options)
        kept = np.flatnonzero(~half)
        calibration = evaluation.take(np.flatnonzero(half))
        base = base.take(kept) if base is not None else None
        evaluation = evaluation.take(kept)
        if complexity is not None:
            complexity = complexity[0].take(kept), complexity[0].take(np.flatnonzero(half))
    return Inputs(
        name, attack, evaluation, calibration, base, tables.control, complexity=complexity
    )


def calibrating_half(
    group: Groups, is_member: Labels, split_seed: int, options: CalibrationOptions
) -> Labels:
    """(N,) which evaluation rows calibrate, with calibration=split."""
    if options.halves == "stratified":
        return stratified_half(group, is_member, split_seed)
    return calibrating(group, split_seed)


def _labelled(plan: Plan, questions: FeatureSpec) -> LabelledFeatures:
    checked_manifest(questions.folder)
    return load_labelled(questions.folder / layout.FEATURES_FILE, questions.sample_id, plan.split)
