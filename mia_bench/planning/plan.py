"""What a run consists of, before anything runs, and where it is kept: see cells.py and keys.py.

Whatever exists under its key is reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mia_bench.attacks import Access, Attack
from mia_bench.config.recipe import check_checkpoint
from mia_bench.data.source import Item
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.mitigations import TrainingSetup, apply_mitigations
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.keys import METRICS_VERSION, ensemble_key, feature_name, model_key, run_key
from mia_bench.planning.specs import (
    BEST_STEP,
    EVALUATION_ROLES,
    SHADOW_ROLES,
    FeatureSpec,
    ModelSpec,
    RunSpec,
)
from mia_bench.storage.artifacts import MANIFEST, is_complete
from mia_bench.storage.files import read_json
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError, Missing

UTILITY_VERSION = 2  # of the numbers of utility.py
UNKNOWN_KEY = "unknown"  # the key of a model whose weights are not here


@dataclass(frozen=True)
class Plan:
    """The models to train, the questions to ask and the cells to score."""

    experiment: Experiment
    split: Split
    items: Mapping[str, Item]
    outputs: Path

    def folder(self, *parts: str) -> Path:
        return self.outputs.joinpath(*parts)

    @cached_property
    def absent(self) -> Missing | None:
        """Why the weights are not here, when all that is asked for is the plan."""
        try:
            self.experiment.model.base_hash()
        except Missing as missing:
            if not self.experiment.options.plan_only:
                raise
            return missing
        return None

    @cached_property
    def base(self) -> ModelSpec:
        model = self.experiment.model
        if self.absent:
            return ModelSpec("base", UNKNOWN_KEY, self.folder("targets", UNKNOWN_KEY))
        key = hash_key({"base": model.base_hash(), "images": model.encoder_hash()})
        return ModelSpec("base", key, self.folder("targets", key))

    @cached_property
    def target(self) -> ModelSpec:
        if not self.experiment.model.finetune:
            return ModelSpec("target", self.base.key, self.base.folder)
        return self._trained("target", Role.TARGET_MEMBER)

    @cached_property
    def shadow(self) -> ModelSpec | None:
        if self.experiment.options.calibration.kind == "split":
            return None
        return self._trained("shadow", Role.SHADOW_MEMBER)

    @property
    def trained(self) -> list[ModelSpec]:
        return [s for s in (self.target, self.shadow) if s is not None and s.member is not None]

    @cached_property
    def runs(self) -> list[RunSpec]:
        return [
            run
            for name, attack in self.experiment.attacks.items()
            for run in self._runs(name, attack)
        ]

    @cached_property
    def blind(self) -> Path | None:
        """Folder of the blind rows, which depend on the evaluation rows alone."""
        options = self.experiment.options
        if not options.eval.blind_rows:
            return None
        rows = [(sid, self.items[sid].caption) for sid in self.rows(*EVALUATION_ROLES)]
        identity: dict[str, Any] = {
            "rows": rows,
            "split": self.split.content_hash,
            "seed": options.eval.seed,
            "resolution": self.experiment.model.resolution,
            "version": METRICS_VERSION,
        }
        if options.eval.blind_encoder is not None:
            identity["encoder"] = options.eval.blind_encoder
        return self.folder("controls", f"{options.data.name}-{hash_key(identity)}")

    @cached_property
    def grey_box(self) -> list[RunSpec]:
        """Cells that need no more than a grey box, without those that subtract the base's."""
        runs = [c for c in self.runs if c.base_calibration is None]
        return [c for c in runs if c.attack.access <= Access.GREY_BOX]

    @cached_property
    def ensemble_runs(self) -> list[RunSpec]:
        """Cells of the ensemble: of the grey box's, one per feature table."""
        tables: dict[Path, RunSpec] = {}
        for run in self.grey_box:
            tables.setdefault(run.evaluation.folder, run)
        return list(tables.values())

    @cached_property
    def ensemble(self) -> Path | None:
        """Folder of the ensemble's cell, when it is asked for and there is something to combine."""
        runs = self.ensemble_runs
        if not self.experiment.options.eval.ensemble or len(runs) < 2:
            return None
        names, every = ([c.folder.name for c in some] for some in (runs, self.grey_box))
        return runs[0].folder.with_name(f"ensemble-{ensemble_key(names, every)}")

    @cached_property
    def utility(self) -> dict[ModelSpec, Path]:
        """Folders of what target and base are good for, when it is asked for.

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
        captions = [(sid, self.items[sid].caption) for sid in heldout]
        members = self.rows(Role.TARGET_MEMBER)[: options.utility_images]
        key = hash_key(
            {
                "version": UTILITY_VERSION,
                "heldout": captions,
                "members": [(sid, self.items[sid].caption) for sid in members],
                "images": options.utility_images,
                "clip": options.utility_clip,
                "encoder": model.encoder_hash(),
                "seed": options.seed,
            }
        )
        subjects = {self.target: None, self.base: None}
        return {s: self.folder("utility", s.key, s.where, key) for s in subjects}

    @property
    def table(self) -> list[tuple[str, Path]]:
        """(name, folder) of every row of the run's table."""
        rows = [(run.name, run.folder) for run in self.runs]
        return rows if self.ensemble is None else [*rows, ("ensemble", self.ensemble)]

    def missing(self) -> dict[tuple[ModelSpec, tuple[str, ...]], list[FeatureSpec]]:
        """Questions not answered yet by (model, rows): each entry is one predict pass."""
        passes: dict[tuple[ModelSpec, tuple[str, ...]], dict[Path, FeatureSpec]] = {}
        for run in self.runs:
            for asked in () if run.ready else run.feature_specs():
                if not asked.ready:
                    passes.setdefault((asked.model, asked.sample_id), {})[asked.folder] = asked
        return {where: list(questions.values()) for where, questions in passes.items()}

    def rows(self, *roles: Role) -> tuple[str, ...]:
        """Sample ids with one of `roles`, in sample-id order: members and others interleaved."""
        return tuple(self.split.sample_id[i] for i in self.split.rows(*roles))

    def _trained(self, kind: str, member: Role) -> ModelSpec:
        options = self.experiment.options
        setup = self._setup(kind, member)
        recipe = setup.recipe
        check_checkpoint(options.checkpoint, recipe)
        key = model_key(self.base.key, self.split, member, setup, options.trainer.precision)
        key = UNKNOWN_KEY if self.absent else key
        folder = self.folder("targets", key)
        step: int | str = options.checkpoint or recipe.total
        if setup.stops and options.checkpoint is None:
            manifest = folder / MANIFEST
            step = read_json(manifest)["chosen_step"] if manifest.is_file() else BEST_STEP
        return ModelSpec(kind, key, folder, member, step, setup)

    def _setup(self, kind: str, member: Role) -> TrainingSetup:
        experiment, options = self.experiment, self.experiment.options
        unaware = kind == "shadow" and options.calibration.shadow_mitigation == "none"
        return apply_mitigations(
            {} if unaware else experiment.mitigations,
            experiment.resolved["mitigation"],
            options.finetune,
            len(self.rows(member)),
            len(self.rows(Role.VALIDATION)),
            options.trainer.ranks,
            options.trainer.precision,
        )

    def settled(self) -> Plan:
        """The plan once models are trained: steps that validation chose are known."""
        return replace(self) if BEST_STEP in (spec.step for spec in self.trained) else self

    def _feature_spec(self, attack: Attack, spec: ModelSpec, *roles: Role) -> FeatureSpec:
        rows = self.rows(*roles)
        asked = [(sid, self.items[sid].caption) for sid in rows]
        name = feature_name(attack, asked, self.experiment.options.eval)
        return FeatureSpec(attack, spec, rows, self.folder("features", spec.key, spec.where, name))

    def _runs(self, name: str, attack: Attack) -> Iterator[RunSpec]:
        options = self.experiment.options
        evaluation = self._feature_spec(attack, self.target, *EVALUATION_ROLES)
        known = SHADOW_ROLES if self.shadow else EVALUATION_ROLES
        calibration = self._feature_spec(attack, self.shadow or self.target, *known)
        tuned, based = self.experiment.model.finetune, options.eval.base_rows
        with_base = tuned and (based is None or name in based)
        base = self._feature_spec(attack, self.base, *EVALUATION_ROLES) if with_base else None
        yield self._run(name, attack, evaluation, calibration, base, None)
        if options.eval.base_calibrated and tuned and attack.statistics:
            base = base or self._feature_spec(attack, self.base, *EVALUATION_ROLES)
            base_known = self._feature_spec(attack, self.base, *known)
            yield self._run(f"{name}-base", attack, evaluation, calibration, base, base_known)

    def _run(self, name: str, attack: Attack, *asked: FeatureSpec | None) -> RunSpec:
        evaluation, calibration, base, base_calibration = asked
        assert evaluation is not None
        assert calibration is not None
        tables = [None if q is None else (q.model.key, q.model.step, q.folder.name) for q in asked]
        key = run_key(name, attack, tables, self.experiment.options, self.split.content_hash)
        spec = evaluation.model
        folder = self.folder("runs", spec.key, spec.where, f"{name}-{key}")
        return RunSpec(name, attack, evaluation, calibration, base, base_calibration, folder)

    def describe(self) -> str:
        """What would run, for people."""
        lines = []
        for spec in self.trained:
            lines += _describe(spec)
        for (spec, rows), asked in self.missing().items():
            most = sum(questions.evaluations for questions in asked)
            names = ", ".join(q.folder.name.partition("-")[0] for q in asked)
            what = f"{len(rows)} images, {names}; at most {most:,} U-Net evaluations"
            lines.append(f"ask     {spec.kind}: {what}")
        done = sum(run.ready for run in self.runs)
        if self.utility:
            done_too = sum(map(is_complete, self.utility.values()))
            lines.append(f"utility {done_too} of {len(self.utility)} done")
        lines.append(f"cells   {done} of {len(self.runs)} done")
        return "\n".join(lines)


def _describe(spec: ModelSpec) -> list[str]:
    setup = spec.setup
    assert setup is not None
    recipe, context = setup.recipe, setup.context
    atmost = "at most " if setup.stops else ""
    state = f"{atmost}{recipe.total} steps of {recipe.batch_size} to train"
    if spec.ready:
        state = f"done, attacked at step {spec.step}" if setup.stops else "done"
    used = f", {'+'.join(setup.mitigations)}" if setup.mitigations else ""
    lines = [f"{spec.kind:<7} {spec.key}  {context.members} members{used}, {state}"]
    if setup.private is not None:
        spent = setup.private.spent(context, recipe.total)
        lines.append(
            f"        epsilon {spent['epsilon']:.3g} at delta {spent['delta']:.3g} for one pair in "
            f"{recipe.total} steps, noise multiplier {spent['noise_multiplier']:.3g}"
        )
    return lines
