"""Levels of flow matching: the dictionary to timesteps, training's grid, one sigma one order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from flow_fixtures import flow_target

from mia_bench.target import FlowSchedule, Query
from mia_bench.target.engine.noise_predictor import NoisePredictor
from mia_bench.target.flow_schedule import equal_noise_sigmas, nearest_timestep, shifted


@pytest.mark.parametrize(
    ("t", "sigma"),
    [(100, 0.256), (140, 0.302), (200, 0.364), (300, 0.454), (400, 0.538), (500, 0.618)],
)
def test_timesteps_are_levels_of_equal_signal_to_noise(t: int, sigma: float) -> None:
    schedule = FlowSchedule()
    assert schedule.b[t].item() == pytest.approx(sigma, abs=5e-4)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    alpha = DDPMScheduler(**betas).alphas_cumprod[t].item()
    ratio = (schedule.a[t] / schedule.b[t]).item() ** 2
    assert ratio == pytest.approx(alpha / (1 - alpha), rel=1e-4)
    assert nearest_timestep(sigma) == pytest.approx(t, abs=1)


def test_the_last_level_is_clean_and_the_floor_holds() -> None:
    schedule = FlowSchedule(floor=0.1)
    z = torch.zeros(2, 4, 8, 8)
    assert [level.item() for level in schedule.levels(-1, z)] == [1, 0]
    assert schedule.levels(0, z)[1].item() == pytest.approx(0.1)
    assert schedule.levels(500, z)[1].item() == pytest.approx(0.618, abs=1e-3)
    a, b = schedule.levels(torch.tensor([0.25, 1.0]), z)
    assert (a.flatten().tolist(), b.flatten().tolist()) == ([0.75, 0], [0.25, 1])
    assert not schedule.state_dict()
    with pytest.raises(ValueError, match=r"between 0 and 0\.5"):
        FlowSchedule(floor=0.7)
    for t in (-2, 1000):
        with pytest.raises(ValueError, match=f"timestep {t} is outside"):
            schedule.levels(t, z)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_training_levels_are_the_schedulers_table(shift: float) -> None:
    index = torch.arange(1000)
    table = FlowMatchEulerDiscreteScheduler(shift=shift)
    found = FlowSchedule().training_time(index, shift)
    assert torch.allclose(found, table.sigmas, atol=1e-6)
    assert torch.allclose(FlowSchedule(reversed_training=True).training_time(index), 1 - found) == (
        shift == 1
    )
    assert shifted(torch.tensor(0.5), 3.0).item() == pytest.approx(0.75)


@torch.no_grad()
def test_losses_in_v_eps_and_x0_rank_alike_at_one_sigma(random_batch: Any) -> None:
    target, batch = flow_target(), random_batch(12)
    z0, c, t = target.view(batch).z0, target.embed(batch.caption), 239
    sigma = float(target.b[t])
    e = target.noise(batch.sample_id, t)
    z = target.add_noise(z0, e, t)
    eps = target.predict_grid(target.view(batch), [Query(t, c)])[0]
    v = target.predict_velocity(z, sigma, c)
    clean = z - sigma * v
    losses = [
        (found - goal).square().flatten(1).mean(1)
        for found, goal in ((v, e - z0), (eps, e), (clean, z0))
    ]
    for loss, factor in zip(losses, (1, (1 - sigma) ** 2, sigma**2), strict=True):
        assert torch.equal(loss.argsort(), losses[0].argsort())
        assert torch.allclose(loss, factor * losses[0], rtol=1e-3)


def test_conventions_are_not_mixed() -> None:
    network = torch.nn.Identity()
    with pytest.raises(ValueError, match="velocity belongs to flow matching"):
        NoisePredictor(network, FlowSchedule(), "epsilon", torch.float32)
    with pytest.raises(ValueError, match="epsilon, v_prediction or velocity"):
        NoisePredictor(network, FlowSchedule(), "flow", torch.float32)


def test_sigmas_of_another_schedule() -> None:
    alphas = torch.tensor([0.8, 0.5])
    assert equal_noise_sigmas(alphas).tolist() == pytest.approx([1 / 3, 0.5])
    with pytest.raises(ValueError, match="fraction of noise"):
        nearest_timestep(1.2)


@torch.no_grad()
def test_generation_follows_the_models_own_sampler() -> None:
    """Two Euler steps by hand from the keyed noise."""
    target = flow_target(sampler=lambda _: torch.tensor([1.0, 0.4, 0.0]))
    found = target.generate(["a boat"], seed=3, steps=2)
    from mia_bench.target.diffusion import keyed_noise

    z, c = keyed_noise(3, "generate:0", None, 0, (3, 8, 8))[None], target.embed(["a boat"])
    for s, u in ((1.0, 0.4), (0.4, 0.0)):
        v = target.unet(z, torch.tensor([s]), c.hidden)
        z = z + (u - s) * v
    assert torch.allclose(found, target.decode(z), atol=1e-5)
