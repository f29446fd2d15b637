"""The models of a plan: the base, the target and the shadow, their keys and folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mia_bench.attacks import VersionsCaptions
from mia_bench.config.recipe import check_checkpoint
from mia_bench.data.split.roles import Role
from mia_bench.mitigations import TrainingSetup, apply_mitigations
from mia_bench.models import Model, base_of, starts_untrained
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.keys import base_key, model_key
from mia_bench.planning.parts.rows import PlannedRows
from mia_bench.planning.specs import BEST_STEP, ControlModels, ModelSpec
from mia_bench.storage import layout
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError, Missing

UNKNOWN_KEY = "unknown"  # stands for the key of a model whose weights are not here


@dataclass(frozen=True)
class PlannedModels:
    """The models to train and to query, under `outputs`."""

    experiment: Experiment
    rows: PlannedRows
    outputs: Path
    unchosen: frozenset[str] = frozenset()
    """Kinds of models whose steps are left open whatever validation has chosen."""

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
        return ModelSpec(kind, key, self.outputs / layout.TARGETS_FOLDER / key)

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

    def _trained(self, kind: str, member: Role) -> ModelSpec:
        options = self.experiment.options
        setup = self._setup(kind, member)
        check_checkpoint(options.checkpoint, setup.recipe)
        key = model_key(self.base.key, self.rows.split, member, setup, options.trainer.precision)
        folder = self.outputs / layout.TARGETS_FOLDER / (UNKNOWN_KEY if self.absent else key)
        step: int | str = options.checkpoint or setup.recipe.total
        if self._stops(setup):
            manifest = folder / layout.MANIFEST_FILE
            chosen = manifest.is_file() and kind not in self.unchosen
            step = read_json(manifest)["chosen_step"] if chosen else BEST_STEP
        return ModelSpec(kind, folder.name, folder, member, step, setup)

    def chooses_step(self, spec: ModelSpec) -> bool:
        """Whether validation chooses the step of a model that is attacked."""
        return spec.setup is not None and self._stops(spec.setup)

    def _stops(self, setup: TrainingSetup) -> bool:
        return bool(setup.stops) and self.experiment.options.checkpoint is None

    def _setup(self, kind: str, member: Role) -> TrainingSetup:
        experiment, options = self.experiment, self.experiment.options
        unaware = kind == "shadow" and options.calibration.shadow_mitigation == "none"
        return apply_mitigations(
            {} if unaware else experiment.mitigations,
            self._mitigation_nodes(member),
            options.finetune,
            len(self.rows.ids(member)),
            len(self.rows.ids(Role.VALIDATION)),
            options.trainer.ranks,
            options.trainer.precision,
        )

    def _mitigation_nodes(self, member: Role) -> Mapping[str, Any]:
        """The yaml of mitigations, with the version of those that rewrite these captions anew."""
        nodes = dict(self.experiment.resolved["mitigation"])
        for name, mitigation in self.experiment.mitigations.items():
            if not isinstance(mitigation, VersionsCaptions):
                continue
            captions = [caption for _, caption in self.rows.captioned(self.rows.ids(member))]
            if (version := mitigation.caption_version(captions)) is not None:
                nodes[name] = {**nodes[name], "caption_version": version}
        return nodes
