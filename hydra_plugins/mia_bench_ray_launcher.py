"""Hydra finds launchers in the `hydra_plugins` namespace only. The work is in mia_bench.sweep.

Hydra imports this file at every start, so nothing heavy is imported at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class RayTaskLauncher(Launcher):
    """One Ray task a job.

    Args:
        ray: `init`, words of `ray.init`, and `remote`, words of `ray.remote`: what a job takes and
            how often one whose worker was lost is started again. Words that are null stay Ray's.
    """

    def __init__(self, ray: DictConfig) -> None:
        self.options = ray
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from mia_bench.utils.errors import MiaError

        if find_spec("ray") is None:
            raise MiaError("Ray is not installed: pip install 'mia_bench[ray]'")
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from mia_bench.sweep.ray_tasks import RayJob, run_all, start_ray

        assert self.hydra_context is not None
        assert self.task_function is not None
        assert self.config is not None
        tasks = [
            RayJob.of(self.hydra_context, self.task_function, self.config, overrides, number)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        start_ray(given(self.options.init))
        return run_all(tasks, given(self.options.remote))


def given(words: DictConfig) -> dict[str, Any]:
    """The words that are not null."""
    values = OmegaConf.to_container(words, resolve=True)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items() if value is not None}
