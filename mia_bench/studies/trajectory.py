"""`python -m mia_bench.trajectory finetune.save_at=[50,100] [key=value ...]`: attacks over time.

One fine-tune, the attacks at every checkpoint it saved, and what the model is good for there. The
figure marks the step that early stopping would choose on the validation curve that was recorded.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mia_bench.mitigations.early_stop import MONITOR, EarlyStop, chosen_step
from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.studies.trajectory_plot import Trajectory, draw
from mia_bench.utils.errors import MiaError

FINE = ("finetune.val_every=20", "finetune.val_rows=128")  # not part of any identity


def run(overrides: Sequence[str]) -> Path:
    """Attack every saved step (whatever is finished is reused) and draw; the PNG.

    Raises:
        MiaError: nothing but the last step is saved, or what `python -m mia_bench` would refuse.
    """
    from mia_bench.execution.run import execute
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    given = [*FINE, "eval.utility=true", *overrides]
    first = compose(*given)
    plan = make_plan(first)
    setup = plan.target.setup
    if setup is None or not setup.recipe.save_at:
        raise MiaError("a trajectory needs checkpoints: add finetune.save_at=[50,100,200].")
    steps = sorted({*setup.recipe.save_at, setup.recipe.total})
    experiments = {step: compose(*given, f"checkpoint={step}") for step in steps}
    found = {step: execute(experiment) for step, experiment in experiments.items()}
    plans = {step: make_plan(experiment) for step, experiment in experiments.items()}
    names = {name for results in found.values() for name, _, _ in results}
    key = hash_key([steps, sorted(names), first.options.eval.seed])
    folder = plan.folder("reports", plan.target.key, f"trajectory-{key}")
    epoch = setup.context.members / setup.recipe.batch_size
    trajectory = Trajectory(
        title=f"{first.options.data.name}, {'+'.join(first.mitigations) or 'no mitigation'}, "
        f"seed {first.options.seed}",
        steps_per_epoch=epoch,
        attacks={name: points(found, name) for name in sorted(names)},
        validation=history(plan.target.folder / "train.csv"),
        utility=[read_json(path / "utility.json") for path in _utilities(plans)],
        chosen=_chosen(history(plan.target.folder / "train.csv")),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "trajectory.json", vars(trajectory))
    return draw(trajectory, folder)


def _utilities(plans: Mapping[int, Any]) -> list[Path]:
    """Folders of the base, then of every checkpoint."""
    last = plans[max(plans)]
    return [last.utility[last.base], *(p.utility[p.target] for p in plans.values())]


def points(
    found: Mapping[int, Sequence[tuple[str, dict[str, Any], Path]]], name: str
) -> list[dict[str, Any]]:
    """One attack's figures by step, from the base's (step 0, where it was asked) on."""
    rows = {
        step: metrics for step, results in found.items() for n, metrics, _ in results if n == name
    }
    base = next(iter(rows.values()))["controls"].get("base")
    start = [] if base is None else [(0, base)]
    return [
        {"step": step, "auroc": m["auroc"], "tpr": m["tpr_at_fpr"]["0.01"]}
        for step, m in [*start, *sorted(rows.items())]
    ]


def history(path: Path) -> list[dict[str, float]]:
    """Rows of train.csv as numbers; none where training ended before it was first validated."""
    if not path.is_file():
        return []
    with path.open(newline="") as handle:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]


def _chosen(rows: Sequence[Mapping[str, float]]) -> int | None:
    if not rows or MONITOR not in rows[0]:
        return None
    rule = EarlyStop()
    steps, losses = [int(r["step"]) for r in rows], [r[MONITOR] for r in rows]
    return chosen_step(steps, losses, rule.patience, rule.min_delta)[0]
