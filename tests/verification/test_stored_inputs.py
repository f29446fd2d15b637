"""What a run was scored from comes back from its folder, row by row."""

from __future__ import annotations

import pytest
from tampering import run_folder

from mia_bench.data.split.roles import Role
from mia_bench.storage.index import run_at
from mia_bench.verification.stored_inputs import inputs_of
from mia_bench.verification.stored_run import StoredRun


@pytest.fixture
def run(outputs):
    return StoredRun(run_at(run_folder(outputs)))


def test_rows_are_those_of_the_roles(run):
    inputs = inputs_of(run)
    assert inputs.name == run.name
    members = set(run.rows(Role.TARGET_MEMBER))
    nonmembers = set(run.rows(Role.TARGET_NONMEMBER))
    assert set(inputs.evaluation.table.sample_id) == members | nonmembers
    shadow = {*run.rows(Role.SHADOW_MEMBER), *run.rows(Role.SHADOW_NONMEMBER)}
    assert set(inputs.calibration.table.sample_id) == shadow
