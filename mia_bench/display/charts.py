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
        marks.append(plane.steps(points, curve.series))
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
    return plane.draw(title, marks, (Key("members", 0, "box"), Key("non-members", 1, "box")))


Floats = npt.NDArray[np.float64]

HISTOGRAM_BINS = 40


MIN_RATE = 1e-3


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
    kept = np.flatnonzero(np.append(moved, True))  # the last point of every run of equal ones
    return Roc(roc.fpr[kept], roc.tpr[kept], roc.threshold[kept])
