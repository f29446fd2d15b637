"""Errors of the answers to a grid of queries, each against the noise of its own key."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mia_bench.target.model import Target
from mia_bench.target.query import Query, View


def grid_residuals(target: Target, view: View, queries: Sequence[Query]) -> Tensor:
    """(Q, B, *latent) eps_hat - eps, each query on the noise of its own key."""
    eps_hat = target.predict_grid(view, queries)
    eps = torch.stack([target.noise(view.sample_id, q.noise_t, q.draw) for q in queries])
    return eps_hat.float() - eps


def grid_mse(target: Target, view: View, queries: Sequence[Query]) -> Tensor:
    """(B, Q) mean over elements of (eps_hat - eps)^2: ELBO terms (Ho et al. 2020, eq. 14)."""
    return grid_residuals(target, view, queries).square().flatten(2).mean(2).T
