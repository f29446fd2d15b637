"""Losses and gradients that stop being finite are errors that name the step and its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from mia_bench.config.recipe import Recipe
from mia_bench.utils.errors import MiaError

MAX_NAMED_ROWS = 8  # in a message


def require_losses(
    losses: Tensor, sample_id: Sequence[str], what: str, step: int, recipe: Recipe
) -> None:
    """Raises MiaError that names the rows whose losses (B,) are not finite."""
    if torch.isfinite(losses.sum()):
        return
    bad = [i for i, value in enumerate(losses.tolist()) if not math.isfinite(value)]
    rows = [sample_id[i] for i in bad] or sample_id  # finite ones may overflow as a sum
    value = losses[bad[0]].item() if bad else losses.sum().item()
    raise MiaError(f"the {what} became {value} at step {step} ({_named(rows)}). {_advice(recipe)}")


def require_gradients(unet: nn.Module, step: int, sample_id: Sequence[str], recipe: Recipe) -> None:
    """Raises MiaError when the gradient of a step is not finite; `sample_id`: all its rows."""
    norm = get_total_norm([p.grad for p in unet.parameters() if p.grad is not None])
    if not torch.isfinite(norm):
        raise MiaError(
            f"the gradient became {norm.item()} at step {step} ({_named(sample_id)}); no weight "
            f"was changed by it. {_advice(recipe)}"
        )


def _named(sample_id: Sequence[str]) -> str:
    rest = len(sample_id) - MAX_NAMED_ROWS
    return f"rows {', '.join(sample_id[:MAX_NAMED_ROWS])}{f' and {rest} more' if rest > 0 else ''}"


def _advice(recipe: Recipe) -> str:
    return f"Lower finetune.lr (now {recipe.lr}) or use trainer.precision=32-true."
