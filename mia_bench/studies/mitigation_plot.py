"""The figure of the mitigation study: one panel an attack, privacy against utility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mia_bench.studies.figures import windowless_pyplot
from mia_bench.studies.mitigation_outcome import Outcome

COLUMNS = 3
PANEL_INCHES = (4.4, 3.6)

Point = tuple[float, float]
"""(held-out loss, AUC)"""


def draw(study: Mapping[str, Mapping[int, Outcome]], attacks: Sequence[str], folder: Path) -> Path:
    """mitigations.png and .svg in `folder`: AUC against held-out loss, means over seeds.

    A dot is a mitigation against an attacker who knows it, with a line from its least to its
    largest AUC over seeds; a ring, where it differs, against one who does not. The stairs join the
    mitigations that no other beats in both. Lower and further left is better.
    """
    plt = windowless_pyplot()
    drawn = [a for a in attacks if any(a in o.auroc for r in study.values() for o in r.values())]
    rows = -(-len(drawn) // COLUMNS)
    columns = min(COLUMNS, max(1, len(drawn)))
    size = PANEL_INCHES[0] * columns, PANEL_INCHES[1] * max(1, rows)
    figure, axes = plt.subplots(
        max(1, rows), columns, figsize=size, sharex=True, squeeze=False, layout="constrained"
    )
    colours = dict(zip(study, plt.get_cmap("tab20").colors[::2] * 3, strict=False))
    bases = [o.base["heldout_loss"] for o in next(iter(study.values())).values()]
    for panel, attack in zip(axes.flat, drawn, strict=False):
        _panel(panel, study, attack, colours)
        panel.axvline(float(np.mean(bases)), color="grey", linestyle="--", linewidth=1)
        panel.axhline(0.5, color="grey", linestyle=":", linewidth=1)
        panel.set_title(attack, fontsize=10)
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
) -> None:
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
        panel.annotate(
            name,
            points[name],
            xytext=(6, 3),
            textcoords="offset points",
            fontsize=7,
            color=colours[name],
        )
    best = frontier(list(points.values()))
    if best:
        panel.step(*zip(*best, strict=True), where="post", color="lightgrey", linewidth=1, zorder=0)
    panel.margins(x=0.2, y=0.15)


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those that no other point beats in both coordinates, from left to right."""
    best: list[Point] = []
    for point in sorted(points):
        if not best or point[1] < best[-1][1]:
            best.append(point)
    return best
