"""rf_mc.py against its formula draw by draw, on U-Nets and on a rectified flow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from flow_fixtures import flow_target
from PIL import Image

from mia_bench.attacks import Calibration
from mia_bench.attacks.components.image_complexity import png_bytes
from mia_bench.attacks.rectified_flow.rf_mc import MonteCarloBias
from mia_bench.target.diffusion import keyed_noise

NOBODY = Calibration({}, np.array([], dtype=bool), np.array([], dtype=str))


@torch.no_grad()
def test_bias_is_the_square_of_the_mean_residual(random_target: Any, random_batch: Any) -> None:
    target, batch = random_target("v_prediction"), random_batch(2)
    found = MonteCarloBias(354, 4).features(target, batch)["bias"]
    for i, sid in enumerate(batch.sample_id):
        z0, c = target.encode(batch.image[i : i + 1]), target.embed([batch.caption[i]])
        residuals = []
        for draw in (0, 1):
            e = keyed_noise(0, sid, 354, draw, (4, 8, 8))[None]
            for signed in (e, -e):
                z_t = target.a[354] * z0 + target.b[354] * signed
                residuals.append(target.predict_noise(z_t, 354, c) - signed)
        expected = torch.stack(residuals).mean(0).square().mean()
        assert found[i].item() == pytest.approx(expected.item(), rel=1e-4)


@torch.no_grad()
def test_on_a_rectified_flow_it_is_the_papers_distance(random_batch: Any) -> None:
    """|| z0 + mean v ||^2 with v = eps - z0, times (1 - sigma)^2 over the number of elements."""
    target, batch = flow_target(), random_batch(2)
    found = MonteCarloBias(354, 6).features(target, batch)["bias"]
    sigma, z0, c = target.b[354], target.view(batch).z0, target.embed(batch.caption)
    total = torch.zeros_like(z0)
    for draw in range(3):
        e = target.noise(batch.sample_id, 354, draw)
        for signed in (e, -e):
            z = (1 - sigma) * z0 + sigma * signed
            total += target.predict_velocity(z, float(sigma), c)
    expected = (1 - sigma) ** 2 * (z0 + total / 6).square().flatten(1).mean(1)
    assert torch.allclose(found, expected, rtol=1e-4)


def test_complexity_is_the_length_of_a_png(random_batch: Any) -> None:
    image = random_batch(2).image.clamp(-1, 1)
    flat = torch.zeros_like(image[:1])
    sizes = png_bytes(torch.cat([image, flat])).tolist()
    picture = ((image[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    assert sizes[0] == len(file.getvalue()) > sizes[2]
    features = {"bias": np.array([1.0, 1.0]), "log_bytes": np.log([100.0, 400.0])}
    assert MonteCarloBias(complexity="png").score(features, NOBODY).tolist() == pytest.approx(
        [-0.01, -0.0025]
    )
    assert MonteCarloBias().score(features, NOBODY).tolist() == [-1, -1]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_draws_come_in_pairs(n: int) -> None:
    with pytest.raises(ValueError, match="pairs"):
        MonteCarloBias(n_noise=n)
