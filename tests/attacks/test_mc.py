"""mc.py against single questions, and against the attacks it shares questions with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mia_bench.attacks import Calibration
from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.loss import Loss
from mia_bench.attacks.mc import MonteCarlo
from mia_bench.target.diffusion import keyed_noise

ROOTS = np.linspace(0.00085**0.5, 0.012**0.5, 1000)
ABAR = np.cumprod(1 - ROOTS**2)
NOBODY = Calibration({}, np.array([], dtype=bool), np.array([], dtype=str))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_features_are_literal_losses_timestep_by_timestep(
    kind: str, random_target: Any, random_batch: Any
) -> None:
    target, batch, attack = random_target(kind), random_batch(3), MonteCarlo((0, 450, 999), 2)
    found = attack.features(target, batch)["loss"].numpy()
    assert found.shape == (3, 6)
    for i, sid in enumerate(batch.sample_id):
        hidden, _ = target.text.embed([batch.caption[i]])
        z0 = target.latents.encode(batch.image[i : i + 1])
        column = 0
        for t in (0, 450, 999):
            a, b = ABAR[t] ** 0.5, (1 - ABAR[t]) ** 0.5
            for draw in (0, 1):
                e = keyed_noise(0, sid, t, draw, (1, 4, 8, 8))
                z_t = (a * z0 + b * e).float()
                eps = target.unet(z_t, torch.tensor([t]), encoder_hidden_states=hidden).sample
                if kind == "v_prediction":
                    eps = a * eps + b * z_t
                expected = ((eps - e) ** 2).mean().item()
                assert found[i, column] == pytest.approx(expected, rel=1e-4)
                column += 1
    assert target.queries["forward"] == 3 * 6 == 3 * attack.nfe[0]


@torch.no_grad()
def test_one_timestep_is_the_loss_attack(random_target: Any, random_batch: Any) -> None:
    target, batch = random_target(), random_batch(3)
    one = MonteCarlo((450,), 3).features(target, batch)["loss"]
    assert torch.equal(one, Loss(450, 3).features(target, batch)["loss"])


@torch.no_grad()
def test_questions_shared_with_other_attacks_are_paid_once(
    random_target: Any, random_batch: Any
) -> None:
    """Captions of six words: loss asks 1, mc 2 more, clid 12 more; each is told its own cost."""
    target, batch = random_target(), random_batch(4)
    seen = []
    for attack in (Loss(), MonteCarlo(), CLiD(), MonteCarlo(n_noise=2)):
        before = target.queries.copy()
        target.start_attack()
        attack.features(target, batch)
        paid = target.queries - before
        seen.append((paid["forward"] / 4, paid["asked"] / 4))
    assert seen == [(1, 1), (2, 3), (12, 15), (3, 6)]
    assert target.queries["encode"] == 4


def test_score_is_minus_the_mean() -> None:
    loss = np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 1.5]], dtype=np.float32)
    scores = MonteCarlo().score({"loss": loss}, NOBODY)
    assert scores.dtype == np.float64
    assert scores.tolist() == [-3.0, -0.5]
    assert MonteCarlo().score({"loss": loss[[1]]}, NOBODY).tolist() == [-0.5]


@pytest.mark.parametrize("options", [{"timesteps": ()}, {"n_noise": 0}])
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one timestep and one draw"):
        MonteCarlo(**options)
