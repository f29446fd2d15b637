"""A sweep: plan every combination, launch what is not finished, end with a table.

    python -m mia_bench -m attack=clid,pia data=openmoji seed=0,1

Jobs may run in other processes or on other machines (joblib, submitit, ray). What they share is the
outputs folder: the sweep reads from it what became of them.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig, OmegaConf

from mia_bench.config.error_messages import explain
from mia_bench.config.schema import LoggerOptions
from mia_bench.execution.run import failure_of
from mia_bench.planning.experiment import to_experiment
from mia_bench.planning.make_plan import Memo
from mia_bench.planning.specs import BEST_STEP
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete
from mia_bench.storage.failures import forget_failures, record_failure
from mia_bench.storage.files import read_json, write_json
from mia_bench.sweep.composition import Composer
from mia_bench.sweep.plan import Job, effort, label, plan_job, spread, varying
from mia_bench.sweep.table import describe, hint, show
from mia_bench.sweep.throughput import measured
from mia_bench.tracking.mirror import mirror_reports
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo, tracked

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.plugins.launcher import Launcher


SEVERAL_DEVICES = (
    "several devices inside a multirun would start the whole sweep once per device. Run the jobs "
    "one by one without -m, or use one device per job: trainer.devices=1 trainer.num_nodes=1, with "
    "hydra/launcher=joblib and trainer.gpu_slots=N for N GPUs."
)

LINES_OF_REASON = 2  # submitit adds the whole log of the job to them


def sweep(
    config: DictConfig, loader: ConfigLoader, launcher: Launcher, arguments: Sequence[str]
) -> None:
    """Plan, launch and summarise.

    Args:
        config: the composed configuration of the sweep itself, with its `hydra` node.
        arguments: command-line overrides, comma lists not expanded yet.

    Raises:
        MiaError: a combination needs several devices; or, after all have run, some job failed.
    """
    combinations = expand(arguments, loader)
    composer, memo = Composer(config, loader), Memo()
    jobs = [_plan(composer, o, memo) for o in tracked(combinations, "planning", "job")]
    if any(job.devices > 1 for job in jobs):
        raise MiaError(SEVERAL_DEVICES)
    if jobs[0].problem is not None and all(job.problem == jobs[0].problem for job in jobs):
        raise MiaError(jobs[0].problem)
    keys = varying(combinations)
    waiting = [job for job in jobs if not job.finished and job.problem is None]
    parallel = type(launcher).__name__ != "BasicLauncher"
    if parallel:
        waiting = spread(waiting)
    rates = measured(Path(config.paths.outputs))
    echo(describe(jobs, waiting, keys, effort(waiting, rates), parallel))
    if note := hint(combinations):
        echo(note.rstrip("\n"))
    if config.plan_only:
        return
    stopped = _launch(config, launcher, waiting, keys) if waiting else None
    settled = {id(job): _settled(composer, job, memo) for job in jobs}
    jobs, waiting = ([settled[id(job)] for job in some] for some in (jobs, waiting))
    runs = [folder for job in jobs for _, folder in job.runs if is_complete(folder)]
    logger = cast(LoggerOptions, OmegaConf.to_object(config.logger))
    mirror_reports(
        (layout.model_and_step(folder)[0] for folder in runs), Path(config.paths.outputs), logger
    )
    _end(jobs, waiting, keys, stopped)


def expand(arguments: Sequence[str], loader: ConfigLoader) -> list[list[str]]:
    """Every combination, by Hydra's own grammar and in its own order."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    (combinations,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return combinations


def heading(folder: Path, number: int) -> str:
    """'job 2 of 6: attack=pia seed=1', from the plan that the sweep left in its folder."""
    try:
        labels = read_json(folder / layout.PLAN_FILE)["jobs"]
        return f"job {number + 1} of {len(labels)}: {labels[number]}"
    except (MiaError, KeyError, IndexError):  # started by another sweeper
        return f"job {number + 1}"


def _plan(composer: Composer, overrides: list[str], memo: Memo) -> Job:
    """A combination that cannot be run is a failed job; the others go on. A typo ends the sweep."""
    config = composer.config
    cfg = composer.compose(overrides)
    try:
        experiment = to_experiment(cfg)
        if not config.plan_only:
            experiment.model.fetch()
        job = plan_job(experiment, overrides, memo)
    except Exception as error:
        if not config.plan_only:
            record_failure(Path(config.paths.outputs), failure_of(error, (), overrides))
        problem = explain(error) or "".join(traceback.format_exception(error))
        return Job(tuple(overrides), Path(config.paths.outputs), problem=problem)
    forget_failures(Path(config.paths.outputs), (), overrides)
    if job.finished:  # by another command, of which no start removes the record of this job
        forget_failures(job.outputs, job.names)
    return job


def _settled(composer: Composer, job: Job, memo: Memo) -> Job:
    """The job with the folders that it wrote: early stopping chose the step while it ran."""
    if all(folder.parent.name != BEST_STEP for _, folder in job.runs):
        return job
    return _plan(composer, list(job.overrides), memo)


def _launch(
    config: DictConfig, launcher: Launcher, waiting: Sequence[Job], keys: Sequence[str]
) -> Exception | None:
    """Run the jobs; what stopped the launcher itself (a killed worker), if anything did.

    A Slurm job that was cancelled ends submitit's launcher while the other jobs go on: they are
    waited for, so that the table has them.
    """
    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    write_json(folder / layout.PLAN_FILE, {"jobs": [label(job.overrides, keys) for job in waiting]})
    by_slurm = type(launcher).__name__ == "SlurmLauncher"
    if by_slurm:
        from mia_bench.sweep.slurm_queue import wait_for_the_others, watch_queue

        watch_queue()
    try:
        launcher.launch([list(job.overrides) for job in waiting], initial_job_idx=0)
    except Exception as error:
        if by_slurm:
            wait_for_the_others()
        return error
    return None


def _end(
    jobs: Sequence[Job], waiting: Sequence[Job], keys: Sequence[str], stopped: Exception | None
) -> None:
    failed = show(jobs, waiting, keys)
    if stopped is not None:
        reason = " ".join(str(stopped).splitlines()[:LINES_OF_REASON])
        raise MiaError(
            f"the launcher stopped early ({type(stopped).__name__}: {reason}). What is finished "
            "stays; the same command goes on from there."
        ) from stopped
    if failed:
        raise MiaError(
            f"{failed} of {len(jobs)} jobs failed. `mia-bench status` lists why; the "
            "same command runs only what is not finished."
        )
