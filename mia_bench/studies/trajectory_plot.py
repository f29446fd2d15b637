"""The figures of a trajectory: attacks, loss and utility against training steps, and when each
attack starts to see members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.display.attack_style import matplotlib_style
from mia_bench.display.svg.labels import spread
from mia_bench.mitigations.early_stop import MONITOR
from mia_bench.studies.figures import interval_band, windowless_pyplot


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


LABEL_GAP = 0.045  # between two names at the end of their curves, in AUC
LEGEND_AT = (1.17, 1)  # right of a panel and of its second axis, in its own size


def draw(trajectory: Trajectory, folder: Path) -> Path:
    """trajectory.png and .svg in `folder`: AUC, TPR where there are enough non-members for one,
    losses, and utility against steps and epochs."""
    plt = windowless_pyplot()
    shown = {"auroc": ("AUC", 0.5), "tpr": ("TPR at 1 % FPR", 0.01)}
    shown = {field: about for field, about in shown.items() if _measured(trajectory, field)}
    heights = [*(3 for _ in shown), 2, 2]
    figure, axes = plt.subplots(
        len(heights),
        figsize=(7.2, 1.1 * sum(heights)),
        sharex=True,
        layout="constrained",
        height_ratios=heights,
    )
    for panel, (field, about) in zip(axes, shown.items(), strict=False):
        _attack_panel(panel, trajectory, field, *about)
    _losses(axes[-2], trajectory, 1)
    _utility_panel(axes[-1], trajectory)
    if trajectory.chosen is not None:
        label = f"early stopping: step {trajectory.chosen}"
        for panel in axes:
            panel.axvline(trajectory.chosen, color="black", linestyle=":", lw=1, label=label)
    axes[-2].legend(fontsize=8, loc="upper left", bbox_to_anchor=LEGEND_AT)
    epochs = axes[0].secondary_xaxis(
        "top",
        functions=(
            lambda s: s / trajectory.steps_per_epoch,
            lambda e: e * trajectory.steps_per_epoch,
        ),
    )
    epochs.set_xlabel("epochs")
    axes[-1].set_xlabel("optimiser steps")
    figure.suptitle(trajectory.title)
    return _save(figure, folder / "trajectory.png")


def _measured(trajectory: Trajectory, field: str) -> bool:
    rows = [row for rows in trajectory.attacks.values() for row in rows]
    return field == "auroc" or any(row[field]["value"] is not None for row in rows)


def draw_onsets(trajectory: Trajectory, folder: Path) -> Path:
    """onsets.png and .svg in `folder`: AUC against epochs, beside each curve its attack and the
    epochs from which it sees members; losses below."""
    plt = windowless_pyplot()
    figure, (above, below) = plt.subplots(
        2, figsize=(7.2, 5.4), sharex=True, layout="constrained", height_ratios=(3, 1)
    )
    ends: dict[str, float] = {}
    for name, rows in trajectory.attacks.items():
        if drawn := _curve(above, name, rows, "auroc", trajectory.steps_per_epoch):
            ends[name] = drawn[-1][1]
    above.axhline(0.5, color="grey", linestyle=":", linewidth=1)
    above.set_ylabel("AUC, 95 % intervals")
    per_epoch = trajectory.steps_per_epoch
    labels = {n: _onset_label(n, rows, per_epoch) for n, rows in trajectory.attacks.items()}
    _name_ends(above, ends, labels)
    _losses(below, trajectory, trajectory.steps_per_epoch)
    below.legend(fontsize=8)
    below.set_xlabel("epochs; after each name, those from which its interval lies above 0.5")
    figure.suptitle(trajectory.title, fontsize=10)
    return _save(figure, folder / "onsets.png")


def onset(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The step from which on, whenever it was measured, an attack's interval lies above 0.5."""
    first = None
    for row in rows:
        lower = row["auroc"]["lo"]
        if lower is None or lower <= 0.5:
            first = None
        elif first is None:
            first = int(row["step"])
    return first


def _onset_label(name: str, rows: Sequence[Mapping[str, Any]], steps_per_epoch: float) -> str:
    step = onset(rows)
    return f"{name}, never" if step is None else f"{name}, {step / steps_per_epoch:.0f}"


def _name_ends(axes: Any, ends: Mapping[str, float], labels: Mapping[str, str]) -> None:
    """Labels right of the plot, each near the end of its curve (`ends`) and none over another."""
    low, high = axes.get_ylim()
    for name, height in zip(ends, spread(list(ends.values()), LABEL_GAP), strict=True):
        axes.annotate(
            labels[name],
            (1.01, height),
            xycoords=("axes fraction", "data"),
            color=matplotlib_style(name)["color"],
            fontsize=8,
            va="center",
            annotation_clip=False,
        )
    axes.set_ylim(low, high)


def _save(figure: Any, png: Path) -> Path:
    for path in (png.with_suffix(".svg"), png):
        figure.savefig(path, dpi=130)
    windowless_pyplot().close(figure)
    return png


def _curve(
    axes: Any, name: str, rows: Sequence[Mapping[str, Any]], field: str, steps_per_unit: float
) -> list[tuple[float, float]]:
    """One attack with its band, the 95 % intervals; the points (x, value) that were drawn."""
    defined = [row for row in rows if row[field]["value"] is not None]
    style = matplotlib_style(name)
    points = [(row["step"] / steps_per_unit, row[field]["value"]) for row in defined]
    axes.plot([x for x, _ in points], [y for _, y in points], ms=4, label=name, **style)
    entries = [row[field] for row in defined]
    interval_band(axes, [x for x, _ in points], entries, style["color"])
    return points


def _attack_panel(axes: Any, trajectory: Trajectory, field: str, label: str, chance: float) -> None:
    """Bands are 95 % intervals, conditional on this target, shadow and calibration."""
    ends: dict[str, float] = {}
    for name, rows in trajectory.attacks.items():
        if drawn := _curve(axes, name, rows, field, 1):
            ends[name] = drawn[-1][1]
    axes.axhline(chance, color="grey", linestyle=":", linewidth=1)
    axes.set_ylabel(label)
    _name_ends(axes, ends, {name: name for name in ends})


def _losses(axes: Any, trajectory: Trajectory, steps_per_unit: float) -> None:
    for name, style in (("val_member", "--"), (MONITOR, "-.")):
        rows = [row for row in trajectory.validation if name in row]
        axes.plot(
            [row["step"] / steps_per_unit for row in rows],
            [row[name] for row in rows],
            style,
            color="grey",
            linewidth=1,
            label=f"{name.removeprefix('val_')} loss",
        )
    axes.set_ylabel("denoising loss")


def _utility_panel(axes: Any, trajectory: Trajectory) -> None:
    rows = [{**row, "step": row["step"] or 0} for row in trajectory.utility]
    steps = [row["step"] for row in rows]
    curves = [
        *axes.plot(steps, [r["heldout_loss"] for r in rows], "o-", ms=3, label="held-out loss"),
        *axes.plot(
            steps, [r["heldout_loss_null"] for r in rows], "o-", ms=3, label="without caption"
        ),
    ]
    axes.set_ylabel("held-out denoising loss")
    other = axes.twinx()
    curves += other.plot(
        steps, [r["frechet"] for r in rows], "s--", color="tab:red", ms=3, label="Fréchet, right"
    )
    other.set_ylabel("Fréchet distance")
    other.legend(handles=curves, fontsize=8, loc="upper left", bbox_to_anchor=LEGEND_AT)
