"""finite.py: what stopped being finite is named by step and rows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mia_bench.config.recipe import Recipe
from mia_bench.training.nan_checks import require_gradients, require_losses
from mia_bench.utils.errors import MiaError

RECIPE = Recipe(steps=1, batch_size=2, lr=0.5)
IDS = [f"made:{i}" for i in range(12)]


def test_finite_losses_pass() -> None:
    require_losses(torch.tensor([0.1, 2.0]), IDS, "training loss", 3, RECIPE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_rows_that_are_not_finite_are_named_and_no_others(value: float) -> None:
    losses = torch.tensor([0.1, value, 0.2, value])
    with pytest.raises(MiaError) as error:
        require_losses(losses, IDS, "training loss", 3, RECIPE)
    said = str(error.value)
    assert f"the training loss became {value} at step 3 (rows made:1, made:3)." in said
    assert "Lower finetune.lr (now 0.5)" in said


def test_finite_losses_whose_sum_overflows_are_all_named() -> None:
    with pytest.raises(MiaError, match=r"became inf at step 0 \(rows made:0, made:1\)"):
        require_losses(torch.tensor([3e38, 3e38]), IDS[:2], "training loss", 0, RECIPE)


def test_a_gradient_names_the_rows_of_its_step() -> None:
    net = nn.Linear(2, 1)
    require_gradients(net, 0, IDS, RECIPE)  # nothing was trained yet
    net.weight.grad = torch.tensor([[0.0, math.nan]])
    with pytest.raises(MiaError, match=r"gradient became nan at step 7 \(rows made:0.* and 4 more"):
        require_gradients(net, 7, IDS, RECIPE)
