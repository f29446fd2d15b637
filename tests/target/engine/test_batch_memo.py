"""What is remembered for a batch, and for how long."""

from __future__ import annotations

import torch
from target_queries import Build, Draw, grid_queries

from mia_bench.target import grid_mse


def test_what_is_remembered_does_not_stay_on_another_device(
    random_target: Build, random_batch: Draw
) -> None:
    target, batch = random_target(), random_batch(2)
    target.null(batch)
    target.noise(batch.sample_id, 5)
    assert target.engine.memo.embeddings
    assert target.engine.memo.noise
    target.to("cpu")
    assert not target.engine.memo.embeddings
    assert not target.engine.memo.noise


@torch.no_grad()
def test_only_the_null_condition_outlives_a_batch(random_target: Build, random_batch: Draw) -> None:
    target, batch = random_target(), random_batch(2)
    target.null(batch)
    view = target.view(batch)
    grid_mse(target, view, grid_queries(target, batch.caption))
    target.remember("a walk", view, target.null(batch), lambda: view.z0)
    memo = target.engine.memo
    results = (memo.predictions, memo.walks, memo.requested, memo.noise, memo.views)
    assert all(results)
    assert len(memo.embeddings) == 3
    target.forget()
    assert not any(results)
    assert memo.embeddings.keys() == {""}
