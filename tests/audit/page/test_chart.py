"""Both sets in one chart, as shares of each set."""

from __future__ import annotations

import pandas as pd

from mia_bench.audit.page.chart import score_chart
from mia_bench.audit.scores import COMBINED


def test_sets_of_other_sizes_are_drawn_as_shares():
    first, second = [0.95] * 4, [0.05] * 40
    table = pd.DataFrame({COMBINED: first + second, "is_first": [True] * 4 + [False] * 40})
    chart = score_chart(table, ("members <b>", "non-members"))
    assert "members &lt;b&gt;" in chart
    assert "<b>" not in chart
    assert ">1<" in chart  # the share of either set in its bin
    assert "mean rank over the attacks" in chart


def test_an_empty_set_is_drawn_too():
    table = pd.DataFrame({COMBINED: [0.2, 0.4], "is_first": [True, True]})
    assert score_chart(table, ("mine", "unseen")).startswith("<svg")
