"""The figure of the mitigation study; its drawing is tested with the tables."""

from __future__ import annotations

from mia_bench.studies.mitigation_plot import frontier


def test_the_frontier_is_what_nothing_beats_in_both():
    """(.08, .9) is beaten by (.08, .7), and (.11, .6) by (.10, .5)."""
    points = [(0.11, 0.6), (0.08, 0.9), (0.10, 0.5), (0.08, 0.7)]
    assert frontier(points) == [(0.08, 0.7), (0.10, 0.5)]
    assert frontier([]) == []
