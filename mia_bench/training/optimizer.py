"""The trained part of a U-Net, its optimizer, and the copy that averages it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from mia_bench.config.recipe import Recipe


def trained_part(unet: nn.Module, recipe: Recipe) -> nn.Module:
    """`unet` as the recipe trains it: whole, or frozen with adapters in place."""
    if recipe.lora_rank is not None:
        from mia_bench.models.lora.training import add_lora

        add_lora(unet, recipe.lora_rank, tuple(recipe.lora_targets), recipe.seed)
    if recipe.gradient_checkpointing:
        unet.enable_gradient_checkpointing()  # type: ignore[operator]
    return unet


def average_of(unet: nn.Module) -> nn.Module:
    """A copy to average into, which shares what is frozen."""
    frozen = {id(p): p for p in unet.parameters() if not p.requires_grad}
    return copy.deepcopy(unet, frozen).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, unet: nn.Module, decay: float, step: int) -> None:
    """One step of the exponential average, which follows faster in the first steps (from 1)."""
    warm = min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), unet.parameters(), strict=True):
        if fast.requires_grad:
            slow.lerp_(fast, 1 - warm)


def make_optimizer(unet: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over what is trained; `adamw_8bit` keeps its moments in 8 bits (bitsandbytes)."""
    trained = [p for p in unet.parameters() if p.requires_grad]
    options = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adamw_8bit":
        from bitsandbytes.optim import AdamW8bit

        compact: torch.optim.Optimizer = AdamW8bit(trained, **options)
        return compact
    fused = True if recipe.optimizer == "adamw_fused" else None
    return torch.optim.AdamW(trained, fused=fused, **options)  # type: ignore[arg-type]
