"""DP-SGD: single gradients are clipped, noise is keyed, epsilon is the accountant's."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainingContext, TrainingSetup
from mia_bench.mitigations.dp import DpSgd
from mia_bench.training.batches import EncodedRows, StepBatches
from mia_bench.training.module import FinetuneModule
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=100, batch_size=4, lr=1e-3, max_grad_norm=0.0, seed=0)
SITUATION = TrainingContext(RECIPE, 40, 5, 1, "32-true")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lora_rank": 0}, "lora_rank=0 must be 1 or more"),
        ({"lr": 0.0}, "lr=0.0 must be positive"),
        ({"noise": None, "epsilon": 1e308}, "epsilon=1e.308 is above 1e.06"),
    ],
)
def test_adapters_a_rate_and_a_budget_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DpSgd(**{"noise": 1.0, **wrong})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poisson": False}, "assumes Poisson sampling"),
        ({"recipe": {"accumulate": 2}}, "clip several gradients"),
        ({"devices": 2}, "trainer.devices=1"),
        ({"precision": "16-mixed"}, "bf16-mixed or 32-true"),
        ({"recipe": {"gradient_checkpointing": True}}, "gradient_checkpointing=false"),
        ({"recipe": {"batch_size": 44}}, "exceeds the 40 members"),
        ({"delta": 0.5}, "giving away one of 40 members"),
        ({"noise": None, "epsilon": 1e-6}, "cannot be met by any noise in 100 steps"),
    ],
)
def test_what_would_not_be_private_is_refused(change, message):
    own = {name: change[name] for name in change if name in DpSgd.__dataclass_fields__}
    context = replace(
        SITUATION,
        recipe=replace(RECIPE, **change.get("recipe", {})),
        **{name: change[name] for name in ("devices", "precision") if name in change},
    )
    DpSgd(noise=1.0).check(SITUATION)
    with pytest.raises(MiaError, match=message):
        DpSgd(**{"noise": 1.0, **own}).check(context)


def test_a_target_epsilon_gives_the_noise_that_spends_it():
    private = DpSgd(epsilon=5.0)
    spent = private.spent(SITUATION, 100)
    assert spent["epsilon"] == pytest.approx(5.0, abs=0.05)
    assert spent["epsilon"] <= 5.0
    assert private.spent(SITUATION, 50)["epsilon"] < spent["epsilon"]


def test_epsilon_is_the_literal_bound_without_subsampling():
    """All rows at every step: RDP of the Gaussian mechanism, minimised over its order."""
    everyone = replace(SITUATION, members=4)
    found = DpSgd(noise=8.0, delta=1e-5).spent(everyone, 10)["epsilon"]

    def bound(order: float) -> float:  # Balle et al. 2020, theorem 21, on 10 order / (2 8^2)
        rdp = 10 * order / (2 * 8.0**2)
        log = math.log((order - 1) / order)
        return rdp + log - (math.log(1e-5) + math.log(order)) / (order - 1)

    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    assert found == pytest.approx(min(map(bound, orders)), rel=1e-3)


def gradients(target, context, private, layout=torch.contiguous_format):
    """Gradient of one step over 4 rows; the same from each row alone, clipped by hand."""
    generator = torch.Generator().manual_seed(0)
    z0 = torch.randn(4, *target.latent_shape, generator=generator).to(memory_format=layout)
    rows = EncodedRows(tuple("abcd"), z0, target.embed([f"word {i}" for i in range(4)]))
    bare = copy.deepcopy(target.unet)
    module = FinetuneModule(target, rows, None, TrainingSetup(context, {"dp": private}))
    (optimizer,) = [module.configure_optimizers()["optimizer"]]
    batch = StepBatches(rows, replace(RECIPE, batch_size=4), 1000).step(0)
    hidden, extra = module.objective.text(rows.cond, batch["text"], batch["drop"])
    z0 = module._latents(batch)
    losses = module.objective.losses
    loss = losses(module.unet, z0, batch["t"], batch["eps"], (hidden, extra)).mean()
    loss.backward()
    private.reseed(optimizer, 0, 7)
    optimizer.pre_step()
    found = torch.cat([p.grad.flatten() for p in module.unet.parameters()])
    single = []
    for i in range(4):
        bare.zero_grad()
        one = {name: batch[name][i : i + 1] for name in ("t", "eps")}
        text = hidden[i : i + 1], extra
        losses(bare, z0[i : i + 1], one["t"], one["eps"], text).backward(torch.ones(1))
        single.append(torch.cat([p.grad.flatten() for p in bare.parameters()]))
    return found, torch.stack(single)


@pytest.mark.first_look
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_step_is_the_sum_of_clipped_gradients_and_keyed_noise(layout, fresh_target):
    clip, context = 0.05, replace(SITUATION, members=4)
    target = fresh_target()
    target.unet.to(memory_format=layout)  # as models are loaded and latents encoded
    quiet, single = gradients(target, context, DpSgd(clip=clip, noise=1e-9), layout)
    norms = single.norm(dim=1)
    assert (norms > clip).all()
    expected = (single * (clip / norms).clamp(max=1)[:, None]).sum(0) / 4
    assert torch.allclose(quiet, expected, atol=1e-6)
    loud, _ = gradients(fresh_target(), context, DpSgd(clip=clip, noise=2.0))
    again, _ = gradients(fresh_target(), context, DpSgd(clip=clip, noise=2.0))
    assert torch.equal(loud, again)
    assert (loud - quiet).std().item() == pytest.approx(2.0 * clip / 4, rel=0.05)


def test_layers_that_mix_samples_are_refused():
    with pytest.raises(MiaError, match="no per-sample gradients"):
        DpSgd(noise=1.0).prepare(torch.nn.Sequential(torch.nn.BatchNorm2d(3)))


def test_whole_networks_trained_on_other_gradients_are_other_models():
    def identity(rank):
        private, node = DpSgd(noise=1.0, lora_rank=rank), {"noise": 1.0, "lora_rank": rank}
        return TrainingSetup(SITUATION, {"dp": private}, {"dp": node}).identity()

    assert identity(4) == {"dp": {"noise": 1.0, "lora_rank": 4}}
    assert identity(None)["dp"]["version"] == 2
