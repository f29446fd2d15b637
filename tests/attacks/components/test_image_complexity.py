"""Measures of complexity against literal sums; none of them queries a U-Net."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image

from mia_bench.attacks.components.image_complexity import (
    COVARIATES,
    ImageComplexity,
    gradient_energy,
    png_bytes,
)
from mia_bench.models.ddpm.network import Pixels
from mia_bench.target import Batch


def test_gradient_energy_is_the_mean_of_squared_steps() -> None:
    z0 = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = []
    for z in z0.tolist():
        down = [(c[i + 1][j] - c[i][j]) ** 2 for c in z for i in range(3) for j in range(5)]
        right = [(c[i][j + 1] - c[i][j]) ** 2 for c in z for i in range(4) for j in range(4)]
        expected.append(sum(down) / len(down) + sum(right) / len(right))
    np.testing.assert_allclose(gradient_energy(z0), expected, rtol=1e-5)


def test_features_are_the_logarithms_of_the_measures(random_target, random_batch) -> None:
    target, batch = random_target(), random_batch(3)
    found = ImageComplexity().features(target, batch)
    assert tuple(found) == COVARIATES
    for i in range(3):
        image = batch.image[i]
        pixels = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        z0 = target.latents.encode(image[None])
        restored = target.latents.decode(z0)[0].clamp(-1, 1)
        error = sum((a - b) ** 2 for a, b in zip(restored.flatten().tolist(),
                    image.flatten().tolist(), strict=True)) / image.numel()  # fmt: skip
        assert found["log_png_bytes"][i].item() == np.float32(math.log(len(file.getvalue())))
        energy = math.log(gradient_energy(z0).item())
        np.testing.assert_allclose(found["log_gradient_energy"][i], energy, rtol=1e-5)
        np.testing.assert_allclose(found["log_reconstruction_error"][i], math.log(error), rtol=1e-4)
    assert target.queries["forward"] == target.queries["asked"] == 0


def test_pixel_space_has_no_reconstruction_error(random_target, random_batch) -> None:
    target = random_target()
    target.latents = Pixels()
    found = ImageComplexity().features(target, random_batch(2))
    assert tuple(found) == COVARIATES[:2]


def test_a_blank_image_is_simple_and_finite(random_target) -> None:
    blank, noisy = torch.zeros(1, 3, 16, 16), torch.rand(1, 3, 16, 16) * 2 - 1
    batch = Batch(("x:1", "x:2"), torch.cat([blank, noisy]), ("", ""))
    target = random_target()
    target.latents = Pixels()
    for values in ImageComplexity().features(target, batch).values():
        assert values.isfinite().all()
        assert values[0] < values[1]
    assert png_bytes(blank) < png_bytes(noisy)
