"""Mitigations: what a model owner may do while fine-tuning, as hooks that compose.

A mitigation is a frozen dataclass with any of the methods below; its yaml key is its name. Several
apply in the order of their names, so that the order on the command line does not matter. They are
part of the identity of the model they were applied to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mia_bench.config.recipe import Recipe

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from numpy.random import Generator
    from PIL import Image
    from torch import nn
    from torch.optim import Optimizer


Captions = list[tuple[str, ...]]


@dataclass(frozen=True)
class TrainingContext:
    """What a fine-tune will run on, as far as it is settled before anything is trained."""

    recipe: Recipe
    members: int
    heldout: int
    devices: int
    precision: str


@runtime_checkable
class Checks(Protocol):
    def check(self, context: TrainingContext) -> None:
        """Raise MiaError when the fine-tune cannot be what it claims to be."""


@runtime_checkable
class SetsRecipe(Protocol):
    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe to use in place of `recipe`, which may still count epochs."""


@runtime_checkable
class AugmentsImages(Protocol):
    bank: int | None
    """Views of each image encoded once and drawn from; None encodes a fresh one every step."""

    @property
    def margin(self) -> float:
        """How many times larger than the model's resolution a vector source is rendered."""

    def transform(self, image: Image.Image, draw: Generator) -> Image.Image:
        """Another RGB view of an RGB image, decided by `draw` alone."""


@runtime_checkable
class RewritesCaptions(Protocol):
    def captions(self, sample_id: Sequence[str], captions: Captions, seed: int) -> Captions:
        """Captions to train with: one or more per row, the same number for every row."""


@runtime_checkable
class StopsEarly(Protocol):
    def callbacks(self) -> list[Callback]:
        """Lightning callbacks that may end training; the best validated weights are attacked."""


@runtime_checkable
class PrivateTraining(Protocol):
    """DP-SGD: rows are Poisson-sampled, `prepare` gives per-sample gradients, `wrap` uses them."""

    def prepare(self, unet: nn.Module) -> nn.Module: ...

    def wrap(self, optimizer: Optimizer, context: TrainingContext) -> Optimizer: ...

    def reseed(self, optimizer: Optimizer, seed: int, step: int) -> None:
        """Key the noise of the next step, so that resuming repeats it."""

    def spent(self, context: TrainingContext, steps: int) -> dict[str, float]:
        """epsilon, delta and noise multiplier after `steps`."""


@runtime_checkable
class ReadsFile(Protocol):
    file: str | None

    def file_hash(self) -> str:
        """Content hash: part of the identity in place of the path."""


Mitigation = Checks | SetsRecipe | AugmentsImages | RewritesCaptions | StopsEarly | PrivateTraining


@dataclass(frozen=True)
class TrainingSetup:
    """How one model is fine-tuned: the recipe after every hook, and the mitigations."""

    context: TrainingContext
    mitigations: Mapping[str, Mitigation] = field(default_factory=dict)
    nodes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        return self.context.recipe

    @property
    def augments(self) -> list[AugmentsImages]:
        return [m for m in self.mitigations.values() if isinstance(m, AugmentsImages)]

    @property
    def rewords(self) -> list[RewritesCaptions]:
        return [m for m in self.mitigations.values() if isinstance(m, RewritesCaptions)]

    @property
    def stops(self) -> list[StopsEarly]:
        return [m for m in self.mitigations.values() if isinstance(m, StopsEarly)]

    @property
    def private(self) -> PrivateTraining | None:
        private = (m for m in self.mitigations.values() if isinstance(m, PrivateTraining))
        return next(private, None)

    def identity(self) -> dict[str, Any]:
        """The yaml of every mitigation, files by their content."""
        return {name: _identity(self.nodes[name], m) for name, m in self.mitigations.items()}


def apply_mitigations(
    mitigations: Mapping[str, Mitigation],
    nodes: Mapping[str, Any],
    recipe: Recipe,
    members: int,
    heldout: int,
    devices: int,
    precision: str,
) -> TrainingSetup:
    """Apply the recipe hooks in name order, count in steps, and let every mitigation check.

    Raises:
        MiaError: a contradiction between a mitigation and the rest.
    """
    ordered = {name: mitigations[name] for name in sorted(mitigations)}
    for mitigation in ordered.values():
        if isinstance(mitigation, SetsRecipe):
            recipe = mitigation.recipe(recipe)
    context = TrainingContext(recipe.resolved(members), members, heldout, devices, precision)
    for mitigation in ordered.values():
        if isinstance(mitigation, Checks):
            mitigation.check(context)
    return TrainingSetup(context, ordered, nodes)


def _identity(node: Mapping[str, Any], mitigation: Mitigation) -> dict[str, Any]:
    if isinstance(mitigation, ReadsFile) and mitigation.file is not None:
        return {**node, "file": mitigation.file_hash()}
    version = getattr(mitigation, "version", 1)
    return dict(node) if version == 1 else {**node, "version": version}
