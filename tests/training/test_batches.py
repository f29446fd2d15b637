"""The rows, timesteps and noise of a step: by seed and step alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoded import RECIPE, rows

from mia_bench.config.recipe import Recipe
from mia_bench.training.batches import StepBatches, drawn_timesteps, validation_timesteps
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


def drawn(recipe: Recipe, size: int = 40_000):
    return drawn_timesteps(recipe, 1000, np.random.default_rng(0), size)


def test_levels_of_a_sparse_band_are_drawn_at_their_density():
    """A tenth of the density inside [.1, .5): .04 of a mass of .64, that is 1/16."""
    t = drawn(replace(RECIPE, timesteps="sparse_band"))
    inside = (t >= 100) & (t < 500)
    assert inside.mean() == pytest.approx(0.04 / 0.64, abs=0.005)
    assert (t < 100).mean() == pytest.approx(0.1 / 0.64, abs=0.01)
    assert (t[inside] < 300).mean() == pytest.approx(0.5, abs=0.03)
    assert (t.min(), t.max()) == (0, 999)
    never = drawn(replace(RECIPE, timesteps="sparse_band", timestep_band_density=0.0))
    assert not ((never > 100) & (never < 500)).any()


def test_a_u_shape_has_the_density_of_its_steepness():
    """The share of the middle half: the integral of the stated density."""
    shares = []
    for k in (1.0, 4.0, 9.0):
        t = drawn(replace(RECIPE, timesteps="u_shaped", timestep_steepness=k))
        u = (np.arange(100_000) + 0.5) / 100_000
        density = np.exp(k * u) + np.exp(k * (1 - u))
        expected = density[(u >= 0.25) & (u < 0.75)].sum() / density.sum()
        shares.append(((t >= 250) & (t < 750)).mean())
        assert shares[-1] == pytest.approx(expected, abs=0.01)
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("lo", [0.0, 0.5])
def test_a_band_may_lie_at_an_end(lo):
    recipe = replace(RECIPE, timesteps="sparse_band", timestep_band=[lo, lo + 0.5])
    t = drawn(replace(recipe, timestep_band_density=0.0))
    assert ((t < 500) == (lo > 0)).mean() > 0.999


def test_validation_looks_at_the_middles_of_four_parts_of_any_schedule():
    assert validation_timesteps(1000) == (125, 375, 625, 875)
    assert validation_timesteps(200) == (25, 75, 125, 175)
    assert all(0 <= t < n for n in range(2, 40) for t in validation_timesteps(n))
