"""What a question to a target is made of, and the seams to a model family's parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """What an attack knows of B samples. There are no labels in it: an attack cannot cheat."""

    sample_id: tuple[str, ...]
    image: Tensor  # (B, 3, H, W) in [-1, 1]
    caption: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sample_id)

    @property
    def decoded(self) -> bool:
        """The images are there: nothing is read or computed when they are looked at."""
        return isinstance(vars(self)["image"], Tensor)

    def to(self, device: torch.device | str) -> Batch:
        """Images that are there move now, the others once they are looked at."""
        if self.decoded:
            return Batch(self.sample_id, self.image.to(device, non_blocking=True), self.caption)
        return undecoded(self.sample_id, lambda: self.image.to(device), self.caption)

    def pin_memory(self) -> Batch:
        """What a data loader calls, so that the copy to a GPU runs beside its work."""
        if self.decoded:
            return Batch(self.sample_id, self.image.pin_memory(), self.caption)
        return self


class _Deferred:
    """`Batch.image`: a tensor, or a function of nothing that gives it when it is first read."""

    def __get__(self, batch: Batch | None, kind: Any = None) -> Tensor:
        if batch is None:
            raise AttributeError("image")  # the field has no default
        held = vars(batch)
        if not isinstance(held["image"], Tensor):
            held["image"] = held["image"]()
        return cast(Tensor, held["image"])

    def __set__(self, batch: Batch, value: Any) -> None:
        vars(batch)["image"] = value


Batch.image = _Deferred()  # type: ignore[assignment]


def undecoded(
    sample_id: tuple[str, ...], image: Callable[[], Tensor], caption: tuple[str, ...]
) -> Batch:
    """A batch whose images are made when first looked at: never, where all latents are cached."""
    return Batch(sample_id, cast(Tensor, image), caption)


@dataclass(frozen=True)
class View:
    """The latents of a batch under one image transform. (name, sample id) identifies a row."""

    name: str
    sample_id: tuple[str, ...]
    z0: Tensor  # (B, *latent)


@dataclass(frozen=True)
class Condition:
    """Text the U-Net is given, one row per sample. Rows with equal keys are the same question."""

    key: tuple[str, ...]
    hidden: Tensor  # (B, tokens, width): diffusers' encoder_hidden_states
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # diffusers' added_cond_kwargs

    def to(self, device: torch.device | str) -> Condition:
        extra = {name: value.to(device) for name, value in self.extra.items()}
        return Condition(self.key, self.hidden.to(device), extra)


@dataclass(frozen=True)
class Query:
    """Ask for eps at timestep `t` under `cond`, on the noise of `draw` (one per t, or shared)."""

    t: int
    cond: Condition
    draw: int = 0
    shared: bool = False

    @property
    def noise_t(self) -> int | None:
        return None if self.shared else self.t


class Latents(Protocol):
    """Image codec of a family: images (B, 3, H, W) in [-1, 1], latents as the U-Net sees them."""

    def encode(self, image: Tensor) -> Tensor: ...
    def decode(self, z0: Tensor) -> Tensor: ...


class Text(Protocol):
    """Text stack of a model family: captions -> (hidden states, added_cond_kwargs)."""

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]: ...


class LatentStore(Protocol):
    """Where clean latents outlive a run: content-addressed by sample, view and encoder."""

    def get(self, view: str, sample_id: Sequence[str]) -> dict[str, Tensor]:
        """Latents of the samples that are there."""

    def has(self, view: str, sample_id: Sequence[str]) -> set[str]:
        """The samples that are there."""

    def put(self, view: str, sample_id: Sequence[str], z0: Tensor) -> None: ...
