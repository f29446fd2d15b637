"""The autoencoder: augmentation, loss and reconstruction error."""

from __future__ import annotations

import pytest
import torch

from mia_bench.pretrain.autoencoder import augment, build_autoencoder, psnr, reconstruction_loss
from mia_bench.pretrain.loop import step_generator


def test_augmentation_keeps_the_range():
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    out = augment(images, step_generator(0))
    assert out.shape == images.shape
    assert out.abs().max() <= 1


def test_the_loss_sees_blurred_outlines():
    sharp = torch.zeros(1, 3, 4, 4)
    sharp[..., 2:] = 1
    shifted = sharp + 0.25
    assert reconstruction_loss(sharp, sharp) == 0
    assert reconstruction_loss(shifted, sharp) == pytest.approx(0.25)  # outlines are the same
    blurred = sharp.clone()
    blurred[..., 1:3] = 0.5
    assert reconstruction_loss(blurred, sharp) > 0.25


def test_psnr_is_in_decibels():
    """A random network does not reconstruct noise: near the 8 dB of a constant grey image."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    assert 0 < psnr(build_autoencoder(16).eval(), images) < 15
