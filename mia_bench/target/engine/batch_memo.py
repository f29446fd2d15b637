"""What was computed for the batch at hand, so that no attack computes it a second time."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from mia_bench.target.query import View

NoiseKey = tuple[str, int | None, int]  # sample id, timestep or None: shared over t, draw
RowKey = tuple[str, str, str, int, int | None, int]  # view, sample id, caption, t, noise's t, draw
WalkKey = tuple[str, str, tuple[str, ...], tuple[str, ...]]  # name, view, sample ids, captions
Embedding = tuple[Tensor, dict[str, Tensor]]  # hidden states (tokens, width), added_cond_kwargs


@dataclass
class BatchMemo:
    """Results by what decides them; all but the null condition belong to one batch.

    Args:
        predictions: eps_hat (*latent) of single rows of grid queries.
        walks: where chains of queries ended (B, ...), with the NFE that they cost.
        requested: the grid queries and walks of the current attack, for its own count.
        noise: keyed noise (*latent).
        views: latents of the batch by (name of the view, sample ids).
        embeddings: of captions, "" being the null condition.
    """

    predictions: dict[RowKey, Tensor] = field(default_factory=dict)
    walks: dict[WalkKey, tuple[Tensor, int]] = field(default_factory=dict)
    requested: set[RowKey | WalkKey] = field(default_factory=set)
    noise: dict[NoiseKey, Tensor] = field(default_factory=dict)
    views: dict[tuple[str, tuple[str, ...]], View] = field(default_factory=dict)
    embeddings: dict[str, Embedding] = field(default_factory=dict)

    def forget_batch(self) -> None:
        """Drop everything but the null condition, which every batch needs."""
        null = self.embeddings.get("")
        self.clear()
        if null is not None:
            self.embeddings[""] = null

    def clear(self) -> None:
        """Drop everything, as after a move to another device."""
        self.predictions.clear()
        self.walks.clear()
        self.requested.clear()
        self.noise.clear()
        self.views.clear()
        self.embeddings.clear()
