"""`python -m mia_bench.trajectory finetune.save_at=[50,100] [key=value ...]`: attacks over time.

One fine-tune, the attacks at every checkpoint it saved, and what the model is good for there. The
figure marks the step that early stopping would choose on the validation curve that was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.mitigations.early_stop import MONITOR, EarlyStop, chosen_step
from mia_bench.planning.keys import trajectory_key
from mia_bench.storage import layout
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.stored_files import read_history
from mia_bench.studies.trajectory_plot import Trajectory, draw, draw_onsets
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.execution.run import RunOutcome

FINE = ("finetune.val_every=20", "finetune.val_rows=128")  # in no key


def run(overrides: Sequence[str]) -> Path:
    """Attack every saved step (whatever is finished is reused) and draw; the PNG, beside which
    onsets.png says when each attack starts to see.

    Raises:
        MiaError: nothing but the last step is saved, or what `python -m mia_bench` would refuse.
    """
    from mia_bench.execution.single_run import run_single
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    overrides = [*FINE, "eval.utility=true", *overrides]
    experiment = compose(*overrides)
    plan = make_plan(experiment)  # to learn the steps before anything is trained
    setup = plan.target.setup
    if setup is None or not setup.recipe.save_at:
        raise MiaError("a trajectory needs checkpoints: add finetune.save_at=[50,100,200].")
    if not plan.utility:
        raise MiaError(
            "a trajectory shows what the model is good for at each step: leave eval.utility=false "
            "out."
        )
    steps = sorted({*setup.recipe.save_at, setup.recipe.total})
    outcomes = {step: run_single(compose(*overrides, f"checkpoint={step}")) for step in steps}
    names = sorted({name for outcome in outcomes.values() for name in outcome.metrics})
    key = trajectory_key(steps, names, experiment.options.eval.seed)
    folder = plan.folder(layout.REPORTS_FOLDER, plan.target.key, f"trajectory-{key}")
    validation = read_history(plan.target.folder / layout.HISTORY_FILE)
    trajectory = Trajectory(
        title=f"{experiment.options.data.name}, "
        f"{'+'.join(experiment.mitigations) or 'no mitigation'}, seed {experiment.options.seed}",
        steps_per_epoch=setup.context.members / setup.recipe.batch_size,
        attacks={name: points(outcomes, name) for name in names},
        validation=validation,
        utility=[read_json(path / layout.UTILITY_FILE) for path in _utility_folders(outcomes)],
        chosen=_chosen(validation),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "trajectory.json", vars(trajectory))
    draw_onsets(trajectory, folder)
    return draw(trajectory, folder)


def _utility_folders(outcomes: Mapping[int, RunOutcome]) -> list[Path]:
    """Of the base, then of every checkpoint."""
    plans = [outcome.plan for outcome in outcomes.values()]
    return [plans[-1].utility[plans[-1].base], *(plan.utility[plan.target] for plan in plans)]


def points(outcomes: Mapping[int, RunOutcome], name: str) -> list[dict[str, Any]]:
    """One attack's metrics by step, from the base's on (step 0) where it was a control."""
    by_step = {s: o.metrics[name] for s, o in sorted(outcomes.items()) if name in o.metrics}
    base = next(iter(by_step.values()))["controls"].get("base")
    rows = list(by_step.items()) if base is None else [(0, base), *by_step.items()]
    return [
        {"step": step, "auroc": metrics["auroc"], "tpr": metrics["tpr_at_fpr"]["0.01"]}
        for step, metrics in rows
    ]


def _chosen(rows: Sequence[Mapping[str, float]]) -> int | None:
    if not rows or MONITOR not in rows[0]:
        return None
    rule = EarlyStop()
    steps, losses = [int(r["step"]) for r in rows], [r[MONITOR] for r in rows]
    return chosen_step(steps, losses, rule.patience, rule.min_delta)[0]
