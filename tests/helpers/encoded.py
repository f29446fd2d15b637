"""Encoded rows of random latents, and a recipe of a few steps on them."""

from __future__ import annotations

import torch

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainingContext, TrainingSetup
from mia_bench.target import Target
from mia_bench.training.batches import EncodedRows

RECIPE = Recipe(
    steps=6, batch_size=4, lr=1e-2, val_every=3, val_rows=3, checkpoint_every=2, seed=0, warmup=2
)


def rows(target: Target, n: int, prefix: str) -> EncodedRows:
    generator = torch.Generator().manual_seed(len(prefix))
    z0 = torch.randn(n, *target.latent_shape, generator=generator)
    captions = [f"{prefix} picture number {i}" for i in range(n)]
    return EncodedRows(tuple(f"{prefix}:{i}" for i in range(n)), z0, target.embed(captions))


def treated(recipe: Recipe, mitigations=None, members: int = 7, heldout: int = 5) -> TrainingSetup:
    """A recipe under mitigations, without their recipe hooks."""
    return TrainingSetup(TrainingContext(recipe, members, heldout, 1, "32-true"), mitigations or {})
