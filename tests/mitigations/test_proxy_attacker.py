"""SMP and MP: the objectives, the attacker's shape, and what is refused before training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoded import RECIPE, treated
from torch import nn

from mia_bench.mitigations import TrainsProxy
from mia_bench.mitigations.proxy_attacker import ProxyAttacker
from mia_bench.utils.errors import MiaError


def test_the_objectives_are_the_literal_formulas():
    loss, adversarial = torch.tensor(0.6), torch.tensor(0.5)
    smp = ProxyAttacker(form="smp", alpha=2.0, beta=0.5)
    assert smp.objective(loss, adversarial).item() == pytest.approx(0.6 / (0.5 + 2.0 * 0.5 + 1e-5))
    mp = ProxyAttacker(form="mp", alpha=2.0)
    assert mp.objective(loss, adversarial).item() == pytest.approx(0.6 - 2.0 * 0.5)


@pytest.mark.parametrize("form", ["smp", "mp"])
def test_a_misled_attacker_lowers_what_the_model_minimises(form):
    defence, loss = ProxyAttacker(form=form), torch.tensor(0.6)
    certain, misled = (defence.objective(loss, torch.tensor(ce)) for ce in (0.01, 2.0))
    assert misled < certain


def test_the_attacker_is_the_papers():
    layers = ProxyAttacker().attacker(16_384)
    shapes = [
        (layer.in_features, layer.out_features) for layer in layers if isinstance(layer, nn.Linear)
    ]
    assert shapes == [(16_384, 512), (512, 256), (256, 2)]
    (group,) = ProxyAttacker().attacker_optimizer(layers).param_groups
    assert (group["lr"], group["weight_decay"]) == (1e-5, 1e-4)


def test_adapters_are_its_own_or_those_of_the_recipe():
    assert ProxyAttacker().recipe(replace(RECIPE, lora_rank=3)) == replace(RECIPE, lora_rank=3)
    changed = ProxyAttacker(lora_rank=64, lr=0.1).recipe(RECIPE)
    assert changed == replace(RECIPE, lora_rank=64, lr=0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heldout": 0}, r"validation role.*data\.sizes\.validation=100"),
        ({"devices": 2}, r"trainer\.devices=1"),
        ({"recipe": replace(RECIPE, accumulate=2)}, "accumulate=1"),
    ],
)
def test_what_cannot_be_is_refused_before_training(change, words):
    context = replace(treated(RECIPE).context, **change)
    with pytest.raises(MiaError, match=words):
        ProxyAttacker().check(context)


def test_it_is_found_by_its_hook_and_refuses_senseless_values():
    assert isinstance(ProxyAttacker(), TrainsProxy)
    for wrong in ({"alpha": 0.0}, {"beta": -1.0}, {"attacker_steps": 0}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match=r"positive|between|dropout"):
            ProxyAttacker(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lora_rank": 0}, "lora_rank=0 must be 1 or more, or null"),
        ({"lr": -1.0}, r"lr=-1\.0 must be positive, or null"),
        ({"form": "mp", "beta": 2.0}, "beta=2.0 is read by form=smp alone"),
    ],
)
def test_what_the_model_is_trained_with_is_checked_too(wrong, message):
    with pytest.raises(ValueError, match=message):
        ProxyAttacker(**wrong)
