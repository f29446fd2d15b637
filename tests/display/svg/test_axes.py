"""Axes: ticks and places on both scales."""

from __future__ import annotations

import pytest

from mia_bench.display.svg.axes import decades, linear, padded
from mia_bench.display.svg.plane import LEFT, Plane


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
