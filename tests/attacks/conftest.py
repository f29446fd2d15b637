"""Gives the tests of attacks the module beside them, and a literal reading of a random target."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from mia_bench.target import Target


@pytest.fixture(scope="session")
def attack_fixtures() -> ModuleType:
    """The module attack_fixtures.py, which no package leads to."""
    spec = spec_from_file_location(
        "attack_fixtures", Path(__file__).parents[1] / "helpers/attack_fixtures.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["epsilon", "v_prediction"])
def literal(request, random_target, random_batch, attack_fixtures) -> Any:
    """Four random pictures and a random U-Net, read one sample at a time."""
    return attack_fixtures.Literal(random_target(request.param), random_batch(4))


@pytest.fixture
def answering(random_target, random_batch, attack_fixtures) -> Any:
    """answering(f): four random pictures and a target whose U-Net returns f(z_t, t)."""

    def build(answer: Any) -> Any:
        target = random_target(unet=attack_fixtures.Answers(answer))
        return attack_fixtures.Literal(target, random_batch(4))

    return build


@pytest.fixture
def crowded(monkeypatch) -> Callable[..., list[int]]:
    """crowded(target, most, gradients=False): from now on at most so many rows fit into a call.

    With `gradients`, into one whose backward follows. The rows of every attempt are returned.
    """

    def limit(target: Target, most: int, gradients: bool = False) -> list[int]:
        attempts: list[int] = []
        forward = target.unet.forward

        def attempt(z: Tensor, *args: Any, **rest: Any) -> Any:
            if torch.is_grad_enabled() or not gradients:
                attempts.append(len(z))
                if len(z) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(z, *args, **rest)

        monkeypatch.setattr(target.unet, "forward", attempt)
        return attempts

    return limit
