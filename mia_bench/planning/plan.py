"""The layout of a run before anything runs: its models, feature tables and scores, and their places
under outputs/.

The parts are those of specs.py, under the keys of keys.py. Whatever exists under its key is reused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, combinations
from pathlib import Path

from mia_bench.attacks import Access
from mia_bench.data.source import Item
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.keys import (
    blind_file_key,
    blind_key,
    ensemble_key,
    figures_key,
    utility_key,
)
from mia_bench.planning.parts.models import PlannedModels
from mia_bench.planning.parts.own_outputs import OwnOutputs, own_outputs_key
from mia_bench.planning.parts.rows import PlannedRows
from mia_bench.planning.parts.runs import PlannedRuns
from mia_bench.planning.specs import (
    BEST_STEP,
    EVALUATION_ROLES,
    FeatureSpec,
    ModelSpec,
    RunSpec,
)
from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError, Missing

Passes = dict[tuple[ModelSpec, tuple[str, ...]], list[FeatureSpec]]
"""Feature tables by the model and the rows (sample ids) that they are extracted from."""


@dataclass(frozen=True)
class Plan:
    """The models to train, the features to extract and the runs to score."""

    experiment: Experiment
    split: Split
    items: Mapping[str, Item]
    outputs: Path
    unchosen: frozenset[str] = frozenset()
    """Kinds of models whose steps are left open though validation has chosen them: see `begun`."""

    def folder(self, *parts: str) -> Path:
        return self.outputs.joinpath(*parts)

    # --- models -----------------------------------------------------------------------------------

    @cached_property
    def models(self) -> PlannedModels:
        return PlannedModels(self.experiment, self._data, self.outputs, self.unchosen)

    @property
    def absent(self) -> Missing | None:
        """Why weights are not here, which only a plan that is not carried out allows."""
        return self.models.absent

    @property
    def base(self) -> ModelSpec:
        return self.models.base

    @property
    def target(self) -> ModelSpec:
        return self.models.target

    @property
    def shadow(self) -> ModelSpec | None:
        return self.models.shadow

    @property
    def trained(self) -> list[ModelSpec]:
        return self.models.trained

    def settled(self) -> Plan:
        """The plan once its models are trained, when the steps that validation chose are known."""
        return replace(self) if BEST_STEP in (spec.step for spec in self.trained) else self

    def begun(self) -> list[Plan]:
        """The plans that the same command had, or will have had, before each of its models with
        early stopping was trained: none without early stopping."""
        kinds = [spec.kind for spec in self.trained if self.models.chooses_step(spec)]
        some = (combinations(kinds, n) for n in range(1, len(kinds) + 1))
        return [replace(self, unchosen=frozenset(open_)) for open_ in chain.from_iterable(some)]

    # --- rows -------------------------------------------------------------------------------------

    @cached_property
    def _data(self) -> PlannedRows:
        return PlannedRows(self.split, self.items)

    @cached_property
    def _every_row(self) -> PlannedRows:
        """The data's, and the pictures that the target generates."""
        if self.own_outputs is None:
            return self._data
        return PlannedRows(self.split, {**self.items, **self.own_outputs.items})

    def rows(self, *roles: Role) -> tuple[str, ...]:
        """Sample ids with one of `roles`, in sample-id order: members and others interleaved."""
        return self._data.ids(*roles)

    def items_of(self, sample_ids: Sequence[str]) -> list[Item]:
        of_data = all(sid in self.items for sid in sample_ids)
        return (self._data if of_data else self._every_row).items_of(sample_ids)

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
        parts = self._every_row, self.models, self.own_outputs
        return PlannedRuns(self.experiment, *parts, self.outputs).all()

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

    # --- what comes with the runs -----------------------------------------------------------------

    @cached_property
    def blind(self) -> Path | None:
        """Folder of the blind baselines, which depend on the evaluation rows alone."""
        options = self.experiment.options
        if not options.eval.blind_rows:
            return None
        rows = self._data.captioned(self.rows(*EVALUATION_ROLES))
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
        captioned = self._data.captioned(heldout), self._data.captioned(members)
        key = utility_key(*captioned, options, model.encoder_hash())
        models = dict.fromkeys((self.target, self.base))
        return {
            spec: self.folder(layout.UTILITY_FOLDER, spec.key, spec.where, key) for spec in models
        }

    def figure(self, kind: str, suffix: str) -> Path:
        """A file about all runs of the target together, e.g. of the kind "roc" or "controls"."""
        key = figures_key([run.folder.name for run in self.runs])
        return self.folder(layout.REPORTS_FOLDER, self.target.key, f"{kind}-{key}.{suffix}")

    @property
    def reports(self) -> tuple[Path, Path]:
        """The ROC figure of all runs and the verdict on their controls, which are written last."""
        return self.figure("roc", "png"), self.figure("controls", "json")
