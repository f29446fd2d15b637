"""What a sweep consists of, before anything runs: its jobs, and what they still have to make.

A job is one combination of the swept values. Models and feature tables that several jobs need are
counted once, because the first job makes them and the others find them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.planning.experiment import Experiment
from mia_bench.planning.make_plan import Memo, make_plan
from mia_bench.planning.plan import Plan
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete
from mia_bench.sweep.throughput import Rates
from mia_bench.tracking.mirror import is_mirrored


@dataclass(frozen=True)
class PlannedTraining:
    """A model that is not there yet."""

    folder: Path
    base: str
    batch_size: int
    steps: int

    def seconds(self, rates: Rates) -> float | None:
        return rates.training(self.base, self.batch_size, self.steps)


@dataclass(frozen=True)
class PlannedExtraction:
    """A feature table that is not there yet; `nfe`: U-Net evaluations of an image, at most."""

    folder: Path
    base: str
    attack: str
    rows: int
    nfe: int

    def seconds(self, rates: Rates) -> float | None:
        return rates.extraction(self.base, self.attack, self.rows, self.nfe)


@dataclass(frozen=True)
class Job:
    """One combination of the swept values.

    `runs`: (name, folder) of the rows of its table; `train`, `extract`: what is not there yet;
    `problem`: why it cannot be planned.
    """

    overrides: tuple[str, ...]
    outputs: Path
    runs: tuple[tuple[str, Path], ...] = ()
    train: tuple[PlannedTraining, ...] = ()
    extract: tuple[PlannedExtraction, ...] = ()
    finished: bool = False
    devices: int = 1
    problem: str | None = None

    @property
    def names(self) -> list[str]:
        """Folders of the runs relative to outputs/, by which a failure is recorded."""
        return [folder.relative_to(self.outputs).as_posix() for _, folder in self.runs]


def plan_job(experiment: Experiment, overrides: Sequence[str], memo: Memo) -> Job:
    """Lay out one combination; `memo` keeps what the jobs of a sweep have in common."""
    plan = make_plan(experiment, memo)
    base = plan.base.key
    return Job(
        tuple(overrides),
        plan.outputs,
        tuple(plan.table),
        tuple(
            PlannedTraining(spec.folder, base, recipe.batch_size, recipe.total)
            for spec, recipe in ((s, s.setup.recipe) for s in plan.trained if s.setup)
            if not spec.ready
        ),
        tuple(
            PlannedExtraction(
                spec.folder,
                base,
                layout.split_name(spec.folder.name)[0],
                len(rows),
                spec.attack.nfe[0],
            )
            for (_, rows), features in plan.missing().items()
            for spec in features
        ),
        is_finished(plan),
        experiment.options.trainer.ranks,
        None if plan.absent is None else f"missing: {plan.absent}",
    )


def is_finished(plan: Plan) -> bool:
    """Running it again would write nothing: neither results, nor pictures, nor a W&B mirror."""
    from mia_bench.attacks import ProducesEvidence

    needed = [folder for _, folder in plan.table]
    needed += [
        run.folder / layout.EVIDENCE_FOLDER
        for run in plan.runs
        if isinstance(run.attack, ProducesEvidence)
    ]
    needed += plan.utility.values()
    if not all(is_complete(folder) for folder in needed):
        return False
    if not all(path.is_file() for path in plan.reports):  # a kill may have come before them
        return False
    return plan.experiment.options.logger.wandb == "disabled" or is_mirrored(plan)


@dataclass(frozen=True)
class Effort:
    """What a list of jobs still costs; seconds are None where no rate was measured here."""

    models: int
    steps: int
    nfe: int
    training: float | None
    extraction: float | None

    @property
    def seconds(self) -> float | None:
        if self.training is None or self.extraction is None:
            return None
        return self.training + self.extraction


def effort(jobs: Sequence[Job], rates: Rates) -> Effort:
    """Each model and each table once, whatever number of jobs need it."""
    train = list({t.folder: t for job in jobs for t in job.train}.values())
    extract = list({e.folder: e for job in jobs for e in job.extract}.values())
    return Effort(
        len(train),
        sum(t.steps for t in train),
        sum(e.nfe * e.rows for e in extract),
        _total([t.seconds(rates) for t in train]),
        _total([e.seconds(rates) for e in extract]),
    )


def varying(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Keys that are not the same in all jobs, in the order given."""
    values: dict[str, set[str]] = {}
    for overrides in jobs:
        for key, _, value in (override.partition("=") for override in overrides):
            values.setdefault(key, set()).add(value)
    return [key for key, used in values.items() if len(used) > 1]


def label(overrides: Sequence[str], keys: Sequence[str]) -> str:
    """'attack=pia seed=1': what tells this job from the others."""
    return " ".join(o for o in overrides if o.partition("=")[0] in keys) or "the only job"


def spread(jobs: Sequence[Job]) -> list[Job]:
    """Jobs that train different models first, so that parallel ones do not wait for each other."""
    jobs_with_models: dict[tuple[Path, ...], int] = {}
    round_of_job = []
    for job in jobs:
        models = tuple(sorted(t.folder for t in job.train))
        round_of_job.append(jobs_with_models.get(models, 0) if models else 0)
        jobs_with_models[models] = jobs_with_models.get(models, 0) + 1
    rounds = sorted(zip(round_of_job, jobs, strict=True), key=lambda pair: pair[0])
    return [job for _, job in rounds]


def _total(seconds: Sequence[float | None]) -> float | None:
    measured = [s for s in seconds if s is not None]
    return sum(measured) if len(measured) == len(seconds) else None
