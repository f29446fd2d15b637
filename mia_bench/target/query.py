"""What a query to a target is made of, and the seams to a model family's parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


class LazyImages:
    """Images (B, 3, H, W) in [-1, 1] that are made when first read, and kept.

    What made them is let go with that, so a batch that was read travels to another process as its
    images alone.
    """

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self._images: Tensor | Callable[[], Tensor] = make

    @property
    def ready(self) -> bool:
        return isinstance(self._images, Tensor)

    def read(self) -> Tensor:
        if not isinstance(self._images, Tensor):
            self._images = self._images()
        return self._images


@dataclass(frozen=True)
class Batch:
    """What an attack knows of B samples. There are no labels in it: an attack cannot cheat.

    Args:
        sample_id: of each sample.
        image_source: images (B, 3, H, W) in [-1, 1], or what makes them; attacks read `image`.
        caption: of each sample.
    """

    sample_id: tuple[str, ...]
    image_source: Tensor | LazyImages
    caption: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sample_id)

    @property
    def image(self) -> Tensor:
        """(B, 3, H, W) in [-1, 1], decoded when first read."""
        source = self.image_source
        return source if isinstance(source, Tensor) else source.read()

    @property
    def decoded(self) -> bool:
        """Whether the images are here, so that reading them costs nothing."""
        return isinstance(self.image_source, Tensor) or self.image_source.ready

    def to(self, device: torch.device | str) -> Batch:
        """Images that are decoded move now, the others once they are read."""
        if self.decoded:
            return Batch(self.sample_id, self.image.to(device, non_blocking=True), self.caption)
        return undecoded(self.sample_id, lambda: self.image.to(device), self.caption)

    def pin_memory(self) -> Batch:
        """What a data loader calls, so that the copy to a GPU runs beside its work."""
        if self.decoded:
            return Batch(self.sample_id, self.image.pin_memory(), self.caption)
        return self


def undecoded(
    sample_id: tuple[str, ...], image: Callable[[], Tensor], caption: tuple[str, ...]
) -> Batch:
    """A batch whose images are made when first read: never, where all latents are cached."""
    return Batch(sample_id, LazyImages(image), caption)


@dataclass(frozen=True)
class View:
    """The latents of a batch under one image transform. (name, sample id) identifies a row."""

    name: str
    sample_id: tuple[str, ...]
    z0: Tensor  # (B, *latent)


@dataclass(frozen=True)
class Condition:
    """Text conditions of the U-Net, one per sample. Rows with equal keys are the same condition."""

    key: tuple[str, ...]
    hidden: Tensor  # (B, tokens, width): diffusers' encoder_hidden_states
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # diffusers' added_cond_kwargs

    def rows(self, rows: slice) -> Condition:
        extra = {name: value[rows] for name, value in self.extra.items()}
        return Condition(self.key[rows], self.hidden[rows], extra)

    def to(self, device: torch.device | str) -> Condition:
        extra = {name: value.to(device) for name, value in self.extra.items()}
        return Condition(self.key, self.hidden.to(device), extra)


@dataclass(frozen=True)
class Query:
    """eps wanted at timestep `t` under `cond`, on the noise of `draw` (one per t, or shared)."""

    t: int
    cond: Condition
    draw: int = 0
    shared: bool = False

    @property
    def noise_t(self) -> int | None:
        """The timestep in the key of its noise; None where the draw is shared over t."""
        return None if self.shared else self.t


class Latents(Protocol):
    """Image codec of a family: images (B, 3, H, W) in [-1, 1], latents as the U-Net sees them."""

    def encode(self, image: Tensor) -> Tensor: ...
    def decode(self, z0: Tensor) -> Tensor: ...


@runtime_checkable
class DecodesWithGradients(Protocol):
    """A codec whose decoder gradients can flow through."""

    def decode_with_gradients(self, z0: Tensor) -> Tensor:
        """As `Latents.decode`, with a gradient at z0 where it requires one."""


class Text(Protocol):
    """Text stack of a model family: captions -> (hidden states, added_cond_kwargs)."""

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]: ...


class LatentStore(Protocol):
    """Where clean latents outlive a run: content-addressed by sample, view and encoder."""

    def get(self, view: str, sample_id: Sequence[str]) -> dict[str, Tensor]:
        """Latents (*latent) by sample id, of those samples that are stored."""

    def has(self, view: str, sample_id: Sequence[str]) -> set[str]:
        """Ids of those samples that are stored."""

    def put(self, view: str, sample_id: Sequence[str], z0: Tensor) -> None:
        """Store latents (B, *latent)."""
