"""The figure of the mitigation study; its drawing is tested with the tables."""

from __future__ import annotations

import pytest

from mia_bench.studies.mitigation_plot import frontier, spread


def test_the_frontier_is_what_nothing_beats_in_both():
    """(.08, .9) is beaten by (.08, .7), and (.11, .6) by (.10, .5)."""
    points = [(0.11, 0.6), (0.08, 0.9), (0.10, 0.5), (0.08, 0.7)]
    assert frontier(points) == [(0.08, 0.7), (0.10, 0.5)]
    assert frontier([]) == []


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([], []),
        ([2.0, 5.0], [2.0, 5.0]),
        ([2.0, 2.5, 6.0], [1.75, 2.75, 6.0]),
        ([0.0, 0.0], [1.0, 2.0]),  # below the panel
        ([8.8, 8.9, 9.0], [7.0, 8.0, 9.0]),  # at its upper end
    ],
)
def test_names_stand_apart_and_within_the_panel(wanted, places):
    assert spread(wanted, 1.0, 1.0, 9.0) == pytest.approx(places)
