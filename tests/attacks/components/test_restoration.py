"""Restoration: the timesteps it visits. Its algorithm is tested with the attack, in test_drc.py."""

from __future__ import annotations

import pytest

from mia_bench.attacks.components.restoration import restoration_path
from mia_bench.utils.errors import MiaError


def test_the_path_falls_from_the_start_to_zero():
    assert restoration_path(1000, 4, 1.0) == [999, 666, 333, 0]
    assert restoration_path(1000, 3, 0.5) == [500, 250, 0]
    with pytest.raises(MiaError, match="below timestep 10: use at most 11 steps or a larger start"):
        restoration_path(1000, 20, 0.01)
    with pytest.raises(MiaError, match=r"below timestep 999: use at most 1000 steps\.$"):
        restoration_path(1000, 1001, 1.0)
    assert len(restoration_path(1000, 1000, 1.0)) == 1000
