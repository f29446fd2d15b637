"""The rows, timesteps and noise of a step: by seed and step alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoded import RECIPE, rows

from mia_bench.training.batches import StepBatches
from mia_bench.utils.errors import MiaError


def test_a_step_is_a_pure_function_of_seed_and_step(fresh_target):
    data = rows(fresh_target(), 7, "member")
    one, two = (StepBatches(data, RECIPE, 1000, start=start) for start in (0, 4))
    for name, value in one.step(5).items():
        assert torch.equal(value, two.step(5)[name])
    assert not torch.equal(one.step(5)["eps"], one.step(4)["eps"])
    other = StepBatches(data, replace(RECIPE, seed=1), 1000)
    assert not torch.equal(other.step(5)["eps"], one.step(5)["eps"])


def test_every_row_is_seen_once_an_epoch(fresh_target):
    batches = StepBatches(rows(fresh_target(), 7, "member"), replace(RECIPE, batch_size=3), 1000)
    seen = torch.cat([batches.step(s)["row"] for s in range(7)])
    for epoch in seen.split(7):
        assert sorted(epoch.tolist()) == list(range(7))


def test_micro_batches_and_ranks_cut_one_global_step(fresh_target):
    data = rows(fresh_target(), 7, "member")
    recipe = replace(RECIPE, batch_size=8, accumulate=2, steps=1)
    whole = StepBatches(data, recipe, 1000).step(0)["t"]
    parts = [b["t"] for rank in range(2) for b in StepBatches(data, recipe, 1000, rank, 2)]
    assert [len(p) for p in parts] == [2, 2, 2, 2]
    assert sorted(torch.cat(parts).tolist()) == sorted(whole.tolist())


def test_a_batch_that_cannot_be_cut_is_refused(fresh_target):
    with pytest.raises(MiaError, match="global batch"):
        StepBatches(rows(fresh_target(), 7, "member"), replace(RECIPE, batch_size=3), 1000, 0, 2)
