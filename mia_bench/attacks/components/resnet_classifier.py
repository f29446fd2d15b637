"""ResNet-18 on maps of features, fitted on calibration rows, for attacks whose decision is one.

He et al., arXiv 1512.03385. The first convolution is 3x3 with stride 1, because the maps are a few
pixels wide; the rest is torchvision's. One thread and a generator of its own make a fit repeatable;
the caller's random state and thread count stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from mia_bench.attacks.base import Floats
from mia_bench.utils.errors import MiaError
from mia_bench.utils.threads import threads

Maps = npt.NDArray[np.floating[Any]]
MIN_ROWS_PER_CLASS = 10
ROWS_PER_CALL = 256


@dataclass(frozen=True)
class ClassifierRecipe:
    """How a classifier is fitted.

    Args:
        loss: (outputs (n, outputs), is_member (n,)) -> scalar.
        optimizer: parameters -> optimiser.
        epochs: passes over the rows, a fixed number; nothing is selected.
        batch: most rows per step; None takes all of them.
        outputs: 1 for a logit, 2 for (non-member, member).
        stages: residual stages kept, of four.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    epochs: int
    batch: int | None = None
    outputs: int = 1
    stages: int = 4


def classify(
    maps: Maps,
    calibration_maps: Maps,
    is_member: npt.NDArray[np.bool_],
    seed: int,
    recipe: ClassifierRecipe,
) -> Floats:
    """(N,) logit of membership of `maps` (N, C, H, W), fitted on `calibration_maps` (M, C, H, W).

    Raises:
        MiaError: fewer calibration rows than a classifier needs.
    """
    members, others = int(is_member.sum()), int((~is_member).sum())
    if min(members, others) < MIN_ROWS_PER_CLASS:
        raise MiaError(
            f"{members} members and {others} non-members are fewer calibration rows "
            f"than a classifier needs ({MIN_ROWS_PER_CLASS} of each): use larger data.sizes for "
            "the shadow roles, or the same attack with decision: statistic."
        )
    with repeatable(seed), torch.enable_grad():
        net = fit(_tensor(calibration_maps), torch.tensor(is_member), recipe)
    with repeatable(seed), torch.no_grad():
        output = torch.cat([net(part) for part in _tensor(maps).split(ROWS_PER_CALL)])
    logit = output[:, -1] if recipe.outputs == 1 else output[:, 1] - output[:, 0]
    return logit.double().numpy()


def fit(maps: Tensor, is_member: Tensor, recipe: ClassifierRecipe) -> nn.Module:
    """A network in evaluation mode; initialisation and order come from torch's generator."""
    net = build(maps.shape[1], recipe.outputs, recipe.stages).train()
    optimizer = recipe.optimizer(net.parameters())
    parts = -(-len(maps) // (recipe.batch or len(maps)))
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(maps)).tensor_split(parts):
            optimizer.zero_grad()
            recipe.loss(net(maps[rows]), is_member[rows]).backward()
            optimizer.step()
    return net.eval()


def build(channels: int, outputs: int, stages: int = 4) -> nn.Module:
    """An untrained ResNet-18 for maps of `channels`."""
    net: Any = resnet18(num_classes=outputs)
    net.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
    for stage in range(stages + 1, 5):
        setattr(net, f"layer{stage}", nn.Identity())
    net.fc = nn.Linear(64 * 2 ** (stages - 1), outputs)
    module: nn.Module = net
    return module


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """One thread, and torch's CPU generator seeded; both are put back afterwards."""
    with torch.random.fork_rng(devices=[]), threads(1):
        torch.default_generator.manual_seed(seed)
        yield


def _tensor(maps: Maps) -> Tensor:
    return torch.tensor(np.asarray(maps), dtype=torch.float32)
