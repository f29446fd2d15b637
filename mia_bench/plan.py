"""What a run consists of, before anything runs: models, feature tables, cells, and their places.

A key is a hash of everything that decides an artefact and of nothing else: devices, chunk sizes,
paths and loggers stay out. Whatever exists under its key is reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mia_bench.attacks import Access, Attack, Doubted, query_fields, score_fields
from mia_bench.config import Experiment, Root
from mia_bench.data.membership import Role, Split
from mia_bench.data.source import Item
from mia_bench.ensemble import Ensemble
from mia_bench.errors import MiaError, Missing
from mia_bench.mitigations import Treatment, treat
from mia_bench.recipe import check_checkpoint
from mia_bench.store import MANIFEST, hash_key, is_complete, read_json

METRICS_VERSION = 2
UTILITY_VERSION = 1  # of the numbers of utility.py
UNKNOWN = "unknown"  # the key of a model whose weights are not here
BEST = "best"
EVALUATED = (Role.TARGET_MEMBER, Role.TARGET_NONMEMBER)
SHADOWED = (Role.SHADOW_MEMBER, Role.SHADOW_NONMEMBER)


@dataclass(frozen=True)
class Subject:
    """A model that is asked: the base itself, or the base fine-tuned on one role."""

    kind: str  # "base", "target" or "shadow"
    key: str
    folder: Path
    member: Role | None = None
    step: int | str | None = None
    """The step that is attacked; BEST until validation has chosen it."""
    treatment: Treatment | None = field(default=None, compare=False, repr=False)

    @property
    def weights(self) -> Path | None:
        """The U-Net's folder; None means the base's own."""
        return None if self.step is None else self.folder / "steps" / str(self.step)

    @property
    def where(self) -> str:
        """The folder of the step under a model's key."""
        return "base" if self.step is None else str(self.step)

    @property
    def ready(self) -> bool:
        return self.member is None or is_complete(self.folder)


@dataclass(frozen=True)
class Questions:
    """One feature table: an attack's queries about some rows of one model."""

    attack: Attack = field(compare=False)
    subject: Subject
    sample_id: tuple[str, ...] = field(repr=False)
    folder: Path

    @property
    def ready(self) -> bool:
        return is_complete(self.folder)


@dataclass(frozen=True)
class Cell:
    """One row of the table: an attack on the target, its calibration, and its base control."""

    name: str
    attack: Attack
    evaluation: Questions
    calibration: Questions
    base: Questions | None
    base_calibration: Questions | None
    """Where given, base features are subtracted before anything is fitted."""
    folder: Path

    @property
    def ready(self) -> bool:
        return is_complete(self.folder)

    def questions(self) -> Iterator[Questions]:
        every = (self.evaluation, self.calibration, self.base, self.base_calibration)
        return (questions for questions in every if questions is not None)


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
        identity = [Ensemble.version, *(cell.folder.name for cell in cells)]
        return cells[0].folder.with_name(f"ensemble-{hash_key(identity)}")

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
        kind = type(attack)
        key = hash_key(
            {
                "attack": f"{kind.__module__}.{kind.__qualname__}",
                "version": attack.version,
                "fields": query_fields(attack),
                "rows": [(sid, self.items[sid].caption) for sid in rows],
                "seed": self.experiment.options.eval.seed,
                "dtype": self.experiment.options.eval.dtype or "float32",
            }
        )
        name = f"{kind.__module__.rpartition('.')[2]}-{key}"
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
            most = sum(q.attack.nfe[0] for q in asked) * len(rows)
            names = ", ".join(q.folder.name.partition("-")[0] for q in asked)
            what = f"{len(rows)} images, {names}; at most {most:,} U-Net evaluations"
            lines.append(f"ask     {subject.kind}: {what}")
        done = sum(cell.ready for cell in self.cells)
        if self.utility:
            done_too = sum(map(is_complete, self.utility.values()))
            lines.append(f"utility {done_too} of {len(self.utility)} done")
        lines.append(f"cells   {done} of {len(self.cells)} done")
        return "\n".join(lines)


def model_key(base: str, split: Split, member: Role, treatment: Treatment, precision: str) -> str:
    """What a fine-tuned model is: the base of the key `base`, trained on the rows of `member`."""
    return hash_key(
        {
            "base": base,
            "split": split.content_hash,
            "data": split.source,
            "role": member,
            "recipe": treatment.recipe.identity(),
            "mitigation": treatment.identity(),
            "precision": precision,
        }
    )


def run_key(
    name: str,
    attack: Attack,
    tables: Sequence[tuple[str, int | str | None, str] | None],
    options: Root,
    split: str,
    metrics: int = METRICS_VERSION,
) -> str:
    """What a cell is, from its feature tables as (model key, step, name of the folder): of the
    evaluation and calibration rows, and on the base. `split` is its content hash."""
    identity: dict[str, Any] = {
        "name": name,
        "metrics": metrics,
        "features": [table and list(table) for table in tables],
        "score": score_fields(attack),
        "calibration": options.calibration.identity(),
        "evaluation": [options.eval.seed, options.eval.resamples],
        "blind": options.eval.blind_rows,
        "split": split,
    }
    if options.eval.blind_rows and options.eval.blind_encoder is not None:
        identity["blind_encoder"] = options.eval.blind_encoder
    if isinstance(attack, Doubted) and attack.plain() is not None:
        identity["doubt"] = 1
    return hash_key(identity)


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
