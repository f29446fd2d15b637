"""The story of a run: compose -> plan -> build -> predict -> score -> report."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.planning.experiment import compose
from mia_bench.storage.command import current_command
from mia_bench.storage.failures import MAX_TRACEBACK_LINES, Failure
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.storage.provenance import machine
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.terminal import echo
from mia_bench.utils.text import sanitise_lines

if TYPE_CHECKING:
    from mia_bench.planning.experiment import Experiment
    from mia_bench.planning.plan import Plan


Results = list[tuple[str, dict[str, Any], Path]]


def execute(experiment: Experiment, alone: bool = True) -> Results:
    """Run what is not finished, print the table; (attack, metrics, folder) of every cell.

    Not `alone`: as one job of a sweep, which prints plan and table itself.
    """
    from mia_bench.config.error_messages import is_lost_rank
    from mia_bench.display.results_table import show
    from mia_bench.execution.cost_estimate import estimate_lines, plan_lines
    from mia_bench.execution.gpu_slots import gpu_slot
    from mia_bench.planning import make_plan
    from mia_bench.planning.describe import describe_plan
    from mia_bench.storage.failures import find_failures, forget_failures, record_failure
    from mia_bench.tracking.mirror import mode_of

    mode_of(experiment.options.logger)
    if experiment.options.plan_only:
        for line in plan_lines(experiment):
            echo(line)
        return []
    experiment.model.fetch()
    plan = make_plan.make_plan(experiment)
    if alone and global_rank() == 0:
        for line in describe_plan(plan):
            echo(line)
    runs = [folder.relative_to(plan.outputs).as_posix() for _, folder in plan.table]
    try:
        with gpu_slot(experiment.options.trainer.gpu_slots):
            if alone and global_rank() == 0:
                for line in estimate_lines(plan):
                    echo(line)
            plan, results = carry_out(plan)
    except Exception as error:
        # of several ranks, the first to fail knows why; the others only miss it
        if not (is_lost_rank(error) and find_failures(plan.outputs, runs)):
            record_failure(plan.outputs, failure_of(error, runs, current_command()[1:]))
        raise
    if global_rank() == 0:
        forget_failures(plan.outputs, runs)
        if alone:
            show(results, _title(experiment))
        finish(plan, results, alone)
    return results


def carry_out(plan: Plan) -> tuple[Plan, Results]:
    """Train, ask and score what is not finished; the plan with the steps that training chose."""
    from mia_bench.execution import stages
    from mia_bench.planning.preflight import fetch

    fetch(plan)
    stages.train_models(plan)
    plan = plan.settled()
    stages.extract_features(plan)
    stages.score_runs(plan)
    stages.illustrate(plan)
    stages.measure_utility(plan)
    return plan, [(name, read_json(f / "metrics.json"), f) for name, f in plan.table]


def finish(plan: Plan, results: Results, alone: bool) -> None:
    """The figure, and the mirror on W&B, which never stops a run."""
    from mia_bench.display.results_table import utility_line
    from mia_bench.display.roc_plot import roc_figure
    from mia_bench.evaluation.run_controls import judge_controls
    from mia_bench.tracking.mirror import mirror_plan, mirror_reports

    figure = roc_figure(results, _report_path(plan, "roc", "png"), _title(plan.experiment))
    verdict = judge_controls((name, metrics) for name, metrics, _ in results)
    write_json(_report_path(plan, "controls", "json"), verdict.to_json())
    mirror_plan(plan)
    if alone:
        echo(f"figure: {figure}")
        for spec, folder in plan.utility.items():
            echo(f"utility of the {spec.kind}: {utility_line(folder)}")
        mirror_reports([plan.target.key], plan.outputs, plan.experiment.options.logger)


def _title(experiment: Experiment) -> str:
    options = experiment.options
    mitigation = "+".join(options.mitigation) or "none"
    model = re.sub(r"^bundled:", "", str(experiment.resolved["model"].get("path", "")))
    return f"{model} on {options.data.name}, mitigation {mitigation}, seed {options.seed}"


def _report_path(plan: Plan, kind: str, suffix: str) -> Path:
    """One figure, and one verdict on the controls, per target and set of cells."""
    key = hash_key([run.folder.name for run in plan.runs])
    return plan.folder("reports", plan.target.key, f"{kind}-{key}.{suffix}")


def failure_of(error: BaseException, runs: Sequence[str], overrides: Sequence[str]) -> Failure:
    from mia_bench.config.error_messages import explain

    return Failure(
        explain(error) or sanitise_lines(f"{type(error).__name__}: {error}"),
        sanitise_lines("".join(traceback.format_exception(error)), MAX_TRACEBACK_LINES),
        tuple(runs),
        tuple(overrides),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        machine(),
    )


def run(*overrides: str) -> dict[str, tuple[dict[str, Any], Path]]:
    """Do what `python -m mia_bench <overrides>` does; metrics and folder of every cell by name."""

    results = execute(compose(*overrides))
    return {name: (metrics, folder) for name, metrics, folder in results}
