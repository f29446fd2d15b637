"""`python -m mia_bench.trajectory finetune.save_at=[50,100] [key=value ...]`: attacks over time.

One fine-tune, the attacks at every checkpoint it saved, and what the model is good for there. The
figure marks the step that early stopping would choose on the validation curve that was recorded.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.arguments import command
from mia_bench.errors import MiaError
from mia_bench.mitigations.early_stop import MONITOR, EarlyStop, chosen_step
from mia_bench.plain import say
from mia_bench.store import hash_key, read_json, write_json

FINE = ("finetune.val_every=20", "finetune.val_rows=128")  # not part of any identity


@dataclass(frozen=True)
class Trajectory:
    """What is drawn: all of it is stored beside the figure."""

    title: str
    steps_per_epoch: float
    attacks: Mapping[str, Sequence[dict[str, Any]]]
    """name -> [{"step", "auroc": {value, lo, hi}, "tpr": {value, lo, hi}}]; step 0 is the base."""
    validation: Sequence[dict[str, float]]
    """Rows of train.csv."""
    utility: Sequence[dict[str, Any]]
    """utility.json of the base (step 0) and of every checkpoint."""
    chosen: int | None
    """The step of early stopping; None without held-out rows."""


def main() -> None:
    command(lambda words: say(f"figure: {run(words)}"), __doc__)


def run(overrides: Sequence[str]) -> Path:
    """Attack every saved step (whatever is finished is reused) and draw; the PNG.

    Raises:
        MiaError: nothing but the last step is saved, or what `python -m mia_bench` would refuse.
    """
    from mia_bench.main import execute
    from mia_bench.session import compose
    from mia_bench.workshop import make_plan

    given = [*FINE, "eval.utility=true", *overrides]
    first = compose(*given)
    plan = make_plan(first)
    treatment = plan.target.treatment
    if treatment is None or not treatment.recipe.save_at:
        raise MiaError("a trajectory needs checkpoints: add finetune.save_at=[50,100,200].")
    steps = sorted({*treatment.recipe.save_at, treatment.recipe.total})
    experiments = {step: compose(*given, f"checkpoint={step}") for step in steps}
    found = {step: execute(experiment) for step, experiment in experiments.items()}
    plans = {step: make_plan(experiment) for step, experiment in experiments.items()}
    names = {name for results in found.values() for name, _, _ in results}
    key = hash_key([steps, sorted(names), first.options.eval.seed])
    folder = plan.folder("reports", plan.target.key, f"trajectory-{key}")
    epoch = treatment.situation.members / treatment.recipe.batch_size
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


def draw(trajectory: Trajectory, folder: Path) -> Path:
    """trajectory.png and .svg in `folder`: AUC, TPR, and utility against steps and epochs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, figsize=(7.2, 9.6), sharex=True, layout="constrained")
    _attack_panel(axes[0], trajectory, "auroc", "AUC", 0.5)
    _attack_panel(axes[1], trajectory, "tpr", "TPR at 1 % FPR", 0.01)
    _loss_axis(axes[0].twinx(), trajectory)
    _utility_panel(axes[2], trajectory)
    if trajectory.chosen is not None:
        label = f"early stopping: step {trajectory.chosen}"
        for panel in axes:
            panel.axvline(trajectory.chosen, color="black", linestyle=":", lw=1, label=label)
    for panel in axes:
        panel.legend(fontsize=8, loc="upper left")
    epochs = axes[0].secondary_xaxis(
        "top",
        functions=(
            lambda s: s / trajectory.steps_per_epoch,
            lambda e: e * trajectory.steps_per_epoch,
        ),
    )
    epochs.set_xlabel("epochs")
    axes[2].set_xlabel("optimiser steps")
    figure.suptitle(trajectory.title)
    for ending in ("svg", "png"):
        figure.savefig(folder / f"trajectory.{ending}", dpi=130)
    plt.close(figure)
    return folder / "trajectory.png"


def _attack_panel(axes: Any, trajectory: Trajectory, field: str, label: str, chance: float) -> None:
    """Bands are 95 % intervals, conditional on this target, shadow and calibration."""
    for name, rows in trajectory.attacks.items():
        known = [row for row in rows if row[field]["value"] is not None]
        steps = [row["step"] for row in known]
        line = axes.plot(steps, [r[field]["value"] for r in known], marker="o", ms=3, label=name)
        band = [r for r in known if r[field]["lo"] is not None]
        axes.fill_between(
            [r["step"] for r in band],
            [r[field]["lo"] for r in band],
            [r[field]["hi"] for r in band],
            color=line[0].get_color(),
            alpha=0.15,
            linewidth=0,
        )
    axes.axhline(chance, color="grey", linestyle=":", linewidth=1)
    axes.set_ylabel(label)
    every = [row for rows in trajectory.attacks.values() for row in rows]
    if all(row[field]["value"] is None for row in every):
        axes.text(0.5, 0.5, "too few non-members", transform=axes.transAxes, ha="center")


def _loss_axis(axes: Any, trajectory: Trajectory) -> None:
    for name, style in (("val_member", "--"), (MONITOR, "-.")):
        rows = [row for row in trajectory.validation if name in row]
        axes.plot(
            [row["step"] for row in rows],
            [row[name] for row in rows],
            style,
            color="grey",
            linewidth=1,
            label=f"{name.removeprefix('val_')} loss",
        )
    axes.set_ylabel("denoising loss")
    axes.legend(fontsize=8, loc="lower right")


def _utility_panel(axes: Any, trajectory: Trajectory) -> None:
    rows = [{**row, "step": row["step"] or 0} for row in trajectory.utility]
    steps = [row["step"] for row in rows]
    axes.plot(steps, [r["heldout_loss"] for r in rows], marker="o", ms=3, label="held-out loss")
    axes.plot(
        steps, [r["heldout_loss_null"] for r in rows], marker="o", ms=3, label="without caption"
    )
    axes.set_ylabel("held-out denoising loss")
    other = axes.twinx()
    other.plot(steps, [r["frechet"] for r in rows], "s--", color="tab:red", ms=3, label="Fréchet")
    other.set_ylabel("Fréchet distance (own encoder)")
    other.legend(fontsize=8, loc="upper right")


if __name__ == "__main__":
    main()
