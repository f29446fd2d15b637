"""A run from its plan to its reports: train, extract, score, illustrate, measure, compare.

`execute` prints nothing but progress: what a person reads is printed by its callers, single_run.py
for a run on its own and cli/run.py for a job of a sweep.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.storage import layout
from mia_bench.storage.command import current_command
from mia_bench.storage.failures import MAX_TRACEBACK_LINES, Failure
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.provenance import machine
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import model_name, sanitise_lines

if TYPE_CHECKING:
    from mia_bench.planning.experiment import Experiment
    from mia_bench.planning.plan import Plan


@dataclass(frozen=True)
class RunOutcome:
    """What a run leaves: its plan, with the steps that training chose, and a row per attack.

    `results`: (name, metrics, folder) in the order of the table.
    """

    plan: Plan
    results: list[tuple[str, dict[str, Any], Path]]

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        return {name: metrics for name, metrics, _ in self.results}

    @property
    def folders(self) -> dict[str, Path]:
        return {name: folder for name, _, folder in self.results}

    @property
    def roc_figure(self) -> Path:
        return self.plan.reports[0]

    @property
    def title(self) -> str:
        """'tiny on openmoji, mitigation none, seed 0'."""
        experiment = self.plan.experiment
        options = experiment.options
        mitigation = "+".join(options.mitigation) or "none"
        model = model_name(experiment.resolved["model"])
        return f"{model} on {options.data.name}, mitigation {mitigation}, seed {options.seed}"


def execute(experiment: Experiment) -> RunOutcome:
    """Make what is not finished; what is finished is read.

    Raises:
        MiaError: plan_only=true, or whatever stops the run, which is recorded under failures/.
    """
    plan = prepare(experiment)
    with occupied(plan):
        return carry_out(plan)


def prepare(experiment: Experiment) -> Plan:
    """The plan of a run, with its weights fetched. Raises MiaError for plan_only=true."""
    from mia_bench.planning.make_plan import make_plan
    from mia_bench.tracking.mirror import mode_of

    if experiment.options.plan_only:
        raise MiaError("plan_only=true makes no run, and here one is needed: leave it out.")
    mode_of(experiment.options.logger)  # a wrong mode is an error before any work is done
    experiment.model.fetch()
    return make_plan(experiment)


@contextmanager
def occupied(plan: Plan) -> Iterator[None]:
    """Hold a GPU slot while the plan is carried out, and keep its record of failure up to date."""
    from mia_bench.config.error_messages import is_lost_rank
    from mia_bench.execution.gpu_slots import gpu_slot
    from mia_bench.storage.failures import find_failures, record_failure

    try:
        with gpu_slot(plan.experiment.options.trainer.gpu_slots):
            yield
    except Exception as error:
        runs = _names_of_the_next_start(plan)
        # of several ranks, the first to fail knows why; the others only notice that it is gone
        if not (is_lost_rank(error) and find_failures(plan.outputs, runs)):
            record_failure(plan.outputs, failure_of(error, runs, current_command()[1:]))
            _forget_others(plan, runs)
        raise
    if global_rank() == 0:
        _forget_others(plan)


def _forget_others(plan: Plan, kept: Sequence[str] = ()) -> None:
    """Remove the records of this command's starts, but for that of the runs `kept`: the runs had
    other names before training chose a step, and this start may have found some chosen."""
    from mia_bench.storage.failures import any_failures, forget_failures

    if not any_failures(plan.outputs):  # names of runs take the captions of all their rows
        return
    starts = (_names(plan), _names_of_the_next_start(plan), *map(_names, plan.begun()))
    for runs in starts:
        if runs != kept:
            forget_failures(plan.outputs, runs)


def _names(plan: Plan) -> list[str]:
    """Folders of the runs relative to outputs/, by which a failure is recorded."""
    return [folder.relative_to(plan.outputs).as_posix() for _, folder in plan.table]


def _names_of_the_next_start(plan: Plan) -> list[str]:
    """The names that the same command will have for its runs: training that has ended meanwhile
    has chosen the step that is attacked."""
    try:
        return _names(plan.settled())
    except MiaError:  # a manifest that cannot be read is the next start's error
        return _names(plan)


def carry_out(plan: Plan) -> RunOutcome:
    """Every stage in turn, then the figure, the verdict on the controls, and the mirror on W&B."""
    from mia_bench.execution import extras, stages
    from mia_bench.execution.own_outputs import generate_own_outputs
    from mia_bench.planning.preflight import fetch

    fetch(plan)
    stages.train_models(plan)
    plan = plan.settled()
    generate_own_outputs(plan)
    stages.extract_features(plan)
    stages.score_runs(plan)
    extras.illustrate(plan)
    extras.measure_utility(plan)
    results = [(name, read_json(f / layout.METRICS_FILE), f) for name, f in plan.table]
    outcome = RunOutcome(plan, results)
    if global_rank() == 0:
        write_reports(outcome)
    return outcome


def write_reports(outcome: RunOutcome) -> None:
    """What is about all attacks of the run together; W&B never stops a run."""
    from mia_bench.display.roc_plot import roc_figure
    from mia_bench.evaluation.run_controls import judge_controls
    from mia_bench.tracking.mirror import mirror_plan

    plan = outcome.plan
    figure, controls = plan.reports
    roc_figure(outcome.results, figure, outcome.title)
    verdict = judge_controls((name, metrics) for name, metrics, _ in outcome.results)
    write_json(controls, verdict.to_json())
    mirror_plan(plan)


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
