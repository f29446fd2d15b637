"""Augmented views and rewritten captions, trained on in place of clean latents and own captions.

Augmented views never come from the latent cache, which holds clean images: they are encoded at each
step, or once into a bank of several views per image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from PIL import Image
from torch import Tensor

from mia_bench.data.pictures.preprocessing import pixels, to_rgb
from mia_bench.data.source import Item
from mia_bench.mitigations import AugmentsImages, Captions, TrainingSetup
from mia_bench.target import Target
from mia_bench.training.batches import EncodedRows
from mia_bench.utils.rng import keyed_generator
from mia_bench.utils.terminal import progress

MAX_DECODED_BYTES = 512 * 2**20  # of decoded images, kept between steps


@dataclass(frozen=True)
class AugmentedViews:
    """Augmented pictures of the rows of a fine-tune."""

    items: Sequence[Item]
    resolution: int
    augments: Sequence[AugmentsImages]
    seed: int

    def __post_init__(self) -> None:
        side = math.ceil(self.resolution * max([a.margin for a in self.augments], default=1.0))
        kept = max(1, MAX_DECODED_BYTES // (3 * side * side))

        @lru_cache(maxsize=kept)
        def picture(row: int) -> Image.Image:
            image = to_rgb(self.items[row].load(side))
            if min(image.size) > 2 * side:  # more than any window needs
                scale = 2 * side / min(image.size)
                size = (round(image.width * scale), round(image.height * scale))
                image = image.resize(size, Image.Resampling.BILINEAR)
            return image

        object.__setattr__(self, "_picture", picture)

    def at(self, row: int, *key: int | str) -> Tensor:
        """(3, H, W) in [-1, 1]: the view of a row that `key` decides."""
        draw = keyed_generator(self.seed, "augment", *key)
        image = self._picture(row)  # type: ignore[attr-defined]
        for augment in self.augments:
            image = augment.transform(image, draw)
        return pixels(image, self.resolution)

    def of_step(self, step: int, rows: Sequence[int], places: Sequence[int]) -> Tensor:
        """(B, 3, H, W): views of `rows`, each keyed by the step and its place in the batch."""
        pairs = zip(rows, places, strict=True)
        return torch.stack([self.at(row, step, place) for row, place in pairs])


def training_rows(
    target: Target,
    members: EncodedRows,
    items: Sequence[Item],
    resolution: int,
    setup: TrainingSetup,
) -> tuple[EncodedRows, AugmentedViews | None]:
    """Rows to train on, and views to encode at each step where latents are not stored."""
    rows = reworded(target, members, items, setup)
    augments, recipe = setup.augments, setup.recipe
    views = AugmentedViews(items, resolution, augments, recipe.seed)
    banks = [a.bank for a in augments]
    if augments and None not in banks:
        return banked(target, rows, views, math.prod(b for b in banks if b)), None
    fresh = bool(augments) or recipe.cache_latents is False
    return rows, views if fresh else None


def reworded(
    target: Target, members: EncodedRows, items: Sequence[Item], setup: TrainingSetup
) -> EncodedRows:
    """`members` under the captions to train with: `texts` of them per row."""
    if not setup.rewords:
        return members
    captions: Captions = [(item.own_caption,) for item in items]
    for mitigation in setup.rewords:
        captions = mitigation.captions(members.sample_id, captions, setup.recipe.seed)
    each = len(captions[0])
    cond = target.embed([text for texts in captions for text in texts], remember=False).to("cpu")
    return EncodedRows(members.sample_id, members.z0, cond, members.views, each)


def banked(target: Target, rows: EncodedRows, views: AugmentedViews, each: int) -> EncodedRows:
    """`rows` with `each` augmented views per image, encoded once."""
    latents = []
    for row in progress(range(len(rows.sample_id)), f"encode {each} views an image"):
        sid = rows.sample_id[row]
        images = torch.stack([views.at(row, "bank", sid, v) for v in range(each)])
        latents.append(target.encode(images.to(target.device)).cpu())
    return EncodedRows(rows.sample_id, torch.cat(latents), rows.cond, each, rows.texts)
