"""Ratios of two pieces of work that take turns, so that a busy machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Work = Callable[[], object]
CLOCKS = {"wall": "perf_counter", "process": "process_time"}
_chosen = ["wall"]


def use(kind: str) -> None:
    """`wall`, or `process`: seconds this process computed, where other work shares the machine.

    The latter only compares work on the same number of threads, and leaves out waiting and GPUs.
    """
    _chosen[0] = kind


def kind() -> str:
    return _chosen[0]


@dataclass(frozen=True)
class Ratio:
    """`value`: median over rounds of time(a) / time(b); `lo`, `hi`: the middle half of rounds."""

    value: float
    lo: float
    hi: float
    seconds: tuple[float, float]
    """Median of a and of b, for people: no figure is made of them."""

    def times(self, factor: float) -> Ratio:
        """The same measurement per unit, where a and b did different amounts of work."""
        return Ratio(self.value * factor, self.lo * factor, self.hi * factor, self.seconds)


def ratio(a: Work, b: Work, rounds: int = 9, warm: int = 1) -> Ratio:
    """time(a) / time(b), in `rounds` pairs run in turn after `warm` unmeasured pairs.

    The order within a pair alternates: what slows the second of two does so to either.
    """
    for _ in range(warm):
        a()
        b()
    pairs = []
    for i in range(rounds):
        if i % 2:
            second = elapsed(b)
            pairs.append((elapsed(a), second))
        else:
            first = elapsed(a)
            pairs.append((first, elapsed(b)))
    taken = np.array(pairs)
    lo, value, hi = np.percentile(taken[:, 0] / taken[:, 1], [25, 50, 75])
    first, second = np.median(taken, axis=0)
    return Ratio(float(value), float(lo), float(hi), (float(first), float(second)))


def elapsed(work: Work) -> float:
    """Seconds of one call, by the clock in use."""
    now = getattr(time, CLOCKS[kind()])
    began = now()
    work()
    return float(now() - began)
