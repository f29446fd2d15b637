"""Marks of a chart: text stays text, a legend takes the lines it needs."""

from __future__ import annotations

from mia_bench.display.svg.marks import Key, legend_rows, shape_mark, text_mark


def test_text_cannot_become_a_mark():
    assert "<b>" not in text_mark(0, 0, "<b>", "k")


def test_every_shape_is_drawn():
    shapes = ("circle", "square", "diamond", "up", "down", "cross")
    assert len({shape_mark(shape, 0, 0) for shape in shapes}) == len(shapes)


def test_a_legend_wraps():
    keys = [Key("a name", i) for i in range(6)]
    rows = legend_rows(keys, 200)
    assert [key for row in rows for _, key in row] == keys
    assert len(rows) > 1
