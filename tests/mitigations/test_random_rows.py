"""Rows left out at random: how many, which, and where that is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoded import RECIPE, treated

from mia_bench.mitigations import DrawsRows
from mia_bench.mitigations.random_rows import RandomRows
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator


def test_as_many_rows_are_left_out_as_was_said_whichever_they_are():
    control = RandomRows(dropped=0.3)
    kept = torch.stack([control.drawn(8, keyed_generator("rows", i)) for i in range(2000)])
    left_out = (~kept).sum(1)
    assert set(left_out.tolist()) == {2, 3}  # 2.4 of 8
    # standard errors: 0.011 of the mean number, 0.010 of one row's share
    assert float(left_out.float().mean()) == pytest.approx(2.4, abs=0.05)
    assert np.allclose((~kept).float().mean(0), 0.3, atol=0.045)


def test_a_draw_decides_alone():
    first, again = (RandomRows().drawn(32, keyed_generator("rows", 1)) for _ in range(2))
    assert torch.equal(first, again)


def test_it_is_found_by_its_hook_and_refuses_what_has_no_meaning():
    assert isinstance(RandomRows(), DrawsRows)
    for dropped in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            RandomRows(dropped=dropped)
    context = treated(RECIPE).context
    with pytest.raises(MiaError, match=r"random_rows.*accumulate=1"):
        RandomRows().check(replace(context, recipe=replace(RECIPE, accumulate=2)))
    with pytest.raises(MiaError, match=r"random_rows.*trainer\.devices=1"):
        RandomRows().check(replace(context, devices=2))
