"""Charts of a report as SVG: ROC curves and histograms of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from mia_bench.display.svg.axes import decades, linear
from mia_bench.display.svg.marks import Key
from mia_bench.display.svg.plane import Plane
from mia_bench.metrics import Roc


@dataclass(frozen=True)
class Curve:
    """An ROC curve and what its legend says."""

    name: str
    roc: Roc
    auroc: float
    series: int


def roc_chart(curves: Sequence[Curve], title: str) -> Markup:
    """Curves with both axes logarithmic, since what counts is the left end; the first on top."""
    x, y = (decades(MIN_RATE, 1, label) for label in ("false positive rate", "true positive rate"))
    plane = Plane(x, y)
    marks = [plane.diagonal()]
    for curve in reversed(curves):
        points = list(zip(curve.roc.fpr.tolist(), curve.roc.tpr.tolist(), strict=True))
        marks.append(plane.steps(points, curve.series, f"{curve.name}, AUC {curve.auroc:.3f}"))
    # above all curves, so that none covers what another one says
    marks += [
        plane.reading(fpr, tpr, curve.series, f"{curve.name}: TPR {tpr:.3g} at FPR {fpr:g}")
        for curve in reversed(curves)
        for fpr, tpr in readings(curve.roc)
    ]
    keys = [Key(f"{curve.name} {curve.auroc:.3f}", curve.series) for curve in curves]
    return plane.draw(title, marks, keys)


def histogram_chart(bins: Histogram, title: str) -> Markup:
    """Shares of members and non-members by score; the threshold as a dotted line."""
    top = float(max(bins.members.max(), bins.nonmembers.max()))
    x = linear(float(bins.edges[0]), float(bins.edges[-1]), "score (higher: member)")
    plane = Plane(x, linear(0, top * 1.08, "share of rows"), height=250)
    edges = bins.edges.tolist()
    marks = [
        plane.bars(edges, bins.nonmembers.tolist(), 1),
        plane.bars(edges, bins.members.tolist(), 0),
    ]
    inside = bins.tau is not None and edges[0] <= bins.tau <= edges[-1]
    marks += [plane.rule(x=bins.tau)] if inside else []
    marks += bin_readings(plane, edges, (bins.members, bins.nonmembers), SETS)
    return plane.draw(title, marks, [Key(name, i, "box") for i, name in enumerate(SETS)])


def bin_readings(
    plane: Plane, edges: Sequence[float], shares: tuple[Floats, Floats], names: tuple[str, str]
) -> list[str]:
    """Where a pointer reads the shares of two sets in each bin that is not empty; of `edges` one
    more than of either share."""
    return [
        plane.column(
            *(edges[i], edges[i + 1]),
            f"score {edges[i]:.3g} to {edges[i + 1]:.3g}: {100 * first:.2g} % of {names[0]}, "
            f"{100 * second:.2g} % of {names[1]}",
        )
        for i, (first, second) in enumerate(zip(*shares, strict=True))
        if first or second
    ]


Floats = npt.NDArray[np.float64]

HISTOGRAM_BINS = 40
SETS = ("members", "non-members")


MIN_RATE = 1e-3

READ_RATES = (0.001, 0.01, 0.1, 0.5)
"""False positive rates at which a curve can be read with a pointer."""


@dataclass(frozen=True)
class Histogram:
    """Shares of members and of non-members per bin; `edges` has one entry more than they."""

    edges: Floats
    members: Floats
    nonmembers: Floats
    tau: float | None


def histogram(rows: pd.DataFrame, tau: float | None) -> Histogram:
    """Equal bins from the 0.5th to the 99.5th percentile; what lies outside is in the end bins."""
    score, member = rows.score.to_numpy(dtype=np.float64), rows.is_member.to_numpy(dtype=bool)
    lo, hi = np.quantile(score, (0.005, 0.995))
    if not hi > lo:
        lo, hi = lo - 0.5, hi + 0.5
    edges = np.linspace(lo, hi, HISTOGRAM_BINS + 1)
    inside = np.clip(score, lo, hi)
    shares = [np.histogram(inside[m], edges)[0] / max(1, m.sum()) for m in (member, ~member)]
    return Histogram(edges, shares[0], shares[1], tau)


def thin(roc: Roc, step: float = 0.005) -> Roc:
    """Points that differ on a log-log plot: a curve of ten thousand rows draws like one of 500."""
    grid = np.round(
        np.log10(np.maximum(np.stack([roc.fpr, roc.tpr]), MIN_RATE)) / (step * -np.log10(MIN_RATE))
    )
    moved = np.any(np.diff(grid, axis=1) != 0, axis=0)
    kept = np.append(moved, True)  # the last point of every run of equal ones
    kept[[_cut_within(roc, rate) for rate in READ_RATES]] = True
    return Roc(roc.fpr[kept], roc.tpr[kept], roc.threshold[kept])


def readings(roc: Roc) -> list[tuple[float, float]]:
    """(FPR, TPR) at those of READ_RATES that allow a false positive: TPR as in metrics.json."""
    cuts = [(rate, _cut_within(roc, rate)) for rate in READ_RATES]
    return [(rate, float(roc.tpr[cut])) for rate, cut in cuts if roc.fpr[cut] > 0]


def _cut_within(roc: Roc, rate: float) -> int:
    """The last point whose FPR is at most `rate`."""
    return int(np.searchsorted(roc.fpr, rate + 1e-12, side="right")) - 1
