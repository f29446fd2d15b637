"""A batch as a task damages it: holes by a rule, around faces or by a map; fewer pixels; gray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

from torch import Tensor

from mia_bench.attacks.components.degradations import (
    AveragePool,
    Box,
    Gray,
    Task,
    around,
    face_centres,
    most,
    random_box,
    require_blocks,
    side_of,
)
from mia_bench.attacks.components.holes.attention_maps import caption_difference, self_attention
from mia_bench.attacks.components.holes.saliency import Saliency, saliency_map
from mia_bench.attacks.components.image_similarity import hook
from mia_bench.attacks.components.restoration import Damage, cut_holes, damage_pixels, hide
from mia_bench.target import Batch, Target

Place = Literal["centre", "face", "random"]
Mask = Literal["square", "self_attention", "caption", Saliency]


@dataclass(frozen=True)
class HolePlacement:
    """Where the holes of an in-painting task are.

    Args:
        place: of squares; n_mask: positions, where they are random.
        mask: "square", or the map whose largest pixels are hidden instead.
        mask_encoder: of mask=self_attention, folder or hub id of a vision transformer.
        face_box: of place=face, dotted path of a face detector.
        cache_name: begins the names of degraded images in the latent cache.
    """

    place: Place
    n_mask: int
    mask: Mask
    mask_encoder: str | None
    face_box: str | None
    cache_name: str


def damages(holes: HolePlacement, target: Target, batch: Batch, task: Task) -> Iterator[Damage]:
    """Every damage that `task` does to a batch: one for each position of a hole."""
    height, width = batch.image.shape[-2:]
    if task.kind == "gray":
        yield damage_pixels(target, batch, Gray())
    elif task.kind == "sr":
        require_blocks(task, height, width)
        yield damage_pixels(target, batch, AveragePool(int(task.value)))
    elif holes.mask != "square":
        keep = most(_map(holes, target, batch), task.value)
        whole = [Box(0, 0, min(height, width))] * len(batch)
        # the latent cache cannot know what another network attends to
        drawn = holes.mask in get_args(Saliency)
        view = f"{holes.cache_name}-{task.value:g}-{holes.mask}" if drawn else None
        yield hide(target, batch, keep, whole, view)
    else:
        side = side_of(task.value, height, width)
        for k in range(holes.n_mask):
            boxes = _boxes(holes, target, batch, side, k)
            yield cut_holes(target, batch, boxes, _view(holes, target, task, k))


def faces(holes: HolePlacement, batch: Batch) -> tuple[list[tuple[float, float]], Tensor]:
    """Centres of faces (row, column), and (B,) 1 where a box was found."""
    detector = hook(holes.face_box, "face_box") if holes.face_box else None
    return face_centres(batch.image, detector)


def _map(holes: HolePlacement, target: Target, batch: Batch) -> Tensor:
    """(B, 1, H, W), larger where more matters."""
    if holes.mask == "caption":
        return caption_difference(target, batch)
    if holes.mask_encoder is not None:
        return self_attention(batch.image.to(target.device), holes.mask_encoder)
    return saliency_map(cast(Saliency, holes.mask), batch.image)


def _boxes(holes: HolePlacement, target: Target, batch: Batch, side: int, k: int) -> list[Box]:
    """One square of `side` pixels per image, at its position number `k`."""
    size = height, width = batch.image.shape[-2:]
    if holes.place == "random":
        return [random_box(target.seed, sid, k, side, *size) for sid in batch.sample_id]
    if holes.place == "face":
        return [around(*middle, side, *size) for middle in faces(holes, batch)[0]]
    return [around(height / 2, width / 2, side, *size)] * len(batch)


def _view(holes: HolePlacement, target: Target, task: Task, k: int) -> str | None:
    """Name of the degraded images in the latent cache, which cannot know what a hook finds."""
    if holes.place == "face":
        return None
    where = f"random-{target.seed}-{k}" if holes.place == "random" else holes.place
    return f"{holes.cache_name}-{task.value:g}-{where}"
