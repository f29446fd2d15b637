"""Levels of a schedule, and timesteps outside it."""

from __future__ import annotations

import pytest
import torch
from target_queries import Build, Draw

from mia_bench.target import Query
from mia_bench.target.schedule import Schedule


@torch.no_grad()
@pytest.mark.parametrize("t", [-2, 1000, 1001])
def test_a_step_outside_the_schedule_is_refused(
    t: int, random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(2)
    z, cond = target.view(batch).z0, target.embed(batch.caption)
    for ask in (
        lambda: target.add_noise(z, z, t),
        lambda: target.move(z, z, t, 0),
        lambda: target.move(z, z, 0, t),
        lambda: target.denoise(z, 10, t, cond),
        lambda: target.denoise(z, t, 10, cond),
    ):
        with pytest.raises(ValueError, match=f"timestep {t} is outside the schedule of 1000"):
            ask()


@torch.no_grad()
@pytest.mark.parametrize("t", [-2, -1, 1000])
def test_the_network_is_asked_at_its_own_steps_only(
    t: int, random_target: Build, random_batch: Draw
) -> None:
    """The clean level is no step of the schedule; noise levels beyond the last are not clean."""
    target, batch = random_target(), random_batch(2)
    view, cond = target.view(batch), target.embed(batch.caption)
    for ask in (
        lambda: target.predict_noise(view.z0, t, cond),
        lambda: target.predict_grid(view, [Query(5, cond), Query(t, cond)]),
    ):
        with pytest.raises(ValueError, match=f"timestep {t} is outside the schedule of 1000"):
            ask()


def test_levels_broadcast_and_the_last_is_clean() -> None:
    schedule = Schedule(torch.tensor([0.64, 0.36]))
    z = torch.zeros(2, 4, 8, 8)
    a, b = schedule.levels(1, z)
    assert (a.item(), b.item()) == pytest.approx((0.6, 0.8))
    assert [level.item() for level in schedule.levels(-1, z)] == [1, 0]
    a, b = schedule.levels(torch.tensor([0, -1]), z)
    assert a.shape == b.shape == (2, 1, 1, 1)
    assert a.flatten().tolist() == pytest.approx([0.8, 1])
    assert b.flatten().tolist() == pytest.approx([0.6, 0])
    assert schedule.timesteps == 2
    assert not schedule.state_dict()  # never part of saved weights
