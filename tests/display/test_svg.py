"""Charts: places of marks, ticks, legends, and text that stays text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import resvg_py

from mia_bench.display.svg import (
    COLOURS,
    DASHES,
    LEFT,
    Key,
    Plane,
    decades,
    linear,
    number,
    padded,
    paint,
    standalone,
)


def test_axes_have_round_ticks_inside():
    assert linear(0.4, 1.0, "").ticks == pytest.approx((0.4, 0.6, 0.8, 1.0))
    assert decades(0.002, 3, "").ticks == pytest.approx((0.001, 0.01, 0.1, 1, 10))
    assert decades(1, 1, "").hi == 10
    for lo, hi in ((0, 1), (-3.2, 17), (1e-6, 2e-6), (5, 5)):
        axis = linear(lo, hi, "")
        assert 2 <= len(axis.ticks) <= 8
        assert all(axis.lo <= tick <= axis.hi * (1 + 1e-9) for tick in axis.ticks)


def test_places_on_both_scales():
    assert decades(0.001, 1, "").share(0.1) == pytest.approx(2 / 3)
    assert linear(0, 2, "").share(0.5) == 0.25
    assert linear(0, 2, "").share(7) == 1
    axis = padded([1.0, 3.0], "")
    assert axis.lo < 1 < 3 < axis.hi
    plane = Plane(linear(0, 1, ""), linear(0, 1, ""))
    assert plane.at(0, 1).startswith(f"{LEFT}.0,")


def test_a_step_curve_keeps_its_height():
    plane = Plane(linear(0, 1, ""), linear(0, 1, ""))
    drawn = plane.steps([(0, 0), (0.5, 1), (1, 1)], 0)
    points = drawn.split('points="')[1].split('"')[0].split()
    assert points == [plane.at(0, 0), plane.at(0.5, 0), plane.at(0.5, 1), plane.at(1, 1)]


def test_every_text_is_escaped_and_the_chart_is_xml():
    hostile = '</svg><script>alert(1)</script>"&'
    plane = Plane(linear(0, 1, hostile), linear(0, 1, hostile))
    marks = [plane.dot(0.5, 0.5, 0, hostile)]
    chart = plane.draw(hostile, marks, [Key(hostile, 0), Key("b", 1, "box"), Key("c", 2, "cross")])
    assert "<script" not in chart
    root = ET.fromstring(standalone(chart))
    texts = ["".join(node.itertext()) for node in root.iter() if node.text]
    assert texts.count(hostile) == 5


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


def test_legends_wrap_and_numbers_read():
    plane = Plane(linear(0, 1, ""), linear(0, 1, ""))
    short = plane.draw("t", [], [Key("a", 0)])
    long = plane.draw("t", [], [Key("an attack of some length", i) for i in range(9)])
    height = [int(chart.split('viewBox="0 0 460 ')[1].split('"')[0]) for chart in (short, long)]
    assert height[1] > height[0]
    assert [number(v) for v in (0, 0.25, 1000, 1e-4, 2e6)] == ["0", "0.25", "1000", "1e-4", "2e6"]
