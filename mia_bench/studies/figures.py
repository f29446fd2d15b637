"""What the figures of studies share: matplotlib without a window, and bands of intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def windowless_pyplot() -> Any:
    """matplotlib's pyplot, drawing into files alone; imported where a figure is drawn."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def interval_band(
    axes: Any, places: Sequence[float], entries: Sequence[Mapping[str, Any]], colour: Any
) -> None:
    """Shade between `lo` and `hi` of the entries {"value", "lo", "hi"}, one for each of `places`;
    those without an interval are left out."""
    band = [(x, e) for x, e in zip(places, entries, strict=True) if e["lo"] is not None]
    axes.fill_between(
        [x for x, _ in band],
        [entry["lo"] for _, entry in band],
        [entry["hi"] for _, entry in band],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
