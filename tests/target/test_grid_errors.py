"""Errors of a grid of queries, against the literal sum."""

from __future__ import annotations

import pytest
import torch
from target_queries import Build, Draw, grid_queries, literal_grid

from mia_bench.target import grid_mse
from mia_bench.target.diffusion import keyed_noise


@torch.no_grad()
def test_grid_mse_is_the_literal_mean(random_target: Build, random_batch: Draw, kind: str) -> None:
    target, batch = random_target(kind), random_batch(3)
    queries = grid_queries(target, batch.caption)
    found = grid_mse(target, target.view(batch), queries)
    assert found.shape == (3, 10)
    expected = literal_grid(target, batch)
    for q, query in enumerate(queries):
        for i, sid in enumerate(batch.sample_id):
            t = None if query.shared else query.t
            eps = keyed_noise(0, sid, t, query.draw, (4, 8, 8))
            assert found[i, q].item() == pytest.approx(
                ((expected[q, i] - eps) ** 2).mean().item(), rel=1e-4
            )
