"""What both training stages share: a schedule, a resumable state, a log line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def learning_rate(
    step: int, total: int, peak: float, warmup: int = 200, decay: float = 0.25
) -> float:
    """Warm-up, plateau, then a linear fall to zero over the last `decay` share of the steps.

    The plateau makes `total` a free choice: a run resumed with another total only moves its fall.
    """
    rise = min(1.0, (step + 1) / warmup)
    fall = min(1.0, (total - step) / max(1.0, decay * total))
    return peak * rise * fall


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def step_generator(step: int) -> torch.Generator:
    """Random numbers of a step depend on its number alone: a resumed run continues exactly."""
    return torch.Generator().manual_seed(step)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    for slow, fast in pairs:
        slow.lerp_(fast, 1.0 - decay)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write next to `path`, then rename: a kill leaves either the old file or the new one."""
    partial = path.with_suffix(".tmp")
    torch.save(state, partial)
    os.replace(partial, path)


def load_state(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
