"""A run on its own, as `python -m mia_bench` and `mia_bench.run` make it: with all it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.execution.run import RunOutcome, carry_out, occupied, prepare
from mia_bench.planning.experiment import compose
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mia_bench.planning.experiment import Experiment


def run(*overrides: str) -> dict[str, tuple[dict[str, Any], Path]]:
    """Do what `python -m mia_bench <overrides>` does.

    Returns: (metrics, folder) of every attack by its name; nothing with plan_only=true.
    """
    outcome = run_or_plan(compose(*overrides))
    if outcome is None:
        return {}
    return {name: (metrics, folder) for name, metrics, folder in outcome.results}


def run_or_plan(experiment: Experiment) -> RunOutcome | None:
    """The run, or with plan_only=true what it would consist of and cost, which is printed."""
    from mia_bench.execution.cost_estimate import plan_lines
    from mia_bench.tracking.mirror import mode_of

    if not experiment.options.plan_only:
        return run_single(experiment)
    mode_of(experiment.options.logger)
    _print_on_first_rank(plan_lines(experiment))
    return None


def run_single(experiment: Experiment) -> RunOutcome:
    """Print the plan and its cost, carry it out, print the table. Raises as `execute`."""
    from mia_bench.execution.cost_estimate import estimate_lines
    from mia_bench.planning.describe import describe_plan

    plan = prepare(experiment)
    _print_on_first_rank(describe_plan(plan))
    with occupied(plan):
        _print_on_first_rank(estimate_lines(plan))
        outcome = carry_out(plan)
    if global_rank() == 0:
        print_outcome(outcome)
    return outcome


def print_outcome(outcome: RunOutcome) -> None:
    """The table, and where its figure is; the target's report on W&B is brought up to date."""
    from mia_bench.display.results_table import show, utility_line
    from mia_bench.tracking.mirror import mirror_reports

    plan = outcome.plan
    show(outcome.results, outcome.title)
    echo(f"figure: {outcome.roc_figure}")
    for spec, folder in plan.utility.items():
        echo(f"utility of the {spec.kind}: {utility_line(folder)}")
    mirror_reports([plan.target.key], plan.outputs, plan.experiment.options.logger)


def _print_on_first_rank(lines: Iterable[str]) -> None:
    if global_rank() == 0:
        for line in lines:
            echo(line)
