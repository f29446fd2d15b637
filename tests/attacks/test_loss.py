"""loss.py against one sample, one draw at a time, and against targets that can be worked out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mia_bench.attacks import Calibration
from mia_bench.attacks.loss import Loss
from mia_bench.target import Batch, Target
from mia_bench.target.diffusion import keyed_noise

ROOTS = np.linspace(0.00085**0.5, 0.012**0.5, 1000)
ABAR = np.cumprod(1 - ROOTS**2)
NOBODY = Calibration({}, np.array([], dtype=bool), np.array([], dtype=str))


class Says(nn.Module):
    """A network that answers f(z_t)."""

    def __init__(self, f: Callable[[Any], Any]) -> None:
        super().__init__()
        self.f = f

    def forward(self, z: Any, *_: Any, **__: Any) -> Any:
        return (self.f(z),)


@torch.no_grad()
def literal_loss(target: Target, batch: Batch, i: int, t: int, draw: int) -> float:
    """mean_d (eps(a z0 + b e, t, c) - e)^2 of one sample in float64, levels from the betas."""
    a, b = ABAR[t] ** 0.5, (1 - ABAR[t]) ** 0.5
    z0 = target.latents.encode(batch.image[i : i + 1]).double().numpy()
    e = keyed_noise(target.seed, batch.sample_id[i], t, draw, (4, 8, 8)).double().numpy()
    z_t = a * z0 + b * e
    hidden, _ = target.text.embed([batch.caption[i]])
    raw = target.unet(
        torch.from_numpy(z_t).float(),
        torch.tensor([t]),
        encoder_hidden_states=hidden,
        return_dict=False,
    )[0]
    eps = raw.double().numpy()
    if target.prediction_type == "v_prediction":
        eps = a * eps + b * z_t
    return float(((eps - e) ** 2).mean())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("attack", [Loss(), Loss(t=0), Loss(t=999), Loss(t=200, n_noise=5)])
def test_features_are_the_literal_loss(
    kind: str, attack: Loss, random_target: Any, random_batch: Any
) -> None:
    target, batch = random_target(kind, seed=3), random_batch(4)
    with torch.no_grad():
        found = attack.features(target, batch)
    assert found.keys() == {"loss"}
    assert found["loss"].shape == (4, attack.n_noise)
    expected = [
        [literal_loss(target, batch, i, attack.t, j) for j in range(attack.n_noise)]
        for i in range(4)
    ]
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)  # ours are float32 throughout
    assert target.queries["forward"] == 4 * attack.n_noise == 4 * attack.nfe[0]


def test_a_network_that_says_nothing_loses_the_energy_of_the_noise(
    random_target: Any, random_batch: Any
) -> None:
    target, batch = random_target(unet=Says(torch.zeros_like)), random_batch(3)
    found = Loss(n_noise=2).features(target, batch)["loss"]
    for i, sid in enumerate(batch.sample_id):
        for j in range(2):
            energy = keyed_noise(0, sid, 450, j, (4, 8, 8)).square().mean().item()
            assert found[i, j].item() == pytest.approx(energy, rel=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_linear_network_can_be_worked_out(
    kind: str, random_target: Any, random_batch: Any
) -> None:
    """eps_hat = k z_t: loss = (k a)^2 <z0^2> + 2 k a (k b - 1) <z0 e> + (k b - 1)^2 <e^2>."""
    a, b = ABAR[450] ** 0.5, (1 - ABAR[450]) ** 0.5
    said = 0.3
    k = said if kind == "epsilon" else a * said + b  # v = 0.3 z_t means eps = (0.3 a + b) z_t
    target, batch = random_target(kind, unet=Says(lambda z: said * z)), random_batch(3)
    found = Loss().features(target, batch)["loss"][:, 0]
    for i, sid in enumerate(batch.sample_id):
        e = keyed_noise(0, sid, 450, 0, (4, 8, 8)).double()
        z0 = target.latents.encode(batch.image[i : i + 1])[0].double()
        expected = (
            (k * a) ** 2 * (z0**2).mean()
            + 2 * k * a * (k * b - 1) * (z0 * e).mean()
            + (k * b - 1) ** 2 * (e**2).mean()
        )
        assert found[i].item() == pytest.approx(expected.item(), rel=1e-4)


def test_score_is_minus_the_mean_over_draws() -> None:
    loss = np.array([[1.0, 3.0], [0.5, 0.5], [4.0, 0.0]], dtype=np.float32)
    scores = Loss(n_noise=2).score({"loss": loss}, NOBODY)
    assert scores.dtype == np.float64
    assert scores.tolist() == [-2.0, -0.5, -2.0]
    assert Loss(n_noise=2).score({"loss": loss[[2, 1]]}, NOBODY).tolist() == [-2.0, -0.5]


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="n_noise=0"):
        Loss(n_noise=0)


@pytest.mark.parametrize("t", [-1, 1000])
def test_a_timestep_outside_the_schedule_is_refused(
    t: int, random_target: Any, random_batch: Any
) -> None:
    with pytest.raises(ValueError, match="outside the schedule"):
        Loss(t=t).features(random_target(), random_batch(1))
