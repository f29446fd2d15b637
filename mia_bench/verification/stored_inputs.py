"""What a stored run was scored from: its feature tables, joined with the split's labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mia_bench.data.split.roles import Role
from mia_bench.evaluation.inputs import Inputs, OwnTable, Tables, arrange, combine, load_own
from mia_bench.evaluation.labelled_features import LabelledFeatures, load_labelled
from mia_bench.planning.specs import EVALUATION_ROLES, SHADOW_ROLES
from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.verification.stored_run import StoredRun


def inputs_of(run: StoredRun) -> Inputs:
    """What the run was scored from."""
    if run.is_ensemble:
        return combine([inputs_of(one) for one in run.runs])
    folders = run.feature_tables
    evaluation_rows = run.rows(*EVALUATION_ROLES)
    calibration_rows = run.rows(*(SHADOW_ROLES if run.shadowed else EVALUATION_ROLES))

    def load(folder: Path, rows: Sequence[str]) -> LabelledFeatures:
        return load_labelled(folder / layout.FEATURES_FILE, rows, run.split)

    base, base_calibration = folders.base, folders.base_calibration
    complexity = None
    if folders.complexity:
        evaluated, known = folders.complexity
        complexity = load(evaluated, evaluation_rows), load(known, calibration_rows)
    every = Tables(
        load(folders.evaluation, evaluation_rows),
        load(folders.calibration, calibration_rows),
        None if base is None else load(base, evaluation_rows),
        None if base_calibration is None else load(base_calibration, calibration_rows),
        halves=not run.shadowed,
        control=run.control,
        complexity=complexity,
    )
    options = run.options
    rows = arrange(run.name, run.attack, every, options.data.split_seed, options.calibration)
    return rows if folders.own_outputs is None else replace(rows, own_outputs=_own(run))


def _own(run: StoredRun) -> OwnTable:
    """What was scored of the target's own outputs: the table's rows, with their sources.

    Raises:
        MiaError: a source is none of the evaluation non-members.
    """
    assert run.own_table is not None
    stored, allowed = run.own_scores, set(run.rows(Role.TARGET_NONMEMBER))
    if strangers := [sid for sid in stored.source_id if sid not in allowed]:
        raise MiaError(f"{layout.OWN_OUTPUTS_FILE}: {strangers[0]} is no evaluation non-member")
    path = run.own_table / layout.FEATURES_FILE
    return load_own(path, stored.sample_id.tolist(), stored.source_id.tolist(), run.split)
