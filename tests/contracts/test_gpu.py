"""A GPU answers as the CPU does: scores, noise, precisions, real out-of-memory, graphs, whole runs.

`make test-gpu` runs all of it on a machine with CUDA and says why it is skipped elsewhere. The
rehearsals on a CPU, at the same sizes and for few attacks, run with every `make test`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_nodes import NODES
from scipy.stats import spearmanr
from torch import Tensor

from mia_bench.attacks import Access, Attack
from mia_bench.config.instantiate import build
from mia_bench.target import Batch, Query, Target, grid_mse
from mia_bench.target.precision import scoring_in

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.slow,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
    ],
)
DEVICES = ["cpu", CUDA]
REHEARSED = ("clid_vec", "drc_cheap", "gsa")  # residuals, restorations, gradients
# The largest difference of a feature between devices, relative to the feature's own size: kernels
# sum in other orders, and chains of evaluations multiply the last digits.
DEVICES_AGREE = 5e-3
# Spearman's correlation of residuals in a lower precision with those in float32.
RANKS_AGREE = {"tf32": 0.999, "bfloat16": 0.95, "float16": 0.99}


def cases() -> list[Any]:
    on_gpu = [pytest.param(name, "cuda", marks=CUDA.marks) for name in sorted(NODES)]
    return [*((name, "cpu") for name in REHEARSED), *on_gpu]


def features(target: Target, attack: Attack, batch: Batch) -> dict[str, Tensor]:
    target.forget()
    target.start_attack()
    with torch.set_grad_enabled(attack.access is Access.WHITE_BOX), scoring_in(None, target):
        answers = attack.features(target, batch)
    return {name: value.detach().cpu().double() for name, value in answers.items()}


@pytest.fixture
def twins(tiny_unet, random_target) -> Callable[..., tuple[Target, Target]]:
    """twins(device, **options): one random model on the CPU, and its copy on `device`."""

    def build_twins(device: str, **options: Any) -> tuple[Target, Target]:
        here, there = (
            random_target("v_prediction", unet=copy.deepcopy(tiny_unet), **options)
            for _ in range(2)
        )
        return here, there.to(torch.device(device))

    return build_twins


def residuals(target: Target, batch: Batch, steps: tuple[int, ...] = (100, 300, 500)) -> Tensor:
    """(B, steps) mean squared differences of predicted and true noise, on the CPU."""
    target.forget()
    cond = target.embed(batch.caption)
    return grid_mse(target, target.view(batch), [Query(t, cond) for t in steps]).cpu()


@pytest.mark.parametrize(("name", "device"), cases())
def test_features_are_those_of_the_cpu(name, device, twins, random_batch):
    size = 32 if name == "drc_tasks" else 16
    here, there = twins(device, size=size)
    attack: Attack = build(NODES[name], f"attack.{name}")
    batch = random_batch(3, 0, size)
    expected, answered = (features(target, attack, batch) for target in (here, there))
    assert answered.keys() == expected.keys()
    for key, value in expected.items():
        difference = (answered[key] - value).abs().max()
        assert difference <= DEVICES_AGREE * value.abs().max().clamp(min=1e-3), key


@pytest.mark.parametrize("device", DEVICES)
def test_noise_is_the_same_to_the_bit(device, twins):
    here, there = twins(device)
    ids = ("a", "b", "ü" * 40)
    for t, draw in ((0, 0), (999, 3), (None, 1)):
        assert torch.equal(here.noise(ids, t, draw), there.noise(ids, t, draw).cpu())


@pytest.mark.parametrize(
    ("dtype", "device"),
    [
        ("bfloat16", "cpu"),
        *(pytest.param(dtype, "cuda", marks=CUDA.marks) for dtype in RANKS_AGREE),
    ],
)
def test_lower_precision_keeps_the_order_of_rows(dtype, device, twins, random_batch):
    here, there = twins(device)
    batch = random_batch(24, 1)
    expected = residuals(here, batch)
    with scoring_in(dtype, there):
        rounded = residuals(there, batch)
    assert rounded.isfinite().all()
    for one, other in zip(rounded.T, expected.T, strict=True):
        assert spearmanr(one, other).statistic >= RANKS_AGREE[dtype]


@pytest.mark.parametrize("device", [CUDA])
def test_memory_that_runs_out_halves_the_chunk_and_keeps_the_answers(device, twins, random_batch):
    """A real refusal by CUDA: the process may take little more than it holds."""
    _, there = twins(device)
    batch = random_batch(256, 2)
    there.chunk = 256
    expected = residuals(there, batch, (100,))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    held = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    there.chunk = 64
    residuals(there, batch, (100,))
    limit = (torch.cuda.max_memory_reserved() + held) / total
    there.chunk = 256
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit))
    try:
        answered = residuals(there, batch, (100,))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert there.chunk < 256
    assert torch.allclose(answered, expected, rtol=DEVICES_AGREE)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_and_captured_networks_answer_alike(mode, device, twins, random_batch):
    _, there = twins(device)
    batch = random_batch(16, 3)
    expected = residuals(there, batch)
    there.compile_unet(mode)
    for _ in range(3):  # the first calls compile and capture, the third replays the graph
        assert torch.allclose(residuals(there, batch), expected, rtol=DEVICES_AGREE)


RECIPES = {
    "full": (),
    "lora": ("finetune.lora_rank=4",),
    "private": ("mitigation=dp", "finetune.batch_size=4"),
}


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.long), CUDA])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_whole_run_trains_and_scores(recipe, device, run_python, small_overrides, tmp_path):
    """Fine-tuning in bfloat16 where there is a GPU; the same command again asks nothing."""
    trainer = "trainer=gpu" if device == "cuda" else "trainer=cpu"
    words = [trainer, *small_overrides[1:], *RECIPES[recipe], "attack=[loss,pia]"]
    words += ["eval.base_rows=[]", "eval.blind_rows=false", f"paths.outputs={tmp_path}"]
    run_python("-m", "mia_bench", *words)
    metrics = sorted(tmp_path.glob("runs/*/*/*/metrics.json"))
    assert len(metrics) == 2
    before = [path.read_bytes() for path in metrics]
    assert all(0 <= json.loads(text)["auroc"]["value"] <= 1 for text in before)
    run_python("-m", "mia_bench", *words)
    assert [path.read_bytes() for path in metrics] == before
