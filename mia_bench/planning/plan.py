"""The layout of a run before anything runs: its models, feature tables and scores, and their places
under outputs/.

The parts are those of specs.py, under the keys of keys.py. Whatever exists under its key is reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mia_bench.attacks import Access, Attack, VersionsCaptions
from mia_bench.attacks.components.image_complexity import ImageComplexity
from mia_bench.config.recipe import check_checkpoint
from mia_bench.data.source import Item
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.mitigations import TrainingSetup, apply_mitigations
from mia_bench.models import Model, base_of, starts_untrained
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.keys import (
    base_key,
    blind_file_key,
    blind_key,
    ensemble_key,
    feature_name,
    figures_key,
    model_key,
    run_key,
    utility_key,
)
from mia_bench.planning.own_outputs import OwnOutputs, own_outputs_key
from mia_bench.planning.specs import (
    BEST_STEP,
    COMPLEXITY,
    EVALUATION_ROLES,
    SHADOW_ROLES,
    ControlModels,
    FeatureSpec,
    ModelSpec,
    RunSpec,
    control_of,
)
from mia_bench.storage import layout
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError, Missing

UNKNOWN_KEY = "unknown"  # stands for the key of a model whose weights are not here

Passes = dict[tuple[ModelSpec, tuple[str, ...]], list[FeatureSpec]]
"""Feature tables by the model and the rows (sample ids) that they are extracted from."""


@dataclass(frozen=True)
class Plan:
    """The models to train, the features to extract and the runs to score."""

    experiment: Experiment
    split: Split
    items: Mapping[str, Item]
    outputs: Path

    def folder(self, *parts: str) -> Path:
        return self.outputs.joinpath(*parts)

    # --- models -----------------------------------------------------------------------------------

    @cached_property
    def absent(self) -> Missing | None:
        """Why weights are not here, which only a plan that is not carried out allows."""
        try:
            for model in filter(None, (self.experiment.model, self.named_base)):
                model.base_hash()
        except Missing as missing:
            if not self.experiment.options.plan_only:
                raise
            return missing
        return None

    @cached_property
    def named_base(self) -> Model | None:
        """What the model is a finished fine-tune of (model.base)."""
        return base_of(self.experiment.model)

    @property
    def has_base(self) -> bool:
        """Whether there is a model before the fine-tuning, to compare with."""
        return self.experiment.model.finetune or self.named_base is not None

    def model_of(self, spec: ModelSpec) -> Model:
        """What builds the model `spec`."""
        if spec.kind == "base" and self.named_base is not None:
            return self.named_base
        return self.experiment.model

    @cached_property
    def base(self) -> ModelSpec:
        return self._as_it_is("base", self.named_base or self.experiment.model)

    @cached_property
    def target(self) -> ModelSpec:
        """Raises MiaError for a finished fine-tune that equals the base it names."""
        if self.experiment.model.finetune:
            return self._trained("target", Role.TARGET_MEMBER)
        target = self._as_it_is("target", self.experiment.model)
        if self.named_base is not None and target.key == self.base.key and not self.absent:
            raise MiaError(
                "model.base is the same model as model.path, weight for weight: name the model "
                "that it was fine-tuned from, or leave model.base out."
            )
        return target

    def _as_it_is(self, kind: str, model: Model) -> ModelSpec:
        key = UNKNOWN_KEY if self.absent else base_key(model)
        return ModelSpec(kind, key, self.folder(layout.TARGETS_FOLDER, key))

    @cached_property
    def shadow(self) -> ModelSpec | None:
        if self.experiment.options.calibration.kind == "split":
            return None
        return self._trained("shadow", Role.SHADOW_MEMBER)

    @cached_property
    def control_models(self) -> ControlModels | None:
        """Models that saw none of the rows of a control: the base, or, of a target and a shadow
        that are trained from scratch, each for the rows of the other; None where there is none."""
        if not self.has_base:
            return None
        if not starts_untrained(self.experiment.model):
            return ControlModels(self.base, self.base)
        return None if self.shadow is None else ControlModels(self.shadow, self.target)

    @property
    def trained(self) -> list[ModelSpec]:
        return [s for s in (self.target, self.shadow) if s is not None and s.member is not None]

    def settled(self) -> Plan:
        """The plan once its models are trained, when the steps that validation chose are known."""
        return replace(self) if BEST_STEP in (spec.step for spec in self.trained) else self

    def _trained(self, kind: str, member: Role) -> ModelSpec:
        options = self.experiment.options
        setup = self._setup(kind, member)
        check_checkpoint(options.checkpoint, setup.recipe)
        key = model_key(self.base.key, self.split, member, setup, options.trainer.precision)
        folder = self.folder(layout.TARGETS_FOLDER, UNKNOWN_KEY if self.absent else key)
        step: int | str = options.checkpoint or setup.recipe.total
        if setup.stops and options.checkpoint is None:
            manifest = folder / layout.MANIFEST_FILE
            step = read_json(manifest)["chosen_step"] if manifest.is_file() else BEST_STEP
        return ModelSpec(kind, folder.name, folder, member, step, setup)

    def _setup(self, kind: str, member: Role) -> TrainingSetup:
        experiment, options = self.experiment, self.experiment.options
        unaware = kind == "shadow" and options.calibration.shadow_mitigation == "none"
        return apply_mitigations(
            {} if unaware else experiment.mitigations,
            self._mitigation_nodes(member),
            options.finetune,
            len(self.rows(member)),
            len(self.rows(Role.VALIDATION)),
            options.trainer.ranks,
            options.trainer.precision,
        )

    def _mitigation_nodes(self, member: Role) -> Mapping[str, Any]:
        """The yaml of mitigations, with the version of those that rewrite these captions anew."""
        nodes = dict(self.experiment.resolved["mitigation"])
        for name, mitigation in self.experiment.mitigations.items():
            if not isinstance(mitigation, VersionsCaptions):
                continue
            captions = [caption for _, caption in self._captioned(self.rows(member))]
            if (version := mitigation.caption_version(captions)) is not None:
                nodes[name] = {**nodes[name], "caption_version": version}
        return nodes

    # --- rows -------------------------------------------------------------------------------------

    def rows(self, *roles: Role) -> tuple[str, ...]:
        """Sample ids with one of `roles`, in sample-id order: members and others interleaved."""
        return tuple(self.split.sample_id[i] for i in self.split.rows(*roles))

    def items_of(self, sample_ids: Sequence[str]) -> list[Item]:
        return [self.items[sid] if sid in self.items else self._own_item(sid) for sid in sample_ids]

    def _own_item(self, sample_id: str) -> Item:
        assert self.own_outputs is not None
        return self.own_outputs.items[sample_id]

    def _captioned(self, sample_ids: Sequence[str]) -> list[tuple[str, str]]:
        return [(item.sample_id, item.caption) for item in self.items_of(sample_ids)]

    @cached_property
    def own_outputs(self) -> OwnOutputs | None:
        """With eval.own_outputs, the pictures that the target generates."""
        options = self.experiment.options.eval
        if not options.own_outputs:
            return None
        rows = self.rows(Role.TARGET_NONMEMBER)[: options.own_outputs_images]
        captions = tuple(self.items[sid].caption for sid in rows)
        key = own_outputs_key(list(zip(rows, captions, strict=True)), options)
        target = self.target
        folder = self.folder(layout.OWN_OUTPUTS_FOLDER, target.key, target.where, key)
        return OwnOutputs(target, rows, captions, folder)

    # --- feature tables and runs ------------------------------------------------------------------

    @cached_property
    def runs(self) -> list[RunSpec]:
        return [
            run
            for name, attack in self.experiment.attacks.items()
            for run in self._runs(name, attack)
        ]

    def missing(self) -> Passes:
        """The predict passes that are left: tables to extract by model and rows."""
        passes: dict[tuple[ModelSpec, tuple[str, ...]], dict[Path, FeatureSpec]] = {}
        for run in self.runs:
            for spec in () if run.ready else run.feature_specs():
                if not spec.ready:
                    passes.setdefault((spec.model, spec.sample_id), {})[spec.folder] = spec
        return {model_and_rows: list(specs.values()) for model_and_rows, specs in passes.items()}

    @cached_property
    def grey_box(self) -> list[RunSpec]:
        """Runs that need no more than a grey box, without rows derived from another's."""
        runs = [run for run in self.runs if run.name == run.attack_name]
        return [run for run in runs if run.attack.access <= Access.GREY_BOX]

    @cached_property
    def ensemble_runs(self) -> list[RunSpec]:
        """Runs that the ensemble combines: of the grey box's, one per feature table."""
        tables: dict[Path, RunSpec] = {}
        for run in self.grey_box:
            tables.setdefault(run.evaluation.folder, run)
        return list(tables.values())

    @cached_property
    def ensemble(self) -> Path | None:
        """Folder of the ensemble's run; None without eval.ensemble, or where one table is all."""
        runs = self.ensemble_runs
        if not self.experiment.options.eval.ensemble or len(runs) < 2:
            return None
        combined, compared = ([r.folder.name for r in some] for some in (runs, self.grey_box))
        return runs[0].folder.with_name(f"ensemble-{ensemble_key(combined, compared)}")

    @property
    def table(self) -> list[tuple[str, Path]]:
        """(name, folder) of every row of the run's table."""
        rows = [(run.name, run.folder) for run in self.runs]
        return rows if self.ensemble is None else [*rows, ("ensemble", self.ensemble)]

    def _features(self, attack: Attack, model: ModelSpec, *roles: Role) -> FeatureSpec:
        return self._features_of(attack, model, self.rows(*roles))

    def _features_of(self, attack: Attack, model: ModelSpec, rows: tuple[str, ...]) -> FeatureSpec:
        options = self.experiment.options.eval
        name = feature_name(attack, self._captioned(rows), options, self.base.key)
        folder = self.folder(layout.FEATURES_FOLDER, model.key, model.where, name)
        return FeatureSpec(attack, model, rows, folder)

    def _runs(self, name: str, attack: Attack) -> Iterator[RunSpec]:
        """The run of an attack and those derived from it: with eval.base_calibrated, the one that
        subtracts a control; with eval.complexity, the one without what complexity explains."""
        options, models = self.experiment.options.eval, self.control_models
        calibration_roles = SHADOW_ROLES if self.shadow else EVALUATION_ROLES
        evaluation = self._features(attack, self.target, *EVALUATION_ROLES)
        calibration = self._features(attack, self.shadow or self.target, *calibration_roles)
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
            base_calibration = self._features(attack, models.calibration, *calibration_roles)
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
        calibration_roles = SHADOW_ROLES if self.shadow else EVALUATION_ROLES
        measures = ImageComplexity()
        evaluation, calibration = (
            self._features(measures, self.base, *roles)
            for roles in (EVALUATION_ROLES, calibration_roles)
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
            own = self._features_of(attack, self.target, self.own_outputs.sample_id)
        specs = (evaluation, calibration, base, base_calibration)
        every = (*specs, *(complexity or ()), *([own] if own else []))
        tables = [None if s is None else (s.model.key, s.model.step, s.folder.name) for s in every]
        key = run_key(name, attack, tables, self.experiment.options, self.split.content_hash)
        model = evaluation.model
        folder = self.folder(
            layout.RUNS_FOLDER, model.key, model.where, layout.join_name(name, key)
        )
        return RunSpec(name, attack, *specs, folder, complexity=complexity, own_outputs=own)

    # --- what comes with the runs -----------------------------------------------------------------

    @cached_property
    def blind(self) -> Path | None:
        """Folder of the blind baselines, which depend on the evaluation rows alone."""
        options = self.experiment.options
        if not options.eval.blind_rows:
            return None
        rows = self._captioned(self.rows(*EVALUATION_ROLES))
        resolution = self.experiment.model.resolution
        key = blind_key(rows, self.split.content_hash, resolution, options.eval)
        return self.folder(layout.CONTROLS_FOLDER, layout.join_name(options.data.name, key))

    @cached_property
    def blind_file(self) -> Path | None:
        """Folder of the control that looks at picture files; None where no row comes from one."""
        options, rows = self.experiment.options, self.rows(*EVALUATION_ROLES)
        if not options.eval.blind_rows or all(i.raw is None for i in self.items_of(rows)):
            return None
        key = blind_file_key(rows, self.split.content_hash, options.eval)
        return self.folder(layout.CONTROLS_FOLDER, layout.join_name(options.data.name, key))

    @cached_property
    def utility(self) -> dict[ModelSpec, Path]:
        """With eval.utility, where the quality of target and base is measured.

        Raises:
            MiaError: the validation role is too small to measure on.
        """
        options, model = self.experiment.options.eval, self.experiment.model
        if not options.utility:
            return {}
        heldout = self.rows(Role.VALIDATION)[: 2 * options.utility_images]
        if len(heldout) < 2:
            raise MiaError(
                "eval.utility=true measures on the validation role, which has fewer than two rows: "
                "leave rows for it, e.g. data.sizes.validation=100."
            )
        members = self.rows(Role.TARGET_MEMBER)[: options.utility_images]
        captioned = self._captioned(heldout), self._captioned(members)
        key = utility_key(*captioned, options, model.encoder_hash())
        models = dict.fromkeys((self.target, self.base))
        return {
            spec: self.folder(layout.UTILITY_FOLDER, spec.key, spec.where, key) for spec in models
        }

    def figure(self, kind: str, suffix: str) -> Path:
        """A file about all runs of the target together, e.g. of the kind "roc" or "controls"."""
        key = figures_key([run.folder.name for run in self.runs])
        return self.folder(layout.REPORTS_FOLDER, self.target.key, f"{kind}-{key}.{suffix}")
