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

from mia_bench.config.schema import TrainerOptions
from mia_bench.data.pictures.preprocessing import pixels
from mia_bench.data.source import Item
from mia_bench.target import Batch, LatentStore
from mia_bench.target.query import undecoded


def decode(items: Sequence[Item], resolution: int) -> Tensor:
    """(N, 3, resolution, resolution) in [-1, 1]."""
    images = [pixels(item.load(resolution), resolution) for item in items]
    return torch.stack(images) if images else torch.empty(0, 3, resolution, resolution)


def batch_of(items: Sequence[Item], resolution: int) -> Batch:
    """Not decoded yet, and without labels."""
    ids, captions = zip(*((item.sample_id, item.caption) for item in items), strict=True)
    return undecoded(ids, partial(decode, tuple(items), resolution), captions)


def cut(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """`items` in batches of at most `size`."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def loader(
    batches: Sequence[Sequence[Item]],
    resolution: int,
    options: TrainerOptions,
    store: LatentStore | None = None,
) -> DataLoader[Any]:
    """One Batch for each of `batches`; `trainer.workers` processes decode what `store` lacks."""
    if not options.workers:
        collate = partial(batch_of, resolution=resolution)
        return DataLoader(list(batches), batch_size=None, collate_fn=collate)  # type: ignore[arg-type]
    ids = [item.sample_id for batch in batches for item in batch]
    cached = store.has("clean", ids) if store else set()
    return DataLoader(
        list(batches),  # type: ignore[arg-type]
        batch_size=None,
        collate_fn=partial(_ahead, resolution=resolution, cached=cached),
        num_workers=options.workers,
        pin_memory=torch.cuda.is_available() and options.accelerator != "cpu",
    )


def _ahead(items: Sequence[Item], resolution: int, cached: set[str]) -> Batch:
    batch = batch_of(items, resolution)
    if not cached.issuperset(batch.sample_id):
        assert batch.image is not None  # decoded here, in the worker
    return batch
