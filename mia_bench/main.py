"""The story of a run: compose -> plan -> build -> predict -> score -> report."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.errors import MiaError
from mia_bench.store import global_rank, hash_key, read_json, write_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mia_bench.config import Experiment
    from mia_bench.plan import Plan


def main() -> None:
    """Entry point of `python -m mia_bench`; exit status 1 after an error a person can act on."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import hydra

    from mia_bench.config import conf_dir, register_schema

    register_schema()
    # Hydra would print its own shortened traceback; ours are messages that say what to do.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    failed: list[str] = []
    job = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")
    try:
        job(lambda cfg: _say_failure(partial(run, cfg), failed))()
    except Exception as error:
        _report(error, failed)
    if failed:
        sys.exit(1)


def _say_failure(work: Callable[[], None], failed: list[str]) -> None:
    """A cell that fails is reported; the others of a multirun go on."""
    try:
        work()
    except Exception as error:
        _report(error, failed)


def _report(error: Exception, failed: list[str]) -> None:
    from mia_bench.explain import explain

    message = explain(error)
    if message is None or any(word.replace(" ", "") == "debug=true" for word in sys.argv[1:]):
        raise error
    failed.append(message)
    print(f"\nerror: {message}", file=sys.stderr)


def run(cfg: DictConfig) -> None:
    """One Hydra job."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from mia_bench.config import to_experiment

    processes = cfg.trainer.devices * cfg.trainer.num_nodes
    if HydraConfig.get().mode is RunMode.MULTIRUN and processes > 1:
        raise MiaError(
            "several devices inside a multirun would start the whole sweep once per device. Run "
            "the cells one by one without -m, or use one device per job: trainer.devices=1."
        )
    execute(to_experiment(cfg))


def execute(experiment: Experiment) -> list[tuple[str, dict[str, Any], Path]]:
    """Run what is not finished, print the table; (attack, metrics, folder) of every cell."""
    from mia_bench import workshop
    from mia_bench.figures import roc_figure
    from mia_bench.precheck import fetch
    from mia_bench.table import judged, show
    from mia_bench.tracking import mirror, mode_of

    mode_of(experiment.options.logger)
    plan = workshop.make_plan(experiment)
    if global_rank() == 0:
        print(f"{plan.split.summary()}\n{plan.describe()}", flush=True)
    if experiment.options.plan_only:
        return []
    fetch(plan)
    workshop.train_models(plan)
    workshop.answer_questions(plan)
    workshop.score_cells(plan)
    workshop.illustrate(plan)
    results = [(c.name, read_json(c.folder / "metrics.json"), c.folder) for c in plan.cells]
    if plan.ensemble is not None:
        results.append(("ensemble", read_json(plan.ensemble / "metrics.json"), plan.ensemble))
    if global_rank() == 0:
        title = _title(experiment)
        show(results, title)
        print(f"figure: {roc_figure(results, _report_path(plan, 'roc', 'png'), title)}")
        write_json(_report_path(plan, "controls", "json"), judged(results))
        for _, metrics, folder in results:
            mirror(folder, metrics, experiment.resolved, experiment.options.logger, plan.outputs)
    return results


def _title(experiment: Experiment) -> str:
    options = experiment.options
    mitigation = "+".join(options.mitigation) or "none"
    model = re.sub(r"^bundled:", "", str(experiment.resolved["model"].get("path", "")))
    return f"{model} on {options.data.name}, mitigation {mitigation}, seed {options.seed}"


def _report_path(plan: Plan, kind: str, suffix: str) -> Path:
    """One figure, and one verdict on the controls, per target and set of cells."""
    key = hash_key([cell.folder.name for cell in plan.cells])
    return plan.folder("reports", plan.target.key, f"{kind}-{key}.{suffix}")
