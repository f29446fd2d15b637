"""What all training stages share: the loop with its schedule, average and resumable state."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


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


@dataclass(frozen=True)
class Stage:
    """How a stage trains: `average_decay` is reached from below, states are saved `save_every`."""

    peak: float
    weight_decay: float
    average_decay: float
    save_every: int


@dataclass(frozen=True)
class Progress:
    """Where a stage is when it saves. `mean_loss` is over `save_every` steps, seconds a step's."""

    step: int
    last: bool
    loss: float
    mean_loss: float
    seconds: float


def train_averaged(
    stage: Stage,
    model: nn.Module,
    average: nn.Module,
    state_path: Path,
    steps: int,
    loss_of: Callable[[torch.Generator], Tensor],
    log_line: Callable[[Progress], str],
) -> None:
    """Train `model`, and `average` along with it, up to `steps`; resumes from `state_path`.

    Args:
        loss_of: the loss of one step, from the random numbers of that step.
        log_line: what is printed whenever a state was saved.
    """
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, weight_decay=stage.weight_decay)
    start = 0
    if state := load_state(state_path):
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    began, running = time.monotonic(), 0.0
    for step in range(start, steps):
        loss = loss_of(step_generator(step))
        set_learning_rate(optimizer, learning_rate(step, steps, stage.peak))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        update_average(average, model, min(stage.average_decay, (1 + step) / (10 + step)))
        running += loss.item()
        done, last = step + 1, step + 1 == steps
        if done % stage.save_every and not last:
            continue
        states: dict[str, Any] = {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": done,
        }
        save_state(state_path, states)
        seconds = (time.monotonic() - began) / (done - start)
        mean = running / stage.save_every
        print(log_line(Progress(done, last, loss.item(), mean, seconds)), flush=True)
        running = 0.0
