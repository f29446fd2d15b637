"""The bare U-Net loop runs what it promises, and options of torch change copies only."""

from __future__ import annotations

import pytest
import torch

from mia_bench.bench import unet_baseline
from mia_bench.bench.workloads import Workload


@pytest.fixture
def workload(random_target, random_batch) -> Workload:
    return Workload(random_target(), random_batch(2))


def test_the_loop_makes_as_many_evaluations_as_it_is_told(workload):
    calls = []
    run = unet_baseline.unet_loop(workload, 7, 3)
    handle = workload.target.unet.register_forward_hook(
        lambda _, args, __: calls.append(len(args[0]))
    )
    try:
        run()
    finally:
        handle.remove()
    assert calls == [3, 3, 1]


def test_the_best_chunk_is_one_that_fits(workload):
    assert unet_baseline.best_chunk(workload, 8, rounds=1) in (4, 8)
    assert unet_baseline.best_chunk(workload, 2, rounds=1) == 2


def test_flop_are_counted_per_evaluation(workload):
    one, four = (unet_baseline.flops(workload, chunk) for chunk in (1, 4))
    assert one > 0
    assert four == pytest.approx(one)


def test_torch_options_are_of_the_same_network(workload):
    ratios = unet_baseline.torch_options(workload, 2, 1, with_compile=False)
    assert ratios.keys() == {
        *("contiguous", "plain_attention", "inference_mode", "bfloat16", "float16")
    }
    assert next(workload.target.unet.parameters()).dtype is torch.float32
