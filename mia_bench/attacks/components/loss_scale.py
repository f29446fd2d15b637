"""By how much a loss is enlarged before its gradient is taken: float16 loses small slopes."""

from __future__ import annotations

import torch
from torch import Tensor

from mia_bench.target import Target


def loss_scale(target: Target, z0: Tensor) -> float:
    """Of a mean over the elements of latents z0 (B, *latent), to be divided out of what it gives.

    Slopes of such a mean are one part in the number of elements, below what float16 resolves.
    """
    return float(z0[0].numel()) if target.dtype is torch.float16 else 1.0
