"""The figure of the mitigation study: one panel an attack, privacy against utility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mia_bench.studies.figures import windowless_pyplot
from mia_bench.studies.mitigation_outcome import Outcome

COLUMNS = 3
PANEL_INCHES = (4.8, 3.6)
NAME_POINTS = 7  # height of a name's letters
NAME_SHARE = 0.042  # of a panel's height between the middles of two names
NAMES_FROM = 0.74  # of a panel's width; what is right of it is theirs

Point = tuple[float, float]
"""(held-out loss, AUC)"""


def draw(study: Mapping[str, Mapping[int, Outcome]], attacks: Sequence[str], folder: Path) -> Path:
    """mitigations.png and .svg in `folder`: AUC against held-out loss, means over seeds.

    A dot is a mitigation against an attacker who knows it, with a line from its least to its
    largest AUC over seeds; a ring, where it differs, against one who does not. The stairs join the
    mitigations that no other beats in both. Lower and further left is better. Names stand in a
    column at the right, each with a line to its dot.
    """
    plt = windowless_pyplot()
    drawn = [a for a in attacks if any(a in o.auroc for r in study.values() for o in r.values())]
    rows = -(-len(drawn) // COLUMNS)
    columns = min(COLUMNS, max(1, len(drawn)))
    size = PANEL_INCHES[0] * columns, PANEL_INCHES[1] * max(1, rows)
    figure, axes = plt.subplots(
        max(1, rows), columns, figsize=size, sharex=True, squeeze=False, layout="constrained"
    )
    palette = [*plt.get_cmap("tab10").colors, *plt.get_cmap("Dark2").colors] * 3
    colours = dict(zip(study, palette, strict=False))
    bases = [o.base["heldout_loss"] for o in next(iter(study.values())).values()]
    placed = {}
    for panel, attack in zip(axes.flat, drawn, strict=False):
        placed[panel] = _panel(panel, study, attack, colours)
        panel.axvline(float(np.mean(bases)), color="grey", linestyle="--", linewidth=1)
        panel.axhline(0.5, color="grey", linestyle=":", linewidth=1)
        panel.set_title(attack, fontsize=10)
    _make_room(axes[0, 0])  # of every panel: they share the axis of losses
    for panel, points in placed.items():
        _name(panel, points, colours)
    for panel in list(axes.flat)[len(drawn) :]:
        panel.set_visible(False)
    figure.supxlabel("held-out denoising loss (left is better; dashed: the base)", fontsize=9)
    figure.supylabel("AUC of the attack (lower is better)", fontsize=9)
    for ending in ("svg", "png"):
        figure.savefig(folder / f"mitigations.{ending}", dpi=130)
    plt.close(figure)
    return folder / "mitigations.png"


def _panel(
    panel: Any, study: Mapping[str, Mapping[int, Outcome]], attack: str, colours: Mapping[str, Any]
) -> dict[str, Point]:
    """Draw what one attack finds under each mitigation; where the dots are."""
    points: dict[str, Point] = {}
    for name, rows in study.items():
        outcomes = [o for o in rows.values() if attack in o.auroc]
        values = [v for o in outcomes if (v := o.auroc[attack]["value"]) is not None]
        if not values:
            continue
        loss = float(np.mean([o.utility["heldout_loss"] for o in outcomes]))
        points[name] = loss, float(np.mean(values))
        panel.plot([loss, loss], [min(values), max(values)], color=colours[name], linewidth=1)
        panel.plot(*points[name], "o", color=colours[name], markersize=5)
        unaware = [
            v for o in outcomes if (v := o.ignorant.get(attack, {}).get("value")) is not None
        ]
        if unaware:
            ring = loss, float(np.mean(unaware))
            panel.plot(*ring, "o", mfc="none", mec=colours[name], markersize=8)
    best = frontier(list(points.values()))
    if best:
        panel.step(*zip(*best, strict=True), where="post", color="lightgrey", linewidth=1, zorder=0)
    panel.margins(x=0.05, y=0.1)
    return points


def _make_room(panel: Any) -> None:
    """Move the right end of the axis of losses, so that names stand beside what is drawn."""
    left, right = panel.get_xlim()
    panel.set_xlim(left, left + (right - left) / NAMES_FROM)


def _name(panel: Any, points: Mapping[str, Point], colours: Mapping[str, Any]) -> None:
    low, high = panel.get_ylim()
    left, right = panel.get_xlim()
    names = sorted(points, key=lambda name: points[name][1])
    gap = NAME_SHARE * (high - low)
    heights = spread([points[name][1] for name in names], gap, low + gap, high - gap)
    column = left + NAMES_FROM * (right - left)
    for name, height in zip(names, heights, strict=True):
        loss, auc = points[name]
        panel.plot([loss, column], [auc, height], color=colours[name], linewidth=0.4, alpha=0.6)
        panel.text(column, height, f" {name}", fontsize=NAME_POINTS, va="center")


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Rising places nearest to the rising `wanted` (squares), `gap` or more apart, from `low` to
    `high` as far as they fit."""
    from sklearn.isotonic import isotonic_regression

    steps = gap * np.arange(len(wanted))  # without them, places gap apart are places that rise
    if not len(steps):
        return []
    ends = {"y_min": low, "y_max": max(low, high - steps[-1])}
    places: list[float] = (isotonic_regression(np.asarray(wanted) - steps, **ends) + steps).tolist()
    return places


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats in both coordinates, from left to right."""
    best: list[Point] = []
    for point in sorted(points):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best
