"""Rows of a pass in batches: pictures are decoded when they are first looked at.

A pass whose latents are all cached looks at none. Where loader workers are given they decode ahead
the pictures that will be needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mia_bench.config import TrainerOptions
from mia_bench.data.source import Item, pixels
from mia_bench.query import Batch, LatentStore, undecoded


def decode(items: Sequence[Item], resolution: int) -> Tensor:
    """(N, 3, resolution, resolution) in [-1, 1]."""
    images = [pixels(item.load(resolution), resolution) for item in items]
    return torch.stack(images) if images else torch.empty(0, 3, resolution, resolution)


def batch_of(items: Sequence[Item], resolution: int) -> Batch:
    """Not decoded yet, and without labels."""
    ids, captions = zip(*((item.sample_id, item.caption) for item in items), strict=True)
    return undecoded(ids, partial(decode, tuple(items), resolution), captions)


def loader(
    items: Sequence[Item],
    resolution: int,
    size: int,
    options: TrainerOptions,
    store: LatentStore | None = None,
) -> DataLoader[Any]:
    """Batches of at most `size`; `trainer.workers` processes decode what `store` does not hold."""
    if not options.workers:
        return DataLoader(
            list(items),  # type: ignore[arg-type]
            batch_size=size,
            collate_fn=partial(batch_of, resolution=resolution),
        )
    cached = store.has("clean", [item.sample_id for item in items]) if store else set()
    return DataLoader(
        list(items),  # type: ignore[arg-type]
        batch_size=size,
        collate_fn=partial(_ahead, resolution=resolution, cached=cached),
        num_workers=options.workers,
        pin_memory=torch.cuda.is_available() and options.accelerator != "cpu",
    )


def _ahead(items: Sequence[Item], resolution: int, cached: set[str]) -> Batch:
    batch = batch_of(items, resolution)
    if not cached.issuperset(batch.sample_id):
        assert batch.image is not None  # decoded here, in the worker
    return batch
