"""Jobs of a sweep as tasks of Ray, on a cluster that runs or on one started on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

# On a busy machine the processes of Ray may need longer than Ray waits for them (30 s, fixed).
STARTS = 4
NOT_STARTED = "timed out during startup"


@dataclass(frozen=True)
class RayJob:
    """A job with all that a process on another machine needs to carry it out."""

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    singletons: dict[Any, Any]

    @staticmethod
    def of(
        hydra_context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
        overrides: Sequence[str],
        number: int,
    ) -> RayJob:
        """The job `number` of the sweep whose composed configuration is `config`."""
        job = hydra_context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(job):
            job.hydra.job.id = job.hydra.job.num = number
        return RayJob(hydra_context, task_function, job, Singleton.get_state())


def start_ray(words: Mapping[str, Any]) -> None:
    """Join a cluster, or start Ray on this machine; that is tried again where it takes too long.

    Args:
        words: keyword arguments of `ray.init`. Without an address, a Ray that `ray start` left
            running on this machine is joined, and none starts a dashboard.

    Raises:
        MiaError: there is no cluster at the address, or Ray did not start.
    """
    import ray

    if ray.is_initialized():
        return
    options = {"include_dashboard": False, **words}
    for number in range(1, STARTS + 1):
        try:
            ray.init(**options)
            return
        except ConnectionError as error:
            raise MiaError(
                f"no Ray at {words.get('address', 'the address of this machine')}: {error}. "
                "`ray start --head` starts one, hydra.launcher.ray.init.address=local one for "
                "this sweep alone."
            ) from error
        except Exception as error:
            if NOT_STARTED not in str(error) or number == STARTS:
                raise MiaError(f"Ray does not start: {error}") from error
            echo(f"note: Ray was too slow to start; attempt {number + 1} of {STARTS}", error=True)
            ray.shutdown()


def run_all(tasks: Sequence[RayJob], words: Mapping[str, Any]) -> list[JobReturn]:
    """Run every task to its end, as many at once as the cluster has room for.

    Args:
        words: keyword arguments of `ray.remote`.

    Raises:
        ray.exceptions.RayError: of the first job that was lost more often than `max_retries`,
            after the others have ended.
    """
    import ray

    remote = ray.remote(**words)(carry_out)
    waiting = [remote.remote(task) for task in tasks]
    returns, lost = [], []
    for reference in waiting:
        try:
            returns.append(ray.get(reference))
        except ray.exceptions.RayError as error:
            lost.append(error)
    if lost:
        raise lost[0]
    return returns


def carry_out(task: RayJob) -> JobReturn:
    """Run the job, in the process of a worker.

    What it failed with is in the outputs folder, and is left out of what goes back: not every
    exception can be sent between processes.
    """
    setup_globals()
    Singleton.set_state(task.singletons)
    HydraConfig.instance().set_config(task.config)
    done = run_job(
        task_function=task.task_function,
        config=task.config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=task.hydra_context,
    )
    return JobReturn(overrides=done.overrides, status=done.status)
