"""The scores of both sets in one chart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup

from mia_bench.audit.scores import COMBINED
from mia_bench.display.charts import bin_readings
from mia_bench.display.svg.axes import linear
from mia_bench.display.svg.marks import Key
from mia_bench.display.svg.plane import Plane

BINS = 20
CHART_HEIGHT = 240


def score_chart(table: pd.DataFrame, names: tuple[str, str]) -> Markup:
    """Combined scores of both sets, as shares of each set."""
    edges = np.linspace(0, 1, BINS + 1)
    first = table.is_first.to_numpy(dtype=bool)
    scores = table[COMBINED].to_numpy()
    shares = [np.histogram(scores[side], edges)[0] / max(1, side.sum()) for side in (first, ~first)]
    top = max(0.05, *(float(share.max()) for share in shares))
    x, y = (
        linear(0, 1, "combined score: mean rank over the attacks"),
        linear(0, top, "share of the set"),
    )
    plane = Plane(x, y, height=CHART_HEIGHT)
    marks = [
        plane.bars(edges.tolist(), share.tolist(), i)
        for i, share in ((1, shares[1]), (0, shares[0]))
    ]
    marks += bin_readings(plane, edges.tolist(), (shares[0], shares[1]), names)
    keys = [Key(name, i, "box") for i, name in enumerate(names)]
    return plane.draw("Scores of the two sets", marks, keys)
