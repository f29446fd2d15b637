"""A small U-Net, random matrices, and adapters of peft as if they were trained."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig


@pytest.fixture
def unet(tiny_unet):
    return copy.deepcopy(tiny_unet)


@pytest.fixture
def draw():
    """draw(*shape): the next random matrix."""
    generator = torch.Generator().manual_seed(7)
    return lambda *shape: torch.randn(shape, generator=generator)


@pytest.fixture
def trained(tiny_unet, draw):
    """trained(wrap, **settings): a U-Net with adapters of peft, none of them zero."""

    def make(wrap, **settings):
        config = LoraConfig(r=2, target_modules=["to_q", "to_out.0", "conv1"], **settings)
        network = wrap(copy.deepcopy(tiny_unet), config)
        for name, parameter in network.named_parameters():
            if "lora_B" in name or "magnitude" in name:
                parameter.data = draw(*parameter.shape).abs()
        return network.eval()

    return make
