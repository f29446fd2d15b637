"""Residual vectors averaged over draws of noise, for the attacks that measure their bias."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mia_bench.target import Batch, Query, Target


def mean_residuals(
    target: Target, batch: Batch, timesteps: Sequence[int], n_noise: int, antithetic: bool
) -> Tensor:
    """(B, timesteps, *latent): 1/N sum_n ( eps(a_t z0 + b_t e_n, t, c) - e_n ), N = n_noise.

    `antithetic`: draws come in pairs e, -e, n_noise an even number, so that the mean of e_n is zero
    exactly. Predictions at e are grid queries, which attacks share; those at -e are not.
    NFE: timesteps * n_noise.
    """
    view, c = target.view(batch), target.embed(batch.caption)
    draws = range(n_noise // 2 if antithetic else n_noise)
    queries = [Query(t, c, draw) for t in timesteps for draw in draws]
    predictions = iter(target.predict_grid(view, queries))
    means = []
    for t in timesteps:
        total = torch.zeros_like(view.z0)
        for draw in draws:
            e, eps_hat = target.noise(view.sample_id, t, draw), next(predictions).float()
            if antithetic:
                mirrored = target.add_noise(view.z0, -e, t)
                # the residuals (eps_hat - e) + (eps_hat' + e) of a pair
                total += eps_hat + target.predict_noise(mirrored, t, c).float()
            else:
                total += eps_hat - e
        means.append(total / n_noise)
    return torch.stack(means, dim=1)


def require_draws(n_noise: int, antithetic: bool) -> None:
    """Raises ValueError for a number of draws that cannot be made."""
    if antithetic and (n_noise < 2 or n_noise % 2):
        raise ValueError(f"n_noise={n_noise}: draws come in pairs e, -e; use 2, 4, ...")
    if n_noise < 1:
        raise ValueError(f"n_noise={n_noise}: at least one draw is needed")
