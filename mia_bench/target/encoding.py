"""Images as latents and captions as conditions: each once, kept for the batch and on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mia_bench.target.decoder_influence import decoder_influence
from mia_bench.target.engine.batch_memo import Embedding
from mia_bench.target.engine.query_engine import QueryEngine
from mia_bench.target.query import (
    Batch,
    Condition,
    DecodesWithGradients,
    Latents,
    LatentStore,
    Text,
    View,
)
from mia_bench.utils.errors import MiaError
from mia_bench.utils.precision import exactly


class EncodesRows(Protocol):
    """What encoding needs of a target; its methods say what is asked for."""

    latents: Latents
    text: Text
    store: LatentStore | None
    engine: QueryEngine
    seed: int

    @property
    def device(self) -> torch.device: ...
    @property
    def in_pixels(self) -> bool: ...


def encode(target: EncodesRows, image: Tensor) -> Tensor:
    """Latents (B, *latent) of images (B, 3, H, W) in [-1, 1]."""
    target.engine.queries["encode"] += len(image)
    return _in_chunks(target, len(image), lambda rows: target.latents.encode(image[rows]))


def decode(target: EncodesRows, z0: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] of latents (B, *latent)."""
    target.engine.queries["decode"] += len(z0)
    image = _in_chunks(target, len(z0), lambda rows: target.latents.decode(z0[rows]))
    return image.clamp(-1, 1)


def _in_chunks(target: EncodesRows, n: int, work: Callable[[slice], Tensor]) -> Tensor:
    """In exact float32: runs of every dtype share the latents."""
    with exactly(target.device):
        return torch.cat(list(target.engine.image_chunks.map(n, work)))


def view(
    target: EncodesRows, batch: Batch, name: str, transform: Callable[[Tensor], Tensor] | None
) -> View:
    """Latents of the images under `transform`, which `name` identifies."""

    def encode_rows(rows: list[int]) -> Tensor:
        image = batch.image.to(target.device)
        return encode(target, (transform(image) if transform else image)[rows])

    return _kept(target, name, batch.sample_id, encode_rows)


def influence_of_latents(target: EncodesRows, batch: Batch, probes: int) -> Tensor:
    """Infl (B, *latent) of decoder_influence.py, kept as views are.

    Raises:
        MiaError: a model in pixel space, or a codec without gradients.
    """
    codec = target.latents
    if target.in_pixels or not isinstance(codec, DecodesWithGradients):
        raise MiaError(
            f"the codec {type(codec).__name__} has no decoder whose gradients could tell the "
            "influence of latents: in pixel space every entry moves the image alike. Use the "
            "attack without its mask."
        )
    z0 = view(target, batch, "clean", None).z0

    def measure(rows: list[int]) -> Tensor:
        def influence(part: slice) -> Tensor:
            chosen = rows[part]
            ids = [batch.sample_id[i] for i in chosen]
            with exactly(target.device):
                return decoder_influence(
                    codec.decode_with_gradients, z0[chosen], ids, target.seed, probes
                )

        return torch.cat(list(target.engine.with_gradients(len(rows), influence)))

    name = f"influence of {probes} probes, seed {target.seed}"
    return _kept(target, name, batch.sample_id, measure).z0


def _kept(
    target: EncodesRows,
    name: str,
    sample_id: tuple[str, ...],
    make: Callable[[list[int]], Tensor],
) -> View:
    """Rows of the memo or the store; others are made, from their places in the batch."""
    views, store, key = target.engine.memo.views, target.store, (name, sample_id)
    if key not in views:
        stored = store.get(name, sample_id) if store else {}
        new = [i for i, sid in enumerate(sample_id) if sid not in stored]
        if new:
            made, ids = make(new), [sample_id[i] for i in new]
            if store:
                store.put(name, ids, made)
            stored = stored | dict(zip(ids, made, strict=True))
        rows = torch.stack([stored[sid].to(target.device) for sid in sample_id])
        views[key] = View(name, sample_id, rows)
    return views[key]


def embed(target: EncodesRows, captions: Sequence[str], remember: bool) -> Condition:
    """Condition of one caption per row; each distinct text is embedded once.

    The null one is embedded alone: it outlives the batch, so the last digits of a batch's captions
    must not depend on whether it was known before them.
    """
    memo = target.engine.memo.embeddings
    embeddings: dict[str, Embedding] = memo if remember else dict(memo)
    new = [text for text in dict.fromkeys(captions) if text not in embeddings]
    for texts in ([text for text in new if not text], [text for text in new if text]):
        if texts:
            target.engine.queries["embed"] += len(texts)
            hidden, extra = target.text.embed(texts)
            for row, text in enumerate(texts):
                embeddings[text] = (hidden[row], {name: v[row] for name, v in extra.items()})
    rows = [embeddings[text] for text in captions]
    extras = {name: torch.stack([extra[name] for _, extra in rows]) for name in rows[0][1]}
    return Condition(tuple(captions), torch.stack([hidden for hidden, _ in rows]), extras)
