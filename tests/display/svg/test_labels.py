"""Labels move apart, and no further than they must."""

from __future__ import annotations

import pytest

from mia_bench.display.svg.labels import overlap, spread


def test_labels_are_a_gap_apart_in_their_order():
    assert spread([10, 12, 50], 8) == pytest.approx([7, 15, 50])


def test_boxes_that_touch_do_not_overlap():
    assert overlap((0, 0, 10, 10), (9, 9, 10, 10))
    assert not overlap((0, 0, 10, 10), (10, 0, 10, 10))
