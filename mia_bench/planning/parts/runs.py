"""The runs of a plan, the feature tables that they rest on, and the rows derived from a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mia_bench.attacks import Access, Attack, FeatureExtractor
from mia_bench.attacks.components.image_complexity import ImageComplexity
from mia_bench.data.split.roles import Role
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.keys import feature_name, run_key
from mia_bench.planning.parts.models import PlannedModels
from mia_bench.planning.parts.own_outputs import OwnOutputs
from mia_bench.planning.parts.rows import PlannedRows
from mia_bench.planning.specs import (
    COMPLEXITY,
    EVALUATION_ROLES,
    SHADOW_ROLES,
    FeatureSpec,
    ModelSpec,
    RunSpec,
    control_of,
)
from mia_bench.storage import layout


@dataclass(frozen=True)
class PlannedRuns:
    """Runs of every attack on the target, under `outputs`; `rows` hold the target's own outputs."""

    experiment: Experiment
    rows: PlannedRows
    models: PlannedModels
    own_outputs: OwnOutputs | None
    outputs: Path

    def all(self) -> list[RunSpec]:
        return [
            run
            for name, attack in self.experiment.attacks.items()
            for run in self._runs(name, attack)
        ]

    @cached_property
    def calibration_roles(self) -> tuple[Role, ...]:
        return SHADOW_ROLES if self.models.shadow else EVALUATION_ROLES

    def _features(self, attack: FeatureExtractor, model: ModelSpec, *roles: Role) -> FeatureSpec:
        return self._features_of(attack, model, self.rows.ids(*roles))

    def _features_of(
        self, attack: FeatureExtractor, model: ModelSpec, rows: tuple[str, ...]
    ) -> FeatureSpec:
        options = self.experiment.options.eval
        name = feature_name(attack, self.rows.captioned(rows), options, self.models.base.key)
        folder = self.outputs / layout.FEATURES_FOLDER / model.key / model.where / name
        return FeatureSpec(attack, model, rows, folder)

    def _runs(self, name: str, attack: Attack) -> Iterator[RunSpec]:
        """The run of an attack and those derived from it: with eval.base_calibrated, the one that
        subtracts a control; with eval.complexity, the one without what complexity explains."""
        options, models = self.experiment.options.eval, self.models.control_models
        evaluation = self._features(attack, self.models.target, *EVALUATION_ROLES)
        calibration = self._features(
            attack, self.models.shadow or self.models.target, *self.calibration_roles
        )
        if models is None:
            yield from self._with_complexity(name, attack, evaluation, calibration, None)
            return
        has_control = options.base_rows is None or name in options.base_rows
        subtracts = options.base_calibrated and attack.statistics
        on_base = None
        if has_control or subtracts:
            on_base = self._features(attack, models.evaluation, *EVALUATION_ROLES)
        control = on_base if has_control else None
        yield from self._with_complexity(name, attack, evaluation, calibration, control)
        if subtracts:
            base_calibration = self._features(attack, models.calibration, *self.calibration_roles)
            subtracting = (evaluation, calibration, on_base, base_calibration)
            suffix = control_of(models.evaluation.kind)
            yield self._run(f"{name}-{suffix}", attack, *subtracting)

    def _with_complexity(
        self,
        name: str,
        attack: Attack,
        evaluation: FeatureSpec,
        calibration: FeatureSpec,
        control: FeatureSpec | None,
    ) -> Iterator[RunSpec]:
        """The run itself and, with eval.complexity, `<name>-complexity` beside it."""
        yield self._run(name, attack, evaluation, calibration, control)
        if self.experiment.options.eval.complexity:
            tables = (evaluation, calibration, control, None)
            yield self._run(f"{name}-{COMPLEXITY}", attack, *tables, self.complexity)

    @cached_property
    def complexity(self) -> tuple[FeatureSpec, FeatureSpec]:
        """How complex the images of evaluation and calibration rows are. Stored under the base,
        whose codec decides it, so that all models fine-tuned from it share the tables."""
        measures = ImageComplexity()
        evaluation, calibration = (
            self._features(measures, self.models.base, *roles)
            for roles in (EVALUATION_ROLES, self.calibration_roles)
        )
        return evaluation, calibration

    def _run(
        self,
        name: str,
        attack: Attack,
        evaluation: FeatureSpec,
        calibration: FeatureSpec,
        base: FeatureSpec | None,
        base_calibration: FeatureSpec | None = None,
        complexity: tuple[FeatureSpec, FeatureSpec] | None = None,
    ) -> RunSpec:
        own = None
        plain = base_calibration is None and complexity is None
        if self.own_outputs and plain and attack.access is Access.GREY_BOX:
            own = self._features_of(attack, self.models.target, self.own_outputs.sample_id)
        specs = (evaluation, calibration, base, base_calibration)
        every = (*specs, *(complexity or ()), *([own] if own else []))
        tables = [None if s is None else (s.model.key, s.model.step, s.folder.name) for s in every]
        key = run_key(name, attack, tables, self.experiment.options, self.rows.split.content_hash)
        model = evaluation.model
        under = self.outputs / layout.RUNS_FOLDER / model.key / model.where
        folder = under / layout.join_name(name, key)
        return RunSpec(name, attack, *specs, folder, complexity=complexity, own_outputs=own)
