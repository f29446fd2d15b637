"""Builders of targets, one per model family: light to create, `build` loads the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import nn

    from mia_bench.target import LatentStore, Target


class Model(Protocol):
    """What conf/model instantiates: where a model is, and how it is put together."""

    resolution: int
    finetune: bool

    def fetch(self) -> None:
        """Download what is not here; raises Missing. Everything else stays off the network."""

    def base_hash(self) -> str:
        """Content hash of the weights before fine-tuning."""

    def encoder_hash(self) -> str:
        """Content hash of what turns an image into latents: weights, resolution, precision."""

    def timesteps(self) -> int:
        """Length of the training schedule, read without loading weights."""

    def unet_bytes(self) -> int:
        """Size of the U-Net's weights on disk."""

    def load_unet(self, weights: Path | None = None, train: bool = False) -> nn.Module:
        """The U-Net of the base, or the fine-tuned one saved in `weights`; float32 to train it."""

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        """The target around `unet`, on the CPU."""


@runtime_checkable
class ChecksItself(Protocol):
    """A model that can say from its configurations alone whether it can be built."""

    def check(self) -> None:
        """Read no weights. Raises MiaError for what cannot be built, Missing for what is absent."""


@runtime_checkable
class TellsSignal(Protocol):
    """A model that says before it is loaded whether its schedule ends in pure noise."""

    def timesteps_with_signal(self) -> int:
        """Timesteps up to the last one with some of the image left."""


@runtime_checkable
class TellsLatentSide(Protocol):
    """A model that says how large its latents are before it is loaded."""

    def latent_side(self) -> int:
        """Cells per side of the latents at its resolution, read without loading weights."""


@runtime_checkable
class HasBase(Protocol):
    """A model that may be a finished fine-tune of another one that is here too."""

    def base_model(self) -> Model | None:
        """The model before its fine-tuning, where one is named."""


def base_of(model: Model) -> Model | None:
    """The model that `model` is a finished fine-tune of, where it names one."""
    return model.base_model() if isinstance(model, HasBase) else None


@runtime_checkable
class SaysText(Protocol):
    """A model that says whether captions are put to it; those that do not say so have text."""

    @property
    def has_text(self) -> bool: ...


@runtime_checkable
class SaysDecoder(Protocol):
    """A model that says whether a decoder makes its images; those that do not say so have one."""

    @property
    def has_decoder(self) -> bool: ...


@runtime_checkable
class SaysFlow(Protocol):
    """A model that says whether it is of flow matching; those that do not say so are on betas."""

    @property
    def flow(self) -> bool: ...


@runtime_checkable
class StartsUntrained(Protocol):
    """A model whose base may be random weights, to be trained with finetune.from_scratch."""

    @property
    def untrained(self) -> bool: ...

    def initialised_for(self, kind: str) -> Model:
        """The model with the random weights of the "target" or the "shadow"."""


def timesteps_with_signal(model: Model) -> int:
    """Timesteps of its schedule up to the last one with some of the image left."""
    return model.timesteps_with_signal() if isinstance(model, TellsSignal) else model.timesteps()


def has_text(model: Model) -> bool:
    """Captions mean something to the model."""
    return model.has_text if isinstance(model, SaysText) else True


def starts_untrained(model: Model) -> bool:
    """The base of the model is random weights, which nothing is to be compared with."""
    return isinstance(model, StartsUntrained) and model.untrained


def has_decoder(model: Model) -> bool:
    """Images come from latents by a decoder, through which gradients flow."""
    return model.has_decoder if isinstance(model, SaysDecoder) else True


def is_flow(model: Model) -> bool:
    """The model predicts the velocity of flow matching."""
    return model.flow if isinstance(model, SaysFlow) else False
