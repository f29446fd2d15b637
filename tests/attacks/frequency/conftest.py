"""The paper's filter, carried out on latents, for the attacks that score by stored energies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def low_pass() -> Callable[..., Tensor]:
    """low_pass(x, radius, floor, shape): F(x) of (C, h, w), frequency by frequency."""

    def apply(x: Tensor, radius: int, floor: float, shape: str) -> Tensor:
        _, height, width = x.shape
        mask = torch.full((height, width), floor, dtype=torch.float64)
        for row in range(height):
            for column in range(width):
                ky, kx = row - height // 2, column - width // 2
                square = -radius <= ky < radius and -radius <= kx < radius
                if square if shape == "square" else ky**2 + kx**2 <= radius**2:
                    mask[row, column] = 1
        channels = []
        for channel in x.double():
            spectrum = torch.fft.fftshift(torch.fft.fft2(channel))
            channels.append(torch.fft.ifft2(torch.fft.ifftshift(spectrum * mask)).real)
        return torch.stack(channels)

    return apply
