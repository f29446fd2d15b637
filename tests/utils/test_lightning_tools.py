"""How long ranks wait for each other."""

from __future__ import annotations

import pytest

from mia_bench.config.schema import TrainerOptions
from mia_bench.utils.lightning_tools import RANK_TIMEOUT, lightning_strategy


@pytest.mark.parametrize(("name", "devices"), [("ddp", 1), ("ddp", 2), ("auto", 2)])
def test_ranks_wait_for_each_other_for_hours(name, devices):
    strategy = lightning_strategy(TrainerOptions(strategy=name, devices=devices))
    assert strategy._timeout == RANK_TIMEOUT
    assert strategy._start_method == "popen"


def test_one_process_has_nobody_to_wait_for():
    assert lightning_strategy(TrainerOptions()) == "auto"
