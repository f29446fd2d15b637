"""A small random rectified-flow target on the codec and text of the random U-Net's target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.models.memorizer import HashedWords, Pooling
from mia_bench.target import FlowSchedule, Target

WIDTH = 16


class Velocity(nn.Module):
    """Three channels of latents, the noise fraction and a caption, through two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.text = nn.Linear(WIDTH, WIDTH)
        self.outside = nn.Conv2d(WIDTH, 3, 3, padding=1)

    def forward(self, z: Tensor, time: Tensor, hidden: Tensor) -> Tensor:
        told = self.text(hidden[:, 0]) + time[:, None]
        return self.outside(torch.tanh(self.inside(z) + told[..., None, None]))


def call(
    network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
) -> Tensor:
    del extra
    output: Tensor = network(z_t, time, hidden)
    return output


def flow_target(**options: Any) -> Target:
    """Latents are averages of 2 x 2 pixels of 16 x 16 images: (3, 8, 8)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Velocity()
    schedule = FlowSchedule(**options)
    text = HashedWords(WIDTH)
    return Target(
        network, Pooling(2), text, (3, 8, 8), schedule, "velocity", chunk=8, call=call
    ).eval()
