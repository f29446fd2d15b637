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
from mia_bench.mitigations import Treatment, treat
from mia_bench.planning.cells import BEST, EVALUATED, SHADOWED, Cell, Questions, Subject
from mia_bench.planning.experiment import Experiment
from mia_bench.planning.keys import METRICS_VERSION, ensemble_key, model_key, run_key, table_name
from mia_bench.storage.artifacts import MANIFEST, is_complete
from mia_bench.storage.files import read_json
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError, Missing

UTILITY_VERSION = 2  # of the numbers of utility.py
UNKNOWN = "unknown"  # the key of a model whose weights are not here


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
    def base(self) -> Subject:
        model = self.experiment.model
        if self.absent:
            return Subject("base", UNKNOWN, self.folder("targets", UNKNOWN))
        key = hash_key({"base": model.base_hash(), "images": model.encoder_hash()})
        return Subject("base", key, self.folder("targets", key))

    @cached_property
    def target(self) -> Subject:
        if not self.experiment.model.finetune:
            return Subject("target", self.base.key, self.base.folder)
        return self._trained("target", Role.TARGET_MEMBER)

    @cached_property
    def shadow(self) -> Subject | None:
        if self.experiment.options.calibration.kind == "split":
            return None
        return self._trained("shadow", Role.SHADOW_MEMBER)

    @property
    def trained(self) -> list[Subject]:
        return [s for s in (self.target, self.shadow) if s is not None and s.member is not None]

    @cached_property
    def cells(self) -> list[Cell]:
        return [
            cell
            for name, attack in self.experiment.attacks.items()
            for cell in self._cells(name, attack)
        ]

    @cached_property
    def blind(self) -> Path | None:
        """Folder of the blind rows, which depend on the evaluation rows alone."""
        options = self.experiment.options
        if not options.eval.blind_rows:
            return None
        rows = [(sid, self.items[sid].caption) for sid in self.rows(*EVALUATED)]
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
    def grey_box(self) -> list[Cell]:
        """Cells that need no more than a grey box, without those that subtract the base's."""
        cells = [c for c in self.cells if c.base_calibration is None]
        return [c for c in cells if c.attack.access <= Access.GREY_BOX]

    @cached_property
    def grey_box_cells(self) -> list[Cell]:
        """Cells of the ensemble: of the grey box's, one per feature table."""
        tables: dict[Path, Cell] = {}
        for cell in self.grey_box:
            tables.setdefault(cell.evaluation.folder, cell)
        return list(tables.values())

    @cached_property
    def ensemble(self) -> Path | None:
        """Folder of the ensemble's cell, when it is asked for and there is something to combine."""
        cells = self.grey_box_cells
        if not self.experiment.options.eval.ensemble or len(cells) < 2:
            return None
        names, every = ([c.folder.name for c in some] for some in (cells, self.grey_box))
        return cells[0].folder.with_name(f"ensemble-{ensemble_key(names, every)}")

    @cached_property
    def utility(self) -> dict[Subject, Path]:
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
        rows = [(cell.name, cell.folder) for cell in self.cells]
        return rows if self.ensemble is None else [*rows, ("ensemble", self.ensemble)]

    def missing(self) -> dict[tuple[Subject, tuple[str, ...]], list[Questions]]:
        """Questions not answered yet by (model, rows): each entry is one predict pass."""
        passes: dict[tuple[Subject, tuple[str, ...]], dict[Path, Questions]] = {}
        for cell in self.cells:
            for asked in () if cell.ready else cell.questions():
                if not asked.ready:
                    passes.setdefault((asked.subject, asked.sample_id), {})[asked.folder] = asked
        return {where: list(questions.values()) for where, questions in passes.items()}

    def rows(self, *roles: Role) -> tuple[str, ...]:
        """Sample ids with one of `roles`, in sample-id order: members and others interleaved."""
        return tuple(self.split.sample_id[i] for i in self.split.rows(*roles))

    def _trained(self, kind: str, member: Role) -> Subject:
        options = self.experiment.options
        treatment = self._treatment(kind, member)
        recipe = treatment.recipe
        check_checkpoint(options.checkpoint, recipe)
        key = model_key(self.base.key, self.split, member, treatment, options.trainer.precision)
        key = UNKNOWN if self.absent else key
        folder = self.folder("targets", key)
        step: int | str = options.checkpoint or recipe.total
        if treatment.stops and options.checkpoint is None:
            manifest = folder / MANIFEST
            step = read_json(manifest)["chosen_step"] if manifest.is_file() else BEST
        return Subject(kind, key, folder, member, step, treatment)

    def _treatment(self, kind: str, member: Role) -> Treatment:
        experiment, options = self.experiment, self.experiment.options
        unaware = kind == "shadow" and options.calibration.shadow_mitigation == "none"
        return treat(
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
        return replace(self) if BEST in (subject.step for subject in self.trained) else self

    def _questions(self, attack: Attack, subject: Subject, *roles: Role) -> Questions:
        rows = self.rows(*roles)
        asked = [(sid, self.items[sid].caption) for sid in rows]
        name = table_name(attack, asked, self.experiment.options.eval)
        return Questions(
            attack, subject, rows, self.folder("features", subject.key, subject.where, name)
        )

    def _cells(self, name: str, attack: Attack) -> Iterator[Cell]:
        options = self.experiment.options
        evaluation = self._questions(attack, self.target, *EVALUATED)
        known = SHADOWED if self.shadow else EVALUATED
        calibration = self._questions(attack, self.shadow or self.target, *known)
        tuned, based = self.experiment.model.finetune, options.eval.base_rows
        with_base = tuned and (based is None or name in based)
        base = self._questions(attack, self.base, *EVALUATED) if with_base else None
        yield self._cell(name, attack, evaluation, calibration, base, None)
        if options.eval.base_calibrated and tuned and attack.statistics:
            base = base or self._questions(attack, self.base, *EVALUATED)
            base_known = self._questions(attack, self.base, *known)
            yield self._cell(f"{name}-base", attack, evaluation, calibration, base, base_known)

    def _cell(self, name: str, attack: Attack, *asked: Questions | None) -> Cell:
        evaluation, calibration, base, base_calibration = asked
        assert evaluation is not None
        assert calibration is not None
        tables = [
            None if q is None else (q.subject.key, q.subject.step, q.folder.name) for q in asked
        ]
        key = run_key(name, attack, tables, self.experiment.options, self.split.content_hash)
        subject = evaluation.subject
        folder = self.folder("runs", subject.key, subject.where, f"{name}-{key}")
        return Cell(name, attack, evaluation, calibration, base, base_calibration, folder)

    def describe(self) -> str:
        """What would run, for people."""
        lines = []
        for subject in self.trained:
            lines += _describe(subject)
        for (subject, rows), asked in self.missing().items():
            most = sum(questions.evaluations for questions in asked)
            names = ", ".join(q.folder.name.partition("-")[0] for q in asked)
            what = f"{len(rows)} images, {names}; at most {most:,} U-Net evaluations"
            lines.append(f"ask     {subject.kind}: {what}")
        done = sum(cell.ready for cell in self.cells)
        if self.utility:
            done_too = sum(map(is_complete, self.utility.values()))
            lines.append(f"utility {done_too} of {len(self.utility)} done")
        lines.append(f"cells   {done} of {len(self.cells)} done")
        return "\n".join(lines)


def _describe(subject: Subject) -> list[str]:
    treatment = subject.treatment
    assert treatment is not None
    recipe, situation = treatment.recipe, treatment.situation
    atmost = "at most " if treatment.stops else ""
    state = f"{atmost}{recipe.total} steps of {recipe.batch_size} to train"
    if subject.ready:
        state = f"done, attacked at step {subject.step}" if treatment.stops else "done"
    used = f", {'+'.join(treatment.mitigations)}" if treatment.mitigations else ""
    lines = [f"{subject.kind:<7} {subject.key}  {situation.members} members{used}, {state}"]
    if treatment.private is not None:
        spent = treatment.private.spent(situation, recipe.total)
        lines.append(
            f"        epsilon {spent['epsilon']:.3g} at delta {spent['delta']:.3g} for one pair in "
            f"{recipe.total} steps, noise multiplier {spent['noise_multiplier']:.3g}"
        )
    return lines
