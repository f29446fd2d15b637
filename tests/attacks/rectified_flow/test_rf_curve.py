"""rf_curve.py against its formula level by level, and its classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from flow_fixtures import flow_target

from mia_bench.attacks import Calibration
from mia_bench.attacks.rectified_flow.rf_curve import SIGMAS, TIMESTEPS, LossCurve
from mia_bench.metrics import auroc
from mia_bench.target.flow_schedule import nearest_timestep
from mia_bench.utils.errors import MiaError


def test_timesteps_are_those_nearest_to_the_papers_levels() -> None:
    assert tuple(nearest_timestep(sigma) for sigma in SIGMAS) == TIMESTEPS


@torch.no_grad()
def test_the_curve_is_the_error_of_the_clean_estimate(random_batch: Any) -> None:
    target, batch, attack = flow_target(), random_batch(2), LossCurve((60, 354, 999), 2)
    found = attack.features(target, batch)["log_loss"]
    z0, c = target.view(batch).z0, target.embed(batch.caption)
    for level, t in enumerate((60, 354, 999)):
        sigma, errors = float(target.b[t]), []
        for draw in (0, 1):
            z = (1 - sigma) * z0 + sigma * target.noise(batch.sample_id, t, draw)
            clean = z - sigma * target.predict_velocity(z, sigma, c)
            errors.append((clean - z0).square().flatten(1).mean(1))
        expected = torch.stack(errors).mean(0).log()
        assert torch.allclose(found[:, level], expected, atol=1e-3)


def test_the_classifier_learns_the_shape_from_calibration_rows() -> None:
    draw = np.random.default_rng(0)
    curves = draw.normal(size=(80, 11))
    member = np.arange(80) % 2 == 0
    curves[member, 4] -= 3
    known = Calibration({"log_loss": curves}, member, np.arange(80).astype(str))
    rows = draw.normal(size=(40, 11))
    rows[:20, 4] -= 3
    scores = LossCurve(steps=200).score({"log_loss": rows}, known)
    assert auroc(scores, np.arange(40) < 20) > 0.9
    assert np.array_equal(scores, LossCurve(steps=200).score({"log_loss": rows}, known))


def test_it_needs_rows_and_levels() -> None:
    few = Calibration(
        {"log_loss": np.zeros((2, 11))}, np.array([True, False]), np.array(["a", "b"])
    )
    with pytest.raises(MiaError):
        LossCurve().score({"log_loss": np.zeros((1, 11))}, few)
    with pytest.raises(ValueError, match="two timesteps"):
        LossCurve((5,))
