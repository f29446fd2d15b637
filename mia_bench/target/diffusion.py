"""The mathematics every attack shares, free of models: forward noising, DDIM moves, keyed noise.

Symbols: `a_t = sqrt(alphas_cumprod_t)`, `b_t = sqrt(1 - alphas_cumprod_t)`; step -1 is the clean
image (a = 1, b = 0). Levels are tensors that broadcast against the latents.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mia_bench.utils.rng import keyed_generator


def signal_and_noise(alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    """(a, b), each T + 1 float64 entries; the last is the clean level, so index -1 means z0."""
    alphas = torch.cat([alphas_cumprod.double().cpu(), torch.ones(1, dtype=torch.float64)])
    return alphas.sqrt(), (1 - alphas).sqrt()


def add_noise(z0: Tensor, eps: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """q(z_t | z0) with the noise given: z_t = a z0 + b eps (DDPM, Ho et al. 2020, eq. 4)."""
    return a * z0 + b * eps


def eps_from_v(v: Tensor, z_t: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """v = a eps - b z0  =>  eps = a v + b z_t (Salimans & Ho 2022, appendix D)."""
    return a * v + b * z_t


def eps_from_velocity(velocity: Tensor, z_t: Tensor, a: Tensor) -> Tensor:
    """velocity = eps - z0 at z_t = a z0 + (1 - a) eps  =>  eps = z_t + a velocity."""
    return z_t + a * velocity


def clean_estimate(z_t: Tensor, eps: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The z0 that `eps` implies: (z_t - b eps) / a."""
    return (z_t - b * eps) / a


def ddim_step(
    z_t: Tensor, eps: Tensor, a_t: Tensor, b_t: Tensor, a_s: Tensor, b_s: Tensor
) -> Tensor:
    """Deterministic DDIM move t -> s, either direction (Song et al. 2021, eq. 12, sigma = 0)."""
    return a_s * clean_estimate(z_t, eps, a_t, b_t) + b_s * eps


def keyed_noise(
    seed: int, sample_id: str, t: int | None, draw: int, shape: tuple[int, ...]
) -> Tensor:
    """Standard normal float32 noise that depends on (seed, sample id, t, draw) and nothing else.

    `t=None` is the draw an attack shares over all timesteps. Batching, order, device and rank are
    irrelevant.
    """
    generator = keyed_generator(seed, sample_id, t, draw)
    flat = generator.standard_normal(math.prod(shape), dtype=np.float32)
    return torch.from_numpy(flat).view(shape)
