"""`python -m mia_bench [KEY=VALUE ...]`: train what is missing, extract features, score, compare.

Every KEY=VALUE overrides the configuration in conf/ (`--key value` is the same, `--key` alone is
key=true); what is finished in paths.outputs is reused. Other flags are Hydra's: `-m` makes a sweep
of values separated by commas, `--cfg job` prints the configuration and `--info` where it comes
from, `--shell-completion` sets up completion, and `mia-bench run --help` shows every group.
plan_only=true says what would run and what it costs.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.cli.switches import as_overrides
from mia_bench.config.command_spec import Command
from mia_bench.config.empty_paths import refuse_empty_paths
from mia_bench.config.secrets import refuse_secrets
from mia_bench.execution.run import execute
from mia_bench.execution.single_run import run_or_plan
from mia_bench.storage.command import PROGRAM, current_command, recorded_as
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from omegaconf import DictConfig


COMMAND = Command(
    "run",
    "mia_bench",
    __doc__,
    overrides=True,
    examples=(
        "mia-bench",
        "mia-bench attack=clid model=sd15 data=mscoco trainer=gpu",
        "mia-bench 'attack=[clid,loss,mc]' seed=1",
        "mia-bench -m attack=clid,loss eval.seed=1,2",
        "mia-bench run --help",
    ),
)


def main(words: Sequence[str] | None = None) -> None:
    """A run or a sweep; exit status 1 after an error a person can act on.

    `words` are the command line's unless given; they become `sys.argv`, where Hydra looks for them,
    and Lightning for what it starts further ranks with.
    """
    words = sys.argv[1:] if words is None else words
    try:
        sys.argv = [sys.argv[0], *as_overrides(words)]
    except MiaError as error:
        _report(error)
        sys.exit(1)
    if {"-sc", "--shell-completion"} & set(sys.argv[1:]):
        from mia_bench.cli.completion import prepare

        if prepare(sys.argv[1:]):
            return
    with recorded_as([PROGRAM, *sys.argv[1:]]):
        _run_hydra()


def _run_hydra() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import hydra

    from mia_bench.config.compose import conf_dir, register_schema

    register_schema()
    # Hydra would print its own shortened traceback; ours are messages that say what to do.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        refuse_secrets(sys.argv[1:])
        refuse_empty_paths(sys.argv[1:])
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
        try:
            run_or_plan(to_experiment(cfg))
        except Exception as error:
            # said here: what reaches Hydra is preceded by a line of its own
            _report(error)
            sys.exit(1)
        return
    if cfg.trainer.devices * cfg.trainer.num_nodes > 1:
        raise MiaError(SEVERAL_DEVICES)
    echo(f"\n{heading(Path(hydra.sweep.dir), hydra.job.num)}")
    with recorded_as([PROGRAM, *hydra.overrides.task]):  # its own, not that of the sweep
        try:
            for name, metrics, folder in execute(to_experiment(cfg)).results:
                echo(f"{name}: AUC {interval(metrics['auroc'])}  {folder}")
        except Exception as error:  # recorded where it happened; the sweep's table says so
            _report(error)
    free()  # here, because an error on its way up still holds what failed


def _report(error: Exception) -> None:
    """One message for what a person can act on; a traceback for a bug, or when asked for."""
    from mia_bench.config.error_messages import explain

    message = explain(error)
    if message is None or any(word.replace(" ", "") == "debug=true" for word in current_command()):
        echo("".join(traceback.format_exception(error)), error=True)
    echo(f"\nerror: {message or error}", error=True)
