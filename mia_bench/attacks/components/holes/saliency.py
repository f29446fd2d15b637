"""Which pixels of an image matter, from the image alone: maps (B, 1, H, W), larger = matters more.

DRC's authors are thought to hide what a self-supervised transformer attends to. These maps need no
weights and see less: where there are edges, or what stands out of the image's own spectrum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Saliency = Literal["edges", "spectral_residual"]
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
BLUR_SHARE = 1 / 8  # width of the Gaussian that smooths a map, as a share of the image's side
SPECTRUM_WINDOW = 3  # frequencies over which the log spectrum is averaged


def saliency_map(name: Saliency, image: Tensor) -> Tensor:
    """The map `name` (B, 1, H, W) of images (B, 3, H, W)."""
    maps: dict[Saliency, Callable[[Tensor], Tensor]] = {
        "edges": edges,
        "spectral_residual": spectral_residual,
    }
    return maps[name](image)


def edges(image: Tensor) -> Tensor:
    """Energy of Sobel's gradients, summed over colours and smoothed."""
    kernel = torch.tensor(SOBEL, device=image.device)
    kernels = torch.stack([kernel, kernel.T])[:, None]
    channels = image.flatten(0, 1)[:, None]
    slopes = F.conv2d(F.pad(channels, (1, 1, 1, 1), mode="replicate"), kernels)
    energy = slopes.square().sum(1).view(image.shape).sum(1, keepdim=True)
    return blurred(energy)


def spectral_residual(image: Tensor) -> Tensor:
    """What the log spectrum has beyond its local mean (Hou & Zhang 2007), smoothed.

    R = log|F(x)| - mean of log|F(x)| around each frequency
        S = | F^-1( exp(R + i angle F(x)) ) |^2
    """
    spectrum = torch.fft.fft2(image.mean(1, keepdim=True))
    log = spectrum.abs().clamp_min(1e-12).log()
    edge = SPECTRUM_WINDOW // 2
    around = F.avg_pool2d(F.pad(log, (edge,) * 4, mode="circular"), SPECTRUM_WINDOW, stride=1)
    residual = torch.polar((log - around).exp(), spectrum.angle())
    return blurred(torch.fft.ifft2(residual).abs().square())


def blurred(values: Tensor) -> Tensor:
    """(B, 1, H, W) under a Gaussian, mirrored at the edges."""
    sigma = max(values.shape[-1] * BLUR_SHARE / 2, 0.5)
    radius = min(round(2 * sigma), min(values.shape[-2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, device=values.device, dtype=values.dtype)
    weights = torch.exp(-offsets.square() / (2 * sigma**2))
    weights = weights / weights.sum()
    padded = F.pad(values, (radius,) * 4, mode="reflect")
    rows = F.conv2d(padded, weights.view(1, 1, -1, 1))
    return F.conv2d(rows, weights.view(1, 1, 1, -1))
