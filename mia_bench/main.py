"""The story of a run: compose -> plan -> build -> predict -> score -> report."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.errors import MiaError
from mia_bench.plain import say
from mia_bench.ranks import global_rank
from mia_bench.secret import refuse_secrets
from mia_bench.store import hash_key, read_json, write_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mia_bench.config import Experiment
    from mia_bench.plan import Plan

Results = list[tuple[str, dict[str, Any], Path]]


def main() -> None:
    """Entry point of `python -m mia_bench`; exit status 1 after an error a person can act on."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import hydra

    from mia_bench.config import conf_dir, register_schema

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

    from mia_bench.config import to_experiment
    from mia_bench.memory import free
    from mia_bench.sweep import SEVERAL_DEVICES, heading
    from mia_bench.table import interval

    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN:
        execute(to_experiment(cfg))
        return
    if cfg.trainer.devices * cfg.trainer.num_nodes > 1:
        raise MiaError(SEVERAL_DEVICES)
    say(f"\n{heading(Path(hydra.sweep.dir), hydra.job.num)}")
    with command_line(list(hydra.overrides.task)):
        try:
            for name, metrics, folder in execute(to_experiment(cfg), alone=False):
                say(f"{name}: AUC {interval(metrics['auroc'])}  {folder}")
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
    from mia_bench.explain import explain

    message = explain(error)
    if message is None or any(word.replace(" ", "") == "debug=true" for word in sys.argv[1:]):
        say("".join(traceback.format_exception(error)), error=True)
    say(f"\nerror: {message or error}", error=True)


def execute(experiment: Experiment, alone: bool = True) -> Results:
    """Run what is not finished, print the table; (attack, metrics, folder) of every cell.

    Not `alone`: as one job of a sweep, which prints plan and table itself.
    """
    from mia_bench import workshop
    from mia_bench.estimate import foresee, lines, outline
    from mia_bench.explain import is_lost_rank
    from mia_bench.failures import failure_of, find, forget, record
    from mia_bench.slots import gpu_slot
    from mia_bench.table import show
    from mia_bench.tracking import mode_of

    mode_of(experiment.options.logger)
    if experiment.options.plan_only:
        for line in outline(experiment):
            say(line)
        return []
    experiment.model.fetch()
    plan = workshop.make_plan(experiment)
    if alone and global_rank() == 0:
        for line in lines(plan):
            say(line)
    cells = [folder.relative_to(plan.outputs).as_posix() for _, folder in plan.table]
    try:
        with gpu_slot(experiment.options.trainer.gpu_slots):
            if alone and global_rank() == 0:
                for line in foresee(plan):
                    say(line)
            plan, results = carry_out(plan)
    except Exception as error:
        # of several ranks, the first to fail knows why; the others only miss it
        if not (is_lost_rank(error) and find(plan.outputs, cells)):
            record(plan.outputs, failure_of(error, cells, sys.argv[1:]))
        raise
    if global_rank() == 0:
        forget(plan.outputs, cells)
        if alone:
            show(results, _title(experiment))
        finish(plan, results, alone)
    return results


def carry_out(plan: Plan) -> tuple[Plan, Results]:
    """Train, ask and score what is not finished; the plan with the steps that training chose."""
    from mia_bench import workshop
    from mia_bench.precheck import fetch

    fetch(plan)
    workshop.train_models(plan)
    plan = plan.settled()
    workshop.answer_questions(plan)
    workshop.score_cells(plan)
    workshop.illustrate(plan)
    workshop.measure_utility(plan)
    return plan, [(name, read_json(f / "metrics.json"), f) for name, f in plan.table]


def finish(plan: Plan, results: Results, alone: bool) -> None:
    """The figure, and the mirror on W&B, which never stops a run."""
    from mia_bench.figures import roc_figure
    from mia_bench.table import judged, utility_line
    from mia_bench.tracking import mirror_plan, mirror_reports

    figure = roc_figure(results, _report_path(plan, "roc", "png"), _title(plan.experiment))
    write_json(_report_path(plan, "controls", "json"), judged(results))
    mirror_plan(plan)
    if alone:
        say(f"figure: {figure}")
        for subject, folder in plan.utility.items():
            say(f"utility of the {subject.kind}: {utility_line(folder)}")
        mirror_reports([plan.target.key], plan.outputs, plan.experiment.options.logger)


def _title(experiment: Experiment) -> str:
    options = experiment.options
    mitigation = "+".join(options.mitigation) or "none"
    model = re.sub(r"^bundled:", "", str(experiment.resolved["model"].get("path", "")))
    return f"{model} on {options.data.name}, mitigation {mitigation}, seed {options.seed}"


def _report_path(plan: Plan, kind: str, suffix: str) -> Path:
    """One figure, and one verdict on the controls, per target and set of cells."""
    key = hash_key([cell.folder.name for cell in plan.cells])
    return plan.folder("reports", plan.target.key, f"{kind}-{key}.{suffix}")
