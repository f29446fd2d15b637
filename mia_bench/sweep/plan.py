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
        return rates.asking(self.base, self.attack, self.rows, self.nfe)


@dataclass(frozen=True)
class Job:
    """One combination: `cells` are (name, folder); `problem`: why it cannot even be planned."""

    overrides: tuple[str, ...]
    outputs: Path
    runs: tuple[tuple[str, Path], ...] = ()
    train: tuple[PlannedTraining, ...] = ()
    ask: tuple[PlannedExtraction, ...] = ()
    finished: bool = False
    devices: int = 1
    problem: str | None = None

    @property
    def names(self) -> list[str]:
        """Folders of the cells relative to outputs/, the key of a recorded failure."""
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
                q.folder, base, q.folder.name.rpartition("-")[0], len(rows), q.attack.nfe[0]
            )
            for (_, rows), asked in plan.missing().items()
            for q in asked
        ),
        is_finished(plan),
        experiment.options.trainer.ranks,
        None if plan.absent is None else f"missing: {plan.absent}",
    )


def is_finished(plan: Plan) -> bool:
    """Running it again would write nothing: neither results, nor pictures, nor a W&B mirror."""
    from mia_bench.attacks import ProducesEvidence

    needed = [folder for _, folder in plan.table]
    needed += [c.folder / "evidence" for c in plan.runs if isinstance(c.attack, ProducesEvidence)]
    needed += plan.utility.values()
    if not all(is_complete(folder) for folder in needed):
        return False
    return plan.experiment.options.logger.wandb == "disabled" or is_mirrored(plan)


@dataclass(frozen=True)
class Effort:
    """What a list of jobs still costs; seconds are None where no rate was measured here."""

    models: int
    steps: int
    nfe: int
    training: float | None
    asking: float | None

    @property
    def seconds(self) -> float | None:
        known = self.training is not None and self.asking is not None
        return (self.training or 0.0) + (self.asking or 0.0) if known else None


def effort(jobs: Sequence[Job], rates: Rates) -> Effort:
    """Each model and each table once, whatever number of jobs need it."""
    train = list({t.folder: t for job in jobs for t in job.train}.values())
    ask = list({a.folder: a for job in jobs for a in job.ask}.values())
    return Effort(
        len(train),
        sum(t.steps for t in train),
        sum(a.nfe * a.rows for a in ask),
        _total([t.seconds(rates) for t in train]),
        _total([a.seconds(rates) for a in ask]),
    )


def varying(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Keys that are not the same in all jobs, in the order given."""
    values: dict[str, set[str]] = {}
    for overrides in jobs:
        for key, _, value in (override.partition("=") for override in overrides):
            values.setdefault(key, set()).add(value)
    return [key for key, seen in values.items() if len(seen) > 1]


def label(overrides: Sequence[str], keys: Sequence[str]) -> str:
    """'attack=pia seed=1': what tells this job from the others."""
    return " ".join(o for o in overrides if o.partition("=")[0] in keys) or "the only job"


def spread(jobs: Sequence[Job]) -> list[Job]:
    """Jobs that train different models first, so that parallel ones do not wait for each other."""
    seen: dict[tuple[Path, ...], int] = {}
    turn = []
    for job in jobs:
        models = tuple(sorted(t.folder for t in job.train))
        turn.append(seen.get(models, 0) if models else 0)
        seen[models] = seen.get(models, 0) + 1
    return [job for _, job in sorted(zip(turn, jobs, strict=True), key=lambda pair: pair[0])]


def _total(seconds: Sequence[float | None]) -> float | None:
    known = [s for s in seconds if s is not None]
    return sum(known) if len(known) == len(seconds) else None
