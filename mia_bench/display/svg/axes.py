"""The axes of a chart: range, scale, and ticks that people would choose."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Axis:
    """One direction: its range, its scale, its label, and where its ticks are."""

    lo: float
    hi: float
    label: str
    ticks: tuple[float, ...]
    log: bool = False

    def share(self, value: float) -> float:
        """0 at the lower end, 1 at the upper one; values outside are drawn at the edge."""
        lo, hi = self._ends
        inside = min(max(value, self.lo), self.hi)
        return ((math.log10(inside) if self.log else inside) - lo) / (hi - lo)

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The range as it is drawn: asked for at every point."""
        return (math.log10(self.lo), math.log10(self.hi)) if self.log else (self.lo, self.hi)


def linear(lo: float, hi: float, label: str) -> Axis:
    """A linear axis over [lo, hi] with about five round ticks; an empty range is widened."""
    if not hi > lo:
        lo, hi = lo - 0.5, hi + 0.5
    raw = (hi - lo) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(lo / step - 1e-9)
    ticks = [i * step for i in range(first, math.floor(hi / step + 1e-9) + 1)]
    return Axis(lo, hi, label, tuple(ticks))


def padded(values: Iterable[float], label: str, share: float = 0.06) -> Axis:
    """A linear axis with some air around the values."""
    finite = list(values)
    lo, hi = min(finite), max(finite)
    room = (hi - lo) * share or max(abs(hi) * share, 1e-3)
    return linear(lo - room, hi + room, label)


def decades(lo: float, hi: float, label: str) -> Axis:
    """A logarithmic axis that ends at powers of ten around lo and hi, both positive."""
    first, last = math.floor(math.log10(lo) + 1e-9), math.ceil(math.log10(hi) - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(10.0**p for p in range(first, last + 1))
    return Axis(10.0**first, 10.0**last, label, ticks, log=True)


def number(value: float) -> str:
    """A tick as people write it."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"
