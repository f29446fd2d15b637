"""What ranks of one run are given to wait for each other."""

from __future__ import annotations

from mia_bench.ranks import PATIENCE, strategy


def test_ranks_wait_for_each_other_for_hours():
    found = strategy("ddp")
    assert found._timeout == PATIENCE
    assert found._start_method == "popen"
    assert strategy("auto") == "auto"
