"""`python -m mia_bench [overrides]`: Hydra's entry, a single run or one job of a sweep."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.config.secrets import refuse_secrets
from mia_bench.execution.run import execute
from mia_bench.execution.single_run import run_or_plan
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of `python -m mia_bench`; exit status 1 after an error a person can act on."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import hydra

    from mia_bench.config.compose import conf_dir, register_schema

    register_schema()
    # Hydra would print its own shortened traceback; ours are messages that say what to do.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        refuse_secrets(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
    except Exception as error:
        _report(error)
        sys.exit(1)


def job(cfg: DictConfig) -> None:
    """One Hydra job. In a sweep a failure is recorded and the other jobs go on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from mia_bench.display.console import interval
    from mia_bench.planning.experiment import to_experiment
    from mia_bench.sweep.sweeper import SEVERAL_DEVICES, heading
    from mia_bench.utils.memory import free

    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN:
        run_or_plan(to_experiment(cfg))
        return
    if cfg.trainer.devices * cfg.trainer.num_nodes > 1:
        raise MiaError(SEVERAL_DEVICES)
    echo(f"\n{heading(Path(hydra.sweep.dir), hydra.job.num)}")
    with command_line(list(hydra.overrides.task)):
        try:
            for name, metrics, folder in execute(to_experiment(cfg)).results:
                echo(f"{name}: AUC {interval(metrics['auroc'])}  {folder}")
        except Exception as error:  # recorded where it happened; the sweep's table says so
            _report(error)
    free()  # here, because an error on its way up still holds what failed


@contextmanager
def command_line(overrides: list[str]) -> Iterator[None]:
    """While a job of a sweep runs, its own command is what manifests record."""
    before = sys.argv
    sys.argv = ["mia_bench", *overrides]
    try:
        yield
    finally:
        sys.argv = before


def _report(error: Exception) -> None:
    """One message for what a person can act on; a traceback for a bug, or when asked for."""
    from mia_bench.config.error_messages import explain

    message = explain(error)
    if message is None or any(word.replace(" ", "") == "debug=true" for word in sys.argv[1:]):
        echo("".join(traceback.format_exception(error)), error=True)
    echo(f"\nerror: {message or error}", error=True)
