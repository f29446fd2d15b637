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
    from torch import Tensor, nn
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
class FiltersRows(Protocol):
    """Leaves rows out of a step's loss, at one more evaluation of the network a step."""

    def kept(self, conditional: Tensor, null: Tensor) -> Tensor:
        """(B,) booleans: rows that count, from noise predictions (B, *latent) under the training
        caption and under the empty one."""


@runtime_checkable
class DrawsRows(Protocol):
    """Leaves rows out of a step's loss without looking at them."""

    def drawn(self, rows: int, draw: Generator) -> Tensor:
        """(rows,) booleans: rows of a step that count, decided by `draw` alone."""


@runtime_checkable
class TrainsProxy(Protocol):
    """An attacker trained beside the model, on members and on held-out rows, to be misled."""

    nonmembers: int
    """Rows of the validation role that stand for non-members, from its end on."""
    attacker_steps: int
    """Of the attacker, before each of the model."""
    dropout: float

    def attacker(self, elements: int) -> nn.ModuleList:
        """The linear layers of a classifier (B, elements) -> (B, 2) of flattened squared errors."""

    def attacker_optimizer(self, attacker: nn.Module) -> Optimizer: ...

    def objective(self, loss: Tensor, adversarial: Tensor) -> Tensor:
        """What the model minimises: of its own loss, and of the attacker's cross entropy on
        members."""


@runtime_checkable
class FiltersUpdate(Protocol):
    def filtered(self, base: Tensor, update: Tensor) -> Tensor:
        """What is kept of the `update` of a weight `base`, both (outputs, inputs)."""


@runtime_checkable
class TakesCaptions(Protocol):
    """Trains on captions that are read or written while the run is planned."""

    file: str | None
    captioner: str | None

    def with_captions(self, texts: Mapping[str, str]) -> Mitigation:
        """The same mitigation with a caption for each row (by sample id)."""

    def file_hash(self) -> str:
        """Of the captions, once there are some."""


@runtime_checkable
class ReadsFile(Protocol):
    file: str | None

    def file_hash(self) -> str:
        """Content hash: part of the identity in place of the path."""


Mitigation = (
    Checks
    | SetsRecipe
    | AugmentsImages
    | RewritesCaptions
    | StopsEarly
    | PrivateTraining
    | FiltersRows
    | DrawsRows
    | TrainsProxy
    | FiltersUpdate
)


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

    @property
    def row_filters(self) -> list[FiltersRows]:
        return [m for m in self.mitigations.values() if isinstance(m, FiltersRows)]

    @property
    def row_draws(self) -> list[DrawsRows]:
        return [m for m in self.mitigations.values() if isinstance(m, DrawsRows)]

    @property
    def drops_rows(self) -> bool:
        return bool(self.row_filters or self.row_draws)

    @property
    def proxy(self) -> TrainsProxy | None:
        return next((m for m in self.mitigations.values() if isinstance(m, TrainsProxy)), None)

    @property
    def update_filters(self) -> list[FiltersUpdate]:
        return [m for m in self.mitigations.values() if isinstance(m, FiltersUpdate)]

    def identity(self) -> dict[str, Any]:
        """The yaml of every mitigation, files by their content."""
        return {name: _identity(self.nodes[name], m) for name, m in self.mitigations.items()}


def _identity(node: Mapping[str, Any], mitigation: Mitigation) -> dict[str, Any]:
    """The yaml without options added later that are at their default (`later_fields`)."""
    later: Mapping[str, Any] = getattr(mitigation, "later_fields", {})
    node = {k: v for k, v in node.items() if k not in later or v != later[k]}
    if isinstance(mitigation, TakesCaptions):  # known by what they are, not by who wrote them
        return {"_target_": node["_target_"], "captions": mitigation.file_hash()}
    if isinstance(mitigation, ReadsFile) and mitigation.file is not None:
        return {**node, "file": mitigation.file_hash()}
    version = getattr(mitigation, "version", 1)
    return dict(node) if version == 1 else {**node, "version": version}
