"""The figure of a trajectory: attacks, loss and utility against training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.display.attack_style import matplotlib_style
from mia_bench.mitigations.early_stop import MONITOR


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
        defined = [row for row in rows if row[field]["value"] is not None]
        steps = [row["step"] for row in defined]
        style = matplotlib_style(name)
        values = [r[field]["value"] for r in defined]
        axes.plot(steps, values, ms=4, label=name, **style)
        if defined:
            at = steps[-1], values[-1]
            axes.annotate(f" {name}", at, color=style["color"], fontsize=8, va="center")
        band = [r for r in defined if r[field]["lo"] is not None]
        axes.fill_between(
            [r["step"] for r in band],
            [r[field]["lo"] for r in band],
            [r[field]["hi"] for r in band],
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )
    axes.axhline(chance, color="grey", linestyle=":", linewidth=1)
    axes.set_ylabel(label)
    all_rows = [row for rows in trajectory.attacks.values() for row in rows]
    if all(row[field]["value"] is None for row in all_rows):
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
