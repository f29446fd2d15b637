"""Attacks beside the bare U-Net, in one pass, and one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.bench import overhead
from mia_bench.bench.workloads import Workload, attack


@pytest.mark.first_look
@pytest.mark.parametrize(("name", "queries"), [("clid", 15), ("secmi", 38), ("pfami", 20)])
def test_unbatched_attacks_make_the_queries_of_their_docstring(
    name, queries, random_target, random_batch
):
    target, batch = random_target(), random_batch(2)
    calls = []
    target.unet.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))
    try:
        scores = overhead.unbatched_scores(target, batch.image, batch.caption, name)
    finally:
        target.unet._forward_hooks.clear()
    assert len(scores) == 2
    assert calls == [1] * 2 * queries


def test_unbatched_gradients_are_gsa2s(fresh_target, random_batch, measure, monkeypatch):
    """On the same noise the unbatched sum of norms is what the attack's features add up to."""
    target, batch = fresh_target(), random_batch(1)
    path = iter(range(99, 1000, 100))
    monkeypatch.setattr(torch, "randn_like", lambda _: target.noise(batch.sample_id, next(path)))
    sum_of_norms = overhead.gsa2(target, batch.image, batch.caption[0])
    log_norm = measure(attack("gsa2"), target, batch)["log_norm"]
    named = dict(target.unet.named_parameters())
    assert log_norm.shape == (1, len(named))
    assert sum_of_norms == pytest.approx(np.exp(log_norm).sum(), rel=1e-3)


def test_sharing_counts_the_union(random_target, random_batch):
    workload = Workload(random_target(), random_batch(2)).cached()
    attacks = [attack("clid"), attack("loss"), attack("pia")]
    measured = overhead.sharing(workload, attacks, 1)
    assert measured.evaluations == pytest.approx(17 / 18)  # loss's query is one of CLiD's
    assert measured.excess.value == pytest.approx(measured.unet.value * 18 / 17)
    within = measured.unet.seconds[0] / measured.time.seconds[0]
    assert measured.elsewhere == pytest.approx(1 - within)


def test_seconds_within_a_module_are_those_of_its_calls(monkeypatch):
    clock = iter(range(0, 100, 10))
    monkeypatch.setattr(overhead, "now", lambda: float(next(clock)))
    layer = torch.nn.Linear(1, 1)
    x = torch.ones(1, 1)
    assert overhead.seconds_within(layer, lambda: layer(layer(x))) == 20
    layer(x)
    assert next(clock) == 40  # its hooks are gone


@pytest.mark.parametrize("of_weights", [False, True])
def test_gradients_are_measured_and_left_nowhere(fresh_target, random_batch, of_weights):
    workload = Workload(fresh_target(), random_batch(2)).cached()
    measured = overhead.over_gradients(workload, 1, of_weights)
    assert measured.value == pytest.approx(measured.seconds[0] / measured.seconds[1])
    assert all(p.grad is None for p in workload.target.unet.parameters())


def test_overhead_is_a_ratio_of_times(random_target, random_batch):
    workload = Workload(random_target(), random_batch(2)).cached()
    measured = overhead.overhead(workload, "loss", 1, 2)
    assert measured.value == pytest.approx(measured.seconds[0] / measured.seconds[1])
