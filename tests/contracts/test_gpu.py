"""A GPU answers as the CPU does: scores, noise, precisions, real out-of-memory, graphs, whole runs
(full, adapters, private), kills, jobs that take turns, networks of real width.

`make test-gpu` runs all of it on a machine with CUDA and says why it is skipped elsewhere. The
rehearsals on a CPU, at the same sizes and for few attacks, run with every `make test`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attack_nodes import NODES
from jobs import STARTED, Job, start, steps_shown
from scipy.stats import spearmanr
from torch import Tensor

from mia_bench import run
from mia_bench.attacks import Access, Attack
from mia_bench.bench.gpu import networks
from mia_bench.config.instantiate import build
from mia_bench.models.lora.training import add_lora
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


@pytest.mark.parametrize("device", DEVICES)
def test_images_are_encoded_in_float32_whatever_surrounds_it(device):
    """Latents are cached, and shared by runs of every dtype."""
    target = networks.target(networks.SPECS["sdxl"]["small"], torch.device(device))
    image = networks.pictures(networks.SPECS["sdxl"]["small"], 2).image.to(device)
    exact = target.encode(image)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(target.encode(image), exact)
    target.compute_in(torch.bfloat16)
    assert torch.equal(target.encode(image), exact)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", networks.MODELS)
def test_networks_of_real_width_answer_and_learn(model, device):
    """On a GPU of real size, here narrow: predictions in half precision, one training step."""
    size = "real" if device == "cuda" else "small"
    spec = networks.SPECS[model][size]
    workload = networks.workload(spec, 2, torch.device(device))
    target, batch = workload.target, workload.batch
    expected = residuals(target, batch, (300, 700))
    assert expected.isfinite().all()
    target.compute_in(torch.bfloat16)
    assert torch.allclose(residuals(target, batch, (300, 700)), expected, rtol=0.05)
    target.compute_in(torch.float32)
    _learns(target, batch, spec.recipe)


def _learns(target: Target, batch: Batch, recipe: Any) -> None:
    """One step of every weight, or of adapters, under autocast: gradients are finite."""
    unet: Any = target.unet.train()
    if recipe.get("lora_rank"):
        add_lora(unet, recipe["lora_rank"])
    if recipe.get("gradient_checkpointing"):
        unet.enable_gradient_checkpointing()
    z0, cond = target.view(batch).z0, target.embed(batch.caption)
    eps = target.noise(batch.sample_id, 300)
    t = torch.full((len(batch),), 300, device=target.device)
    with torch.autocast(target.device.type, torch.bfloat16):
        z_t, time = target.add_noise(z0, eps, 300), target.schedule.network_time(t)
        raw = target.predictor.call(unet, z_t, time, cond.hidden, cond.extra)
    (raw.float() - eps).square().mean().backward()
    trained = [p for p in unet.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is None or p.grad.isfinite().all() for p in trained)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in trained)


@pytest.fixture
def command(run_python, capsys) -> Callable[..., None]:
    """command(device, *words): a run in a process of its own, which alone leaves a GPU as it was;
    the rehearsal on a CPU is in this one."""

    def carry_out(device: str, *words: str) -> None:
        if device == "cuda":
            run_python("-m", "mia_bench", *words)
            return
        run(*words)
        capsys.readouterr()

    return carry_out


RECIPES = {
    "full": (),
    "lora": ("finetune.lora_rank=4",),
    "private": ("mitigation=dp", "finetune.batch_size=4"),
}


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.long), CUDA])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_whole_run_trains_and_scores(recipe, device, command, small_overrides, tmp_path):
    """Fine-tuning in bfloat16 where there is a GPU; the same command again asks nothing."""
    trainer = "trainer=gpu" if device == "cuda" else "trainer=cpu"
    words = [trainer, *small_overrides[1:], *RECIPES[recipe], "attack=[loss,pia]"]
    words += ["eval.base_rows=[]", "eval.blind_rows=false", f"paths.outputs={tmp_path}"]
    command(device, *words)
    metrics = sorted(tmp_path.glob("runs/*/*/*/metrics.json"))
    assert len(metrics) == 2
    before = [path.read_bytes() for path in metrics]
    assert all(0 <= json.loads(text)["auroc"]["value"] <= 1 for text in before)
    command(device, *words)
    assert [path.read_bytes() for path in metrics] == before


@pytest.fixture
def _nothing_goes_on() -> Iterator[None]:
    """What a test that failed left running."""
    yield
    while STARTED:
        STARTED.pop().kill()


def words_of(device: str, small_overrides: tuple[str, ...], *more: str) -> tuple[str, ...]:
    trainer = "trainer=gpu" if device == "cuda" else "trainer=cpu"
    fast = ("eval.base_rows=[]", "eval.blind_rows=false", "attack=[loss,pia]")
    return (trainer, *small_overrides[1:], *fast, *more)


def aurocs(outputs: Path) -> list[float]:
    files = sorted(outputs.glob("runs/*/*/*/metrics.json"))
    return [json.loads(file.read_text())["auroc"]["value"] for file in files]


@pytest.mark.usefixtures("_nothing_goes_on")
@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.long), CUDA])
def test_a_killed_run_goes_on_to_the_same_scores(
    device, command, small_overrides, encoded, tmp_path
):
    """Killed while it trains; on a GPU sums of other orders leave the last digits free."""
    more = ("finetune.steps=8", "finetune.checkpoint_every=2", "trainer.parallel_models=false")
    words = [w for w in words_of(device, small_overrides) if not w.startswith("finetune.steps")]
    killed, whole = (encoded(tmp_path / name) for name in ("killed", "whole"))
    job = start(killed, *words, *more)
    assert job.until(lambda: steps_shown(job) >= 4), job.said[-3000:]
    job.kill()
    assert list(killed.glob("targets/*.tmp/last.ckpt"))
    for outputs in (killed, whole):
        command(device, *words, *more, f"paths.outputs={outputs}")
    assert len(aurocs(whole)) == 2
    assert aurocs(killed) == pytest.approx(aurocs(whole), abs=0.0 if device == "cpu" else 0.1)


@pytest.mark.usefixtures("_nothing_goes_on")
@pytest.mark.parametrize("device", [CUDA])
def test_two_jobs_take_turns_on_one_gpu(device, small_overrides, tmp_path):
    """Both are started at once with one slot; both finish, each with the scores of its seed."""
    jobs = [
        start(
            tmp_path / str(seed),
            *words_of(device, small_overrides, f"seed={seed}", "trainer.gpu_slots=1"),
        )
        for seed in (0, 1)
    ]
    assert all(_finished(job) for job in jobs)
    assert all(len(aurocs(tmp_path / str(seed))) == 2 for seed in (0, 1))


def _finished(job: Job) -> bool:
    assert job.finish() == 0, job.said[-4000:]
    return True
