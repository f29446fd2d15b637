"""What ranks of one run are given to wait for each other."""

from __future__ import annotations

import pytest

from mia_bench.config import TrainerOptions
from mia_bench.ranks import PATIENCE, strategy


@pytest.mark.parametrize(("name", "devices"), [("ddp", 1), ("ddp", 2), ("auto", 2)])
def test_ranks_wait_for_each_other_for_hours(name, devices):
    found = strategy(TrainerOptions(strategy=name, devices=devices))
    assert found._timeout == PATIENCE
    assert found._start_method == "popen"


def test_one_process_has_nobody_to_wait_for():
    assert strategy(TrainerOptions()) == "auto"
