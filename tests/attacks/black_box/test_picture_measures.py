"""Measures of pictures for who has no access to the target."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks import Calibration
from mia_bench.attacks.black_box.picture_measures import (
    SIGN,
    TINY_VAE_FOLDER,
    classified,
    described,
    fetch_measure,
    picture_measure,
)
from mia_bench.utils.errors import MiaError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tiny_vae", "mse", "ssim"])
def test_an_image_is_most_like_itself(name, random_batch):
    image = random_batch(3).image
    compare = picture_measure(name, CPU, "")
    same, other = (SIGN[name] * compare(image, x) for x in (image, image.flip(0)))
    assert same.shape == (3,)
    assert bool((same[[0, 2]] > other[[0, 2]]).all())


@torch.no_grad()
def test_the_encoder_is_the_packaged_autoencoder(random_batch):
    from diffusers import AutoencoderKL

    image = random_batch(2, size=64).image
    vae = AutoencoderKL.from_pretrained(str(TINY_VAE_FOLDER)).eval()
    x, y = (vae.encode(i).latent_dist.mean.flatten() for i in (image[:1], image[1:]))
    expected = (x @ y / (x.norm() * y.norm())).item()
    found = picture_measure("tiny_vae", CPU, "")(image[:1], image[1:])
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_the_encoder_is_named():
    assert described("tiny_vae", "x/y") == "latents of the bundled tiny autoencoder"
    assert described("open_clip", "x/y") == "open_clip x/y"


def test_weights_that_are_not_there_are_missed_before_anything_runs():
    fetch_measure("tiny_vae", "")
    with pytest.raises(MiaError, match="open_clip weights"):
        fetch_measure("open_clip", "ViT-B-32/none_of_these")


def test_the_classifier_needs_rows_and_learns_the_direction():
    draw = np.random.default_rng(0)
    member = np.arange(80) % 2 == 0
    rows = draw.normal(size=(80, 2)) - 2 * member[:, None]
    known = Calibration({}, member, np.arange(80).astype(str))
    assert classified(np.array([[-3.0, -3.0], [3.0, 3.0]]), rows, known).round().tolist() == [
        1.0,
        0.0,
    ]
    with pytest.raises(MiaError, match="1 members and 1 non-members"):
        classified(rows, rows[:2], known.take(np.array([0, 1])))
