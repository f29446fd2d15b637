"""What a run is scored from: base features subtracted on both sides, halves that share no row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from samples import known

from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.frequency.fremia import FreMIA
from mia_bench.attacks.loss import Loss
from mia_bench.config.schema import CalibrationOptions
from mia_bench.evaluation.inputs import Inputs, Tables, arrange, combine
from mia_bench.storage.feature_table import Table


def test_base_features_are_subtracted_before_anything_is_fitted() -> None:
    evaluation, calibration, base, base_calibration = (known(20, seed=s) for s in (1, 2, 3, 4))
    tables = Tables(evaluation, calibration, base, base_calibration, halves=False)
    inputs = arrange("loss-base", Loss(), tables, 0, CalibrationOptions())
    for arranged, raw, subtracted in (
        (inputs.evaluation, evaluation, base),
        (inputs.calibration, calibration, base_calibration),
    ):
        expected = raw.table.features["loss"] - subtracted.table.features["loss"]
        np.testing.assert_array_equal(arranged.table.features["loss"], expected)
    assert inputs.base is None  # there is no control of a difference to the base


def test_halves_share_neither_row_nor_group() -> None:
    rows = known(200)
    tables = Tables(rows, rows, rows, None, halves=True)
    inputs = arrange("loss", Loss(), tables, 0, CalibrationOptions("split"))
    evaluated, calibrated = inputs.evaluation, inputs.calibration
    assert not set(evaluated.group) & set(calibrated.group)
    ids = {*evaluated.table.sample_id, *calibrated.table.sample_id}
    assert len(ids) == len(rows.table.sample_id)
    assert inputs.base is not None
    assert inputs.base.table.sample_id == evaluated.table.sample_id


STRATIFIED = CalibrationOptions("split", halves="stratified")


def test_an_attack_without_a_fit_is_judged_on_every_row() -> None:
    rows = known(30)
    inputs = arrange("loss", Loss(), Tables(rows, rows, None, None, halves=True), 0, STRATIFIED)
    assert inputs.uncalibrated
    assert inputs.evaluation.table.sample_id == rows.table.sample_id


def test_an_attack_with_a_fit_gets_stratified_halves() -> None:
    rows = replace(known(60), group=np.array([f"g{i}" for i in range(60)]))
    tables = Tables(rows, rows, None, None, halves=True)
    inputs = arrange("clid", CLiD(timesteps=(440,)), tables, 0, STRATIFIED)
    assert not inputs.uncalibrated
    evaluated, calibrated = inputs.evaluation, inputs.calibration
    assert not set(evaluated.group) & set(calibrated.group)
    for kind in (True, False):
        counts = [int((part.is_member == kind).sum()) for part in (evaluated, calibrated)]
        assert abs(counts[0] - counts[1]) <= 1


def test_the_ensemble_sees_the_features_of_every_run_side_by_side() -> None:
    one = Inputs("one", Loss(), known(20, seed=1), known(20, seed=2))
    two = Inputs("two", Loss(), known(20, seed=3), known(20, seed=4))
    combined = combine([one, two])
    names = set(combined.evaluation.table.features)
    assert {name.partition(".")[0] for name in names} == {"one", "two"}
    assert names == set(combined.calibration.table.features)


def test_the_ensemble_leaves_out_what_an_attack_stores_twice() -> None:
    rows, others = known(20, seed=1), known(20, seed=2)
    energies = {"rings": np.ones((20, 3)), "passed": np.ones((20, 2, 3))}
    filtered = replace(rows, table=Table(rows.table.sample_id, energies))
    one = Inputs("fremia", FreMIA(), filtered, filtered)
    combined = combine([one, Inputs("loss", Loss(), rows, others)])
    assert set(combined.evaluation.table.features) == {"fremia.rings", "loss.loss"}
    assert set(combined.calibration.table.features) == {"fremia.rings", "loss.loss"}
