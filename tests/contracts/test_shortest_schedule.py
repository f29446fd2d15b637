"""The shortest schedule that an attack accepts in the plan serves it, whatever it walks to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from attack_nodes import NODES, parameters
from network_fixtures import HashedTokens, MixedCodec
from torch import nn

from mia_bench.attacks import Access, Attack, HasRequirements
from mia_bench.config.instantiate import build
from mia_bench.models.memorizer import scaled_linear
from mia_bench.target import Batch, Target
from mia_bench.utils.errors import MiaError

SIZE = 32
CHEAPER = {"mofit_lite": {"steps": 1}, "noise_probe": {"steps": 3, "inversion_steps": 4}}
"""Options that make an attack cheap, and change nothing about where it walks."""


def accepted(attack: Attack, schedule: int) -> bool:
    """As `preflight.check_schedule` has it."""
    try:
        if isinstance(attack, HasRequirements):
            attack.check(schedule, SIZE)
        return all(0 <= t < schedule for t in attack.asks_at(schedule))
    except MiaError:
        return False


@pytest.mark.parametrize("name", parameters(NODES))
def test_what_the_plan_accepts_can_be_asked(
    name: str, tiny_unet: nn.Module, random_batch: Callable[..., Batch]
) -> None:
    attack = replace(build(NODES[name], f"attack.{name}"), **CHEAPER.get(name, {}))
    shortest = next(n for n in range(2, 1001) if accepted(attack, n))
    latents = (4, SIZE // 2, SIZE // 2)
    levels = scaled_linear(shortest)
    target = Target(tiny_unet, MixedCodec(), HashedTokens(), latents, levels, "epsilon").eval()
    with torch.set_grad_enabled(attack.access is Access.WHITE_BOX):
        features = attack.features(target, random_batch(1, 0, SIZE))
    assert all(value.isfinite().all() for value in features.values())
