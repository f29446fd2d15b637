"""Bands of intervals, drawn without a window."""

from __future__ import annotations

import numpy as np

from mia_bench.studies.figures import as_written, interval_band, save_figure, windowless_pyplot


def test_a_band_reaches_from_lo_to_hi_and_leaves_out_what_has_none() -> None:
    pyplot = windowless_pyplot()
    figure, axes = pyplot.subplots()
    entries = [
        {"value": 0.1, "lo": 0.0, "hi": 0.2},
        {"value": 0.9, "lo": None, "hi": None},
        {"value": 0.5, "lo": 0.4, "hi": 0.6},
    ]
    interval_band(axes, (1, 2, 3), entries, "black")
    (path,) = axes.collections[0].get_paths()
    corners = {tuple(np.round(point, 6)) for point in path.vertices}
    assert corners == {(1, 0.0), (1, 0.2), (3, 0.4), (3, 0.6)}
    pyplot.close(figure)


def test_a_name_with_dollar_signs_is_drawn_as_it_is(tmp_path):
    figure, axes = windowless_pyplot().subplots()
    axes.plot([0, 1], [0, 1], label=as_written(r"a$\bad{b$"))
    axes.legend()
    assert save_figure(figure, tmp_path / "figure.png").is_file()
