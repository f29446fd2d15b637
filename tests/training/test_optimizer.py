"""trained.py: what is trained, its average, and the optimizer over it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from mia_bench.config.recipe import Recipe
from mia_bench.training.optimizer import average_of, make_optimizer, trained_part

RECIPE = Recipe(steps=1, batch_size=2, lr=0.5, weight_decay=0.25, seed=0)


def test_an_average_shares_what_is_frozen_and_is_not_trained() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0].requires_grad_(False)
    average = average_of(net)
    assert average[0].weight is net[0].weight
    assert average[1].weight is not net[1].weight
    assert torch.equal(average[1].weight, net[1].weight)
    assert not any(p.requires_grad for p in average.parameters())


@pytest.mark.parametrize(("name", "fused"), [("adamw", None), ("adamw_fused", True)])
def test_the_optimizer_holds_what_is_trained(name: str, fused: bool | None) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0].requires_grad_(False)
    optimizer = make_optimizer(net, replace(RECIPE, optimizer=name))
    (group,) = optimizer.param_groups
    assert group["params"] == list(net[1].parameters())
    assert (group["lr"], group["weight_decay"], group["fused"]) == (0.5, 0.25, fused)


def test_adapters_alone_are_trained_where_a_rank_is_given(fresh_target) -> None:
    unet = trained_part(fresh_target().unet, replace(RECIPE, lora_rank=2))
    trained = {name for name, p in unet.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora" in name for name in trained)
