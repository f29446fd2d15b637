"""Saliency maps on pictures whose salient part is known, and against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks.components.degradations import most
from mia_bench.attacks.components.holes.saliency import (
    blurred,
    edges,
    saliency_map,
    spectral_residual,
)


@pytest.fixture
def disc() -> torch.Tensor:
    """A small bright disc in the upper left of a flat picture, (1, 3, 32, 32)."""
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    inside = ((y - 9) ** 2 + (x - 11) ** 2 < 16).float()
    return (2 * inside - 1).expand(1, 3, 32, 32).clone()


@pytest.mark.parametrize("name", ["edges", "spectral_residual"])
def test_the_disc_is_what_matters(name, disc):
    found = saliency_map(name, disc)
    assert found.shape == (1, 1, 32, 32)
    row, column = divmod(int(found.flatten().argmax()), 32)
    assert abs(row - 9) <= 5
    assert abs(column - 11) <= 5
    hidden = ~most(found, 0.1)
    assert int(hidden.sum()) == round(0.1 * 32 * 32)
    bright = (disc[:, :1] > 0).float()
    assert float(bright[hidden].mean()) > 2 * float(bright.mean())


def test_a_flat_picture_has_no_edges_but_a_mask():
    flat = torch.zeros(2, 3, 8, 8)
    assert float(edges(flat).abs().max()) == 0
    assert (~most(edges(flat), 0.25)).flatten(1).sum(1).tolist() == [16, 16]


def test_edges_are_sobels():
    x = torch.rand(1, 3, 6, 6).double().float()
    padded = np.pad(x[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    energy = np.zeros((6, 6))
    for c in range(3):
        for i in range(6):
            for j in range(6):
                w = padded[c, i : i + 3, j : j + 3]
                dx = (w[:, 2] - w[:, 0]) @ [1, 2, 1]
                dy = (w[2] - w[0]) @ [1, 2, 1]
                energy[i, j] += dx**2 + dy**2
    expected = blurred(torch.tensor(energy).float()[None, None])
    torch.testing.assert_close(edges(x), expected, rtol=1e-4, atol=1e-4)


def test_the_residual_is_the_papers():
    x = torch.rand(1, 3, 8, 8)
    F = np.fft.fft2(x.mean(1)[0].numpy())
    log = np.log(np.abs(F))
    mean = sum(np.roll(log, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    S = np.abs(np.fft.ifft2(np.exp(log - mean + 1j * np.angle(F)))) ** 2
    expected = blurred(torch.tensor(S).float()[None, None])
    torch.testing.assert_close(spectral_residual(x), expected, rtol=1e-4, atol=1e-5)


def test_the_gaussian_keeps_the_mean_of_what_is_flat():
    flat = torch.full((1, 1, 8, 8), 3.0)
    torch.testing.assert_close(blurred(flat), flat)
