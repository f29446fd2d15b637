"""Series beyond the colours, and a chart as a file of its own."""

from __future__ import annotations

import resvg_py

from mia_bench.display.svg.axes import linear
from mia_bench.display.svg.marks import Key
from mia_bench.display.svg.plane import Plane
from mia_bench.display.svg.style import COLOURS, DASHES, paint, standalone


def test_a_file_of_its_own_shows_something():
    plane = Plane(linear(0, 1, "x"), linear(0, 1, "y"))
    chart = plane.draw("t", [plane.line([(0, 0), (1, 1)], 0)], [Key("a", 0)])
    with_line = bytes(resvg_py.svg_to_bytes(svg_string=standalone(chart)))
    without = bytes(
        resvg_py.svg_to_bytes(svg_string=standalone(plane.draw("t", [], [Key("a", 0)])))
    )
    assert with_line != without
    assert "var(" not in standalone(chart)


def test_series_beyond_the_colours_get_a_dash():
    many = [paint(i) for i in range(len(COLOURS) * len(DASHES))]
    assert len(set(many)) == len(many)
