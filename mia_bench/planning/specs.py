"""What a plan is made of: models, tables of the features extracted from them, and scored runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mia_bench.attacks import Attack, FeatureExtractor
from mia_bench.data.split.roles import Role
from mia_bench.mitigations import TrainingSetup
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete

BEST_STEP = "best"
BASE = "base"
REFERENCE = "reference"
COMPLEXITY = "complexity"
"""Suffixes of rows that are derived from an attack's own: `<attack>-base`, and so on."""
EVALUATION_ROLES = (Role.TARGET_MEMBER, Role.TARGET_NONMEMBER)
SHADOW_ROLES = (Role.SHADOW_MEMBER, Role.SHADOW_NONMEMBER)


def control_of(kind: str) -> str:
    """What the control on a model of this kind is called: the shadow serves as the reference."""
    return BASE if kind == BASE else REFERENCE


@dataclass(frozen=True)
class ModelSpec:
    """A model from which features are extracted: the base, or the base fine-tuned on one role."""

    kind: str  # "base", "target" or "shadow"
    key: str
    folder: Path
    member: Role | None = None
    step: int | str | None = None
    """The training step that is attacked; BEST_STEP until validation has chosen it."""
    setup: TrainingSetup | None = field(default=None, compare=False, repr=False)

    @property
    def weights(self) -> Path | None:
        """The folder of the U-Net; None for the base's own."""
        return None if self.step is None else layout.weights_folder(self.folder, self.step)

    @property
    def where(self) -> str:
        """The name of the step's folder under the model's key."""
        return layout.BASE_STEP if self.step is None else str(self.step)

    @property
    def ready(self) -> bool:
        return self.member is None or is_complete(self.folder)


@dataclass(frozen=True)
class ControlModels:
    """Models without the rows of a control: `evaluation` has seen no evaluation row, `calibration`
    no calibration row."""

    evaluation: ModelSpec
    calibration: ModelSpec


@dataclass(frozen=True)
class FeatureSpec:
    """One feature table: what an attack extracts for some rows from one model."""

    attack: FeatureExtractor = field(compare=False)
    model: ModelSpec
    sample_id: tuple[str, ...] = field(repr=False)
    folder: Path

    @property
    def evaluations(self) -> int:
        """U-Net evaluations at most: fewer where other attacks share the same queries."""
        return self.attack.nfe[0] * len(self.sample_id)

    @property
    def ready(self) -> bool:
        return is_complete(self.folder)


@dataclass(frozen=True)
class RunSpec:
    """One row of the table: an attack on the target, its calibration, and its control.

    The control is the same attack on a model that saw no evaluation row: the base or, where the
    target is trained from scratch, the shadow.
    """

    name: str
    attack: Attack
    evaluation: FeatureSpec
    calibration: FeatureSpec
    base: FeatureSpec | None
    """Evaluation rows on the model of the control."""
    base_calibration: FeatureSpec | None
    """Calibration rows on a model that saw none of them: set for a run that subtracts the control's
    features before anything is fitted."""
    folder: Path
    complexity: tuple[FeatureSpec, FeatureSpec] | None = None
    """How complex the images of evaluation and of calibration rows are: set for a run whose scores
    are what complexity does not explain."""
    own_outputs: FeatureSpec | None = None
    """Pictures that the target generated, with eval.own_outputs."""

    @property
    def ready(self) -> bool:
        return is_complete(self.folder)

    @property
    def attack_name(self) -> str:
        """The attack's name in the configuration, without the suffix of a derived row."""
        if self.complexity is not None:
            return self.name.removesuffix(f"-{COMPLEXITY}")
        if self.base_calibration is not None:
            return self.name.removesuffix(f"-{self.control}")
        return self.name

    @property
    def control(self) -> str:
        """The kind of the control."""
        return control_of(self.base.model.kind) if self.base is not None else BASE

    def scored_specs(self) -> Iterator[FeatureSpec]:
        """What the scores of data rows are made of."""
        own = (self.evaluation, self.calibration, self.base, self.base_calibration)
        specs = (*own, *(self.complexity or ()))
        return (spec for spec in specs if spec is not None)

    def feature_specs(self) -> Iterator[FeatureSpec]:
        yield from self.scored_specs()
        if self.own_outputs is not None:
            yield self.own_outputs
