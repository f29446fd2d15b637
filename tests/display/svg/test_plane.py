"""Charts: places of marks, legends, and text that stays text."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from mia_bench.display.svg.axes import linear, number
from mia_bench.display.svg.marks import Key
from mia_bench.display.svg.plane import Plane
from mia_bench.display.svg.style import standalone


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


def test_legends_wrap_and_numbers_read():
    plane = Plane(linear(0, 1, ""), linear(0, 1, ""))
    short = plane.draw("t", [], [Key("a", 0)])
    long = plane.draw("t", [], [Key("an attack of some length", i) for i in range(9)])
    height = [int(chart.split('viewBox="0 0 460 ')[1].split('"')[0]) for chart in (short, long)]
    assert height[1] > height[0]
    assert [number(v) for v in (0, 0.25, 1000, 1e-4, 2e6)] == ["0", "0.25", "1000", "1e-4", "2e6"]
