"""Hydra finds sweepers in the `hydra_plugins` namespace only. The work is in mia_bench.sweep.

Hydra imports this file at every start, so nothing heavy is imported at the top.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PlannedSweeper(Sweeper):
    """The product of the comma lists, as Hydra's own sweeper, but planned before anything runs.

    Finished jobs are not launched, a failed one does not stop the others, a table ends the sweep.

    Args:
        params: comma lists by key, for presets; the command line overrides them.
    """

    def __init__(self, params: dict[str, Any] | None = None) -> None:
        self.params = dict(params or {})
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from mia_bench.sweep.sweeper import sweep

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        given = [f"{key}={value}" for key, value in self.params.items()]
        loader = self.hydra_context.config_loader
        return sweep(self.config, loader, self.launcher, [*given, *arguments])
